/**
 * Savepoints made of data (Flink: the State Processor API's `SavepointWriter`): a new one, from which a job starts as if it had run before,
 * or a changed copy of one, with state added, replaced, renamed or left out.
 *
 * State is written by the subtasks of one job (savepoint-sink.ts of core/connectors), into files in the savepoint's own folder; what stays
 * of a former savepoint is copied block by block, so the new one needs no other's files. The manifest comes last, and with it the savepoint
 * exists; when anything fails before, its folder goes, and the former savepoint is as it was.
 */
import path from "node:path";
import { type DataSet, operatorOn, selectorOf } from "../../core/api/data-set.ts";
import type { KeyOf } from "../../core/api/data-set.ts";
import type { DataStream } from "../../core/api/data-stream.ts";
import type { Environment } from "../../core/api/environment.ts";
import { specOf } from "../../core/api/spec.ts";
import { type BootstrapFunction, type WrittenPart, type WrittenShare, kindOfKey } from "../../core/connectors/savepoint-sink.ts";
import { noClasses } from "../../core/data/classes.ts";
import { DEFAULT_MAX_PARALLELISM, UPPER_BOUND_MAX_PARALLELISM } from "../../core/data/key-groups.ts";
import { type KeyToken, keyOfToken } from "../../core/data/keys.ts";
import { BlockReader } from "../../core/state/block.ts";
import type { AggregatingStateDescriptor, StateDescriptor } from "../../core/state/descriptors.ts";
import type { OperatorSnapshot, SectionKind, SnapshotSection } from "../../core/state/snapshot.ts";
import { TABLE } from "../../core/state/table-set.ts";
import { CheckpointError, ConfigurationError, GraphError, NotFoundError, StateError, describe } from "../../core/types/errors.ts";
import { newJobId } from "../../core/types/ids.ts";
import { BlockCopy } from "../storage/block-copy.ts";
import type { CheckpointStorage } from "../storage/checkpoint-storage.ts";
import {
  ANY_KIND, type CheckpointManifest, type ManifestOperator, type ManifestSubtask, type ManifestVertex, loadManifest, storeManifest,
} from "../storage/manifest.ts";
import { FileStorage } from "../storage/file-storage.ts";
import { storageAt } from "../storage/storages.ts";
import type { KeyedEntry, PlainStateOf, SavepointTimer } from "./savepoint.ts";
import { savepointPlace } from "./savepoint-place.ts";

/** What a row's value is: as it is read, but for aggregating state, whose values are added. */
export type WrittenStateOf<Descriptor> =
  Descriptor extends AggregatingStateDescriptor<infer In, infer _Acc, infer _Out> ? In : PlainStateOf<Descriptor>;

/** Settings of a new savepoint. */
export interface NewSavepointOptions {
  /** Number of key groups, which jobs that start from it must have too. Default 128, as that of jobs. */
  readonly maxParallelism?: number;
  /** Which job it says that it was taken of. Default "written". */
  readonly jobName?: string;
}

/**
 * Begins a savepoint without state.
 *
 *     await newSavepoint().keyedState("totals", valueState<number>("total"), totals).write("savepoints/first");
 *
 * @throws ConfigurationError for a number of key groups that can't be.
 */
export function newSavepoint({ maxParallelism = DEFAULT_MAX_PARALLELISM, jobName = "written" }: NewSavepointOptions = {}): SavepointWriter {
  if (!Number.isInteger(maxParallelism) || maxParallelism < 1 || maxParallelism > UPPER_BOUND_MAX_PARALLELISM) {
    throw new ConfigurationError(
      `newSavepoint() got { maxParallelism: ${describe(maxParallelism)} }; give a whole number from 1 to ${UPPER_BOUND_MAX_PARALLELISM}.`,
    );
  }
  return new SavepointWriter({ jobName, maxParallelism });
}

/**
 * Begins a savepoint with all that another one holds, or a checkpoint that was retained. That one is only read.
 * @param location as for `openSavepoint`.
 * @throws as `openSavepoint`; CheckpointError for an unaligned checkpoint.
 */
