import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const CLI = fileURLToPath(new URL("../../../dist/cluster/cli.js", import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drey-kernelspec-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const drey = (args: readonly string[], env: NodeJS.ProcessEnv = {}): string =>
  execFileSync(process.execPath, [CLI, ...args], { encoding: "utf8", stdio: "pipe", env: { ...process.env, ...env } });

test("install writes a kernel that Jupyter finds under the prefix, and uninstall removes it", () => {
  const kernel = join(folder, "share/jupyter/kernels/drey");
  expect(drey(["kernel", "install", "--prefix", folder])).toContain(kernel);
  const spec = JSON.parse(readFileSync(join(kernel, "kernel.json"), "utf8")) as { argv: string[] };
  expect(spec).toMatchObject({ display_name: "drey (TypeScript)", language: "typescript", interrupt_mode: "message" });
  expect(spec.argv.at(-1)).toBe("{connection_file}");
  expect(existsSync(spec.argv[1] as string)).toBe(true);
  expect(readFileSync(join(kernel, "logo-svg.svg"), "utf8")).toContain("<svg");
  drey(["kernel", "uninstall", "--prefix", folder]);
  expect(existsSync(kernel)).toBe(false);
});

test("without a flag it goes where Jupyter keeps the user's data", () => {
  drey(["kernel", "install"], { JUPYTER_DATA_DIR: folder });
  expect(existsSync(join(folder, "kernels/drey/kernel.json"))).toBe(true);
});

test("flags that exclude each other, and words that it does not know, are refused", () => {
  expect(() => drey(["kernel", "install", "--user", "--prefix", folder])).toThrow(/give one of/);
  expect(() => drey(["kernel", "instal"])).toThrow(/knows install and uninstall/);
});
