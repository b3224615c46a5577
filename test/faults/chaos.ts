/**
 * A rolling mix of faults on one cluster whose JobManager is replaced when it dies: npm run chaos -- --minutes 10 --seed 7. Two jobs run
 * through it: the oracle's, which writes files, and one whose rows this program reads. In the end it is told what was done to them, what it
 * cost, and what an independent reader found; a row that is lost or doubled, a request that is never answered, memory or handles that
 * grow, and whatever is left behind fail the run.
 *
 * To see what grows, somebody has to live: the first TaskManager is never killed, and the JobManager only in the last part of long runs.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type JobHandle, LocalCluster, environment } from "drey";
import { expect, test } from "vitest";
import { Footprint, type Trend, holdings, trends } from "./footprint.ts";
import { Traces } from "./leftovers.ts";
import { ask, taken } from "./oracle.ts";
import { Scenario, deadline, until } from "./scenario.ts";

const MINUTES = Number(process.env["DREY_CHAOS_MINUTES"] ?? 0.5);
const SEED = Number(process.env["DREY_CHAOS_SEED"] ?? 1);
const SECONDS = Math.ceil(MINUTES * 60);
const ROWS_PER_SECOND = 2_000;
const READ_PER_SECOND = 500;
/** A job stands still after each fault, and does not make up for it: of what it could do without faults it does so much. */
const SHARE = 0.55;
const CALM_MS = 15_000;
/** From which part of a run on the JobManager is killed too, so that it can be watched before; short runs can't wait. */
const KILLS_JOB_MANAGER_FROM = MINUTES < 3 ? 0 : 0.65;
/** In which everything that was asked for has to be answered, and a job to get on. */
const PATIENCE_MS = 90_000;

const KINDS = [
  "TaskManager killed",
  "TaskManager stopped",
  "JobManager killed",
  "JobManager stopped",
  "function throws",
  "thread ends",
  "rescaled",
  "savepoint",
] as const;
type Kind = (typeof KINDS)[number];

test(`${MINUTES} minutes of chaos, seed ${SEED}`, async () => {
  using traces = new Traces();
  // For this process and its children; that this one was started without it keeps it from being found among them.
  process.env["TMPDIR"] = traces.folder;
  // What this process holds once it has had a cluster.
  await warmUp();
  const before = holdings(process.pid);
  const options = {
    "high-availability.type": "filesystem",
    "high-availability.storageDir": join(traces.folder, "ha"),
    "execution.checkpointing.dir": join(traces.folder, "checkpoints"),
  };
  let report: readonly string[] = [];
  let trend: readonly Trend[] = [];
  {
    await using it = await Scenario.start({
      rows: 12 * Math.ceil((SECONDS * ROWS_PER_SECOND * SHARE) / 12),
      rowsPerSecond: ROWS_PER_SECOND,
      checkpointEveryMs: 400,
      taskManagers: 3,
      options,
      before: (_row, folder) => {
        if (taken(folder, "throw")) throw new Error("chaos");
        if (taken(folder, "exit")) process.exit(3);
      },
    });
    const watched = await Watched.start(it, Math.ceil(SECONDS * READ_PER_SECOND * SHARE), options);
    const footprint = new Footprint(() => {
      const { jobManager, taskManagers } = it.cluster.processes;
      return { program: process.pid, JobManager: jobManager, ...Object.fromEntries(taskManagers.map((pid, i) => [`TaskManager ${i}`, pid])) };
    });
    const mischief = new Mischief(it, join(traces.folder, "savepoints"), numbers(SEED));
    try {
      await it.checkpointed(2);
      await mischief.run(SECONDS * 1_000 - CALM_MS);
      await mischief.over();
      await ends(it, it.job);
      await deadline(watched.read, PATIENCE_MS, "the last row that is read");
    } catch (error) {
      // Its last words are shown, and those of no other.
      strike(it.cluster.processes.jobManager, "SIGKILL");
      await pause(1_000);
      throw error;
    } finally {
      footprint.stop();
    }
    trend = trends(footprint.lives);
    const { expected, lost, doubled } = it.oracle.account();
    report = [
      `chaos of ${SECONDS} s, seed ${SEED}: ${it.oracle.options.rows} rows to files, ${watched.rows} rows to a client`,
      ...mischief.report,
      `recoveries: ${mischief.recoveries}; checkpoints completed: ${it.completedIds.length}; TaskManagers replaced: ${it.cluster.restarts}`,
      `files: of ${expected} rows of the result ${lost.length} lost or wrong, ${doubled.length} doubled; client: ${watched.outcome}`,
      ...(trend.length > 0 ? ["memory and handles, the lowest tenth of the samples of each third of the longest lives:"] : []),
      ...trend.map(described),
      ...(trend.length > 0 ? [] : ["memory and handles: no process lived long enough to tell; give it 3 minutes"]),
    ];
    console.log(report.join("\n"));
    await it.verdict(0);
    expect(mischief.unanswered).toEqual([]);
    watched.check();
  }
  console.log(`left in the temporary folder: ${traces.files.join(" ") || "nothing"}`);
  await until("no process is left", () => traces.processes.length === 0).catch(() => expect(traces.processes).toEqual([]));
  // What JobManagers keep for each other stays; of jobs that have ended nothing does.
  expect(traces.files.filter((name) => !/^(ha|savepoints|checkpoints)(\/|$)|^ha\/default(\/(epochs|leases)|$)/.test(name))).toEqual([]);
  await until("this process holds what it held before", () => (holdings(process.pid)?.handles ?? 0) <= (before?.handles ?? 0)).catch(() =>
    expect(holdings(process.pid)).toEqual(before),
  );
  expect(trend.flatMap(({ role, growth }) => growth.map((what) => `${role}: ${what}`))).toEqual([]);
}, (2 * MINUTES + 6) * 60_000);

