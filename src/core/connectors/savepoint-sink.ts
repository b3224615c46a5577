/**
 * Rows that become state of a savepoint: under a descriptor, as timers, as items of a list or as a broadcast map, or by a function that
 * sees row by row (Flink: the State Processor API's bootstrap transformations). What a job finds when it starts from there is what an
 * operator would have kept that had put these rows into its state itself.
 *
 * A subtask holds its share in memory, in the state's own tables, writes it into one file when its input has ended, and hands on one row:
 * the snapshot as data. Which key group a key belongs to is worked out with the savepoint's number of key groups, not the job's; so the
 * rows of one key must come to one subtask, whichever. A file is durable before its row leaves. It counts when somebody has named it in a
 * manifest; what a job that failed has left in the folder is whose the folder is.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { keyToken } from "../data/keys.ts";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { Operator, OperatorContext, OperatorKind } from "../operators/operator.ts";
import type { AggregatingState, ListState, MapState, StateDescriptor, StateOf, ValueState } from "../state/descriptors.ts";
import { type ListMode, SubtaskStates } from "../state/operator-states.ts";
import type { OperatorSnapshot } from "../state/snapshot.ts";
import { CheckpointError, RecordError, StateError, describe } from "../types/errors.ts";

/** What a bootstrap function works with: the state of a row's key. Valid during the call only. */
export interface BootstrapContext<Key = unknown> {
  readonly key: Key;
  /** The state of the key under a descriptor, as the job's function will declare it. */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
  /** Timers of the key. They fire in the job that starts from the savepoint; those that are over by then, at once. */
  registerEventTimeTimer(timeMs: number): void;
  registerProcessingTimeTimer(timeMs: number): void;
}

/** Puts a row into the state of its key (Flink: KeyedStateBootstrapFunction). Runs on the cluster, one call at a time. */
export type BootstrapFunction<T, Key = unknown> = (row: T, context: BootstrapContext<Key>) => void;

/** What rows are made of an operator's state. */
export type WrittenPart =
  /** Rows `{ key, value }`; what a value is, the descriptor says. */
  | { readonly kind: "keyed"; readonly descriptor: StateDescriptor }
  /** Rows `{ key, timeMs, name }`. */
  | { readonly kind: "timers" }
  /** Rows are the items. */
  | { readonly kind: "list"; readonly name: string; readonly mode: ListMode }
  /** Rows `{ key, value }`, all to one subtask. */
  | { readonly kind: "broadcast"; readonly name: string }
  /** Rows of any kind. */
  | { readonly kind: "bootstrap"; readonly key: (row: never) => unknown; readonly bootstrap: BootstrapFunction<never> };

/** See the head of the file. */
export interface SavepointSinkSpec extends OperatorSpec {
  readonly kind: "savepointSink";
  /** The operator that will find the state. */
  readonly uid: string;
  /** An absolute path, made if need be. */
  readonly folder: string;
  /** Names of files begin with it. */
  readonly file: string;
  /** Number of key groups of the savepoint. */
  readonly maxParallelism: number;
  readonly part: WrittenPart;
}

/** The row that a subtask hands on. */
export interface WrittenShare {
  readonly snapshot: OperatorSnapshot;
  /** What kinds of keys there were: "number", "string", "record" …, each once. */
  readonly keys: readonly string[];
}

/** Milliseconds of writing between two looks at whether all is written. */
const TURN_MS = 100;

export const savepointSink: OperatorKind<SavepointSinkSpec> = {
  kind: "savepointSink",
  inputs: 1,
  create: (spec, context) => new SavepointSink(spec, context),
};

/** A word for what kind of key it is; of two keys that differ in it, neither can have been meant as the other. */
export function kindOfKey(key: unknown): string {
  if (typeof key !== "object") return typeof key;
  return Array.isArray(key) ? "array" : key instanceof Date ? "Date" : "record";
}

class SavepointSink implements Operator {
  readonly process: (row: unknown) => void;
  readonly #spec: SavepointSinkSpec;
  readonly #context: OperatorContext;
  readonly #states: SubtaskStates;
  readonly #keys = new Set<string>();

  constructor(spec: SavepointSinkSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    const { uid: stateId, maxParallelism, part } = spec;
    this.#states = new SubtaskStates({ stateId, maxParallelism, classes: context.classes, now: () => context.now() });
    this.process = this.#putter(part);
  }

