/** What the fault scenarios share: a cluster with short deadlines, a job of the oracle on it, and ways to wait. */
import {
  type CheckpointOverview,
  type ClusterClient,
  type Environment,
  type JobDetails,
  type JobHandle,
  LocalCluster,
  environment,
} from "drey";
import { expect } from "vitest";
import { Oracle, type OracleOptions } from "./oracle.ts";

/** Short, so that silence is found out soon. */
export const SHORT = { "heartbeat.interval": "150 ms", "heartbeat.timeout": "3 s", "metrics.interval": "200 ms" };

export interface ScenarioOptions extends OracleOptions {
  readonly taskManagers?: number;
  readonly slots?: number;
  readonly checkpointEveryMs?: number;
  /** Of the cluster and the job. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly unaligned?: boolean;
}

/** What a scenario needs of its cluster. */
interface TestCluster {
  connect(): Promise<ClusterClient>;
  stop(): Promise<void>;
}

/** A running scenario. Everything it started ends with it. */
export class Scenario<Cluster extends TestCluster = LocalCluster> implements AsyncDisposable {
  readonly oracle: Oracle;
  readonly cluster: Cluster;
  readonly client: ClusterClient;
  readonly env: Environment;
  readonly job: JobHandle;
  /** The latest that was told. */
  checkpoints: CheckpointOverview | undefined;
  readonly completedIds: number[] = [];

  constructor(oracle: Oracle, cluster: Cluster, client: ClusterClient, env: Environment, job: JobHandle) {
    this.oracle = oracle;
    this.cluster = cluster;
    this.client = client;
    this.env = env;
    this.job = job;
    job.checkpoints$.subscribe({
      next: (overview) => {
        this.checkpoints = overview;
        for (const { id, state, kind } of overview.latest)
          if (state === "COMPLETED" && kind === "checkpoint" && !this.completedIds.includes(id)) this.completedIds.push(id);
      },
      error: () => undefined,
    });
  }

  static async start(options: ScenarioOptions): Promise<Scenario> {
    const { taskManagers = 2, slots = 2 } = options;
    return Scenario.on(await LocalCluster.start({ taskManagers, slots, options: { ...SHORT, ...options.options } }), options);
  }

  /** The same on a cluster that was started with SHORT in another way; it is stopped with the scenario. */
  static async on<Cluster extends TestCluster>(cluster: Cluster, options: ScenarioOptions): Promise<Scenario<Cluster>> {
    const { checkpointEveryMs = 150, parallelism = 2, unaligned = false } = options;
    const oracle = new Oracle({ ...options, parallelism });
    const client = await cluster.connect();
    const env = environment({ cluster: client, parallelism, printLogs: false, configuration: { ...options.options } });
    env.enableCheckpointing(checkpointEveryMs, { tolerableFailures: 1_000, unaligned });
    oracle.declare(env);
    return new Scenario(oracle, cluster, client, env, await env.submit("oracle"));
  }

  /** Waits until so many checkpoints have been completed since the submission. */
  async checkpointed(count: number): Promise<void> {
    await this.until(`${count} checkpoints`, () => (this.checkpoints?.completed ?? 0) >= count);
  }

  /** Waits until the job has gone back to a checkpoint so often and all its tasks run. */
  async restored(times: number): Promise<void> {
    await this.until(`${times} restores`, () => (this.checkpoints?.restored ?? 0) >= times);
    await this.running();
  }

  async running(): Promise<void> {
    await this.until("all tasks run", async () => {
      const { state, executions } = await this.job.details();
      return state === "RUNNING" && latest(executions).every((it) => it.state === "RUNNING" || it.state === "FINISHED");
    });
  }

  /** Process ids of the TaskManagers on which tasks run. */
  async busyTaskManagers(): Promise<number[]> {
    const [{ executions }, { taskManagers }] = await Promise.all([this.job.details(), this.client.overview()]);
    const busy = new Set(latest(executions).map((it) => it.taskManager));
    return taskManagers.filter((it) => busy.has(it.taskManager)).map((it) => it.pid);
  }

  /** Waits for the end, then has the oracle judge. @param restores how often the job must have gone back at least. */
  async verdict(restores: number): Promise<void> {
    const result = await deadline(this.job.result(), 60_000, "the job's end");
    expect(result.details.state).toBe("FINISHED");
    this.oracle.check();
    expect(this.checkpoints?.restored ?? 0).toBeGreaterThanOrEqual(restores);
    expect(this.completedIds.length).toBeGreaterThan(2);
  }

  async until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
    await until(what, condition, withinMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.cluster.stop();
    this.oracle.remove();
  }
}

/** Of each subtask the last attempt. */
export function latest(executions: JobDetails["executions"]): JobDetails["executions"] {
  const last = new Map<string, JobDetails["executions"][0]>();
  for (const it of executions) {
    const name = `${it.vertex}/${it.subtask}`;
    if (it.attempt >= (last.get(name)?.attempt ?? -1)) last.set(name, it);
  }
  return [...last.values()];
}

/** Asks every few milliseconds. @throws when it is not so in time. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${withinMs} ms in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** @throws when the promise is not settled in time. */
export async function deadline<T>(promise: Promise<T>, withinMs: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${withinMs} ms in vain for: ${what}`)), withinMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
