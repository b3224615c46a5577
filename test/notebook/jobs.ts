/** Made-up jobs for tests of pictures: a program of nine operators, its executions, an overview and a minute of metrics. */
import { compileJob } from "../../src/core/graph/chaining.ts";
import type { JobGraph } from "../../src/core/graph/job-graph.ts";
import type {
  CheckpointInfo, CheckpointOverview, CheckpointSubtaskInfo, ExecutionInfo, JobDetails, MetricsReport, SubtaskMetrics,
} from "../../src/core/graph/job-status.ts";
import { type Partitioning, type StreamGraph, type StreamNode, streamGraph, streamNode } from "../../src/core/graph/stream-graph.ts";
import { type JobId, jobId, taskManagerId } from "../../src/core/types/ids.ts";

/** A name that does harm wherever it is not escaped. */
export const EVIL = `<script>alert("x")</script>&'\u0007`;
export const START = Date.UTC(2026, 10, 22, 20, 30, 0);
export const JOB: JobId = jobId("0123456789abcdef0123456789abcdef");

const HASH: Partitioning = { kind: "hash", key: () => 0 };

/** Rides joined with zones, windowed, matched and written: nine operators, two sources, two sinks, one side output. */
export function nineNodes(evil = ""): StreamGraph {
  let position = 0;
  const node = (name: string, kind: string, parallelism: number, ...inputs: [StreamNode, (Partitioning | undefined)?, (0 | 1)?, string?][]): StreamNode =>
    streamNode(++position, {
      name: name + evil,
      spec: { kind },
      parallelism,
      inputs: inputs.map(([from, partitioning, input = 0, sideOutput]) => ({ from, partitioning, input, sideOutput })),
    });
  const rides = node("Source: rides.jsonl", "source", 2);
  const map = node("withTimestamps", "timestamps", 2, [rides]);
  const filter = node("filter(r => r.distance > 0)", "filter", 2, [map]);
  const zones = node("Source: zones", "source", 1);
  const join = node("join zones", "join", 2, [filter], [zones, { kind: "broadcast" }, 1]);
  const window = node("window(tumbling 60 s)", "window", 2, [join, HASH]);
  const top = node("top 10", "process", 1, [window, { kind: "rebalance" }]);
  const sink = node("Sink: collect", "sink", 1, [top]);
  const late = node("Sink: late rides", "sink", 2, [window, undefined, 0, "late"]);
  return streamGraph(`rides per zone${evil}`, [sink, late]);
}

export const nineVertices = (evil = ""): JobGraph =>
  compileJob(nineNodes(evil), { parallelism: 2, maxParallelism: 128, chaining: true, options: {} }).graph;

/** The job after a minute, on two TaskManagers of two slots. */
export function nineExecutions(evil = "", state: JobDetails["state"] = "RUNNING"): JobDetails {
  const graph = nineVertices(evil);
  const executions: ExecutionInfo[] = graph.vertices.flatMap((vertex) =>
    Array.from({ length: vertex.parallelism }, (_, subtask) => ({
      vertex: vertex.id,
      subtask,
      attempt: 1,
      state: state === "FINISHED" ? ("FINISHED" as const) : ("RUNNING" as const),
      taskManager: taskManagerId(`tm-${subtask % 2 === 0 ? "a1b2" : "c3d4"}`),
      slot: 0,
      timestamps: {
        CREATED: START,
        SCHEDULED: START + 20,
        DEPLOYING: START + 60,
        INITIALIZING: START + 180,
        RUNNING: START + 320,
        ...(state === "FINISHED" ? { FINISHED: START + 61_000 } : {}),
      },
    })),
  );
  return {
    job: JOB,
    name: graph.name,
    state,
    startedAtMs: START,
    tasks: { [state === "FINISHED" ? "FINISHED" : "RUNNING"]: executions.length },
    graph,
    executions,
    timestamps: { CREATED: START, WAITING: START + 5, RUNNING: START + 20, ...(state === "FINISHED" ? { FINISHED: START + 61_000 } : {}) },
    ...(state === "FINISHED" ? { endedAtMs: START + 61_000 } : {}),
  };
}

/** One report per second and TaskManager: the window is busy, its producers are back-pressured now and then. */
export function minuteOfMetrics(seconds = 60): MetricsReport[] {
  const details = nineExecutions();
  const reports: MetricsReport[] = [];
  for (let second = 1; second <= seconds; second++) {
    for (const taskManager of ["tm-a1b2", "tm-c3d4"]) {
      const subtasks = details.executions
        .filter((it) => it.taskManager === taskManager)
        .map((it): SubtaskMetrics => {
          const wave = 0.5 + 0.5 * Math.sin(second / 6 + it.subtask);
          const heavy = it.vertex === "v4" || it.vertex === "v3";
          const busy = Math.round(1_000 * (heavy ? 0.55 + 0.4 * wave : 0.1 + 0.25 * wave));
          const blocked = Math.round((1_000 - busy) * (heavy ? 0 : 0.6 * wave));
          const rate = Math.round((40_000 * (0.6 + 0.4 * wave)) / Number(it.vertex.slice(1)) ** 2);
          return {
            job: JOB,
            vertex: it.vertex,
            subtask: it.subtask,
            attempt: 1,
            slot: 0,
            values: {
              numRecordsIn: rate * second,
              numRecordsOut: rate * second,
              busyTimeMsPerSecond: busy,
              backPressuredTimeMsPerSecond: blocked,
              idleTimeMsPerSecond: 1_000 - busy - blocked,
              numRecordsInPerSecond: rate,
              numRecordsOutPerSecond: rate,
              currentOutputWatermark: START + second * 1_000 - 4_000 - Math.round(2_500 * wave) - (heavy ? 1_500 : 0),
            },
          };
        });
      reports.push({
        taskManager: taskManagerId(taskManager),
        atMs: START + second * 1_000 + (taskManager === "tm-a1b2" ? 0 : 400),
        process: { rss: 2e8 },
        subtasks,
      });
    }
  }
  return reports;
}

