/**
 * A savepoint or retained checkpoint as data (Flink: the State Processor API's `SavepointReader`): what operators it has, and their state
 * as data sets, which any environment can work on. No cluster and no job of it need be alive.
 *
 * Here only the manifest is read; the state itself is read by the subtasks of the job that asks for it (savepoint-source.ts of
 * core/connectors), so its folder must be reachable where that runs. State in an object store is fetched by this program, as far as it is
 * asked for, into the folder that the program's jobs share (`io.tmp.dirs`).
 */
import { DataSet } from "../../core/api/data-set.ts";
import { DataStream } from "../../core/api/data-stream.ts";
import type { Environment } from "../../core/api/environment.ts";
import type { AggregateFunction } from "../../core/operators/aggregates.ts";
import { WINDOW_PROGRESS, WINDOW_STATES } from "../../core/operators/stored-windows.ts";
import type { SavepointPart, SavepointSpec } from "../../core/connectors/savepoint-source.ts";
import type {
  AggregatingStateDescriptor, ListStateDescriptor, MapStateDescriptor, ReducingStateDescriptor, StateDescriptor, ValueStateDescriptor,
} from "../../core/state/descriptors.ts";
import type { OperatorSnapshot, SectionKind, SnapshotSection } from "../../core/state/snapshot.ts";
import { TABLE } from "../../core/state/table-set.ts";
import { compatible } from "../../core/state/table.ts";
import type { TimeWindow } from "../../core/time/window.ts";
import { NotFoundError, StateError, describe } from "../../core/types/errors.ts";
import { BlockCopy } from "../storage/block-copy.ts";
import type { CheckpointStorage } from "../storage/checkpoint-storage.ts";
import { FileStorage } from "../storage/file-storage.ts";
import { type CheckpointManifest, type ManifestVertex, loadManifest } from "../storage/manifest.ts";
import { storageAt } from "../storage/storages.ts";
import { savepointPlace } from "./savepoint-place.ts";

/** One state of an operator, over all of its subtasks. */
export interface SavepointState {
  readonly name: string;
  /** How it is dealt out: by key (keyed, timers), each subtask a share (list), each all (union), the same everywhere (broadcast). */
  readonly kind: SectionKind;
  /** What was declared: value, list, map, reducing, aggregating, with `+ttl` if it has a lifetime; table: an operator's own layout. */
  readonly type: string;
  /** In files, over all subtasks. */
  readonly bytes: number;
}

/** An operator of the job that the savepoint was taken of. */
export interface SavepointOperator {
  /** The uid it was given, or else the operator's id. */
  readonly uid: string;
  readonly name: string;
  /** As in the operator registry: process, window, reduce … */
  readonly kind: string;
  readonly parallelism: number;
  readonly maxParallelism: number;
  readonly states: readonly SavepointState[];
}

/** What a state holds for a key as plain data: a value, the items of a list, the pairs of a map, the result of an aggregation. */
export type PlainStateOf<Descriptor> =
  Descriptor extends ValueStateDescriptor<infer T> ? T
  : Descriptor extends ListStateDescriptor<infer T> ? readonly T[]
  : Descriptor extends MapStateDescriptor<infer UserKey, infer T> ? readonly (readonly [UserKey, T])[]
  : Descriptor extends ReducingStateDescriptor<infer T> ? T
  : Descriptor extends AggregatingStateDescriptor<infer _In, infer _Acc, infer Out> ? Out
  : never;

/** A key, and what a state holds for it. */
export interface KeyedEntry<Value> {
  // oxlint-disable-next-line typescript/no-explicit-any -- what the job's keys were is known to whoever names the operator
  readonly key: any;
  readonly value: Value;
}

/** A timer that had not fired. */
export interface SavepointTimer {
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly key: any;
  /** When it is due, milliseconds since the epoch: of event time or of the wall clock. */
  readonly timeMs: number;
  /** "event" and "processing" for those of functions; some operators have others. */
  readonly name: string;
}