export async function changeSavepoint(location: string | URL): Promise<SavepointWriter> {
  const place = savepointPlace(location, "changeSavepoint()");
  const storage = storageAt(place);
  const manifest = await loadManifest(storage);
  const { vertices, kind, checkpoint, jobName } = manifest;
  if (vertices.some(({ subtasks }) => subtasks.some(({ channels }) => Array.isArray(channels) && channels.length > 0))) {
    throw new CheckpointError(
      `${kind} ${checkpoint} of job ${describe(jobName)} in ${place} is unaligned, and holds rows that were on their way, which belong to ` +
        "the state as it is. Take a savepoint of the job, which is always aligned, and change that.",
    );
  }
  const maxParallelism = vertices[0]?.maxParallelism ?? DEFAULT_MAX_PARALLELISM;
  return new SavepointWriter({ jobName, maxParallelism, from: { manifest, storage } });
}

/** A savepoint that is copied with changes. */
interface Former {
  readonly manifest: CheckpointManifest;
  readonly storage: CheckpointStorage;
}

interface Beginning {
  readonly jobName: string;
  readonly maxParallelism: number;
  readonly from?: Former;
}

/** State that is to be written. */
interface Planned {
  readonly uid: string;
  readonly part: WrittenPart;
  readonly rows: DataStream<unknown>;
  /** Of which kind, and under which name it will be found; undefined: only the function knows. */
  readonly kind: SectionKind;
  readonly name: string | undefined;
}

/** An operator as it will be in the savepoint. */
interface Kept {
  readonly vertex: ManifestVertex;
  /** Its uid in the former savepoint. */
  readonly was: string;
}

/**
 * A savepoint in the making; see `newSavepoint` and `changeSavepoint`. Nothing runs before `write`. Methods change this writer and return
 * it. Data sets must be of one environment, and are computed on it.
 */
export class SavepointWriter {
  readonly #beginning: Beginning;
  /** Operators that stay, by the uid they will have. */
  readonly #kept = new Map<string, Kept>();
  readonly #planned: Planned[] = [];
  #environment: Environment | undefined;

  constructor(beginning: Beginning) {
    this.#beginning = beginning;
    for (const vertex of beginning.from?.manifest.vertices ?? []) {
      for (const { operator } of vertex.operators) this.#kept.set(operator, { vertex, was: operator });
    }
  }

