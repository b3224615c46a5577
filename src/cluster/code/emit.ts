/**
 * Writes the captured functions as one text: every function a `const`, every captured variable a declaration beside them, so that
 * closures that shared a variable share it again. Names are kept where they can be; a variable is renamed when two different ones
 * bear its name, or a local of any function does.
 *
 * V8 shows scopes as copies, so that two functions captured the *same* variable is known for modules and inferred for calls: two
 * scopes with equal content are one, unless two closures of one function literal have them (then they come from two calls).
 *
 * The text is the body of a function of `$drey` and `$nodes`; `revive.ts` is the other half of this protocol:
 *
 *     $drey.define({node: function, …})   hands over functions; nodes that are no functions are made then
 *     $nodes[i]                           a node that is not a function
 *     $drey.fill()                        gives objects their content, when all variables have their values
 */
import type { FunctionPosition, NodeRef, Encoded } from "./bundle.ts";
import { restoringEdits } from "./class-text.ts";
import type { Edit } from "./class-text.ts";
import { isHostGlobal } from "./identities.ts";
import type { CapturedScope } from "./inspector.ts";
import { functionPosition } from "./positions.ts";
import type { KeptPiece } from "./positions.ts";
import { isWrapperName } from "./script-imports.ts";
import { namesOf, pathText } from "./value-graph.ts";
import type { Binding, CapturedFunction, ValueGraph } from "./value-graph.ts";

export interface EmittedCode {
  readonly code: string;
  readonly map: readonly FunctionPosition[];
}

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;
const RESERVED_WORDS: readonly string[] = (
  "break case catch class const continue debugger default delete do else enum export extends false finally for function if implements " +
  "import in instanceof interface let new null package private protected public return static super switch this throw true try typeof " +
  "var void while with yield await async arguments eval undefined NaN Infinity"
).split(" ");

/** A captured variable in the shipped text. */
interface Variable {
  identifier: string;
}

/** All captured variables that come from one scope. */
interface Frame {
  readonly scope: CapturedScope;
  readonly key: string | undefined;
  readonly variables: Map<string, Variable>;
  /** Function literals with a closure in this scope, and which. */
  readonly literals: Map<string, CapturedFunction>;
}

/** Writes a finished graph; the returned code evaluates to an array of the roots. */
export function emit(graph: ValueGraph, roots: readonly Encoded[]): EmittedCode {
  return new Emission(graph).write(roots);
}

class Emission {
  readonly #graph: ValueGraph;
  readonly #used: Set<string>;
  readonly #functionNames: Map<number, string> = new Map();
  readonly #constants: Map<number, Variable> = new Map();
  readonly #frames: Frame[] = [];
  /** What each binding is called in the shipped text. */
  readonly #variables: Map<Binding, Variable> = new Map();
  readonly #early: string[] = [];
  readonly #late: string[] = [];
  readonly #lines: string[] = [];
  readonly #map: FunctionPosition[] = [];

  constructor(graph: ValueGraph) {
    this.#graph = graph;
    this.#used = new Set([...graph.reserved, ...RESERVED_WORDS, "$drey", "$nodes"]);
    for (const one of graph.functions) {
      for (const name of one.free.references.keys()) if (isHostGlobal(name)) this.#used.add(name);
      // A renamed variable must not meet a local.
      for (const name of one.free.locals) this.#used.add(name);
    }
  }

