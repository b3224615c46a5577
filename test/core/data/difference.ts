/** The strictest equality: what `deepStrictEqual` forgives (order of fields, sharing, -0 in a Date) is a difference here. */

/** Where and how two values differ, or undefined if no program could tell them apart. */
export function difference(a: unknown, b: unknown, path = "value", pairs = new Map<object, object>()): string | undefined {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return Object.is(a, b) ? undefined : `${path}: ${show(a)} is not ${show(b)}`;
  }
  // One object in two places on one side must be one object on the other: a pairing in both directions.
  if (pairs.has(a) || pairs.has(b)) return pairs.get(a) === b && pairs.get(b) === a ? undefined : `${path}: is shared differently`;
  pairs.set(a, b).set(b, a);
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return `${path}: has another prototype`;
  const tag = Object.prototype.toString.call(a);
  if (tag !== Object.prototype.toString.call(b)) return `${path}: is of another kind`;
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime()) ? fields(a, b, path, pairs) : `${path}: another time`;
  if (a instanceof RegExp) {
    return String(a) === String(b) && a.lastIndex === (b as RegExp).lastIndex ? undefined : `${path}: another expression`;
  }
  if (a instanceof Map) {
    return difference(entries(a), entries(b as Map<unknown, unknown>), `${path}<entries>`, pairs) ?? fields(a, b, path, pairs);
  }
  if (a instanceof Set) return difference(Array.from(a.values()), Array.from((b as Set<unknown>).values()), `${path}<items>`, pairs);
  if (a instanceof ArrayBuffer) return bytes(new Uint8Array(a), new Uint8Array(b as ArrayBuffer), path);
  if (ArrayBuffer.isView(a)) {
    return bytes(seenBy(a), seenBy(b as ArrayBufferView), path);
  }
  if (a instanceof Error) {
    for (const name of ["message", "stack", "name", "cause", "errors"]) {
      if (Object.hasOwn(a, name) !== Object.hasOwn(b, name)) return `${path}.${name}: own on one side only`;
      const found = difference(a[name as keyof Error], (b as Error)[name as keyof Error], `${path}.${name}`, pairs);
      if (found !== undefined) return found;
    }
  }
  const boxed = [Number, String, Boolean, BigInt].some((kind) => a instanceof kind);
  if (boxed) return difference(a.valueOf(), b.valueOf(), path, pairs);
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return `${path}: ${a.length} items, not ${(b as unknown[]).length}`;
  return fields(a, b, path, pairs);
}

function fields(a: object, b: object, path: string, pairs: Map<object, object>): string | undefined {
  const names = Object.keys(a);
  if (names.join("\0") !== Object.keys(b).join("\0")) return `${path}: fields ${names.join()}, not ${Object.keys(b).join()}`;
  for (const name of names) {
    const found = difference((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name], `${path}.${name}`, pairs);
    if (found !== undefined) return found;
  }
  return undefined;
}

const entries = (map: Map<unknown, unknown>): unknown[] => Array.from(map.entries(), ([key, value]) => [key, value]);

const seenBy = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

const bytes = (a: Uint8Array, b: Uint8Array, path: string): string | undefined =>
  Buffer.compare(a, b) === 0 ? undefined : `${path}: other bytes`;

const show = (value: unknown): string => (Object.is(value, -0) ? "-0" : typeof value === "string" ? JSON.stringify(value) : String(value));