  /** Uids of the operators that it has. */
  get operators(): readonly string[] {
    return [...new Set([...this.#kept.keys(), ...this.#planned.map(({ uid }) => uid)])];
  }

  /**
   * Keyed state, in place of former state of that name; other states of the operator stay. Rows of value and reducing state hold the value,
   * of list state the items, of map state the pairs, of aggregating state a value to add. Several rows of a key are put together, but for
   * value state, which takes one.
   * @param uid of the operator that is to find it; its function declares the same descriptor.
   * @throws GraphError when this state is written already; StateError when the operator has something else of that name.
   */
  keyedState<Descriptor extends StateDescriptor>(
    uid: string, descriptor: Descriptor, rows: DataSet<KeyedEntry<WrittenStateOf<Descriptor>>>,
  ): this {
    const { name } = descriptor;
    const former = this.#formerSections(uid).find((section) => section.kind === "keyed" && section.name === name);
    if (former?.type === TABLE) {
      const state = `${describe(name)} of ${describe(uid)}`;
      throw new StateError(`The state ${state} is laid out by the operator itself, and can't be written under a descriptor.`);
    }
    return this.#plan(uid, { kind: "keyed", descriptor }, "keyed", name, rows.stream.keyBy(keyOf as never));
  }

  /**
   * Whatever a function puts into the states and timers of each row's key. What else the operator has under the names that the function
   * declares is replaced.
   * @param key of a row: a function, a field, or several fields; as the job's `keyBy` has it.
   */
  bootstrap<T, Key>(uid: string, rows: DataSet<T>, key: KeyOf<T>, bootstrap: BootstrapFunction<T, Key>): this {
    if (typeof bootstrap !== "function") {
      throw new GraphError(`bootstrap() got ${describe(bootstrap)}; it takes a function of a row and its context.`);
    }
    const select = selectorOf(key, "bootstrap()") as (row: never) => unknown;
    const part: WrittenPart = { kind: "bootstrap", key: select, bootstrap: bootstrap as BootstrapFunction<never> };
    return this.#plan(uid, part, "keyed", undefined, rows.stream.keyBy(select as never));
  }

  /** Timers, in place of all that the operator had. @throws GraphError when they are written already. */
  timers(uid: string, timers: DataSet<SavepointTimer>): this {
    return this.#plan(uid, { kind: "timers" }, "timers", undefined, timers.stream.keyBy(keyOf as never));
  }

  /**
   * The items of a list (`context.listState`), of which each subtask of the job will get a share, or all with "union"
   * (`context.unionListState`).
   * @throws GraphError when this list is written already.
   */
  operatorState<T>(uid: string, name: string, items: DataSet<T>, mode: "split" | "union" = "split"): this {
    return this.#plan(uid, { kind: "list", name, mode }, mode === "union" ? "union" : "list", name, items.stream as DataStream<unknown>);
  }

  /** The entries of a broadcast state. @throws GraphError when it is written already. */
  broadcastState<T>(uid: string, name: string, entries: DataSet<KeyedEntry<T>>): this {
    return this.#plan(uid, { kind: "broadcast", name }, "broadcast", name, entries.stream.global() as DataStream<unknown>);
  }

  /** Leaves an operator out, with all its state. @throws NotFoundError without such an operator. */
  remove(uid: string): this {
    this.#require(uid, "remove()");
    this.#kept.delete(uid);
    return this;
  }

  /**
   * Another uid for an operator, as when the program names it another way now (Flink: changeOperatorIdentifier).
   * @throws NotFoundError without such an operator; GraphError when the new uid is taken.
   */
  rename(uid: string, to: string): this {
    const kept = this.#require(uid, "rename()");
    if (to === "" || this.operators.includes(to)) {
      const why = to === "" ? "a uid is not empty" : "there is an operator of this uid already";
      throw new GraphError(`rename(${describe(uid)}, ${describe(to)}): ${why}.`);
    }
    this.#kept.delete(uid);
    this.#kept.set(to, kept);
    return this;
  }

  /**
   * Makes it.
   * @param location its own folder, made if need be: a path, seen from this program's folder if relative, or `s3://bucket/path`. With state
   * to be written, a folder must be one that TaskManagers reach, and for a store they must reach this program's `io.tmp.dirs`.
   * @returns the place, as `submit({ from })` and `drey run --from` take it.
   * @throws ConfigurationError when the folder is not empty; StateError when keys are of other kinds than those of the operator's other
   * state; what the job throws.
   */
  async write(location: string | URL): Promise<string> {
    const place = savepointPlace(location, "write()");
    const storage = storageAt(place);
    const [first] = await storage.list();
    if (first !== undefined) {
      throw new ConfigurationError(`${place} is not empty: it has ${describe(first)}. A savepoint is written into a folder of its own.`);
    }
    try {
      await this.#write(place, storage);
    } catch (error) {
      await storage.delete("").catch(() => undefined);
      throw error;
    }
    return place;
  }

  // ------------------------------------------------------------------------------------------------------------ inside

  #plan(uid: string, part: WrittenPart, kind: SectionKind, name: string | undefined, rows: DataStream<unknown> | DataStream<never>): this {
    if (typeof uid !== "string" || uid === "") {
      throw new GraphError(`State is written for the operator ${describe(uid)}; give the uid that the job's operator has.`);
    }
    const overlaps = (other: string | undefined): boolean => other === name || other === undefined || name === undefined;
    if (this.#planned.some((it) => it.uid === uid && it.kind === kind && overlaps(it.name))) {
      const what = name === undefined ? kind : `${kind} state ${describe(name)}`;
      throw new GraphError(`The ${what} of ${describe(uid)} is written twice; put the rows of both into one data set.`);
    }
    this.#environment ??= rows.environment;
    if (rows.environment !== this.#environment) {
      throw new GraphError(
        `The state of ${describe(uid)} is a data set of another environment; make all data sets of one savepoint from one.`,
      );
    }
    this.#planned.push({ uid, part, rows: rows as DataStream<unknown>, kind, name });
    return this;
  }

  #require(uid: string, where: string): Kept {
    const kept = this.#kept.get(uid);
    if (kept === undefined) {
      const names = [...this.#kept.keys()].map((it) => describe(it)).join(", ");
      throw new NotFoundError(`${where} was asked for the operator ${describe(uid)}, but there are: ${names === "" ? "none" : names}.`);
    }
    return kept;
  }

  #formerSections(uid: string): readonly SnapshotSection[] {
    const kept = this.#kept.get(uid);
    return kept === undefined ? [] : kept.vertex.subtasks.flatMap((subtask) => sectionsOf(subtask, kept.was));
  }

  #maxParallelismOf(uid: string): number {
    return this.#kept.get(uid)?.vertex.maxParallelism ?? this.#beginning.maxParallelism;
  }

