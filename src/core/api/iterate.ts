/** Loops as users write them (Flink: IterativeStream). */
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import { DataStream } from "./data-stream.ts";
import type { StreamNode } from "../graph/stream-graph.ts";
import { functionOf, specOf } from "./spec.ts";

/** What a loop is made of. */
export interface LoopEnds<T, R> {
  /** Goes round again. */
  readonly feedback: DataStream<T>;
  /** Leaves the loop. */
  readonly output: DataStream<R>;
}

/** When a loop ends. */
export interface IterateOptions {
  /**
   * After the input has ended and nothing has come round for so long, it is found out whether the loop is empty; then it ends. Default
   * "100 ms". Windows of event time inside the loop fire then.
   */
  readonly maxWait?: Duration;
}

/** See `DataStream.iterate`. @throws GraphError when the loop isn't one. */
export function iterated<T, R>(
  stream: DataStream<T>, step: (loop: DataStream<T>) => LoopEnds<T, R>, { maxWait = 100 }: IterateOptions,
): DataStream<R> {
  const { environment } = stream;
  const spec = { kind: "iterate", maxWaitMs: durationMs(maxWait, "iterate(…, { maxWait })"), waves: true };
  const head = environment.add({
    name: "iterate",
    spec,
    inputs: stream.edges(0),
    // What is behind the head may wait for it, so nothing shares its thread; and it takes what comes back while it waits itself.
    chaining: "never",
    asynchronous: true,
  });
  const loop = new DataStream<T>(environment, [{ from: head, partitioning: undefined, sideOutput: undefined }]);
  const ends = functionOf(step, "iterate()")(loop);
  for (const name of ["feedback", "output"] as const) {
    if (!(ends?.[name] instanceof DataStream)) {
      throw new GraphError(`The function of iterate() returned ${describe(ends?.[name])} as ${name}; return { feedback, output }, two streams.`);
    }
    if (ends[name].environment !== environment) throw new GraphError(`The ${name} of iterate() is a stream of another environment.`);
  }
  const feedback = ends.feedback.edges(1).map((edge) => ({ ...edge, feedback: true }));
  if (feedback.some(({ from }) => from === head)) {
    throw new GraphError("The feedback of iterate() is the loop itself, so nothing would ever leave it; put an operator between.");
  }
  spec.waves = feedback.every(({ from }) => passesWatermarks(from, head));
  head.inputs = [...head.inputs, ...feedback];
  const exit = environment.add({ name: "loop exit", spec: specOf("loopExit", {}), inputs: ends.output.edges(0) });
  return new DataStream<R>(environment, [{ from: exit, partitioning: undefined, sideOutput: undefined }]);
}

/** Whether watermarks of a loop's head reach this operator on all ways from there: `withTimestamps` in the loop makes its own. */
function passesWatermarks(node: StreamNode, head: StreamNode): boolean {
  if (node === head || !isBehind(node, head)) return true;
  return node.spec.kind !== "timestamps" && node.inputs.every((edge) => edge.feedback === true || passesWatermarks(edge.from, head));
}

function isBehind(node: StreamNode, head: StreamNode): boolean {
  return node.inputs.some((edge) => edge.feedback !== true && (edge.from === head || isBehind(edge.from, head)));
}
