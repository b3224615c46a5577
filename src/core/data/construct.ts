/**
 * How decoded objects come into being: by generated code that names all fields at once, so that V8 gives the object its final
 * layout in one allocation (field by field it would walk through a transition per field, and take twice as long).
 */

/** The source of an object literal with these fields; `sources[i]` is the source of the i-th value, evaluated in order. */
export function literalSource(names: readonly string[], sources: readonly string[]): string {
  // In a literal, `"__proto__": x` would set the prototype; the computed form makes a field.
  return `{ ${names.map((name, i) => `${name === "__proto__" ? '["__proto__"]' : JSON.stringify(name)}: ${sources[i]}`).join(", ")} }`;
}

/** Gives an object an own field, whatever its prototype says about that name. */
export function setField(target: object, name: string, value: unknown): void {
  // Plain assignment would call a setter of the prototype, above all that of `__proto__`.
  if (name in target) Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  else (target as Record<string, unknown>)[name] = value;
}

/** A constructor of instances with these own fields, in this order, that runs no code of their class. */
export function compileInstance(prototype: object, names: readonly string[]): new (...values: unknown[]) => object {
  const parameters = names.map((_, i) => `v${i}`).join();
  const fields = names.map((name, i) => {
    const text = JSON.stringify(name);
    return name in prototype ? `setField(this, ${text}, v${i});` : `this[${text}] = v${i};`;
  });
  const make = new Function(
    "prototype", "setField",
    `function Instance(${parameters}) { ${fields.join(" ")} }
     Instance.prototype = prototype;
     return Instance;`,
  ) as (prototype: object, set: typeof setField) => new (...values: unknown[]) => object;
  return make(prototype, setField);
}
