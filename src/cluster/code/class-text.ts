/**
 * A class's text, and what must change in it before it is evaluated a second time elsewhere: static state is not computed again but
 * restored from the values it had, the superclass is the very value it was, and where instances with `#private` state travel, the
 * class gets a way to be constructed without running its constructor's body and to set its private fields.
 */
import type { Class } from "acorn";
import type { FunctionText } from "./function-text.ts";

/** A stretch of a function's wrapped source, and what takes its place. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** What a class says of itself in its text, as far as shipping it depends on that. */
export interface ClassPlan {
  /** `#private` instance fields the class itself declares, without `#`. */
  readonly privateFields: readonly string[];
  readonly staticPrivateFields: readonly string[];
  /** Those fields and the `#private` methods and accessors: where there is one, an instance must be constructed to be one at all. */
  readonly privateMembers: readonly string[];
  readonly superclass: { readonly start: number; readonly end: number } | undefined;
  /** Static blocks and static initialisers. Names used in them only are not captured. */
  readonly removals: readonly Edit[];
  /** The methods and accessors as written; see `isAsWritten`. */
  readonly written: { readonly prototype: WrittenMembers; readonly static: WrittenMembers };
}

interface WrittenMembers {
  readonly texts: ReadonlyMap<string, ReadonlySet<string>>;
  readonly computed: boolean;
}

/** Reads a class. */
export function planClass(text: FunctionText): ClassPlan {
  const node = text.node as Class;
  const privateFields: string[] = [];
  const staticPrivateFields: string[] = [];
  const removals: Edit[] = [];
  const prototype = new Map<string, Set<string>>();
  const statics = new Map<string, Set<string>>();
  const privateMembers: string[] = [];
  let computedPrototype = false;
  let computedStatic = false;
  for (const member of node.body.body) {
    if (member.type === "StaticBlock") {
      removals.push({ start: member.start, end: member.end, text: "" });
      continue;
    }
    const isPrivate = member.key.type === "PrivateIdentifier";
    if (member.key.type === "PrivateIdentifier" && !member.static) privateMembers.push(member.key.name);
    if (member.type === "PropertyDefinition") {
      if (member.key.type === "PrivateIdentifier") (member.static ? staticPrivateFields : privateFields).push(member.key.name);
      if (!member.static) continue;
      if (!isPrivate) removals.push({ start: member.start, end: member.end, text: "" });
      else if (member.value) removals.push({ start: member.key.end, end: member.value.end, text: "" });
      continue;
    }
    if (isPrivate) continue;
    if (member.computed) {
      if (member.static) computedStatic = true;
      else computedPrototype = true;
      continue;
    }
    const texts = member.static ? statics : prototype;
    const key = member.key.type === "Identifier" ? member.key.name : String((member.key as { value?: unknown }).value);
    // The text of a static method does not include the word static.
    const source = text.source.slice(member.start, member.end).replace(/^static\s+/, "");
    texts.set(key, (texts.get(key) ?? new Set()).add(source));
  }
  return {
    privateFields,
    staticPrivateFields,
    privateMembers,
    removals,
    superclass: node.superClass ? { start: node.superClass.start, end: node.superClass.end } : undefined,
    written: { prototype: { texts: prototype, computed: computedPrototype }, static: { texts: statics, computed: computedStatic } },
  };
}

/**
 * True when evaluating the class's text makes this property anew, just as it is; false for what was added or replaced afterwards
 * (decorators, mixins, patches, plain data).
 */
export function isAsWritten(text: FunctionText, members: WrittenMembers, key: PropertyKey, descriptor: PropertyDescriptor): boolean {
  const functions = [descriptor.value, descriptor.get, descriptor.set].filter((part) => part !== undefined) as unknown[];
  if (functions.length === 0 || !functions.every((part): part is () => unknown => typeof part === "function")) return false;
  const texts = typeof key === "string" ? members.texts.get(key) : undefined;
  if (texts !== undefined) return functions.every((part) => texts.has(Function.prototype.toString.call(part)));
  return members.computed && functions.every((part) => text.source.includes(Function.prototype.toString.call(part)));
}

/**
 * The edits that let `revive` restore instances and static private state.
 * @param superclassShipped whether the superclass has these edits too.
 * @param restoring is what a restoring caller passes as the first argument, as an expression.
 */
export function restoringEdits(
  text: FunctionText,
  plan: ClassPlan,
  instances: boolean,
  superclassShipped: boolean,
  restoring: string,
): Edit[] {
  const node = text.node as Class;
  const edits: Edit[] = [];
  const end = node.body.end - 1;
  if (instances) {
    const constructor = node.body.body.find((member) => member.type === "MethodDefinition" && member.kind === "constructor");
    const superCall = node.superClass ? `super(${superclassShipped ? restoring : ""});` : "";
    if (constructor?.type === "MethodDefinition") {
      const start = constructor.value.body.start + 1;
      edits.push({ start, end: start, text: `if(arguments[0]===${restoring}){${superCall}return this;}` });
    } else if (node.superClass && !superclassShipped) {
      edits.push({ start: end, end, text: `;constructor(...args){if(args[0]===${restoring}){super();return this;}super(...args);}` });
    }
  }
  // A field may be missing: initialisers run top to bottom, and V8 reports only those that ran.
  const set = (fields: readonly string[], target: string): string =>
    fields.map((name) => `if("${name}" in values&&#${name} in ${target})${target}.#${name}=values["${name}"];`).join("");
  if (instances) edits.push({ start: end, end, text: `;static $dreySet(object,values){${set(plan.privateFields, "object")}}` });
  if (plan.staticPrivateFields.length > 0)
    edits.push({ start: end, end, text: `;static $dreySetStatic(values){${set(plan.staticPrivateFields, "this")}}` });
  return edits;
}
