/** What `rx` takes, checked when the graph is built. */
import type { DataStream } from "./data-stream.ts";
import type { KeySelector, StreamNodeOptions } from "../graph/stream-graph.ts";
import type { RxProject, RxState, RxTime } from "../operators/rx.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import { type Configuration, options } from "../types/options.ts";
import { functionOf, specOf } from "./spec.ts";

/** How an RxJS pipeline runs. */
export interface RxOptions {
  /**
   * event (the default): rows go through in order of their timestamps when the watermark passes them, and the scheduler follows.
   * processing: rows go through as they come, and the scheduler is the task's clock.
   */
  readonly time?: RxTime;
  /** A pipeline without rows for so long is completed and forgotten; the next row subscribes a new one. Default: never. */
  readonly ttl?: Duration;
  /**
   * Needed in jobs with checkpoints. none: after a failure pipelines begin anew. replay: the rows that a pipeline got since it was
   * subscribed are kept, and go through again, without emitting what was emitted before; the pipeline must be deterministic.
   */
  readonly state?: RxState;
  /** Rows of one pipeline that are kept for a replay at the most; one more fails the job. Default 100,000. */
  readonly replayLimit?: number;
}

/** See `DataStream.rx` and `KeyedStream.rx`. Of what type the key is, only the method knows. */
export function rx<T, R>(project: RxProject<T, R>, options?: RxOptions): (stream: DataStream<T>) => DataStream<R> {
  return (stream) => stream.rx(project, options);
}

const DEFAULT_REPLAY_ROWS = 100_000;

/**
 * The operator of `rx`.
 * @throws GraphError for options that can't be, event time on a stream without it, and checkpoints without `state`.
 */
export function rxNode(
  project: RxProject<never, unknown, never>,
  rxOptions: RxOptions,
  key: KeySelector | undefined,
  hasTimestamps: boolean,
  configuration: Configuration,
): StreamNodeOptions {
  const { time = "event", ttl, state, replayLimit = DEFAULT_REPLAY_ROWS } = rxOptions;
  if (time !== "event" && time !== "processing") throw new GraphError(`rx(…, { time }) is ${describe(time)}; write "event" or "processing".`);
  if (state !== undefined && state !== "none" && state !== "replay") {
    throw new GraphError(`rx(…, { state }) is ${describe(state)}; write "none" or "replay".`);
  }
  if (!Number.isInteger(replayLimit) || replayLimit < 1) {
    throw new GraphError(`rx(…, { replayLimit }) is ${describe(replayLimit)}; give a whole number of rows.`);
  }
  const ttlMs = ttl === undefined ? Number.POSITIVE_INFINITY : durationMs(ttl, "rx(…, { ttl })");
  if (!(ttlMs > 0)) throw new GraphError(`rx(…, { ttl }) is ${describe(ttl)}; give a duration above 0.`);
  if (time === "event" && !hasTimestamps) {
    throw new GraphError(
      'rx() follows event time, and no operator before it assigns timestamps; write .withTimestamps((record) => …) first, or rx(…, { time: "processing" }).',
    );
  }
  if (state === undefined && configuration.get(options.checkpointInterval) > 0) {
    throw new GraphError(
      'rx() runs in a job with checkpoints, and what RxJS keeps inside can\'t be written; write rx(…, { state: "none" }) (after a failure it ' +
        'begins anew) or rx(…, { state: "replay" }) (the rows it got go through again).',
    );
  }
  return {
    name: "rx",
    spec: specOf("rx", {
      project: functionOf(project, "rx()"), time, ttlMs, replayLimit,
      ...(key === undefined ? {} : { key }),
      ...(state === undefined ? {} : { state }),
    }),
    // Under event time, so that what is asynchronous by mistake comes to light.
    asynchronous: true,
    ...(key === undefined ? { parallelismLimit: 1 } : {}),
  };
}
