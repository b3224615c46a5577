/**
 * A cell as a script: the module that the compiler made of it, with its imports awaited and its declarations turned into assignments.
 *
 *     import { of } from "rxjs";          (async function () { ({ of: of } = await import("rxjs"));
 *     export const a = of(1);        →      a = of(1);
 *     function f() { return a; }            f = function () { return a; }          (moved to the top)
 *     f()                                   return (f()); })
 *
 * The names are variables of the script scope, declared once and for all cells (see evaluator/cells.ts), so nothing of an old run is kept
 * alive by a new one. A name that means something to the process, such as `process` or `window`, gets another spelling: libraries look
 * such names up, and what a cell calls `process` is not what they want.
 */
import { type Node, type Program, parse } from "acorn";
import { freeVariables, patternNames } from "../../../cluster/code/free-variables.ts";
import { type SourceMapJson, decodeMappings, encodeMappings } from "../../../cluster/code/source-map.ts";
import { MovedText } from "./moved-text.ts";

/** A compiled module. */
export interface CellModule {
  readonly javascript: string;
  readonly sourceMap: SourceMapJson | undefined;
  /** Lines that were put before the cell's first. */
  readonly linesBefore: number;
  /** What to import for a specifier. */
  readonly importAs: (specifier: string) => string;
}

/** What the evaluator runs: an expression whose value is an asynchronous function. */
export interface CellScript {
  readonly javascript: string;
  readonly sourceMap: SourceMapJson;
  /** Names to declare, as the script spells them. */
  readonly declares: readonly string[];
  /** Names that the cell declares, as the user spells them. */
  readonly names: readonly string[];
}

/** Names by which libraries tell where they run, beside what the process has. */
const TELLTALES = new Set([
  "window",
  "document",
  "self",
  "location",
  "navigator",
  "name",
  "origin",
  "parent",
  "top",
  "module",
  "exports",
  "define",
  "require",
  "Deno",
  "Bun",
  "importScripts",
  "undefined",
  "$drey",
  "__filename",
  "__dirname",
  "prompt",
  "confirm",
  "alert",
]);

type Statement = Program["body"][number];

/**
 * @param isOwn whether a name of the module is one of the user's; what a compiler adds for itself stays inside the cell.
 * @param respelled names that earlier cells declared under another spelling; those of this cell are added.
 * @throws SyntaxError of acorn when the module is none.
 */
export function cellScript(module: CellModule, isOwn: (name: string) => boolean, respelled: Map<string, string>): CellScript {
  const { javascript } = module;
  const program = parse(javascript, { ecmaVersion: "latest", sourceType: "module", allowAwaitOutsideFunction: true });
  const assembly = new Assembly(module, isOwn);
  const lines = assembly.run(program.body);
  for (const name of assembly.names) if (isTaken(name)) respelled.set(name, `${name}$cell`);
  const mappings = decodeMappings(module.sourceMap?.mappings ?? "").map((segments) =>
    segments.flatMap(([column, source, line, originalColumn]): [number, number, number, number][] =>
      line < module.linesBefore ? [] : [[column, source, line - module.linesBefore, originalColumn]],
    ),
  );
  const spelled = respell(lines.text, respelled);
  const names = [...assembly.names];
  return {
    javascript: spelled.text,
    sourceMap: { version: 3, sources: ["cell"], mappings: encodeMappings(spelled.moved(lines.moved(mappings))) },
    declares: names.map((name) => respelled.get(name) ?? name),
    names,
  };
}

const isTaken = (name: string): boolean => TELLTALES.has(name) || name in globalThis;

/** The text with all references to some names spelled another way. */
function respell(text: string, respelled: ReadonlyMap<string, string>): MovedText {
  const moved = new MovedText(text);
  if (![...respelled.keys()].some((name) => text.includes(name))) return moved.keep(0, text.length);
  const program = parse(text, { ecmaVersion: "latest", sourceType: "script" });
  const statement = program.body.at(-1) as Extract<Statement, { type: "ExpressionStatement" }>;
  const { references } = freeVariables({ source: text, node: statement.expression } as unknown as Parameters<typeof freeVariables>[0]);
  const replaced = [...respelled].flatMap(([name, spelling]) =>
    (references.get(name) ?? []).map(({ start, end, shorthand }) => ({ start, end, text: shorthand ? `${name}: ${spelling}` : spelling })),
  );
  return moved.keepBut(
    0,
    text.length,
    replaced.sort((a, b) => a.start - b.start),
  );
}

class Assembly {
  readonly names = new Set<string>();
  readonly #moved: MovedText;
  readonly #importAs: (specifier: string) => string;
  readonly #isOwn: (name: string) => boolean;
  readonly #metas: { start: number; end: number; text: string }[] = [];

  constructor({ javascript, importAs }: CellModule, isOwn: (name: string) => boolean) {
    this.#moved = new MovedText(javascript);
    this.#importAs = importAs;
    this.#isOwn = isOwn;
  }