/** A window that was open, as it would have fired had time ended then. */
export interface SavepointWindow<Value> {
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly key: any;
  readonly window: TimeWindow;
  /** The aggregate's result; without an aggregate its accumulator, or undefined for windows that keep their records. */
  readonly value: Value;
  /** The records, of windows that keep them. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly rows: readonly any[];
}

/**
 * Opens a savepoint, or a checkpoint that was retained, to read it.
 * @param location the place that `job.savepoint()` told, or the manifest in it: a folder, a `file:` URL, `s3://bucket/path`. Relative paths
 *   are seen from this program's folder.
 * @throws CorruptCheckpointError when there is none, or its manifest is cut off, damaged, of something else, or of a newer drey;
 *   CheckpointError when it can't be read (no permission, no connection); ConfigurationError for what is no place.
 */
export async function openSavepoint(location: string | URL): Promise<Savepoint> {
  const storage = storageAt(savepointPlace(location, "openSavepoint()"));
  return new Savepoint(storage, await loadManifest(storage));
}

/** See `openSavepoint`. Immutable; the files must stay as long as data sets made of it are used. */
export class Savepoint {
  /** Its folder: an absolute path, or its place in an object store. */
  readonly folder: string;
  /** Of the job it was taken of. */
  readonly jobName: string;
  readonly kind: "checkpoint" | "savepoint";
  /** The checkpoint's number. */
  readonly checkpoint: number;
  /** When it was triggered, milliseconds since the epoch. */
  readonly timestampMs: number;
  /** All operators, those without state too. */
  readonly operators: readonly SavepointOperator[];
  readonly #vertices: ReadonlyMap<string, ManifestVertex>;
  readonly #storage: CheckpointStorage;

  /** Made by `openSavepoint`. */
  constructor(storage: CheckpointStorage, manifest: CheckpointManifest) {
    this.folder = storage.location;
    this.#storage = storage;
    this.jobName = manifest.jobName;
    this.kind = manifest.kind;
    this.checkpoint = manifest.checkpoint;
    this.timestampMs = manifest.timestampMs;
    this.#vertices = new Map(manifest.vertices.flatMap((vertex) => vertex.operators.map(({ operator }) => [operator, vertex] as const)));
    this.operators = manifest.vertices.flatMap((vertex) =>
      vertex.operators.map(({ operator, name, kind }) => ({
        uid: operator,
        name,
        kind,
        parallelism: vertex.parallelism,
        maxParallelism: vertex.maxParallelism,
        states: statesOf(snapshotsOf(vertex, operator)),
      })),
    );
  }

  /**
   * Keyed state: a row per key that has something. Of state with a lifetime, what was over when this was called is left out if the
   * descriptor has the lifetime too.
   * @param descriptor as the job's function declared it: same name, same kind.
   * @throws NotFoundError without such an operator; StateError without such a state, or when it is of another kind.
   */
  keyedState<Descriptor extends StateDescriptor>(
    environment: Environment, uid: string, descriptor: Descriptor,
  ): DataSet<KeyedEntry<PlainStateOf<Descriptor>>> {
    const { type } = this.#state(uid, descriptor.name, ["keyed"], "keyedState()");
    if (type === TABLE) {
      throw new StateError(
        `The state ${describe(descriptor.name)} of ${describe(uid)} is laid out by the operator itself, and can't be read under a descriptor.`,
      );
    }
    if (!compatible(type, descriptor.kind)) {
      throw new StateError(
        `The state ${describe(descriptor.name)} of ${describe(uid)} is ${type} state, but is asked for as ${descriptor.kind} state. ` +
          "Use the descriptor that the job declared it with.",
      );
    }
    return this.#read(environment, uid, { kind: "keyed", descriptor }, ["keyed"], descriptor.name);
  }

