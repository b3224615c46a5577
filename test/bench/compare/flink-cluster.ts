/**
 * A running Apache Flink cluster, seen through its REST API and its SQL Gateway: runs a query or a job there and measures it as jobs of
 * drey are measured, from the first subtask that runs to the last that has ended, with the CPU time of all of Flink's processes.
 */
import { readFileSync, readdirSync } from "node:fs";
import { basename } from "node:path";

/** One run. */
export interface FlinkRun {
  readonly seconds: number;
  readonly eventsPerSecond: number;
  /** Of all Java processes of Flink on this machine; undefined where there is no /proc. */
  readonly cpuSeconds: number | undefined;
  readonly eventsPerCpuSecond: number | undefined;
}

/** Where a Flink cluster answers. */
export interface FlinkAddresses {
  /** The JobManager's REST API, e.g. http://localhost:8081. */
  readonly rest: string;
  /** The SQL Gateway, e.g. http://localhost:8083. */
  readonly gateway: string;
}

interface JobStatus {
  readonly state: string;
  readonly vertices: readonly { readonly id: string }[];
}

interface VertexStatus {
  readonly subtasks: readonly {
    readonly "start-time": number;
    readonly "end-time": number;
    readonly "status-duration": Readonly<Record<string, number>>;
  }[];
}

/** How long a job may take. */
const JOB_DEADLINE_MS = 300_000;
const POLL_MS = 100;

/** Talks to a Flink cluster that somebody has started. */
export class FlinkCluster {
  readonly #addresses: FlinkAddresses;

  private constructor(addresses: FlinkAddresses) {
    this.#addresses = addresses;
  }

  /** @returns the cluster, or why it can't be measured, as a sentence. */
  static async find(addresses: FlinkAddresses): Promise<FlinkCluster | string> {
    try {
      await ask("GET", `${addresses.rest}/overview`);
    } catch (error) {
      return `no Flink cluster answers at ${addresses.rest} (${reason(error)}); start one, or set FLINK_REST.`;
    }
    try {
      await ask("GET", `${addresses.gateway}/v1/info`);
    } catch (error) {
      return `no Flink SQL Gateway answers at ${addresses.gateway} (${reason(error)}); start bin/sql-gateway.sh, or set FLINK_SQL_GATEWAY.`;
    }
    return new FlinkCluster(addresses);
  }

  /** Flink's version. */
  async version(): Promise<string> {
    return ((await ask("GET", `${this.#addresses.rest}/config`)) as { "flink-version": string })["flink-version"];
  }

  /**
   * Runs statements in a session of their own; the last is a query, whose rows are thrown away.
   * @throws Error with Flink's words when a statement or the job fails.
   */
  async runQuery(statements: readonly string[], { events, parallelism }: { events: number; parallelism: number }): Promise<FlinkRun> {
    const sessions = `${this.#addresses.gateway}/v1/sessions`;
    const { sessionHandle } = (await ask("POST", sessions, {})) as { sessionHandle: string };
    const session = `${sessions}/${sessionHandle}`;
    try {
      await execute(session, `SET 'parallelism.default' = '${parallelism}'`);
      await execute(session, "SET 'execution.runtime-mode' = 'streaming'");
      for (const statement of statements.slice(0, -1)) await execute(session, statement);
      const before = cpuSeconds();
      const job = await execute(session, `CREATE TABLE answer WITH ('connector' = 'blackhole') AS ${statements.at(-1)}`);
      return await this.#measured(job, events, before);
    } finally {
      await ask("DELETE", session).catch(() => undefined);
    }
  }

  /** Runs a class of a jar. @param jar its file. */
  async runJar(jar: string, entryClass: string, programArgs: readonly string[], events: number): Promise<FlinkRun> {
    const { rest } = this.#addresses;
    const form = new FormData();
    form.append("jarfile", new Blob([readFileSync(jar)], { type: "application/x-java-archive" }), basename(jar));
    const uploaded = (await (await fetch(`${rest}/jars/upload`, { method: "POST", body: form })).json()) as { filename: string };
    const before = cpuSeconds();
    const run = `${rest}/jars/${basename(uploaded.filename)}/run`;
    const { jobid } = (await ask("POST", run, { entryClass, programArgsList: programArgs })) as { jobid: string };
    return this.#measured(jobid, events, before);
  }

