/**
 * What user functions see of the operator that runs them: one context object per operator, whose fields change from record to record, and
 * a collector. Shared by all kinds of process functions.
 */
import { MIN_WATERMARK } from "../data/element.ts";
import type { KeyedBackend } from "../state/backend.ts";
import type { StateDescriptor, StateOf } from "../state/descriptors.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { TimerQueue } from "../state/timers.ts";
import { GraphError, RecordError, describe } from "../types/errors.ts";
import type { CheckpointedFunction, Collector, MetricGroup, RuntimeContext, SideOutput, TimerContext, TimerService } from "./function.ts";
import type { Operator, OperatorContext } from "./operator.ts";

/** A function's own state in the subtask, as contexts have it. */
export function ownLists({ states }: Pick<OperatorContext, "states">): Pick<RuntimeContext, "listState" | "unionListState"> {
  return { listState: (name) => states.list(name, "split"), unionListState: (name) => states.list(name, "union") };
}

/** What an operator does at checkpoints for the user's function in it. Only what the function has: see `checkpointCompleted`. */
export function checkpointHooks(
  it: CheckpointedFunction,
): Pick<Operator, "prepareSnapshot" | "checkpointCompleted" | "checkpointAborted"> {
  const hooks: ReturnType<typeof checkpointHooks> = {};
  if (it.snapshotState !== undefined) hooks.prepareSnapshot = (checkpoint) => it.snapshotState?.(checkpoint);
  if (it.notifyCheckpointComplete !== undefined) hooks.checkpointCompleted = (checkpoint) => it.notifyCheckpointComplete?.(checkpoint);
  if (it.notifyCheckpointAborted !== undefined) hooks.checkpointAborted = (checkpoint) => it.notifyCheckpointAborted?.(checkpoint);
  return hooks;
}

/** Hands results on with the timestamp of the record or timer at hand. */
export class TimestampedCollector implements Collector<unknown> {
  timestamp: number = Number.NaN;
  readonly #context: OperatorContext;

  constructor(context: OperatorContext) {
    this.#context = context;
  }

  collect(value: unknown): void {
    this.#context.emit(value, this.timestamp);
  }
}

/** The one context object of an operator; its fields change from record to record. */
export class FunctionContext implements TimerContext, TimerService {
  readonly eventTimers: TimerQueue;
  readonly processingTimers: TimerQueue;
  readonly backend: KeyedBackend;
  readonly jobName: string;
  readonly taskName: string;
  readonly subtask: number;
  readonly parallelism: number;
  readonly attempt: number;
  readonly metrics: MetricGroup;
  time: number = Number.NaN;
  timeDomain: "event" | "processing" = "event";
  watermark: number = MIN_WATERMARK;
  readonly #keyed: boolean;
  readonly #operator: OperatorContext;

  constructor(operator: OperatorContext, keyed: boolean) {
    this.#operator = operator;
    this.#keyed = keyed;
    this.eventTimers = operator.states.timers("event");
    this.processingTimers = operator.states.timers("processing");
    this.backend = operator.states.keyed;
    this.jobName = operator.jobName;
    this.taskName = operator.taskName;
    this.subtask = operator.subtask;
    this.parallelism = operator.parallelism;
    this.attempt = operator.attempt;
    this.metrics = operator.metrics;
  }

  get timers(): TimerService {
    return this;
  }

  get timestamp(): number | undefined {
    return Number.isNaN(this.time) ? undefined : this.time;
  }

  get key(): unknown {
    this.#needKey("a key");
    return this.backend.currentKey;
  }

  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor> {
    this.#needKey(`the keyed state ${describe(descriptor.name)}`);
    return this.backend.state(descriptor);
  }

  listState<T>(name: string): OperatorList<T> {
    return this.#operator.states.list<T>(name, "split");
  }

  unionListState<T>(name: string): OperatorList<T> {
    return this.#operator.states.list<T>(name, "union");
  }

  output<T>(tag: SideOutput<T>, value: T): void {
    this.#operator.emitSide(tag.id, value, this.time);
  }

  currentProcessingTime(): number {
    return this.#operator.now();
  }

  currentWatermark(): number {
    return this.watermark;
  }

  registerEventTimeTimer(time: number): void {
    this.#needKey("timers");
    this.eventTimers.register(checked(time), this.backend.currentToken, this.backend.currentKey);
  }

  registerProcessingTimeTimer(time: number): void {
    this.#needKey("timers");
    this.processingTimers.register(checked(time), this.backend.currentToken, this.backend.currentKey);
  }

  deleteEventTimeTimer(time: number): void {
    this.eventTimers.delete(time, this.backend.currentToken);
  }

  deleteProcessingTimeTimer(time: number): void {
    this.processingTimers.delete(time, this.backend.currentToken);
  }

  #needKey(what: string): void {
    if (!this.#keyed) {
      throw new GraphError(`"${this.#operator.operatorName}" uses ${what}, but its stream is not keyed; write keyBy(…) before process(…).`);
    }
  }
}

function checked(time: number): number {
  if (typeof time !== "number" || Number.isNaN(time))
    throw new RecordError(`A timer was registered for the time ${describe(time)}; give milliseconds since 1970.`);
  // Not -0: a timer comes back from a checkpoint as 0.
  return time + 0;
}