/** Opens what a program that has a cluster keeps: ZeroMQ's threads and their handles. */
async function warmUp(): Promise<void> {
  const cluster = await LocalCluster.start({ taskManagers: 1 });
  const client = await cluster.connect();
  await client.overview();
  await client.close();
  await cluster.stop();
}

/** Waits for a job's end, as long as it gets on. */
async function ends(it: Scenario, job: JobHandle): Promise<void> {
  const result = job.result();
  for (let completed = -1; completed < it.completedIds.length; ) {
    completed = it.completedIds.length;
    if (await Promise.race([result.then(() => true), pause(PATIENCE_MS).then(() => false)])) return;
  }
  throw new Error(`the job has not ended, and no checkpoint was completed within ${PATIENCE_MS} ms`);
}

/** What is done to a cluster, one fault after the other, and how long each held its job up. */
class Mischief {
  readonly #it: Scenario;
  readonly #savepoints: string;
  readonly #random: () => number;
  readonly #fromMs = Date.now();
  readonly #times = new Map<Kind, number>(KINDS.map((kind) => [kind, 0]));
  /** Faults after which no checkpoint has begun and been completed yet. */
  #open: { readonly kind: Kind; readonly atMs: number }[] = [];
  readonly #heldUpMs: number[] = [];
  /** The highest attempt under each leader. */
  readonly #attempts = new Map<number, number>();
  readonly #asked: Promise<void>[] = [];
  #refused = 0;
  /** Requests without an answer. */
  readonly unanswered: string[] = [];

  constructor(it: Scenario, savepoints: string, random: () => number) {
    this.#it = it;
    this.#savepoints = savepoints;
    this.#random = random;
    mkdirSync(savepoints);
    it.job.checkpoints$.subscribe({
      next: ({ latest }) => {
        const begunMs = Math.max(...latest.filter(({ state }) => state === "COMPLETED").map(({ triggeredAtMs }) => triggeredAtMs));
        this.#heldUpMs.push(...this.#open.filter(({ atMs }) => atMs < begunMs).map(({ atMs }) => Date.now() - atMs));
        this.#open = this.#open.filter(({ atMs }) => atMs >= begunMs);
      },
      error: () => undefined,
    });
    it.job.status$.subscribe({
      next: ({ executions }) => {
        for (const { attempt } of executions) {
          const leader = Math.floor(attempt / 100_000);
          this.#attempts.set(leader, Math.max(this.#attempts.get(leader) ?? 0, attempt % 100_000));
        }
      },
      error: () => undefined,
    });
  }

