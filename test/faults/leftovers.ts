/**
 * What a run leaves behind: processes that it or its children started, and files in a temporary folder that was its own. Processes are
 * known by a mark in their environment, which children inherit, however their parents end. Linux only; elsewhere nothing is found.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The environment of a run, and what came out of it. Removed with its folder at the end. */
export class Traces implements Disposable {
  /** Temporary folder of the run. */
  readonly folder: string = mkdtempSync(join(tmpdir(), "drey-run-"));
  readonly #mark = `DREY_TEST_RUN=${randomUUID()}`;

  /** For processes of the run, beside what else they need. */
  get environment(): Record<string, string> {
    const [name, value] = this.#mark.split("=") as [string, string];
    return { TMPDIR: this.folder, [name]: value };
  }

  /** "pid: command line" of each process of the run that has not ended. */
  get processes(): readonly string[] {
    return pids().flatMap((pid) => {
      try {
        if (pid === String(process.pid) || !readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(this.#mark)) return [];
        if (/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) return [];
        return [`${pid}: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()}`];
      } catch {
        // It has just ended, or is somebody else's.
        return [];
      }
    });
  }

  /** What lies in the temporary folder. Node keeps compiled code there, and is left to it. */
  get files(): readonly string[] {
    return readdirSync(this.folder, { recursive: true, encoding: "utf8" }).filter((name) => !name.startsWith("node-compile-cache"));
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function pids(): readonly string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}
