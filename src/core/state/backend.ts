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
   * @throws GraphError when the name is taken by a different declaration.
   */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
  /** Number of keys, summed over all states. */
  readonly entries: number;
}
