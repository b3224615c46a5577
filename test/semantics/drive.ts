/**
 * Drives the one operator that a stream's last method added, by hand: records, watermarks and the clock in any order, in one subtask or
 * several, with a snapshot and a restore wherever a test wants one. No executor and no codec is in between, so thousands of sequences take
 * seconds, and processing time is what the test says it is.
 */
import type { DataStream, Environment, OperatorSpec } from "../../src/core/index.ts";
import { ClassRegistry } from "../../src/core/data/classes.ts";
import { keyGroupOf, subtaskOfKeyGroup } from "../../src/core/data/key-groups.ts";
import { keyToken } from "../../src/core/data/keys.ts";
import { operatorKinds } from "../../src/core/operators/index.ts";
import type { Operator, OperatorContext, OperatorKind } from "../../src/core/operators/operator.ts";
import { USER_METRICS_OFFSET, taskMetricsArray } from "../../src/core/runtime/metrics.ts";
import { UserMetrics } from "../../src/core/runtime/user-metrics.ts";
import { type ChainMember, type FusedChain, fuse } from "../../src/core/runtime/operator-chain.ts";
import type { Output } from "../../src/core/runtime/output.ts";
import type { DiskOptions } from "../../src/core/state/disk-tables.ts";
import type { SubtaskStates } from "../../src/core/state/operator-states.ts";
import { Configuration } from "../../src/core/types/options.ts";
import { type RestoreOptions, restored, stored } from "../core/state/snapshots.ts";

/** Something that happens to an operator. */
export type Event<T> =
  | { readonly record: T; readonly at: number; readonly input?: 0 | 1 }
  | { readonly watermark: number }
  | { readonly clock: number }
  /** A snapshot is taken, and everything begins anew from it, in so many subtasks. */
  | { readonly restart: number };

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
  /** Gives up what its state holds on disk. */
  close(): void;
}

interface Subtask {
  readonly operator: Operator;
  readonly states: SubtaskStates;
  readonly chain: FusedChain;
}

const MAX_PARALLELISM = 128;

/**
 * The operator of a stream, opened, in one subtask. The clock stands at 0.
 * @param disk keeps keyed state on disk.
 */
export function drive<T>(env: Environment, stream: DataStream<never> | DataStream<unknown>, disk?: DiskOptions): Driven<T> {
  const { nodes } = env.streamGraph({ outputs: { stream } });
  const spec = nodes.at(-2)?.spec as OperatorSpec & { readonly key?: (value: T) => unknown; readonly key2?: (value: T) => unknown };
  const kind = operatorKinds.find((it) => it.kind === spec.kind) as OperatorKind;
  let out: Emitted[] = [];
  let clock = 0;
  let watermark = -Infinity;
  let dropped = 0;
  const nothing = (): void => undefined;
  const classes = new ClassRegistry();
  const metrics = new UserMetrics(taskMetricsArray().buffer, USER_METRICS_OFFSET).group(spec.kind);

  const subtaskWith = (states: SubtaskStates, subtask: number, parallelism: number): Subtask => {
    const context: OperatorContext = {
      metrics,
      operatorId: "o", operatorName: spec.kind, jobName: "test", taskName: "test", subtask, parallelism, maxParallelism: MAX_PARALLELISM,
      attempt: 1, configuration: Configuration.empty, states, classes,
      now: () => clock,
      emit: (value, timestamp) => void out.push({ value, timestamp, side: undefined }),
      emitSide: (side, value, timestamp) => void out.push({ value, timestamp, side }),
      emitWatermark: nothing, emitIdle: nothing, wake: nothing,
      count: (metric, by = 1) => void (dropped += metric === "numLateRecordsDropped" ? by : 0),
    };
    const operator = kind.create(spec, context) as Operator;
    const member: ChainMember = {
      definition: { id: "o" as never, name: spec.kind, spec, outputs: [{ to: "edge", edge: 0 }] },
      operator, states, stateId: "op", inputs: kind.inputs,
      wiring: { emit: nothing, emitSide: nothing, emitWatermark: nothing, emitIdle: nothing },
    };
    const output = { emit: context.emit, emitWatermark: nothing, emitIdle: nothing } as unknown as Output;
    const edge = { id: "e" as never, partitioning: { kind: "forward" } } as const;
    void operator.open?.();
    return { operator, states, chain: fuse("test", [member], [edge], [output], { word: new Int32Array(1), serve: nothing }) };
  };

  const options = (): RestoreOptions => ({ classes, now: () => clock, ...(disk === undefined ? {} : { disk }) });
  let subtasks = [subtaskWith(restored({ files: new Map(), snapshots: [] }, 0, 1, MAX_PARALLELISM, options()), 0, 1)];
  return {
    happen(event) {
      out = [];
      if ("watermark" in event) {
        watermark = event.watermark;
        for (const { chain } of subtasks) chain.watermark(watermark);
      } else if ("clock" in event) {
        clock = event.clock;
        for (const { operator } of subtasks) {
          if ((operator.nextProcessingTime?.() ?? Number.POSITIVE_INFINITY) <= clock) operator.onProcessingTime?.(clock);
        }
      } else if ("restart" in event) {
        for (const { operator } of subtasks) operator.prepareSnapshot?.(1);
        const snapshot = stored(subtasks.map(({ states }) => states.freeze(1)));
        for (const { states } of subtasks) states.close();
        subtasks = Array.from({ length: event.restart }, (_, subtask) =>
          subtaskWith(restored(snapshot, subtask, event.restart, MAX_PARALLELISM, options()), subtask, event.restart),
        );
        // As operators that make watermarks do after a restore.
        if (watermark !== -Infinity) for (const { chain } of subtasks) chain.watermark(watermark);
      } else {
        const key = (event.input === 1 ? spec.key2 : spec.key)?.(event.record);
        const group = key === undefined ? 0 : keyGroupOf(keyToken(key), MAX_PARALLELISM);
        const { chain } = subtasks[subtaskOfKeyGroup(group, subtasks.length, MAX_PARALLELISM)] as Subtask;
        (event.input === 1 ? chain.process2 : chain.process)([event.record], Float64Array.of(event.at), 1);
      }
      return out;
    },
    get dropped() {
      return dropped;
    },
    close() {
      for (const { states } of subtasks) states.close();
    },
  };
}