  write(roots: readonly Encoded[]): EmittedCode {
    const { functions } = this.#graph;
    for (const one of functions) this.#functionNames.set(one.node, this.#fresh(this.#givenName(one)));
    this.#nameVariables();
    const order = definitionOrder(functions, (encoded) => this.#functionOf(encoded));
    const plain = order.filter((one) => one.thisNode === undefined);
    const bound = order.filter((one) => one.thisNode !== undefined);
    this.#push(functions.some((one) => one.parsed.sloppy) ? "/* not strict */" : '"use strict";');
    if (functions.some((one) => one.usesRequire)) this.#push("const require = $drey.require;");
    for (const line of this.#early) this.#push(line);
    for (const one of plain) this.#writeFunction(one);
    this.#define(plain);
    for (const one of bound) this.#writeFunction(one);
    if (bound.length > 0) this.#define(bound);
    for (const line of this.#late) this.#push(line);
    this.#push("$drey.fill();");
    this.#push(`return [${roots.map((root) => this.#expression(root)).join(", ")}];`);
    return { code: this.#lines.join("\n"), map: this.#map };
  }

  // ---- names ----

  #givenName({ value, parsed }: CapturedFunction): string {
    const name = typeof value.name === "string" ? value.name : "";
    return IDENTIFIER.test(name) && !RESERVED_WORDS.includes(name) ? name : parsed.isClass ? "Anonymous" : "anonymous";
  }

  #fresh(wish: string): string {
    const base = IDENTIFIER.test(wish) ? wish : "variable";
    let name = base;
    for (let i = 1; this.#used.has(name); i++) name = `${base}$${i}`;
    this.#used.add(name);
    return name;
  }

  #nameVariables(): void {
    const written = new Set(
      this.#graph.functions.flatMap((one) => one.bindings.filter((binding) => binding.written).map((binding) => binding.name)),
    );
    for (const one of this.#graph.functions) {
      for (const binding of one.bindings) {
        // What nobody assigns is the same wherever it is declared.
        this.#variables.set(binding, written.has(binding.name) ? this.#sharedVariable(one, binding) : this.#constant(binding));
      }
    }
  }

  #constant({ name, value }: Binding): Variable {
    if (!isRef(value)) return this.#declare("const", name, value);
    const captured = this.#functionOf(value);
    if (captured !== undefined) return { identifier: this.#functionNames.get(captured.node) as string };
    const known = this.#constants.get(value.ref);
    if (known !== undefined) return known;
    const variable = this.#declare("const", name, value);
    this.#constants.set(value.ref, variable);
    return variable;
  }

  #sharedVariable(captured: CapturedFunction, binding: Binding): Variable {
    const frame = this.#frameOf(captured, binding);
    let variable = frame.variables.get(binding.name);
    if (variable === undefined) frame.variables.set(binding.name, (variable = this.#declare("let", binding.name, binding.value)));
    return variable;
  }

  #frameOf(captured: CapturedFunction, binding: Binding): Frame {
    const key = scopeKey(captured, binding);
    const { location } = captured;
    const literal = location === undefined ? captured.text : `${location.scriptId}:${location.lineNumber}:${location.columnNumber}`;
    for (const frame of this.#frames) {
      if (frame.key !== key) continue;
      if (key === undefined) {
        if (!sameContent(frame.scope, binding.scope)) continue;
        const other = frame.literals.get(literal);
        if (other !== undefined && other !== captured) continue;
      }
      frame.literals.set(literal, captured);
      return frame;
    }
    const frame: Frame = { scope: binding.scope, key, variables: new Map(), literals: new Map([[literal, captured]]) };
    this.#frames.push(frame);
    return frame;
  }

  #declare(word: "const" | "let", name: string, value: Encoded): Variable {
    const identifier = this.#fresh(name);
    // A class's computed keys are evaluated with its definition, so what can have its value early does.
    (this.#isEarly(value) ? this.#early : this.#late).push(`${word} ${identifier} = ${this.#expression(value)};`);
    return { identifier };
  }

  #isEarly(value: Encoded): boolean {
    if (!isRef(value)) return true;
    const { kind } = (this.#graph.nodes[value.ref] as ValueGraph["nodes"][number]).encoded;
    return kind === "symbol" || kind === "well-known-symbol" || kind === "registered-symbol" || kind === "import" || kind === "global";
  }

  // ---- text ----

  #functionOf(value: Encoded): CapturedFunction | undefined {
    return isRef(value) ? this.#graph.nodes[value.ref]?.function : undefined;
  }

  #expression(value: Encoded): string {
    if (!isRef(value)) return literal(value);
    const captured = this.#functionOf(value);
    if (captured !== undefined) return this.#functionNames.get(captured.node) as string;
    const { encoded } = this.#graph.nodes[value.ref] as ValueGraph["nodes"][number];
    if (encoded.kind === "global" && encoded.path.every((key) => typeof key === "string" && IDENTIFIER.test(key))) {
      return encoded.path.length === 0 ? "globalThis" : encoded.path.join(".");
    }
    return `$nodes[${value.ref}]`;
  }

