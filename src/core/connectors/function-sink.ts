/** Sinks made of a user's function, and the one that throws everything away. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { CheckpointedFunction, RuntimeContext } from "../operators/function.ts";
import { checkpointHooks, ownLists } from "../operators/function-context.ts";
import type { OperatorKind } from "../operators/operator.ts";

/** A sink as an object: opened and closed with its subtask. */
export interface SinkFunction<T> extends CheckpointedFunction {
  open?(context: Pick<RuntimeContext, "subtask" | "parallelism" | "listState" | "unionListState">): void | Promise<void>;
  write(value: T, timestamp: number): void;
  /** At each checkpoint, and when the input has ended: lets go of what was gathered, so that nothing is lost. Rows can come twice. */
  flush?(): void;
  close?(): void | Promise<void>;
}

export interface FunctionSinkSpec extends OperatorSpec {
  readonly kind: "sink";
  readonly sink: SinkFunction<never>;
}

export const functionSink: OperatorKind<FunctionSinkSpec> = {
  kind: "sink",
  inputs: 1,
  fields: (spec, { of }) => of(spec.sink.write, 0),
  create(spec, context) {
    const sink = spec.sink as SinkFunction<unknown>;
    const { subtask, parallelism } = context;
    const hooks = checkpointHooks(sink);
    return {
      ...hooks,
      open: () => sink.open?.({ subtask, parallelism, ...ownLists(context) }),
      process: (value, timestamp) => sink.write(value, timestamp),
      prepareSnapshot: (checkpoint) => {
        sink.flush?.();
        hooks.prepareSnapshot?.(checkpoint);
      },
      finish: () => sink.flush?.(),
      close: () => sink.close?.(),
    };
  },
};

/** `discard()`: a sink for rows that nobody wants. */
export interface DiscardSpec extends OperatorSpec {
  readonly kind: "discard";
}

/** Drops its rows; they are still computed. */
export const discardSink: OperatorKind<DiscardSpec> = {
  kind: "discard", inputs: 1, fields: () => new Set(), create: () => ({ inline: () => "" }),
};
