/**
 * The tasks of a job in one thread, with the channels between them: what the one-thread executor and the test harness step through.
 * Every edge that would be an exchange on a cluster is one here, through the same codec; only what carries segments is ordinary memory.
 */
import { ClassRegistry, type ShippedClass } from "../data/classes.ts";
import { type JobGraph, type JobVertex, type TaskSpec, targetsOf } from "../graph/job-graph.ts";
import type { EdgeId } from "../types/ids.ts";
import { MemoryChannel } from "./memory-channel.ts";
import { taskMetricsArray } from "./metrics.ts";
import { Task, type TaskHost } from "./task.ts";

/** A job's functions, copied: one call per subtask gives copies of its own. */
export type ShippedJob = () => Promise<{ readonly tasks: readonly TaskSpec[]; readonly classes: readonly ShippedClass[] }>;

/** One subtask. */
export interface LocalTask {
  readonly vertex: JobVertex;
  readonly subtask: number;
  readonly task: Task;
  readonly metrics: Float64Array;
}

/** Where a result leaves the job: a channel per subtask of its vertex, with the classes of that subtask. */
export interface ResultEnd {
  readonly channels: readonly MemoryChannel[];
  readonly classes: readonly ClassRegistry[];
}

/** Where a feed enters the job. */
export interface FeedEnd {
  readonly channel: MemoryChannel;
  readonly classes: ClassRegistry;
}

/** A wired job. Tasks stand in topological order, not opened yet. */
export interface LocalTasks {
  readonly tasks: readonly LocalTask[];
  /** By name. */
  readonly results: ReadonlyMap<string, ResultEnd>;
  readonly feeds: ReadonlyMap<string, FeedEnd>;
}

/** What a task gets from whoever steps it; the wiring adds the rest. */
export type LocalHost = Omit<TaskHost, "info" | "inputs" | "outputs" | "metrics" | "classes"> & {
  /** How often the task was started before; default 0. */
  readonly attempt?: number;
};

const SEGMENT_BYTES = 32 * 1024;
const SEGMENTS = 4;

/**
 * Builds all tasks of a job.
 * @param onChange called whenever a segment was written or read.
 * @throws UserFunctionError when an operator can't be built.
 */
export async function localTasks(
  graph: JobGraph, shipped: ShippedJob, onChange: () => void, hostOf: (vertex: JobVertex, subtask: number) => LocalHost,
): Promise<LocalTasks> {
  const channels = new Map<string, MemoryChannel>();
  const channel = (edge: EdgeId, from: number, to: number): MemoryChannel => {
    const key = `${edge}/${from}/${to}`;
    let it = channels.get(key);
    if (it === undefined) channels.set(key, (it = new MemoryChannel(SEGMENT_BYTES, SEGMENTS, onChange)));
    return it;
  };
  const parallelismOf = (id: string): number => graph.vertices.find((it) => it.id === id)?.parallelism ?? 1;
  const tasks: LocalTask[] = [];
  const results = new Map<string, ResultEnd>();
  const feeds = new Map<string, FeedEnd>();
  for (const [index, vertex] of graph.vertices.entries()) {
    for (let subtask = 0; subtask < vertex.parallelism; subtask++) {
      const copy = await shipped();
      const classes = new ClassRegistry(copy.classes);
      const inputs = graph.edges
        .filter((edge) => edge.target === vertex.id)
        .map((edge) => {
          const producers = parallelismOf(edge.source);
          const from = Array.from({ length: producers }, (_, producer) => producer).filter((producer) =>
            targetsOf(edge, producer, producers, vertex.parallelism).includes(subtask),
          );
          return { edge: edge.id, input: edge.input, channels: from.map((producer) => channel(edge.id, producer, subtask)) };
        });
      const outputs = graph.edges
        .filter((edge) => edge.source === vertex.id)
        .map((edge) => ({
          edge: edge.id,
          channels: targetsOf(edge, subtask, vertex.parallelism, parallelismOf(edge.target)).map((to) => channel(edge.id, subtask, to)),
        }));
      for (const result of graph.results.filter((it) => it.vertex === vertex.id)) {
        const it = channel(result.edge, subtask, 0);
        outputs.push({ edge: result.edge, channels: [it] });
        const known = results.get(result.name) ?? { channels: [], classes: [] };
        results.set(result.name, { channels: [...known.channels, it], classes: [...known.classes, classes] });
      }
      for (const feed of graph.feeds.filter((it) => it.vertex === vertex.id)) {
        const it = channel(feed.edge, 0, subtask);
        inputs.push({ edge: feed.edge, input: 0, channels: [it] });
        feeds.set(feed.name, { channel: it, classes });
      }
      const metrics = taskMetricsArray();
      const { attempt = 0, ...host } = hostOf(vertex, subtask);
      const info = { jobName: graph.name, vertex, subtask, attempt };
      const task = new Task({ ...host, info, inputs, outputs, metrics, classes }, copy.tasks[index] as TaskSpec);
      tasks.push({ vertex, subtask, task, metrics });
    }
  }
  return { tasks, results, feeds };
}