  async #measured(job: string, events: number, before: number | undefined): Promise<FlinkRun> {
    const { rest } = this.#addresses;
    const deadline = Date.now() + JOB_DEADLINE_MS;
    let status: JobStatus;
    do {
      if (Date.now() > deadline) throw new Error(`Flink's job ${job} did not end within ${JOB_DEADLINE_MS / 1_000} s.`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      status = (await ask("GET", `${rest}/jobs/${job}`)) as JobStatus;
    } while (!["FINISHED", "FAILED", "CANCELED"].includes(status.state));
    const after = cpuSeconds();
    if (status.state !== "FINISHED") throw new Error(`Flink's job ${job} ended as ${status.state}; see ${rest}/#/job/completed/${job}.`);
    const vertices = await Promise.all(status.vertices.map((it) => ask("GET", `${rest}/jobs/${job}/vertices/${it.id}`)));
    const subtasks = (vertices as VertexStatus[]).flatMap((it) => it.subtasks);
    const lasted = (subtask: VertexStatus["subtasks"][number], name: string): number => Math.max(0, subtask["status-duration"][name] ?? 0);
    const running = Math.min(...subtasks.map((it) => it["start-time"] + lasted(it, "DEPLOYING") + lasted(it, "INITIALIZING")));
    const seconds = (Math.max(...subtasks.map((it) => it["end-time"])) - running) / 1_000;
    const cpu = before === undefined || after === undefined ? undefined : after - before;
    return {
      seconds,
      eventsPerSecond: Math.round(events / seconds),
      cpuSeconds: cpu,
      eventsPerCpuSecond: cpu === undefined ? undefined : Math.round(events / cpu),
    };
  }
}

/** Runs one statement. @returns the id of the job that it started, if it did. */
async function execute(session: string, statement: string): Promise<string> {
  const { operationHandle } = (await ask("POST", `${session}/statements`, { statement })) as { operationHandle: string };
  const operation = `${session}/operations/${operationHandle}`;
  const deadline = Date.now() + JOB_DEADLINE_MS;
  for (;;) {
    const { status } = (await ask("GET", `${operation}/status`)) as { status: string };
    if (["FINISHED", "ERROR", "CANCELED"].includes(status)) break;
    if (Date.now() > deadline) throw new Error(`Flink's SQL Gateway did not finish ${JSON.stringify(statement)}.`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const result = (await ask("GET", `${operation}/result/0`)) as { jobID?: string; results?: { data: { fields: unknown[] }[] } };
  return result.jobID ?? String(result.results?.data[0]?.fields[0] ?? "");
}

async function ask(method: string, url: string, body?: unknown): Promise<unknown> {
  const response = await fetch(url, {
    method,
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${text.slice(-1_500)}`);
  return text === "" ? {} : JSON.parse(text);
}

const reason = (error: unknown): string => {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message !== "" ? cause.message : message;
};

const FLINK_PROCESSES = /TaskManagerRunner|StandaloneSessionClusterEntrypoint|SqlGateway/;
const TICKS_PER_SECOND = 100;

function cpuSeconds(): number | undefined {
  let ticks: number | undefined;
  let entries: string[];
  try {
    entries = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry));
  } catch {
    return undefined;
  }
  for (const pid of entries) {
    try {
      if (!FLINK_PROCESSES.test(readFileSync(`/proc/${pid}/cmdline`, "latin1"))) continue;
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      ticks = (ticks ?? 0) + Number(fields[11]) + Number(fields[12]);
    } catch {
      // The process has ended meanwhile.
    }
  }
  return ticks === undefined ? undefined : ticks / TICKS_PER_SECOND;
}
