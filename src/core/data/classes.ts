/**
 * The classes whose instances may travel in records. A record of a class keeps its prototype across an exchange and across a
 * restore: the bytes bear the class's wire name, and the reader finds the class under that name in its own registry. Both sides
 * build the registry from the same ordered list (the classes of a job's code, then those registered by hand), so that equal names
 * are told apart by their order. The wire name, not the position, is written: a snapshot survives a class added before another.
 *
 * Errors of JavaScript and of drey are known without registration.
 */
import { errorClasses } from "../types/errors.ts";

/** A class that was shipped with a job, as found in the job's code. */
export interface ShippedClass {
  /** The class's own name, `""` for an anonymous class. */
  readonly name: string;
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- any class, also an abstract one
  readonly constructor: Function;
  /** Names of the `#private` fields that its own body declares (not those of its parents). */
  readonly privateFields: readonly string[];
}

/** What an instance is underneath its class; its content is written accordingly. */
export type InstanceBase = "object" | "array" | "map" | "set" | "date" | "regexp" | "error" | "typedArray" | "other";

/** One class as the codecs see it. */
export interface RegisteredClass {
  /** Unique within a registry; what the bytes bear. */
  readonly wireName: string;
  readonly prototype: object;
  readonly base: InstanceBase;
  /** `#private` fields of the class and of its parents; an instance with any of them can't travel. */
  readonly privateFields: readonly string[];
}

const standardErrors: readonly Function[] = [
  Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError,
];

const bases: ReadonlyMap<object, InstanceBase> = new Map<object, InstanceBase>([
  [Array.prototype, "array"],
  [Map.prototype, "map"],
  [Set.prototype, "set"],
  [Date.prototype, "date"],
  [RegExp.prototype, "regexp"],
  [Error.prototype, "error"],
  [Object.getPrototypeOf(Uint8Array.prototype) as object, "typedArray"],
  // What these hold lives outside of JavaScript's properties.
  ...[Promise, WeakMap, WeakSet, WeakRef, Number, String, Boolean, BigInt, Symbol, Function, ArrayBuffer, SharedArrayBuffer, DataView].map(
    (builtIn): [object, InstanceBase] => [builtIn.prototype as object, "other"],
  ),
]);

/** The classes known to one side of a channel, or to one task. Immutable; shared freely within a thread. */
export class ClassRegistry {
  readonly #byPrototype = new Map<object, RegisteredClass>();
  readonly #byWireName = new Map<string, RegisteredClass>();

  /**
   * @param classes in the same order on every side. A class listed twice counts once. A class without a name travels as `class`;
   * a second class of the same name as `Name~2`, and so on.
   */
  constructor(classes: readonly ShippedClass[] = []) {
    for (const constructor of [...standardErrors, ...Object.values(errorClasses)]) {
      this.#add({ name: constructor.name, constructor, privateFields: [] }, []);
    }
    for (const shipped of classes) this.#add(shipped, classes);
  }

  /** The class whose prototype this is. */
  ofPrototype(prototype: object): RegisteredClass | undefined {
    return this.#byPrototype.get(prototype);
  }

  /** The class that travels under this name. */
  ofWireName(wireName: string): RegisteredClass | undefined {
    return this.#byWireName.get(wireName);
  }

  #add(shipped: ShippedClass, all: readonly ShippedClass[]): void {
    const prototype = shipped.constructor.prototype as object | undefined;
    if (typeof prototype !== "object" || prototype === null || this.#byPrototype.has(prototype)) return;
    const name = shipped.name === "" ? "class" : shipped.name;
    let wireName = name;
    for (let n = 2; this.#byWireName.has(wireName); n++) wireName = `${name}~${n}`;
    const privateFields: string[] = [];
    let base: InstanceBase = "object";
    for (let p: object | null = prototype; p !== null; p = Object.getPrototypeOf(p) as object | null) {
      base = bases.get(p) ?? base;
      const ancestor = all.find((candidate) => candidate.constructor.prototype === p);
      if (ancestor !== undefined) privateFields.push(...ancestor.privateFields);
    }
    const registered: RegisteredClass = { wireName, prototype, base, privateFields };
    this.#byPrototype.set(prototype, registered);
    this.#byWireName.set(wireName, registered);
  }
}

/** The registry of a job that ships no class. */
export const noClasses: ClassRegistry = new ClassRegistry();
