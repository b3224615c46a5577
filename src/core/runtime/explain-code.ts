/** The text that the tasks of a job will run, for people who want to see what became of their operators. */
import { ClassRegistry } from "../data/classes.ts";
import type { CompiledJob } from "../graph/job-graph.ts";
import { Configuration } from "../types/options.ts";
import { MemoryChannel } from "./memory-channel.ts";
import { taskMetricsArray } from "./metrics.ts";
import { Task } from "./task.ts";

/** Large enough for a channel's memory to exist; nothing is ever written to it. */
const SEGMENT_BYTES = 1_024;

/** Builds each vertex's chain without running it, and returns the generated functions under the vertices' names. */
export function explainCode({ graph, tasks }: CompiledJob): string {
  return graph.vertices
    .map((vertex, index) => {
      const spec = tasks[index] as CompiledJob["tasks"][number];
      const task = new Task(
        {
          info: { jobName: graph.name, vertex, subtask: 0, attempt: 0 },
          inputs: [],
          outputs: spec.edges.map(({ id }) => ({ edge: id, channels: [new MemoryChannel(SEGMENT_BYTES, 1)] })),
          doorbell: { park: () => undefined },
          metrics: taskMetricsArray(),
          classes: new ClassRegistry([]),
          configuration: Configuration.of(graph.options, "the job"),
          poll: () => true,
          wait: async () => undefined,
          wake: () => undefined,
          now: () => Date.now(),
          heapLimitBytes: 0,
          heapUsed: () => 0,
          cooperative: true,
        },
        spec,
      );
      return `// ${vertex.id} ${vertex.name.replaceAll(/\s+/g, " ")}\n${task.code}\n`;
    })
    .join("\n");
}
