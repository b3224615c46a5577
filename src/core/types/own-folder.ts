/**
 * A folder for temporary files that belongs to one process: made when it is needed, removed by its owner. A process that is killed removes
 * nothing; so the folder bears the number of its process, and whoever makes the next one there removes those of the dead.
 *
 * Invariant: no folder of a process that runs is swept. Processes that share a folder for temporary files but don't see each other, as
 * in containers, are told apart by the name of their machine; other users' folders can't be removed.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { isAlive } from "./process-alive.ts";

/** What every folder of a process is called, before its kind. */
export const OWN_FOLDER_PREFIX = "drey-";

/**
 * Makes a folder of this process that others can't enter; whoever makes it removes it.
 * @param kind what it is for, lower-case letters; empty: the sockets of a cluster.
 * @param parent exists.
 * @throws what the file system says.
 */
export function makeOwnFolder(kind: string, parent: string): string {
  sweep(parent);
  // mkdtemp creates with mode 0700, whatever the umask.
  return mkdtempSync(join(parent, `${OWN_FOLDER_PREFIX}${kind === "" ? "" : `${kind}-`}${process.pid}.${machine()}-`));
}

function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    const owner = name.startsWith(OWN_FOLDER_PREFIX) ? /^drey-(?:[a-z]+-)?(\d+)\.([0-9a-f]{4})-\w{6}$/.exec(name) : null;
    if (owner === null || owner[2] !== machine() || isAlive(Number(owner[1]))) continue;
    try {
      rmSync(join(parent, name), { recursive: true, force: true });
    } catch {
      // Another user's, or somebody else sweeps it now.
    }
  }
}

/** Four digits of its name: enough to tell apart those that share a disk. */
function machine(): string {
  let hash = 0;
  for (const letter of hostname()) hash = (Math.imul(hash, 31) + letter.charCodeAt(0)) & 0xffff;
  return hash.toString(16).padStart(4, "0");
}
