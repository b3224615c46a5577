/**
 * A rolling mix of faults on one cluster with a standby's memory, for minutes: npm run chaos -- --minutes 10 --seed 7. What was done to it,
 * what it cost, and what an independent reader found in the end is printed; a lost or doubled row fails the run.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { ask, asked, once } from "./oracle.ts";
import { Scenario } from "./scenario.ts";

const MINUTES = Number(process.env["DREY_CHAOS_MINUTES"] ?? 0.5);
const SEED = Number(process.env["DREY_CHAOS_SEED"] ?? 1);
const ROWS_PER_SECOND = 2_000;
const CALM_MS = 15_000;

test(`${MINUTES} minutes of chaos, seed ${SEED}`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "drey-chaos-"));
  try {
    const seconds = Math.ceil(MINUTES * 60);
    await using it = await Scenario.start({
      rows: 12 * Math.ceil((seconds * ROWS_PER_SECOND) / 12),
      rowsPerSecond: ROWS_PER_SECOND,
      checkpointEveryMs: 400,
      taskManagers: 3,
      options: {
        "high-availability.type": "filesystem",
        "high-availability.storageDir": join(folder, "ha"),
        "execution.checkpointing.dir": join(folder, "checkpoints"),
      },
      before: (_row, marks) => {
        if (asked(marks) && once(marks, "throw")) throw new Error("chaos");
      },
    });
    const random = numbers(SEED);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
    const faults = new Map<string, number>();
    const memory: { readonly second: number; readonly rssMb: number; readonly handles: number; readonly processes: number }[] = [];
    const from = Date.now();
    const until = from + seconds * 1_000 - CALM_MS;
    await it.checkpointed(2);
    while (Date.now() < until) {
      await pause(1_000 + random() * 4_000);
      const kind = pick(["kill a TaskManager", "stop a TaskManager", "kill the JobManager", "a function throws", "rescale"] as const);
      const pids = it.cluster.processes.taskManagers.filter((pid): pid is number => pid !== undefined);
      faults.set(kind, (faults.get(kind) ?? 0) + 1);
      try {
        if (kind === "kill a TaskManager") process.kill(pick(pids), "SIGKILL");
        else if (kind === "kill the JobManager") process.kill(it.cluster.processes.jobManager as number, "SIGKILL");
        else if (kind === "rescale") await it.job.rescale(pick([1, 2, 3]));
        else if (kind === "a function throws") ask(it.oracle.folder);
        else {
          const pid = pick(pids);
          process.kill(pid, "SIGSTOP");
          await pause(random() * 5_000);
          process.kill(pid, "SIGCONT");
        }
      } catch {
        // A process that is gone already, a job that restarts and can't be rescaled now.
      }
      memory.push(footprint(Math.round((Date.now() - from) / 1_000), [process.pid, ...alive(it)]));
    }
    await it.job.result();
    const { expected, lost, doubled } = it.oracle.account();
    const { completed = 0, restored = 0 } = it.checkpoints ?? {};
    console.log(
      [
        `seed ${SEED}, ${seconds} s, ${[...faults].map(([kind, times]) => `${kind}: ${times}`).join(", ")}`,
        `checkpoints completed ${completed} (as the last JobManager knows), restored ${restored}`,
        `rows in ${it.oracle.options.rows}; of ${expected} rows of the result ${lost.length} lost or wrong, ${doubled.length} doubled`,
        ...thinned(memory).map((at) => `  second ${at.second}: ${at.rssMb} MB in ${at.processes} processes, ${at.handles} handles`),
      ].join("\n"),
    );
    await it.verdict(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, (MINUTES + 4) * 60_000);

const alive = ({ cluster }: Scenario): number[] =>
  [cluster.processes.jobManager, ...cluster.processes.taskManagers].filter((pid): pid is number => pid !== undefined);

/** What processes hold together, as Linux tells; 0 elsewhere. */
function footprint(second: number, pids: readonly number[]): { second: number; rssMb: number; handles: number; processes: number } {
  let rssMb = 0;
  let handles = 0;
  for (const pid of pids) {
    try {
      rssMb += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024;
      handles += readdirSync(`/proc/${pid}/fd`).length;
    } catch {
      // It has just ended.
    }
  }
  return { second, rssMb: Math.round(rssMb), handles, processes: pids.length };
}

/** About ten of them. */
const thinned = <T>(items: readonly T[]): T[] => items.filter((_, index) => index % Math.ceil(items.length / 10) === 0);

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers from 0 to 1 that a seed determines. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