  async #write(place: string, storage: CheckpointStorage): Promise<void> {
    const { jobName, from } = this.#beginning;
    const shares = await this.#compute(place, storage);
    for (const uid of new Set(this.#planned.map((planned) => planned.uid))) await this.#requireSameKeys(uid, shares);
    const vertices = from === undefined ? [] : await this.#copied(from, storage, shares);
    for (const uid of shares.keys()) {
      if (!this.#kept.has(uid)) vertices.push(newVertex(uid, this.#maxParallelismOf(uid), snapshotsOf(shares, uid)));
    }
    const manifest: CheckpointManifest = {
      job: from?.manifest.job ?? newJobId(),
      jobName,
      checkpoint: from?.manifest.checkpoint ?? 1,
      kind: "savepoint",
      timestampMs: Date.now(),
      epoch: from?.manifest.epoch ?? 0,
      vertices,
    };
    if (await storeManifest(storage, manifest)) return;
    throw new ConfigurationError(`${place} is not empty: somebody else wrote a savepoint there meanwhile.`);
  }

  /** Runs the job that writes the state. @returns what its subtasks wrote, by operator. */
  async #compute(place: string, storage: CheckpointStorage): Promise<Map<string, WrittenShare[]>> {
    const environment = this.#environment;
    if (environment === undefined) return new Map();
    // Subtasks know folders only; what is for a store waits in one of this program's.
    const isFolder = storage instanceof FileStorage;
    const folder = isFolder ? storage.location : environment.workFolder.place("savepoint");
    const outputs = Object.fromEntries(
      this.#planned.map(({ uid, part, rows }, index) => {
        const maxParallelism = this.#maxParallelismOf(uid);
        const spec = specOf("savepointSink", { uid, folder, file: `state-${index}`, maxParallelism, part });
        const parallelismLimit = part.kind === "broadcast" ? 1 : maxParallelism;
        return [`state ${index}`, operatorOn<unknown>(environment, { name: `Savepoint: ${uid}`, spec, parallelismLimit }, rows)];
      }),
    );
    const written = await environment.runAhead(`savepoint ${path.basename(place)}`, [], outputs);
    const shares = new Map<string, WrittenShare[]>();
    for (const [index, { uid }] of this.#planned.entries()) {
      shares.set(uid, [...(shares.get(uid) ?? []), ...((written[`state ${index}`] ?? []) as WrittenShare[])]);
    }
    if (isFolder) return shares;
    const local = new FileStorage(folder);
    const stored = new Map<string, WrittenShare[]>();
    for (const [uid, ofOperator] of shares) {
      const there: WrittenShare[] = [];
      for (const { snapshot, keys } of ofOperator) {
        const copy = new BlockCopy(snapshot.sections[0]?.file ?? "");
        there.push({ snapshot: { ...snapshot, sections: snapshot.sections.map((section) => copy.section(section)) }, keys });
        await copy.run(local, storage);
      }
      stored.set(uid, there);
    }
    environment.workFolder.discard(folder);
    return stored;
  }

  /** All keyed state of an operator has keys of the same kinds: a job that looks for numbers never finds texts. */
  async #requireSameKeys(uid: string, shares: ReadonlyMap<string, readonly WrittenShare[]>): Promise<void> {
    const written = new Set((shares.get(uid) ?? []).flatMap(({ keys }) => keys));
    const former = await this.#formerKeys(uid);
    if (written.size === 0 || former === undefined || written.has(former.kind)) return;
    throw new StateError(
      `The keys that are written for ${describe(uid)} are of type ${[...written].join(", ")}, but its other state has keys of type ` +
        `${former.kind}, such as ${describe(former.key)}; a function finds state only under the very key that its stream has.`,
    );
  }

  /** A key that stays in an operator's keyed state. */
  async #formerKeys(uid: string): Promise<{ readonly key: unknown; readonly kind: string } | undefined> {
    const storage = this.#beginning.from?.storage;
    const stays = (it: SnapshotSection): boolean => it.kind === "keyed" && it.type !== TABLE && !this.#replaced(uid, it, []);
    const section = this.#formerSections(uid).find((it) => it.blocks.length > 0 && stays(it));
    if (section === undefined || storage === undefined) return undefined;
    const [, offset, length] = section.blocks as readonly [number, number, number];
    const bytes = await storage.get(section.file, { start: offset, end: offset + length });
    // Whoever copies it says that it is missing.
    if (bytes === undefined) return undefined;
    const keys: unknown[] = [];
    const enough = new Error("one key is enough");
    try {
      new BlockReader(noClasses).read(bytes, `${storage.location}/${section.file} at ${offset}`, (values) => {
        keys.push(keyOfToken(values.read() as KeyToken));
        throw enough;
      });
    } catch (error) {
      if (error !== enough) throw error;
    }
    return keys.length === 0 ? undefined : { key: keys[0], kind: kindOfKey(keys[0]) };
  }

  /** Whether a former section has no place beside what is written. */
  #replaced(uid: string, { kind, name }: SnapshotSection, written: readonly OperatorSnapshot[]): boolean {
    // A list is one list, however it was dealt out.
    const same = (other: SectionKind): boolean => other === kind || (isList(other) && isList(kind));
    const planned = this.#planned.some((it) => it.uid === uid && same(it.kind) && (it.name === name || it.part.kind === "timers"));
    return planned || written.some(({ sections }) => sections.some((section) => section.kind === kind && section.name === name));
  }

  /** The former savepoint's vertices with what stays of their state, whose blocks are copied, and with what is new. */
  async #copied(
    { manifest, storage: from }: Former, storage: CheckpointStorage, shares: ReadonlyMap<string, readonly WrittenShare[]>,
  ): Promise<ManifestVertex[]> {
    const vertices: ManifestVertex[] = [];
    for (const [number, vertex] of manifest.vertices.entries()) {
      const stays = [...this.#kept].filter(([, kept]) => kept.vertex === vertex);
      if (stays.length === 0) continue;
      const subtasks: ManifestSubtask[] = [];
      for (const [subtask, before] of vertex.subtasks.entries()) {
        const copy = new BlockCopy(`kept-${number}-${subtask}`);
        const operators: OperatorSnapshot[] = [];
        for (const [uid, { was }] of stays) {
          const written = snapshotsOf(shares, uid);
          const old = sectionsOf(before, was).filter((section) => !this.#replaced(uid, section, written));
          // Several subtasks that wrote may be one that will be read: sections of a name are read together.
          const fresh = written.filter((_, index) => index % vertex.subtasks.length === subtask);
          const sections = [...old.map((section) => copy.section(section)), ...fresh.flatMap((snapshot) => snapshot.sections)];
          if (sections.length > 0) operators.push({ operator: uid, sections });
        }
        await copy.run(from, storage);
        const { feedRows, finished } = before;
        // What begins with new state has something to do.
        const isOver = finished === true && !stays.some(([uid]) => shares.has(uid));
        subtasks.push({
          operators, bytes: bytesOf(operators), ...(isOver ? { finished } : {}), ...(feedRows === undefined ? {} : { feedRows }),
        });
      }
      const operators = stays.map(([uid, { was }]) => {
        const former = vertex.operators.find(({ operator }) => operator === was) as ManifestOperator;
        return { ...former, operator: uid };
      });
      vertices.push({ ...vertex, operators, subtasks });
    }
    return vertices;
  }
}

const keyOf = ({ key }: { readonly key: unknown }): unknown => key;

const isList = (kind: SectionKind): boolean => kind === "list" || kind === "union";

const sectionsOf = ({ operators }: ManifestSubtask, uid: string): readonly SnapshotSection[] =>
  (operators as readonly OperatorSnapshot[]).filter(({ operator }) => operator === uid).flatMap(({ sections }) => sections);

const snapshotsOf = (shares: ReadonlyMap<string, readonly WrittenShare[]>, uid: string): readonly OperatorSnapshot[] =>
  (shares.get(uid) ?? []).map(({ snapshot }) => snapshot);

function bytesOf(operators: readonly OperatorSnapshot[]): number {
  let bytes = 0;
  for (const { blocks } of operators.flatMap(({ sections }) => sections)) {
    for (let at = 2; at < blocks.length; at += 3) bytes += blocks[at] as number;
  }
  return bytes;
}

/** An operator that only data are known of. */
function newVertex(uid: string, maxParallelism: number, snapshots: readonly OperatorSnapshot[]): ManifestVertex {
  return {
    id: `written ${uid}`,
    name: uid,
    parallelism: snapshots.length,
    maxParallelism,
    operators: [{ operator: uid, name: uid, kind: ANY_KIND }],
    subtasks: snapshots.map((snapshot) => ({ operators: [snapshot], bytes: bytesOf([snapshot]) })),
  };
}