  #define(functions: readonly CapturedFunction[]): void {
    this.#push(`$drey.define({${functions.map((one) => `${one.node}: ${this.#functionNames.get(one.node)}`).join(", ")}});`);
  }

  #push(text: string): void {
    for (const line of text.split("\n")) this.#lines.push(line);
  }

  #writeFunction(captured: CapturedFunction): void {
    const { parsed, value } = captured;
    const identifier = this.#functionNames.get(captured.node) as string;
    const [before, after] = this.#wrapping(captured, identifier);
    const { text, pieces } = applyEdits(parsed.source, parsed.node.start, parsed.node.end, this.#edits(captured));
    const firstLine = this.#lines.length;
    this.#push(before + text + after);
    const shifted = pieces.map((piece) => (piece.line === 0 ? { ...piece, column: piece.column + before.length } : piece));
    const at = { path: pathText(captured.path), text: captured.text, script: captured.script, location: captured.location };
    this.#map.push(functionPosition(at, firstLine, text.split("\n").length, shifted));
    const named = parsed.form === "expression" && "id" in parsed.node && parsed.node.id !== null && parsed.node.id !== undefined;
    if (parsed.form === "expression" && !named && value.name !== identifier && typeof value.name === "string") {
      this.#push(`$drey.name(${identifier}, ${JSON.stringify(value.name)});`);
    }
  }

  /** What makes a value of a function's text, and a declaration of the value. */
  #wrapping({ parsed, thisNode }: CapturedFunction, identifier: string): [before: string, after: string] {
    const declaration = `const ${identifier} = `;
    if (parsed.form === "expression") {
      return thisNode === undefined
        ? [declaration, ";"]
        : [`${declaration}(function(){return `, `;}).call(${this.#expression({ ref: thisNode })});`];
    }
    const key = this.#methodKey(parsed);
    if (parsed.form === "method") return [`${declaration}({`, `})[${key}];`];
    return [`${declaration}Object.getOwnPropertyDescriptor({`, `},${key}).${parsed.form};`];
  }

  #methodKey(parsed: CapturedFunction["parsed"]): string {
    if (parsed.node.type !== "Property" || parsed.node.computed) return '"$key"';
    return JSON.stringify(
      parsed.node.key.type === "Identifier" ? parsed.node.key.name : String((parsed.node.key as { value?: unknown }).value),
    );
  }

  #edits(captured: CapturedFunction): Edit[] {
    const { parsed, classPlan } = captured;
    const edits = [...captured.edits];
    if (parsed.node.type === "Property" && parsed.node.computed) {
      // The key's own expression may name anything; what the method is called is known.
      const start = parsed.source.lastIndexOf("[", parsed.node.key.start);
      edits.push({ start, end: parsed.source.indexOf("]", parsed.node.key.end) + 1, text: '"$key"' });
    }
    if (classPlan?.superclass !== undefined && captured.superclass !== undefined) {
      edits.push({ ...classPlan.superclass, text: this.#expression(captured.superclass) });
    }
    if (classPlan !== undefined && (captured.restoresInstances || classPlan.staticPrivateFields.length > 0)) {
      const parentShipped = this.#functionOf(captured.superclass) !== undefined;
      edits.push(...restoringEdits(parsed, classPlan, captured.restoresInstances, parentShipped, "$drey.RESTORE"));
    }
    for (const binding of captured.bindings) {
      const { identifier } = this.#variables.get(binding) as Variable;
      if (identifier === binding.name) continue;
      for (const { start, end, shorthand } of binding.references)
        edits.push({ start, end, text: shorthand ? `${binding.name}: ${identifier}` : identifier });
    }
    return edits;
  }
}

