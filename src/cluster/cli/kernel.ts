/** `drey kernel install`: tells Jupyter about the kernel for TypeScript notebooks, by a folder with a description and a picture. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, type Flag, UsageError, readArguments } from "./command.ts";

const flags = {
  user: { type: "boolean", help: "for this user only, which is the default" },
  prefix: { type: "string", value: "folder", help: "under <folder>/share/jupyter, e.g. of a virtual environment" },
  "sys-prefix": { type: "boolean", help: "in the active virtual environment (VIRTUAL_ENV, CONDA_PREFIX)" },
  name: { type: "string", value: "name", help: "the kernel's folder; default drey" },
} as const satisfies Readonly<Record<string, Flag>>;

/** What Jupyter calls the kernel's folder. */
const NAME = "drey";

export const kernelCommand: Command = {
  name: "kernel",
  summary: "tells Jupyter about the kernel for TypeScript notebooks",
  usage: ["kernel install [--user | --prefix folder | --sys-prefix]", "kernel uninstall [--user | --prefix folder | --sys-prefix]"],
  flags,
  notes: "Jupyter then offers “drey (TypeScript)”. The notebooks themselves need no Python; Jupyter does: pip install jupyterlab.",
  async run(args) {
    const { values, positionals } = readArguments(args, flags);
    const folder = join(dataFolder(values), "kernels", values.name ?? NAME);
    switch (positionals[0]) {
      case "install":
        install(folder);
        process.stdout.write(`Jupyter finds the kernel “drey (TypeScript)” in ${folder}\n`);
        return 0;
      case "uninstall":
        if (!existsSync(join(folder, "kernel.json"))) throw new UsageError(`there is no kernel in ${folder}.`);
        rmSync(folder, { recursive: true });
        process.stdout.write(`removed ${folder}\n`);
        return 0;
      default:
        throw new UsageError("`drey kernel` knows install and uninstall: drey kernel install");
    }
  },
};

/** Where Jupyter looks for kernels. @throws UsageError when flags exclude each other. */
function dataFolder(values: { user?: boolean; prefix?: string; "sys-prefix"?: boolean }): string {
  const { env, platform } = process;
  if ([values.user === true, values.prefix !== undefined, values["sys-prefix"] === true].filter(Boolean).length > 1)
    throw new UsageError("give one of --user, --prefix and --sys-prefix.");
  if (values.prefix !== undefined) return join(resolve(values.prefix), "share", "jupyter");
  if (values["sys-prefix"] === true) {
    const active = env["VIRTUAL_ENV"] ?? env["CONDA_PREFIX"];
    if (active === undefined) throw new UsageError("no virtual environment is active; give its folder with --prefix.");
    return join(active, "share", "jupyter");
  }
  if (env["JUPYTER_DATA_DIR"] !== undefined && env["JUPYTER_DATA_DIR"] !== "") return env["JUPYTER_DATA_DIR"];
  if (platform === "darwin") return join(homedir(), "Library", "Jupyter");
  if (platform === "win32") return join(env["APPDATA"] ?? join(homedir(), "AppData", "Roaming"), "jupyter");
  return join(env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "jupyter");
}

function install(folder: string): void {
  const main = fileURLToPath(new URL("../../notebook/kernel/main.js", import.meta.url));
  const spec = {
    argv: [process.execPath, main, "{connection_file}"],
    display_name: "drey (TypeScript)",
    language: "typescript",
    // A signal works as well; a message also reaches a kernel on another machine.
    interrupt_mode: "message",
    metadata: { debugger: false },
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "kernel.json"), `${JSON.stringify(spec, undefined, 2)}\n`);
  writeFileSync(join(folder, "logo-svg.svg"), LOGO);
}

/** A squirrel's nest: a ball of twigs in a fork, with a door. */
const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">
<path d="M30 62 L31 44 M31 48 L14 30 M32 48 L52 28" stroke="#7a5230" stroke-width="5" stroke-linecap="round" fill="none"/>
<circle cx="32" cy="27" r="20" fill="#d98a3d"/>
<g fill="none" stroke="#a85f22" stroke-width="2.2" stroke-linecap="round">
<path d="M13 24 C22 14 42 14 51 24"/><path d="M13 31 C22 41 42 41 51 31"/><path d="M20 12 C32 18 46 30 47 40"/>
<path d="M44 12 C32 18 18 30 17 40"/><path d="M32 7 V12"/></g>
<circle cx="32" cy="28" r="8" fill="#4a2f17"/><circle cx="29.5" cy="27" r="1.5" fill="#fff"/><circle cx="34.5" cy="27" r="1.5" fill="#fff"/>
</svg>
`;
