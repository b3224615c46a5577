/**
 * Measures jobs on a local cluster. A figure is about the job alone: from the first subtask that runs to the last that has finished; CPU
 * time is that of all processes of the cluster and of this one, from submission to the end.
 *
 * A run before it warms up the processes: their main threads, caches and connections. Subtasks run in threads of their own, which are new
 * for every job, so each measured run includes the time in which V8 compiles and optimises its functions; longer runs have less of it per
 * event.
 */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { type Environment, LocalCluster, environment } from "drey";

/** One run. */
export interface Measurement {
  readonly events: number;
  readonly seconds: number;
  readonly eventsPerSecond: number;
  /** Of all processes; undefined where there is no /proc. */
  readonly cpuSeconds: number | undefined;
  readonly eventsPerCpuSecond: number | undefined;
  /** The most memory that each process ever had resident, MiB, by process; undefined where there is no /proc. */
  readonly peakMiB: Readonly<Record<string, number>> | undefined;
}

export interface MeasureOptions {
  readonly events: number;
  /** Events of the run before. Default: a tenth, at most 200,000. */
  readonly warmUp?: number;
  /** Measured runs. Default 1. */
  readonly runs?: number;
  readonly parallelism?: number;
  /** Default 1. */
  readonly taskManagers?: number;
}

/**
 * Runs a job on a cluster of its own and measures it.
 * @param program declares the job's sinks.
 * @returns the runs, the slowest first.
 */
export async function measure(program: (env: Environment, events: number) => void, options: MeasureOptions): Promise<Measurement[]> {
  const { events, warmUp = Math.min(200_000, Math.ceil(events / 10)), runs = 1 } = options;
  return withCluster(options, async (cluster, env) => {
    const run = async (count: number): Promise<Measurement> => {
      program(env, count);
      const before = cpuSeconds(cluster);
      const { details } = await env.execute("bench");
      const after = cpuSeconds(cluster);
      const times = details.executions.map(({ timestamps }) => timestamps);
      const from = Math.min(...times.map((it) => it["RUNNING"] as number));
      const seconds = (Math.max(...times.map((it) => it["FINISHED"] as number)) - from) / 1_000;
      const cpu = before === undefined || after === undefined ? undefined : after - before;
      return {
        events: count,
        seconds,
        eventsPerSecond: Math.round(count / seconds),
        cpuSeconds: cpu === undefined ? undefined : Math.round(cpu * 100) / 100,
        eventsPerCpuSecond: cpu === undefined ? undefined : Math.round(count / cpu),
        peakMiB: peaks(cluster),
      };
    };
    if (warmUp > 0) await run(warmUp);
    const measured: Measurement[] = [];
    for (let index = 0; index < runs; index++) measured.push(await run(events));
    return measured.sort((a, b) => a.eventsPerSecond - b.eventsPerSecond);
  });
}

/** What a run at a given speed shows: how long a row took from its making to its arrival in the last operator, milliseconds. */
export interface Latency {
  readonly rows: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/**
 * Runs a job and gathers how old its rows are when they arrive.
 * @param latencies declares the job: a stream of ages in milliseconds. The first third of them, while functions are being compiled, does
 * not count.
 */
export async function measureLatency(
  latencies: (env: Environment) => AsyncIterable<number>, options: Omit<MeasureOptions, "events" | "runs" | "warmUp">,
): Promise<Latency> {
  return withCluster(options, async (_cluster, env) => {
    const ages: number[] = [];
    for await (const age of latencies(env)) ages.push(age);
    const settled = ages.slice(Math.floor(ages.length / 3)).sort((a, b) => a - b);
    const at = (share: number): number => {
      const age = settled[Math.min(settled.length - 1, Math.floor(settled.length * share))] ?? Number.NaN;
      return Math.round(age * 1_000) / 1_000;
    };
    return { rows: settled.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  });
}

/** Wall-clock time in fractions of a millisecond, the same in every thread and process. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

/** The middle one of several runs that are sorted. */
export function median(sorted: readonly Measurement[]): Measurement {
  return sorted[Math.floor(sorted.length / 2)] as Measurement;
}

/** Figures in a line, for people. */
export function figuresText(figures: Measurement | Latency): string {
  if ("p50Ms" in figures) return `${figures.rows} rows: p50 ${figures.p50Ms} ms, p99 ${figures.p99Ms} ms, max ${figures.maxMs} ms`;
  const { seconds, eventsPerSecond, eventsPerCpuSecond, peakMiB } = figures;
  const memory = Object.entries(peakMiB ?? {}).map(([name, mib]) => `${name} ${mib}`).join(", ");
  const speed = `${thousands(eventsPerSecond)} events/s, ${thousands(eventsPerCpuSecond)} per CPU-second`;
  return `${speed}, ${seconds.toFixed(2)} s; peak MiB: ${memory}`;
}

function thousands(count: number | undefined): string {
  return count === undefined ? "?" : `${Math.round(count / 1_000)} k`;
}

/** What figures depend on besides the code. */
export function machine(): { readonly cpu: string; readonly cores: number; readonly node: string } {
  return { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, node: process.version };
}

/** A whole number from the command line. @throws Error when it is none, or too small. */
export function wholeNumber(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < least) {
    throw new Error(`${flag} is ${JSON.stringify(text)}; give a whole number of at least ${least}.`);
  }
  return value;
}

/** Enough for the state of the largest query; Flink is measured with more. */
const HEAP_OF_A_SLOT = "3 gb";

async function withCluster<T>(
  { parallelism = 1, taskManagers = 1 }: Pick<MeasureOptions, "parallelism" | "taskManagers">,
  use: (cluster: LocalCluster, env: Environment) => Promise<T>,
): Promise<T> {
  const slots = Math.ceil(parallelism / taskManagers);
  const cluster = await LocalCluster.start({ taskManagers, slots, options: { "taskmanager.memory.task.heap.size": HEAP_OF_A_SLOT } });
  const env = environment({ cluster, parallelism });
  try {
    return await use(cluster, env);
  } finally {
    await env.close();
    await cluster.stop();
  }
}

function processesOf({ processes }: LocalCluster): [name: string, pid: number][] {
  const all: [string, number | undefined][] = [
    ["client", process.pid],
    ["jobManager", processes.jobManager],
    ...processes.taskManagers.map((pid, index): [string, number | undefined] => [`taskManager${index}`, pid]),
  ];
  return all.filter((it): it is [string, number] => it[1] !== undefined);
}

/** Linux counts CPU time in hundredths of a second, whatever its clock does. */
const TICKS_PER_SECOND = 100;

function cpuSeconds(cluster: LocalCluster): number | undefined {
  return ofProcesses(cluster, (pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the program, in brackets, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  })?.reduce((sum, [, seconds]) => sum + seconds, 0);
}

function peaks(cluster: LocalCluster): Readonly<Record<string, number>> | undefined {
  const all = ofProcesses(cluster, (pid) => {
    const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Math.round(Number(kibibytes) / 1_024);
  });
  return all === undefined ? undefined : Object.fromEntries(all);
}

function ofProcesses<T>(cluster: LocalCluster, read: (pid: number) => T): [name: string, value: T][] | undefined {
  try {
    return processesOf(cluster).map(([name, pid]) => [name, read(pid)]);
  } catch {
    return undefined;
  }
}