  /** How often tasks began anew. */
  get recoveries(): number {
    return [...this.#attempts.values()].reduce((sum, attempts) => sum + attempts, 0) + this.#attempts.size - 1;
  }

  get report(): readonly string[] {
    const heldUp = this.#heldUpMs.sort((a, b) => a - b);
    const at = (share: number): string => ((heldUp[Math.floor((heldUp.length - 1) * share)] ?? 0) / 1_000).toFixed(1);
    return [
      `faults: ${[...this.#times].map(([kind, times]) => `${kind} ${times}`).join(", ")}; requests refused meanwhile: ${this.#refused}`,
      `from a fault to the next checkpoint that began after it: median ${at(0.5)} s, p90 ${at(0.9)} s, longest ${at(1)} s`,
    ];
  }

  /** Until `ms` have passed or the job has ended. */
  async run(ms: number): Promise<void> {
    let ended = false;
    void this.#it.job.result().then(() => (ended = true), () => (ended = true));
    while (!ended && Date.now() - this.#fromMs < ms) {
      await pause(500 + this.#random() * 4_000);
      const spared = Date.now() - this.#fromMs < ms * KILLS_JOB_MANAGER_FROM;
      const kinds = KINDS.filter((kind) => !spared || kind !== "JobManager killed");
      await this.#do(kinds[Math.floor(this.#random() * kinds.length)] as Kind);
    }
  }

  /** Resolves when every request has been answered or is too late. */
  async over(): Promise<void> {
    await Promise.all(this.#asked);
  }

  async #do(kind: Kind): Promise<void> {
    const { jobManager, taskManagers } = this.#it.cluster.processes;
    const { folder } = this.#it.oracle;
    const number = this.#random();
    const among = (pids: readonly (number | undefined)[]): number | undefined => pids[Math.floor(number * pids.length)];
    this.#times.set(kind, (this.#times.get(kind) ?? 0) + 1);
    this.#open.push({ kind, atMs: Date.now() });
    switch (kind) {
      case "TaskManager killed":
        return strike(among(taskManagers.slice(1)), "SIGKILL");
      case "TaskManager stopped":
        return nap(among(taskManagers), number * 5_000);
      case "JobManager killed":
        return strike(jobManager, "SIGKILL");
      case "JobManager stopped":
        return nap(jobManager, number * 5_000);
      case "function throws":
        return ask(folder, "throw");
      case "thread ends":
        return ask(folder, "exit");
      case "rescaled":
        return this.#ask(kind, () => this.#it.job.rescale(1 + Math.floor(number * 3)));
      case "savepoint":
        return this.#ask(kind, async () => {
          const place = await this.#it.job.savepoint(this.#savepoints);
          await this.#it.client.disposeSavepoint(place);
        });
    }
  }

  /** Whether it is done or refused, as by a job that is starting anew: it has to be answered. The next fault does not wait for it. */
  #ask(what: string, request: () => Promise<unknown>): void {
    let answered = false;
    const answer = request().then(
      () => (answered = true),
      () => {
        this.#refused++;
        answered = true;
      },
    );
    this.#asked.push(Promise.race([answer, pause(PATIENCE_MS)]).then(() => void (answered || this.unanswered.push(what))));
  }
}

/** A job whose rows this program reads: each comes once. */
class Watched {
  readonly rows: number;
  readonly read: Promise<void>;
  readonly #times: Uint8Array;

  private constructor(rows: number, job: JobHandle<{ counts: { i: number } }>) {
    this.rows = rows;
    this.#times = new Uint8Array(rows);
    this.read = new Promise((complete, error) => job.outputs.counts.subscribe({ next: ({ i }) => this.#times[i]!++, complete, error }));
    this.read.catch(() => undefined);
  }

  static async start(it: Scenario, rows: number, options: Readonly<Record<string, unknown>>): Promise<Watched> {
    const env = environment({ cluster: it.client, parallelism: 1, printLogs: false, configuration: options });
    env.enableCheckpointing(400, { tolerableFailures: 1_000 });
    const counts = env
      .generate((i) => ({ key: i % 7, i }), { count: rows, rowsPerSecond: READ_PER_SECOND })
      .keyBy((row) => row.key)
      .reduce((a, b) => ({ key: a.key, i: b.i }));
    return new Watched(rows, await env.submit({ name: "watched", outputs: { counts } }));
  }

  get outcome(): string {
    const [lost, doubled] = [this.#times.filter((times) => times === 0).length, this.#times.filter((times) => times > 1).length];
    return `of ${this.rows} rows ${lost} lost, ${doubled} doubled`;
  }

  check(): void {
    expect(this.outcome).toBe(`of ${this.rows} rows 0 lost, 0 doubled`);
  }
}

const described = ({ role, seconds, first, last, growth }: Trend): string => {
  const [one, other] = [first, last].map(({ rssMb, handles, threads }) => `${rssMb} MB, ${handles} handles, ${threads} threads`);
  const flat = growth.length === 0 ? "flat" : `GROWS: ${growth.join(", ")}`;
  return `  ${role} (lived ${seconds} s): first third ${one}; last third ${other}: ${flat}`;
};

function strike(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

async function nap(pid: number | undefined, ms: number): Promise<void> {
  strike(pid, "SIGSTOP");
  await pause(ms);
  strike(pid, "SIGCONT");
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers from 0 to 1 that a seed determines. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
