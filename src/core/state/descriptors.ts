/**
 * State as the user declares it. A descriptor names a state; the runtime gives each key a value of its own under that name.
 */
import { GraphError, describe } from "../types/errors.ts";

/** One value per key. */
export interface ValueStateDescriptor<T> {
  readonly kind: "value";
  readonly name: string;
  /** What `value()` answers before the first `update`. */
  readonly initial: T | undefined;
}

/**
 * Declares one value per key.
 * @param initial what `value()` answers before the first `update`; a primitive, since every key would share an object.
 * @throws GraphError when the initial value is an object.
 */
export function valueState<T>(name: string, initial?: T): ValueStateDescriptor<T> {
  if (typeof initial === "object" && initial !== null) {
    throw new GraphError(
      `valueState(${describe(name)}) has the object ${describe(initial)} as initial value, which all keys would share; ` +
        `leave it out and write \`state.value() ?? fresh\`.`,
    );
  }
  return { kind: "value", name, initial };
}

/** The value of the current key. Valid inside the functions of its operator only. */
export interface ValueState<T> {
  /** The value, or the descriptor's initial one. */
  value(): T | undefined;
  update(value: T): void;
  clear(): void;
}