  finish(): void {
    const { folder, file: prefix } = this.#spec;
    const name = `${prefix}-${this.#context.subtask}`;
    const snapshot = this.#written(folder, name);
    const share: WrittenShare = { snapshot, keys: [...this.#keys] };
    this.#context.emit(share, Number.NaN);
  }

  close(): void {
    this.#states.close();
  }

  #putter(part: WrittenPart): (row: unknown) => void {
    switch (part.kind) {
      case "keyed": {
        const put = adder(part.descriptor, this.#states, this.#spec.uid);
        return (row) => {
          const { key, value } = this.#pair(row, `keyed state ${describe(part.descriptor.name)}`);
          this.#begin(key);
          put(key, value);
        };
      }
      case "timers":
        return (row) => {
          const { key, timeMs, name } = (row ?? {}) as { key?: unknown; timeMs?: unknown; name?: unknown };
          if (typeof timeMs !== "number" || Number.isNaN(timeMs) || typeof name !== "string") {
            throw this.#strange(row, "timers", '{ key, timeMs, name }, its name "event" or "processing"');
          }
          this.#begin(key);
          this.#states.timers(name).register(timeMs, this.#states.keyed.currentToken, key);
        };
      case "list": {
        const list = this.#states.list<unknown>(part.name, part.mode);
        return (item) => list.add(item);
      }
      case "broadcast": {
        const map = this.#states.broadcast<unknown, unknown>(part.name);
        return (row) => {
          const { key, value } = this.#pair(row, `broadcast state ${describe(part.name)}`);
          if (map.contains(key)) {
            const where = `broadcast state ${describe(part.name)} of ${describe(this.#spec.uid)}`;
            throw new StateError(`Two rows for ${where} have the key ${describe(key)}.`);
          }
          map.put(key, value);
        };
      }
      case "bootstrap": {
        const keyOf = part.key as (row: unknown) => unknown;
        const bootstrap = part.bootstrap as BootstrapFunction<unknown>;
        const states = this.#states;
        let key: unknown;
        const timer = (name: string, timeMs: number): void => states.timers(name).register(timeMs, states.keyed.currentToken, key);
        const context: BootstrapContext = {
          get key() {
            return key;
          },
          state: (descriptor) => states.keyed.state(descriptor),
          registerEventTimeTimer: (timeMs) => timer("event", timeMs),
          registerProcessingTimeTimer: (timeMs) => timer("processing", timeMs),
        };
        return (row) => {
          key = keyOf(row);
          this.#begin(key);
          bootstrap(row, context);
        };
      }
    }
  }

  #begin(key: unknown): void {
    this.#states.keyed.setCurrentKey(key);
    this.#keys.add(kindOfKey(key));
  }

  #pair(row: unknown, what: string): { readonly key: unknown; readonly value: unknown } {
    const pair = (row ?? {}) as { key?: unknown; value?: unknown };
    if (pair.key === undefined || pair.value === undefined) throw this.#strange(row, what, "{ key, value }, neither of them undefined");
    keyToken(pair.key);
    return pair as { readonly key: unknown; readonly value: unknown };
  }

  #strange(row: unknown, what: string, expected: string): RecordError {
    return new RecordError(`A row for ${what} of ${describe(this.#spec.uid)} is ${describe(row)}; it must be ${expected}.`);
  }

  #written(folder: string, name: string): OperatorSnapshot {
    const path = join(folder, name);
    const frozen = this.#states.freeze(1, "savepoint");
    try {
      mkdirSync(folder, { recursive: true });
      const file = openSync(path, "wx");
      try {
        const write = (bytes: Uint8Array): boolean => {
          for (let at = 0; at < bytes.byteLength; ) at += writeSync(file, bytes, at);
          return true;
        };
        while (!frozen.work(TURN_MS, write));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined || error instanceof CheckpointError) throw error;
      throw new CheckpointError(`could not write ${path}: ${(error as Error).message}.`, { cause: error });
    }
    return frozen.finish(name, 0);
  }
}

/** Adds a row's value to the state of its key, as the kind of state has it. */
function adder(descriptor: StateDescriptor, states: SubtaskStates, uid: string): (key: unknown, value: unknown) => void {
  const { kind, name } = descriptor;
  // Without its initial value, a value state tells whether the key has one already.
  const state: unknown = states.keyed.state(kind === "value" ? { ...descriptor, initial: undefined } : descriptor);
  const where = `state ${describe(name)} of ${describe(uid)}`;
  const unfit = (key: unknown, value: unknown, advice: string): RecordError =>
    new RecordError(`The row of key ${describe(key)} for ${kind} ${where} has the value ${describe(value)}; ${advice}.`);
  switch (kind) {
    case "value":
      return (key, value) => {
        const single = state as ValueState<unknown>;
        if (single.value() !== undefined) {
          throw new StateError(
            `Two rows for ${where} have the key ${describe(key)}, but value state has one value per key; group them before.`,
          );
        }
        single.update(value);
      };
    case "list":
      return (key, value) => {
        if (!Array.isArray(value)) throw unfit(key, value, "give an array");
        for (const item of value as readonly unknown[]) (state as ListState<unknown>).add(item);
      };
    case "map":
      return (key, value) => {
        const pairs = value instanceof Map || Array.isArray(value) ? (value as Iterable<unknown>) : undefined;
        for (const pair of pairs ?? [undefined]) {
          if (!Array.isArray(pair) || pair.length !== 2) {
            throw unfit(key, value, "give a Map, or pairs [key, value]");
          }
          (state as MapState<unknown, unknown>).put(pair[0], pair[1]);
        }
      };
    case "reducing":
    case "aggregating":
      return (_key, value) => (state as AggregatingState<unknown, unknown>).add(value);
  }
}
