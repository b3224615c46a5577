/**
 * Drives the one operator that a stream's last method added, by hand: records, watermarks and the clock in any order. No executor and no
 * codec is in between, so thousands of sequences take seconds, and processing time is what the test says it is.
 */
import type { DataStream, Environment, OperatorSpec } from "../../src/core/index.ts";
import { operatorKinds } from "../../src/core/operators/index.ts";
import type { Operator, OperatorContext, OperatorKind } from "../../src/core/operators/operator.ts";
import { type ChainMember, fuse } from "../../src/core/runtime/operator-chain.ts";
import type { Output } from "../../src/core/runtime/output.ts";
import { HeapStates } from "../../src/core/state/operator-states.ts";
import { Configuration } from "../../src/core/types/options.ts";

/** Something that happens to an operator. */
export type Event<T> =
  | { readonly record: T; readonly at: number; readonly input?: 0 | 1 }
  | { readonly watermark: number }
  | { readonly clock: number };

/** What left the operator. */
export interface Emitted {
  readonly value: unknown;
  readonly timestamp: number;
  /** The side output; undefined for the main one. */
  readonly side: string | undefined;
}

/** An operator in the hands of a test. */
export interface Driven<T> {
  /** Lets something happen. @returns what left the operator meanwhile. */
  happen(event: Event<T>): Emitted[];
  /** Late records that were dropped. */
  readonly dropped: number;
}

/** The operator of a stream, opened. The clock stands at 0. */
export function drive<T>(env: Environment, stream: DataStream<never> | DataStream<unknown>): Driven<T> {
  const { nodes } = env.streamGraph({ outputs: { stream } });
  const spec = nodes.at(-2)?.spec as OperatorSpec;
  const kind = operatorKinds.find((it) => it.kind === spec.kind) as OperatorKind;
  let out: Emitted[] = [];
  let clock = 0;
  let dropped = 0;
  const context: OperatorContext = {
    operatorId: "o", operatorName: spec.kind, jobName: "test", taskName: "test", subtask: 0, parallelism: 1, maxParallelism: 128, attempt: 1,
    configuration: Configuration.empty,
    states: new HeapStates(),
    now: () => clock,
    emit: (value, timestamp) => void out.push({ value, timestamp, side: undefined }),
    emitSide: (side, value, timestamp) => void out.push({ value, timestamp, side }),
    emitWatermark: () => undefined,
    emitIdle: () => undefined,
    count: (metric, by = 1) => void (dropped += metric === "numLateRecordsDropped" ? by : 0),
    wake: () => undefined,
  };
  const operator = kind.create(spec, context) as Operator;
  void operator.open?.();
  const nothing = (): void => undefined;
  const member: ChainMember = {
    definition: { id: "o" as never, name: spec.kind, spec, outputs: [{ to: "edge", edge: 0 }] },
    operator,
    states: context.states as HeapStates,
    inputs: kind.inputs,
    wiring: { emit: nothing, emitSide: nothing, emitWatermark: nothing, emitIdle: nothing },
  };
  const output = { emit: context.emit, emitWatermark: nothing, emitIdle: nothing } as unknown as Output;
  const edge = { id: "e" as never, partitioning: { kind: "forward" } } as const;
  const chain = fuse("test", [member], [edge], [output], { word: new Int32Array(1), serve: nothing });
  return {
    happen(event) {
      out = [];
      if ("watermark" in event) chain.watermark(event.watermark);
      else if ("clock" in event) {
        clock = event.clock;
        if ((operator.nextProcessingTime?.() ?? Number.POSITIVE_INFINITY) <= clock) operator.onProcessingTime?.(clock);
      } else (event.input === 1 ? chain.process2 : chain.process)([event.record], Float64Array.of(event.at), 1);
      return out;
    },
    get dropped() {
      return dropped;
    },
  };
}
