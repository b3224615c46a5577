/**
 * The kernel's process as Jupyter starts it: `node main.js <connection file>`, in the notebook's folder. It ends when Jupyter says so, and
 * when Jupyter itself has gone without a word.
 */
import { diagnosticsMode } from "./compiler/protocol.ts";
import { readConnectionFile } from "./connection-file.ts";
import { Front } from "./front.ts";

/** How often the kernel looks whether its parent still lives. */
const LOOK_MS = 1_000;

async function main(file: string | undefined): Promise<void> {
  if (file === undefined) throw new Error("a kernel is started with its connection file; `drey kernel install` tells Jupyter how.");
  const mode = diagnosticsMode(process.env["DREY_KERNEL_DIAGNOSTICS"]);
  const front = await Front.open(readConnectionFile(file), process.cwd(), mode);
  process.on("SIGINT", () => front.interrupt());
  process.on("SIGTERM", () => void front.end());
  endWithParent(() => void front.end());
  await front.ended;
}

/** Jupyter gives its number to kernels that shall not outlive it; others, of a server that may be started anew, stay. */
function endWithParent(end: () => void): void {
  if (process.env["JPY_PARENT_PID"] === undefined) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) end();
  }, LOOK_MS).unref();
}

main(process.argv[2]).then(
  // The compiling thread would keep the process.
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`drey kernel: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
