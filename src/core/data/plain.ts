/**
 * What counts as a plain record: an object written as `{ … }`, and not an instance of a class.
 */

/**
 * Whether objects with this prototype are plain records. A record made in another realm (a notebook's vm context) has another
 * `Object.prototype`; it is known by being the end of the prototype chain and by having the methods of one.
 */
export function isPlainPrototype(prototype: object | null): boolean {
  if (prototype === Object.prototype || prototype === null) return true;
  return Object.getPrototypeOf(prototype) === null && ["hasOwnProperty", "isPrototypeOf"].every((name) => Object.hasOwn(prototype, name));
}

/** The name of an object's class for messages: "Map", "Socket", "an object without a name". */
export function className(value: object): string {
  const constructor: unknown = (value as { constructor?: unknown }).constructor;
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "an anonymous class";
}
