/**
 * Process functions with broadcast state (Flink: BroadcastProcessFunction, KeyedBroadcastProcessFunction): each record of the first input
 * meets what all records of the second have left behind. The second input reaches every subtask, and every subtask makes the same
 * changes of the same records: so the state is the same everywhere once the same records have come, and the first input may only read it.
 */
import { MIN_WATERMARK } from "../data/element.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { MapState, MapStateDescriptor, StateDescriptor, StateOf } from "../state/descriptors.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { CheckpointedFunction, Collector, MetricGroup, ProcessContext, RuntimeContext, TimerContext } from "./function.ts";
import { FunctionContext, TimestampedCollector, checkpointHooks } from "./function-context.ts";
import { type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";

/** Broadcast state where it may only be read. */
export type ReadOnlyMapState<UserKey, T> = Omit<MapState<UserKey, T>, "put" | "remove" | "clear">;

/** What a function can reach while it handles a record of the stream. */
export interface ReadOnlyBroadcastContext<Key = unknown> extends ProcessContext<Key> {
  broadcastState<UserKey, T>(descriptor: MapStateDescriptor<UserKey, T>): ReadOnlyMapState<UserKey, T>;
}

/** What a function can reach while a timer fires. */
export interface BroadcastTimerContext<Key = unknown> extends TimerContext<Key> {
  broadcastState<UserKey, T>(descriptor: MapStateDescriptor<UserKey, T>): ReadOnlyMapState<UserKey, T>;
}

/** What a function can reach while it handles a broadcast record. There is no key at hand. */
export interface BroadcastContext extends Omit<ProcessContext, "key" | "timers" | "state"> {
  /** To be changed by what the record says alone: every subtask must come to the same state. */
  broadcastState<UserKey, T>(descriptor: MapStateDescriptor<UserKey, T>): MapState<UserKey, T>;
  currentProcessingTime(): number;
  currentWatermark(): number;
}

/** The same on a keyed stream. */
export interface KeyedBroadcastContext<Key = unknown> extends BroadcastContext {
  /** Calls a function for each key of this subtask that has something in a state. */
  applyToKeyedState<Descriptor extends StateDescriptor>(
    descriptor: Descriptor, apply: (key: Key, state: StateOf<Descriptor>) => void,
  ): void;
}

/** A function of a stream and of broadcast records. */
export abstract class BroadcastProcessFunction<In, Broadcast, Out> implements CheckpointedFunction {
  snapshotState?(checkpoint: number): void;
  notifyCheckpointComplete?(checkpoint: number): void;
  notifyCheckpointAborted?(checkpoint: number): void;
  open?(context: RuntimeContext): void | Promise<void>;
  abstract processElement(value: In, context: ReadOnlyBroadcastContext, out: Collector<Out>): void;
  abstract processBroadcastElement(value: Broadcast, context: BroadcastContext, out: Collector<Out>): void;
  close?(): void | Promise<void>;
}

/** A function of a keyed stream and of broadcast records, with state and timers per key. */
export abstract class KeyedBroadcastProcessFunction<Key, In, Broadcast, Out> implements CheckpointedFunction {
  snapshotState?(checkpoint: number): void;
  notifyCheckpointComplete?(checkpoint: number): void;
  notifyCheckpointAborted?(checkpoint: number): void;
  open?(context: RuntimeContext): void | Promise<void>;
  abstract processElement(value: In, context: ReadOnlyBroadcastContext<Key>, out: Collector<Out>): void;
  abstract processBroadcastElement(value: Broadcast, context: KeyedBroadcastContext<Key>, out: Collector<Out>): void;
  onTimer?(timestamp: number, context: BroadcastTimerContext<Key>, out: Collector<Out>): void;
  close?(): void | Promise<void>;
}

export interface BroadcastProcessSpec extends OperatorSpec {
  readonly kind: "broadcastProcess";
  readonly function: KeyedBroadcastProcessFunction<unknown, unknown, unknown, unknown>;
  /** Key of the first input; absent: not keyed. */
  readonly key?: KeySelector;
  /** Names of the states that `broadcast()` declared. */
  readonly states: readonly string[];
}

export const broadcastProcessOperator: OperatorKind<BroadcastProcessSpec> = {
  kind: "broadcastProcess",
  inputs: 2,
  fields: ({ function: it, key }, { input, of }) =>
    input === 1
      ? of(it.processBroadcastElement, 0)
      : eitherUse(of(it.processElement, 0), key === undefined ? new Set() : of(key, 0)),
  create: (spec, context) => new BroadcastProcessOperator(spec, context),
};

class BroadcastProcessOperator implements Operator {
  readonly #function: BroadcastProcessSpec["function"];
  readonly #key: ((value: unknown) => unknown) | undefined;
  readonly #context: OperatorContext;
  readonly #element: ElementContext;
  readonly #broadcast: BroadcastSideContext;
  readonly #out: TimestampedCollector;

  constructor({ function: it, key, states }: BroadcastProcessSpec, context: OperatorContext) {
    this.#function = it;
    this.#key = key as ((value: unknown) => unknown) | undefined;
    this.#context = context;
    this.#element = new ElementContext(context, key !== undefined, states);
    this.#broadcast = new BroadcastSideContext(context, key !== undefined, states);
    this.#out = new TimestampedCollector(context);
    Object.assign(this, checkpointHooks(it));
  }

  open(): void | Promise<void> {
    return this.#function.open?.(this.#element);
  }

  process(value: unknown, timestamp: number): void {
    if (this.#key !== undefined) this.#element.backend.setCurrentKey(this.#key(value));
    this.#element.time = timestamp;
    this.#out.timestamp = timestamp;
    this.#function.processElement(value, this.#element, this.#out);
  }

  process2(value: unknown, timestamp: number): void {
    this.#broadcast.time = timestamp;
    this.#out.timestamp = timestamp;
    this.#function.processBroadcastElement(value, this.#broadcast, this.#out);
  }

  onWatermark(watermark: number): void {
    this.#element.watermark = watermark;
    this.#broadcast.watermark = watermark;
    this.#fire("event", watermark);
  }

  nextProcessingTime(): number {
    return this.#element.processingTimers.nextTime;
  }

  onProcessingTime(nowMs: number): void {
    this.#fire("processing", nowMs);
  }

  close(): void | Promise<void> {
    return this.#function.close?.();
  }

  #fire(domain: "event" | "processing", until: number): void {
    const queue = domain === "event" ? this.#element.eventTimers : this.#element.processingTimers;
    if (queue.nextTime > until) return;
    const fired = queue.advance(until, (time, key) => {
      this.#element.backend.setCurrentKey(key);
      this.#element.time = time;
      this.#element.timeDomain = domain;
      this.#out.timestamp = domain === "event" ? time : Number.NaN;
      this.#function.onTimer?.(time, this.#element, this.#out);
    });
    this.#context.count("numFiredTimers", fired);
  }
}

/** @throws GraphError for a state that `broadcast()` was not given. */
function declared(descriptor: MapStateDescriptor<unknown, unknown>, states: readonly string[], operator: string): string {
  if (states.includes(descriptor?.name)) return descriptor.name;
  throw new GraphError(
    `"${operator}" asks for the broadcast state ${describe(descriptor?.name)}; declare it where the stream is broadcast: broadcast(descriptor, …).`,
  );
}

class ElementContext extends FunctionContext implements BroadcastTimerContext {
  readonly #operator: OperatorContext;
  readonly #names: readonly string[];
  readonly #states = new Map<string, MapState<unknown, unknown>>();

  constructor(operator: OperatorContext, keyed: boolean, names: readonly string[]) {
    super(operator, keyed);
    this.#operator = operator;
    this.#names = names;
  }

  broadcastState<UserKey, T>(descriptor: MapStateDescriptor<UserKey, T>): ReadOnlyMapState<UserKey, T> {
    let state = this.#states.get(descriptor?.name);
    if (state === undefined) {
      const name = declared(descriptor, this.#names, this.#operator.operatorName);
      state = readOnly(this.#operator.states.broadcast(name), name, this.#operator.operatorName);
      this.#states.set(name, state);
    }
    return state as ReadOnlyMapState<unknown, unknown> as ReadOnlyMapState<UserKey, T>;
  }
}

function readOnly(state: MapState<unknown, unknown>, name: string, operator: string): MapState<unknown, unknown> {
  const refuse = (): never => {
    throw new GraphError(
      `"${operator}" changes the broadcast state ${describe(name)} in processElement() or onTimer(), where subtasks would part; ` +
        "change it in processBroadcastElement().",
    );
  };
  return {
    get: (key) => state.get(key),
    contains: (key) => state.contains(key),
    entries: () => state.entries(),
    keys: () => state.keys(),
    values: () => state.values(),
    isEmpty: () => state.isEmpty(),
    put: refuse, remove: refuse, clear: refuse,
  };
}

class BroadcastSideContext implements KeyedBroadcastContext {
  readonly jobName: string;
  readonly taskName: string;
  readonly subtask: number;
  readonly parallelism: number;
  readonly attempt: number;
  readonly metrics: MetricGroup;
  time: number = Number.NaN;
  watermark: number = MIN_WATERMARK;
  readonly #operator: OperatorContext;
  readonly #keyed: boolean;
  readonly #names: readonly string[];

  constructor(operator: OperatorContext, keyed: boolean, names: readonly string[]) {
    this.#operator = operator;
    this.#keyed = keyed;
    this.#names = names;
    this.jobName = operator.jobName;
    this.taskName = operator.taskName;
    this.subtask = operator.subtask;
    this.parallelism = operator.parallelism;
    this.attempt = operator.attempt;
    this.metrics = operator.metrics;
  }

  get timestamp(): number | undefined {
    return Number.isNaN(this.time) ? undefined : this.time;
  }

  listState<T>(name: string): OperatorList<T> {
    return this.#operator.states.list<T>(name, "split");
  }

  unionListState<T>(name: string): OperatorList<T> {
    return this.#operator.states.list<T>(name, "union");
  }

  output: KeyedBroadcastContext["output"] = (tag, value) => this.#operator.emitSide(tag.id, value, this.time);

  currentProcessingTime(): number {
    return this.#operator.now();
  }

  currentWatermark(): number {
    return this.watermark;
  }

  broadcastState<UserKey, T>(descriptor: MapStateDescriptor<UserKey, T>): MapState<UserKey, T> {
    const name = declared(descriptor, this.#names, this.#operator.operatorName);
    return this.#operator.states.broadcast<UserKey, T>(name);
  }

  applyToKeyedState<Descriptor extends StateDescriptor>(
    descriptor: Descriptor, apply: (key: unknown, state: StateOf<Descriptor>) => void,
  ): void {
    if (!this.#keyed) {
      throw new GraphError(`"${this.#operator.operatorName}" uses applyToKeyedState(), but its stream is not keyed; write keyBy(…) before connect(…).`);
    }
    const { keyed } = this.#operator.states;
    const state = keyed.state(descriptor);
    // The function may clear what it is given.
    for (const key of [...keyed.keys(descriptor.name)]) {
      keyed.setCurrentKey(key);
      apply(key, state);
    }
  }
}