const isRef = (value: Encoded): value is NodeRef => typeof value === "object" && value !== null;

/** Superclasses before their subclasses, functions before classes. */
function definitionOrder(
  functions: readonly CapturedFunction[],
  functionOf: (value: Encoded) => CapturedFunction | undefined,
): CapturedFunction[] {
  const order = new Set<CapturedFunction>();
  const visit = (one: CapturedFunction): void => {
    if (order.has(one)) return;
    const parent = functionOf(one.superclass);
    if (parent !== undefined) visit(parent);
    order.add(one);
  };
  for (const one of functions) if (!one.parsed.isClass) visit(one);
  for (const one of functions) visit(one);
  return [...order];
}

/** Names a scope that surely exists once: a module's, and that of a function around a whole script (CommonJS, Vite, tslab). */
function scopeKey(captured: CapturedFunction, { scope, outermost }: Binding): string | undefined {
  if (scope.kind === "explicit" || scope.kind === "script" || scope.kind === "global") return scope.kind;
  if (scope.kind === "module") return `module ${captured.location?.scriptId}`;
  if (!outermost || captured.script === undefined) return undefined;
  const { declared, imports } = namesOf(captured.script);
  const isTop = Object.keys(scope.variables).every((name) => declared.has(name) || imports.has(name) || isWrapperName(name));
  return isTop ? `module ${captured.location?.scriptId}` : undefined;
}

function sameContent(a: CapturedScope, b: CapturedScope): boolean {
  if (a.variables === b.variables) return true;
  const names = Object.keys(a.variables);
  if (names.length !== Object.keys(b.variables).length) return false;
  const read = (scope: CapturedScope, name: string): unknown => {
    try {
      return scope.variables[name];
    } catch {
      // Not initialised yet, in both or in one.
      return sameContent;
    }
  };
  return names.every((name) => Object.hasOwn(b.variables, name) && Object.is(read(a, name), read(b, name)));
}

function literal(value: Exclude<Encoded, NodeRef>): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  return Object.is(value, -0) ? "-0" : value === undefined ? "undefined" : String(value);
}

/** Applies edits to a stretch of a text. An edit inside a stretch that another removes is dropped. */
function applyEdits(source: string, start: number, end: number, edits: readonly Edit[]): { text: string; pieces: KeptPiece[] } {
  const sorted = [...edits].sort((a, b) => a.start - b.start || a.end - b.end);
  const pieces: KeptPiece[] = [];
  let text = "";
  let line = 0;
  let column = 0;
  let textLine = 0;
  let textColumn = 0;
  const advance = (added: string): void => {
    text += added;
    const breaks = added.split("\n");
    line += breaks.length - 1;
    column = breaks.length > 1 ? (breaks.at(-1) as string).length : column + added.length;
  };
  const skip = (passed: string): void => {
    const breaks = passed.split("\n");
    textLine += breaks.length - 1;
    textColumn = breaks.length > 1 ? (breaks.at(-1) as string).length : textColumn + passed.length;
  };
  const keep = (from: number, to: number): void => {
    const kept = source.slice(from, to);
    for (const [index, part] of kept.split("\n").entries()) {
      if (index > 0) {
        advance("\n");
        skip("\n");
      }
      if (part !== "") pieces.push({ line, column, textLine, textColumn });
      advance(part);
      skip(part);
    }
  };
  let position = start;
  for (const edit of sorted) {
    if (edit.start < position) continue;
    keep(position, edit.start);
    advance(edit.text);
    skip(source.slice(edit.start, edit.end));
    position = edit.end;
  }
  keep(position, end);
  return { text, pieces };
}