  /**
   * The items that an operator's subtasks kept (`context.listState`, `unionListState`), each once.
   * @throws NotFoundError without such an operator; StateError without such a list.
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- as JSON.parse: what was kept is known to whoever names it
  operatorState<T = any>(environment: Environment, uid: string, name: string): DataSet<T> {
    this.#state(uid, name, ["list", "union"], "operatorState()");
    return this.#read(environment, uid, { kind: "list", name }, ["list", "union"], name);
  }

  /**
   * The entries of a broadcast state, each once.
   * @throws NotFoundError without such an operator; StateError without such a state.
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  broadcastState<T = any>(environment: Environment, uid: string, name: string): DataSet<KeyedEntry<T>> {
    this.#state(uid, name, ["broadcast"], "broadcastState()");
    return this.#read(environment, uid, { kind: "broadcast", name }, ["broadcast"], name);
  }

  /** The timers of an operator that had not fired; empty when there are none. @throws NotFoundError without such an operator. */
  timers(environment: Environment, uid: string): DataSet<SavepointTimer> {
    this.#operator(uid);
    return this.#read(environment, uid, { kind: "timers" }, ["timers"], undefined);
  }

  /**
   * The open windows of a window operator, a row per key and window (Flink: `savepoint.window(…)`). Windows that keep records for late ones
   * are open until that time is over, too.
   * @param aggregate as the job gave it to `aggregate()`. Windows that overlap need it; without it other windows tell their accumulators.
   * @throws NotFoundError without such an operator; StateError when it has no windows.
   */
  windows<Acc, Out = unknown>(
    environment: Environment, uid: string, aggregate?: AggregateFunction<never, Acc, Out>,
  ): DataSet<SavepointWindow<Out>> {
    const { states } = this.#operator(uid);
    const found = states.find(({ name }) => WINDOW_STATES.has(name));
    if (found === undefined && !states.some(({ name }) => name === WINDOW_PROGRESS)) {
      const all = states.map((it) => `${describe(it.name)} (${it.kind === "keyed" ? it.type : it.kind})`);
      throw new StateError(`The operator ${describe(uid)} of ${this.#whole()} has no windows. It has: ${listed(all)}.`);
    }
    const wanted = ({ kind, name }: SnapshotSection): boolean =>
      (kind === "keyed" && WINDOW_STATES.has(name)) || (kind === "union" && name === WINDOW_PROGRESS);
    const given = aggregate as AggregateFunction<never, unknown, unknown> | undefined;
    return this.#from(environment, uid, { kind: "windows", ...(given === undefined ? {} : { aggregate: given }) }, wanted, "windows");
  }

  #operator(uid: string): SavepointOperator {
    const operator = this.operators.find((it) => it.uid === uid);
    if (operator !== undefined) return operator;
    const others = this.operators.filter(({ states }) => states.length > 0).map((it) => `${describe(it.uid)} (${it.name})`);
    throw new NotFoundError(
      `${this.#whole()} has no operator ${describe(uid)}. With state it has: ${listed(others)}. An operator without a uid goes by its id.`,
    );
  }

