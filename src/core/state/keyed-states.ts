/**
 * The keyed state of one operator in one subtask: which states are declared, which key is current, what is restored. What the states hold
 * lies in tables, in memory (heap-tables.ts) or on disk (disk-tables.ts).
 *
 * Invariant: state is reached only while a key is current; the operator sets it before it calls user code.
 */
import { keyOfToken, type KeyToken, keyToken } from "../data/keys.ts";
import { describe, GraphError, StateError } from "../types/errors.ts";
import type { KeyedBackend } from "./backend.ts";
import type { StateDescriptor, StateOf } from "./descriptors.ts";
import { codecOf, plainValue, sameDeclaration, stateOver } from "./keyed-state.ts";
import { Lifetime } from "./lifetime.ts";
import type { RestoredSections } from "./restored.ts";
import type { SnapshotWriter } from "./section-writer.ts";
import { compatible, type Table, type TableCodec } from "./table.ts";

/** Where the tables of declared states are made. */
export interface StateTables {
  /** A table for a state; once per name. */
  open(name: string, codec: TableCodec<unknown>): Table<unknown>;
  /** Freezes all tables into sections of a snapshot. @param checkpoint undefined for one that must stand alone: a savepoint. */
  freeze(snapshot: SnapshotWriter, checkpoint: number | undefined): void;
  /** The checkpoint, and all before it, will not be undone. */
  completed(checkpoint: number): void;
  close(): void;
}

interface DeclaredState {
  readonly descriptor: StateDescriptor;
  readonly state: unknown;
  readonly table: Table<unknown>;
}

/** See the head of the file. Used by the subtask's thread. */
export class KeyedStates implements KeyedBackend {
  readonly #tables: StateTables;
  readonly #now: () => number;
  readonly #restored: RestoredSections | undefined;
  #token: KeyToken | undefined;
  #key: unknown;
  readonly #states = new Map<string, DeclaredState>();

  /** @param now wall clock, milliseconds since the epoch: lifetimes. @param restored former state; undefined: none. */
  constructor(tables: StateTables, now: () => number, restored: RestoredSections | undefined) {
    this.#tables = tables;
    this.#now = now;
    this.#restored = restored;
  }

  setCurrentKey(key: unknown): void {
    this.#token = keyToken(key);
    this.#key = key;
  }

  get currentKey(): unknown {
    return this.#key;
  }

  get currentToken(): KeyToken {
    if (this.#token === undefined) {
      throw new GraphError(
        "Keyed state was used outside a record or timer; use it in processElement() or onTimer(), not in open() or close().",
      );
    }
    return this.#token;
  }

  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor> {
    let declared = this.#states.get(descriptor.name);
    if (declared === undefined) {
      declared = this.#declare(descriptor);
      this.#states.set(descriptor.name, declared);
    } else if (!sameDeclaration(declared.descriptor, descriptor)) {
      throw new GraphError(`State ${describe(descriptor.name)} is declared twice, in different ways.`);
    }
    return declared.state as StateOf<Descriptor>;
  }

  get entries(): number {
    let total = 0;
    for (const { table } of this.#states.values()) total += table.size;
    return total;
  }

  *keys(name: string): IterableIterator<unknown> {
    for (const token of this.#states.get(name)?.table.tokens() ?? []) yield keyOfToken(token);
  }

  query(name: string, key: unknown): unknown {
    const declared = this.#states.get(name);
    if (declared === undefined) throw new StateError(`There is no state ${describe(name)} here. There are: ${this.#names()}.`);
    const [token, current] = [this.#token, this.#key];
    this.setCurrentKey(key);
    try {
      return plainValue(declared.descriptor, declared.state);
    } finally {
      this.#token = token;
      this.#key = current;
    }
  }

  #declare(descriptor: StateDescriptor): DeclaredState {
    const { name, ttl } = descriptor;
    const restored = this.#restored;
    const lifetime = ttl === undefined ? undefined : new Lifetime(ttl, this.#now);
    const codec = codecOf(descriptor, lifetime);
    const type = restored?.typeOf("keyed", name);
    if (type !== undefined && !compatible(type, codec.type)) {
      throw new StateError(
        `State ${describe(name)} is declared as ${codec.type} state, but what was restored under this name is ${type} state. ` +
          "Declare it as it was, or give the new state another name.",
      );
    }
    const table = this.#tables.open(name, codec);
    restored?.take("keyed", name, (values) => {
      const token = values.read() as KeyToken;
      const first = values.read();
      const value = first === undefined ? undefined : codec.read(first, values, type as string);
      if (value === undefined) table.delete(token);
      else table.set(token, value);
    });
    return { descriptor, state: stateOver(descriptor, this, table, lifetime), table };
  }

  #names(): string {
    const names = [...this.#states.keys(), ...(this.#restored?.names("keyed") ?? [])];
    return names.length === 0 ? "none" : names.map((name) => describe(name)).join(", ");
  }
}
