/**
 * Keyed state as operators see it, wherever it lies. A backend holds, per declared state, what each key has; it is reached only while a
 * key is current, and the operator makes one current before it calls user code. Implementations: heap-backend.ts (objects in memory).
 */
import type { KeyToken } from "../data/keys.ts";
import type { StateDescriptor, StateOf } from "./descriptors.ts";

/** The keyed state of one operator in one subtask. Used by the subtask's thread. */
export interface KeyedBackend {
  /** The key whose state is reached from now on. @throws RecordError for a key that cannot be one. */
  setCurrentKey(key: unknown): void;
  /** The current key, as the user's key selector gave it; undefined before the first. */
  readonly currentKey: unknown;
  /** The token of the current key. @throws GraphError when no key is current. */
  readonly currentToken: KeyToken;
  /**
   * The state of a descriptor; the same object for the same name, holding what was restored under that name.
   * @throws GraphError when the name is taken by a different declaration; StateError when what was restored under it is of another kind;
   * CorruptCheckpointError when it can't be read.
   */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
  /** Number of keys, summed over all states. */
  readonly entries: number;
  /** All keys that have something in a state; none for a name that is not declared. The state must not change meanwhile. */
  keys(name: string): IterableIterator<unknown>;
  /**
   * What a state holds for a key, as plain data: a value, the items of a list, the pairs of a map. The current key stays.
   * @throws StateError when no such state is declared.
   */
  query(name: string, key: unknown): unknown;
}