  #state(uid: string, name: string, kinds: readonly SectionKind[], where: string): SavepointState {
    const { states } = this.#operator(uid);
    const found = states.find((it) => it.name === name && kinds.includes(it.kind));
    if (found !== undefined) return found;
    const other = states.find((it) => it.name === name);
    if (other !== undefined) {
      const right = readerOf[other.kind];
      throw new StateError(`${where} was asked for ${describe(name)} of ${describe(uid)}, which is ${other.kind} state; use ${right}.`);
    }
    const all = states.map((it) => `${describe(it.name)} (${it.kind === "keyed" ? it.type : it.kind})`);
    throw new StateError(`The operator ${describe(uid)} of ${this.#whole()} has no state ${describe(name)}. It has: ${listed(all)}.`);
  }

  /** @param name of the state; undefined: all of these kinds. */
  #read<T>(
    environment: Environment, uid: string, part: SavepointPart, kinds: readonly SectionKind[], name: string | undefined,
  ): DataSet<T> {
    const wanted = (section: SnapshotSection): boolean => kinds.includes(section.kind) && (name === undefined || section.name === name);
    return this.#from(environment, uid, part, wanted, name ?? part.kind);
  }

  /** @param wanted which sections the part is made of. @param what it is called. */
  #from<T>(
    environment: Environment, uid: string, part: SavepointPart, wanted: (section: SnapshotSection) => boolean, what: string,
  ): DataSet<T> {
    const vertex = this.#vertices.get(uid) as ManifestVertex;
    const snapshots = snapshotsOf(vertex, uid).map((it) => it && { operator: it.operator, sections: it.sections.filter(wanted) });
    const { maxParallelism } = vertex;
    const { fetch, ...where } = this.#near(environment, snapshots);
    const spec: SavepointSpec = { kind: "savepoint", ...where, maxParallelism, part, nowMs: Date.now() };
    const from = environment.add({
      name: `Source: ${what} of ${uid}`,
      spec,
      // The same map lies in every subtask; one reads it.
      parallelismLimit: part.kind === "broadcast" ? 1 : maxParallelism,
    });
    const stream = new DataStream<T>(environment, [{ from, partitioning: undefined, sideOutput: undefined }]);
    if (fetch !== undefined) environment.prepare(stream, fetch);
    return new DataSet<T>(stream);
  }

  /** Where subtasks find these snapshots. They read folders; what is in a store comes into the program's own folder before they start. */
  #near(environment: Environment, snapshots: readonly (OperatorSnapshot | undefined)[]): Near {
    if (this.#storage instanceof FileStorage) return { folder: this.folder, snapshots };
    const folder = environment.workFolder.place("savepoint");
    const copies: BlockCopy[] = [];
    const moved = snapshots.map((snapshot, subtask) => {
      const copy = new BlockCopy(`state-${subtask}`);
      copies.push(copy);
      return snapshot && { ...snapshot, sections: snapshot.sections.map((section) => copy.section(section)) };
    });
    const local = new FileStorage(folder);
    let fetched: Promise<void> | undefined;
    const fetch = async (): Promise<void> => {
      for (const copy of copies) await copy.run(this.#storage, local);
    };
    return {
      folder,
      snapshots: moved,
      // A store that could not be reached may be reached by the next job.
      fetch: () => (fetched ??= fetch().catch((error: unknown) => {
        fetched = undefined;
        throw error;
      })),
    };
  }

  #whole(): string {
    return `${this.kind} ${this.checkpoint} of job ${describe(this.jobName)} in ${this.folder}`;
  }
}

interface Near {
  readonly folder: string;
  readonly snapshots: readonly (OperatorSnapshot | undefined)[];
  /** To be called before they are read. */
  readonly fetch?: () => Promise<void>;
}

const readerOf: Readonly<Record<SectionKind, string>> = {
  keyed: "keyedState()",
  timers: "timers()",
  list: "operatorState()",
  union: "operatorState()",
  broadcast: "broadcastState()",
};

const listed = (all: readonly string[]): string => (all.length === 0 ? "none" : all.join(", "));

/** What an operator stored, by subtask. */
function snapshotsOf({ subtasks }: ManifestVertex, operator: string): readonly (OperatorSnapshot | undefined)[] {
  return subtasks.map(({ operators }) => operators.find((state) => state.operator === operator) as OperatorSnapshot | undefined);
}

function statesOf(snapshots: readonly (OperatorSnapshot | undefined)[]): SavepointState[] {
  const states = new Map<string, SavepointState>();
  for (const { name, kind, type, blocks } of snapshots.flatMap((it) => it?.sections ?? [])) {
    // What the runtime keeps beside an operator's own state.
    if (name.startsWith("$")) continue;
    const key = `${kind} ${name}`;
    let bytes = states.get(key)?.bytes ?? 0;
    for (let at = 2; at < blocks.length; at += 3) bytes += blocks[at] as number;
    states.set(key, { name, kind, type, bytes });
  }
  return [...states.values()];
}
