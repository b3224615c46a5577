/** Whether a process of this machine runs. A number may be given to another process later; whoever has to be sure compares more. */
import { readFileSync } from "node:fs";

/** Whether the process `pid` runs, whoever owns it. One that has ended and that nobody has asked for its exit code does not run. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
  try {
    // Where process 1 is no init, as in many containers, ended orphans stay as zombies.
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}
