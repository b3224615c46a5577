/**
 * Keyed state in memory: per declared state a table from key token to what the key has. Which key group an entry belongs to is worked out
 * when a snapshot is taken, not at each access.
 *
 * Invariant: state is reached only while a key is current; the operator sets it before it calls user code.
 */
import { keyGroupOf } from "../data/key-groups.ts";
import { keyOfToken, type KeyToken, keyToken } from "../data/keys.ts";
import type { ValueWriter } from "../data/value-writer.ts";
import { describe, GraphError, StateError } from "../types/errors.ts";
import type { KeyedBackend } from "./backend.ts";
import type { StateDescriptor, StateOf } from "./descriptors.ts";
import { KeyTable } from "./key-table.ts";
import { plainValue, sameDeclaration, stateOver } from "./keyed-state.ts";
import { Lifetime } from "./lifetime.ts";
import type { RestoredSections } from "./restored.ts";
import type { SnapshotWriter } from "./section-writer.ts";
import { compatible, type TableCodec } from "./table.ts";

/** What a backend needs to know. */
export interface BackendOptions {
  readonly maxParallelism: number;
  /** Wall clock, milliseconds since the epoch: lifetimes. */
  now(): number;
  /** Former state; absent: none. */
  readonly restored?: RestoredSections;
}

interface DeclaredState {
  readonly descriptor: StateDescriptor;
  readonly state: unknown;
  readonly table: KeyTable<unknown>;
  readonly codec: TableCodec<unknown>;
}

/** The keyed state of one operator in one subtask. */
export class HeapBackend implements KeyedBackend {
  readonly #options: BackendOptions;
  #token: KeyToken | undefined;
  #key: unknown;
  readonly #states = new Map<string, DeclaredState>();

  constructor(options: BackendOptions) {
    this.#options = options;
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

  /** Freezes all state into sections of a snapshot. */
  freeze(snapshot: SnapshotWriter): void {
    const { maxParallelism } = this.#options;
    const groupOf = (token: KeyToken): number => keyGroupOf(token, maxParallelism);
    for (const [name, { table, codec }] of this.#states) {
      const section = snapshot.section(name, "keyed", codec.type);
      const write = (to: ValueWriter, token: unknown, value: unknown): void => {
        to.write(token);
        codec.write(to, value);
      };
      table.freeze(groupOf, (token, value, group) => {
        if (codec.isOver?.(value) !== true) section.entry(group, token, value, write);
      });
      snapshot.add(table);
    }
  }

  #declare(descriptor: StateDescriptor): DeclaredState {
    const { now, restored } = this.#options;
    const lifetime = descriptor.ttl === undefined ? undefined : new Lifetime(descriptor.ttl, now);
    const table = new KeyTable<unknown>();
    const { state, codec } = stateOver(descriptor, this, table, lifetime);
    const type = restored?.typeOf("keyed", descriptor.name);
    if (type !== undefined && !compatible(type, codec.type)) {
      throw new StateError(
        `State ${describe(descriptor.name)} is declared as ${codec.type} state, but what was restored under this name is ${type} state. ` +
          "Declare it as it was, or give the new state another name.",
      );
    }
    restored?.take("keyed", descriptor.name, (values) => {
      const token = values.read() as KeyToken;
      const first = values.read();
      const value = first === undefined ? undefined : codec.read(first, values, type as string);
      if (value === undefined) table.delete(token);
      else table.set(token, value);
    });
    return { descriptor, state, table, codec };
  }

  #names(): string {
    const names = [...this.#states.keys(), ...(this.#options.restored?.names("keyed") ?? [])];
    return names.length === 0 ? "none" : names.map((name) => describe(name)).join(", ");
  }
}