  run(body: readonly Statement[]): MovedText {
    for (const statement of body) this.#findMetas(statement);
    this.#moved.add('"use strict";(async function () { ');
    const inner = body.flatMap((statement) => {
      if (statement.type === "ExportAllDeclaration") return [];
      const isExport = statement.type === "ExportNamedDeclaration" || statement.type === "ExportDefaultDeclaration";
      return isExport ? ((statement.declaration ?? []) as Statement | []) : statement;
    });
    for (const statement of inner) if (statement.type === "FunctionDeclaration" && this.#ownId(statement)) this.#function(statement);
    for (const statement of inner) if (statement.type === "ImportDeclaration") this.#import(statement);
    inner.forEach((statement, index) => this.#statement(statement, index === inner.length - 1));
    return this.#moved.add("\n})");
  }

  #keep(from: number, to: number): void {
    this.#moved.keepBut(
      from,
      to,
      this.#metas.filter(({ start, end }) => start >= from && end <= to),
    );
  }

  #ownId(statement: { id?: { name: string } | null }): boolean {
    return statement.id !== null && statement.id !== undefined && this.#isOwn(statement.id.name);
  }

  #declare(name: string): string {
    this.names.add(name);
    return name;
  }

  /** Without its own name inside, so that a call of itself finds what the name means by then. */
  #function(node: Extract<Statement, { type: "FunctionDeclaration" }>): void {
    this.#moved.add(`${this.#declare(node.id.name)} = `);
    this.#keep(node.start, node.id.start);
    this.#keep(node.id.end, node.end);
    this.#moved.add(";\n");
  }

  #import(node: Extract<Statement, { type: "ImportDeclaration" }>): void {
    const attributes = node.attributes.map(
      ({ key, value }) => `${JSON.stringify("name" in key ? key.name : key.value)}: ${JSON.stringify(value.value)}`,
    );
    const options = attributes.length === 0 ? "" : `, { with: { ${attributes.join(", ")} } }`;
    const found = `await import(${JSON.stringify(this.#importAs(String(node.source.value)))}${options})`;
    const parts: string[] = [];
    let whole: string | undefined;
    for (const specifier of node.specifiers) {
      const local = this.#declare(specifier.local.name);
      if (specifier.type === "ImportNamespaceSpecifier") whole = local;
      else if (specifier.type === "ImportDefaultSpecifier") parts.push(`default: ${local}`);
      else parts.push(`${"name" in specifier.imported ? specifier.imported.name : JSON.stringify(specifier.imported.value)}: ${local}`);
    }
    // The first character carries the position of the import, for the error of a package that is not there.
    const named = parts.length === 0 ? "" : `({ ${parts.join(", ")} } = ${whole ?? found});`;
    this.#moved.add(whole === undefined ? (named === "" ? `${found};` : named) : `${whole} = ${found}; ${named}`).add("\n");
  }

  #statement(node: Statement, last: boolean): void {
    switch (node.type) {
      case "ImportDeclaration":
        return;
      case "FunctionDeclaration":
        if (this.#ownId(node)) return;
        break;
      case "ClassDeclaration":
        if (!this.#ownId(node)) break;
        this.#moved.add(`${this.#declare(node.id.name)} = `);
        this.#keep(node.start, node.end);
        this.#moved.add(";\n");
        return;
      case "VariableDeclaration":
        return this.#variables(node);
      case "ExpressionStatement": {
        // An assignment shows nothing: whoever wants to see the value names it.
        if (!last || node.expression.type === "AssignmentExpression") break;
        return this.#result(node.expression);
      }
      case "TryStatement":
        // What `using` becomes: the cell's statements stand in its block.
        if (last && /^const env_\d+ =/m.test(this.#moved.source)) return this.#tryStatement(node);
        break;
      default:
        // The value of `export default`.
        if (/Expression$|Identifier|Literal/.test((node as Node).type)) return this.#result(node as Node);
    }
    this.#keep(node.start, node.end);
    this.#moved.add("\n");
  }

  #result(node: Node): void {
    this.#moved.add("return (");
    this.#keep(node.start, node.end);
    this.#moved.add(");\n");
  }

  #tryStatement(node: Extract<Statement, { type: "TryStatement" }>): void {
    this.#keep(node.start, node.block.start + 1);
    node.block.body.forEach((statement, index) => this.#statement(statement, index === node.block.body.length - 1));
    this.#keep(node.block.end - 1, node.end);
    this.#moved.add("\n");
  }

  #variables(node: Extract<Statement, { type: "VariableDeclaration" }>): void {
    for (const { id, init, start, end } of node.declarations) {
      const names = new Set<string>();
      patternNames(id, names);
      if (![...names].every((name) => this.#isOwn(name))) {
        this.#moved.add(`${node.kind} `);
        this.#keep(start, end);
        this.#moved.add(";\n");
        continue;
      }
      for (const name of names) this.#declare(name);
      if (id.type === "Identifier") {
        this.#keep(id.start, id.end);
        this.#moved.add(" = ");
        if (init === null || init === undefined) this.#moved.add("undefined");
        else this.#keep(init.start, init.end);
      } else {
        this.#moved.add("(");
        this.#keep(start, end);
        this.#moved.add(")");
      }
      this.#moved.add(";\n");
    }
  }

  #findMetas(node: Node): void {
    const { type, start, end } = node;
    if (type === "MetaProperty" && this.#moved.source.startsWith("import", start)) {
      this.#metas.push({ start, end, text: 'globalThis[Symbol.for("drey.kernel.meta")]' });
      return;
    }
    for (const value of Object.values(node) as unknown[])
      for (const child of Array.isArray(value) ? (value as unknown[]) : [value])
        if (typeof child === "object" && child !== null && typeof (child as Partial<Node>).type === "string")
          this.#findMetas(child as Node);
  }
}
