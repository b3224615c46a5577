/**
 * What a run leaves behind: processes that it or its children started, and files in a temporary folder that was its own. Processes are
 * known by that folder, which is in their environment. Linux only; elsewhere no processes are found.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { processesOf } from "../cluster/local/programs.ts";

/** The temporary folder of a run, and what came out of it. Removed at the end. */
export class Traces implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "drey-run-"));

  /** "pid: command line" of each process of the run that has not ended. */
  get processes(): readonly string[] {
    return processesOf(this.folder);
  }

  /** What lies in the temporary folder. */
  get files(): readonly string[] {
    return readdirSync(this.folder, { recursive: true, encoding: "utf8" });
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