/** The job restarted once: v3/1 failed on a line of the user's, everything began again. What it told then, and what it tells now. */
export function restartedOnce(evil = ""): { readonly before: JobDetails; readonly now: JobDetails } {
  const details = nineExecutions(evil);
  const error = {
    name: "UserFunctionError",
    code: "DREY_USER_FUNCTION",
    domain: "user" as const,
    message: "map threw at rides.ts:17:22",
    details: { file: "/home/me/rides.ts", line: 17, column: 22, text: `return r.zone.name;${evil}` },
    cause: { name: "TypeError", code: "", domain: "user" as const, message: `no zone${evil}` },
  };
  const timestamps = { CREATED: START, WAITING: START + 5, RUNNING: START + 20, RESTARTING: START + 25_000 };
  const executions = details.executions.map((it): ExecutionInfo =>
    it.vertex === "v3" && it.subtask === 1
      ? { ...it, state: "FAILED", error, timestamps: { ...it.timestamps, FAILED: START + 25_000 } }
      : { ...it, state: "CANCELED", timestamps: { ...it.timestamps, CANCELED: START + 25_400 } },
  );
  const again = details.executions.map((it) => ({
    ...it,
    attempt: 2,
    timestamps: Object.fromEntries(Object.entries(it.timestamps).map(([state, ms]) => [state, ms + 26_500])),
  }));
  return {
    before: { ...details, state: "RESTARTING", timestamps, executions },
    now: { ...details, timestamps: { ...timestamps, RUNNING: START + 27_000 }, executions: again },
  };
}

/** Checkpoint `id` of the nine operators, triggered `id` times ten seconds after the start: v3 aligns for 100 ms. */
export function nineCheckpoint(id: number, more: Partial<CheckpointInfo> = {}): CheckpointInfo {
  const subtasks = nineExecutions().executions.map(({ vertex, subtask }): CheckpointSubtaskInfo => {
    const startDelayMs = 40 * (Number(vertex.slice(1)) - 1);
    const alignmentMs = vertex === "v3" ? 100 : 0;
    return {
      vertex, subtask, durationMs: startDelayMs + alignmentMs + 30, bytes: 4_096, writtenBytes: 1_024,
      startDelayMs, alignmentMs, syncMs: 4, asyncMs: 20, channelBytes: 0,
    };
  });
  return {
    id, kind: "checkpoint", state: "COMPLETED", triggeredAtMs: START + id * 10_000, durationMs: 300,
    bytes: 4_096 * subtasks.length, writtenBytes: 1_024 * subtasks.length,
    acknowledged: subtasks.length, expected: subtasks.length, subtasks, ...more,
  };
}

/** The overview of these checkpoints. */
export const overviewOf = (latest: readonly CheckpointInfo[], more: Partial<CheckpointOverview> = {}): CheckpointOverview => ({
  job: JOB, completed: latest.length, failed: 0, inProgress: 0, restored: 0, latest, ...more,
});

/** What a ClusterOverview tells about two TaskManagers of two slots that run the job. */
export function twoTaskManagers(evil = ""): { readonly taskManagers: readonly OverviewRow[] } {
  const details = nineExecutions(evil);
  return {
    taskManagers: ["tm-a1b2", "tm-c3d4"].map((taskManager, index) => ({
      taskManager: taskManagerId(taskManager),
      host: `localhost${evil}`,
      pid: 4_710 + index,
      silentMs: 120,
      dataAddress: "ipc:///run/x",
      registeredAtMs: START,
      slotHeapBytes: 2 ** 29,
      process: { rss: 2e8 },
      slots: [0, 1].map((slot) => {
        const tasks =
          slot === 1
            ? []
            : details.executions
                .filter((it) => it.taskManager === taskManager)
                .map((it) => ({
                  vertex: it.vertex,
                  name: details.graph.vertices.find((v) => v.id === it.vertex)?.name ?? "",
                  subtask: it.subtask,
                  state: it.state,
                }));
        return { slot, tasks, ...(tasks.length === 0 ? {} : { job: JOB, jobName: details.name }) };
      }),
    })),
  };
}

interface OverviewRow {
  readonly taskManager: ReturnType<typeof taskManagerId>;
  readonly host: string;
  readonly pid: number;
  readonly silentMs: number;
  readonly dataAddress: string;
  readonly registeredAtMs: number;
  readonly slotHeapBytes: number;
  readonly process: Readonly<Record<string, number>>;
  readonly slots: readonly {
    readonly slot: number;
    readonly job?: JobId;
    readonly jobName?: string;
    readonly tasks: readonly (Pick<ExecutionInfo, "vertex" | "subtask" | "state"> & { readonly name: string })[];
  }[];
}
