/**
 * What a script's own text says about the names at its top level: which are imported from where, and which it declares. An
 * ES module's namespace can't be asked whose export a value is, so the import statement is the witness. Compiled forms count
 * too: `require`, TypeScript's and esbuild's wrappers around it, Vite's, and a script that is one function around everything.
 */
import { parse } from "acorn";
import type { Expression, Pattern, Statement, ModuleDeclaration } from "acorn";
import { hoistedNames, lexicalNames } from "./free-variables.ts";

/** Where an imported name comes from. */
export interface ImportedName {
  readonly specifier: string;
  /** From the module's namespace to the value; empty for the namespace. */
  readonly path: readonly string[];
}

/** The names at the top of a script. */
export interface ScriptNames {
  readonly imports: ReadonlyMap<string, ImportedName>;
  /** Names declared at the top level, or at the top of the function that is the whole script. */
  readonly declared: ReadonlySet<string>;
}

const LOADERS = /^(?:require|__vi_import__|__vite_ssr_import__|__vite_ssr_dynamic_import__)$/;
const WRAPPERS = /^(?:__importStar|__importDefault|__toESM|_interop\w*)$/;

/** True for what CommonJS, Vite and tslab pass to the function they put around a script. */
export const isWrapperName = (name: string): boolean =>
  /^(?:exports|require|module|__filename|__dirname|__vite_\w+|__vi_\w+|arguments|this)$/.test(name);

/** Reads a script; a text that doesn't parse has no names. */
export function scriptNames(source: string): ScriptNames {
  const imports = new Map<string, ImportedName>();
  const declared = new Set<string>();
  for (const sourceType of ["module", "script"] as const) {
    try {
      const program = parse(source, {
        ecmaVersion: "latest",
        sourceType,
        allowReturnOutsideFunction: true,
        allowAwaitOutsideFunction: true,
        allowHashBang: true,
      });
      read(program.body, imports, declared);
      break;
    } catch {
      // Not a module: perhaps a sloppy script; not that either: no names.
    }
  }
  return { imports, declared };
}

function read(body: readonly (Statement | ModuleDeclaration)[], imports: Map<string, ImportedName>, declared: Set<string>): void {
  lexicalNames(body, declared);
  for (const statement of body) {
    hoistedNames(statement, declared);
    if (statement.type === "ImportDeclaration") {
      for (const clause of statement.specifiers) {
        const path =
          clause.type === "ImportNamespaceSpecifier"
            ? []
            : clause.type === "ImportDefaultSpecifier"
              ? ["default"]
              : [exportName(clause.imported)];
        imports.set(clause.local.name, { specifier: String(statement.source.value), path });
      }
    } else if (statement.type === "ExportNamedDeclaration" && statement.declaration) {
      lexicalNames([statement.declaration], declared);
    } else if (statement.type === "VariableDeclaration") {
      for (const { id, init } of statement.declarations) readDeclarator(id, init, imports);
    } else if (statement.type === "ExpressionStatement") {
      const called = statement.expression.type === "CallExpression" ? statement.expression.callee : statement.expression;
      if ((called.type === "FunctionExpression" || called.type === "ArrowFunctionExpression") && called.body.type === "BlockStatement") {
        // Vite puts its module into one more block.
        const inner = called.body.body;
        const only = inner.length === 1 ? inner[0] : undefined;
        read(only?.type === "BlockStatement" ? only.body : inner, imports, declared);
      }
    }
  }
}

function readDeclarator(id: Pattern, init: Expression | null | undefined, imports: Map<string, ImportedName>): void {
  const specifier = requiredSpecifier(init);
  if (specifier === undefined) return;
  if (id.type === "Identifier") imports.set(id.name, { specifier, path: [] });
  if (id.type !== "ObjectPattern") return;
  for (const property of id.properties) {
    if (property.type === "Property" && property.key.type === "Identifier" && property.value.type === "Identifier") {
      imports.set(property.value.name, { specifier, path: [property.key.name] });
    }
  }
}

/** The specifier in `require("x")`, `__importStar(require("x"))`, `await import("x")`, `await __vi_import__("x", …)`. */
function requiredSpecifier(init: Expression | null | undefined): string | undefined {
  if (init?.type === "AwaitExpression") return requiredSpecifier(init.argument);
  if (init?.type === "ImportExpression") return init.source.type === "Literal" ? String(init.source.value) : undefined;
  if (init?.type !== "CallExpression") return undefined;
  const { callee } = init;
  const last = callee.type === "SequenceExpression" ? callee.expressions.at(-1) : callee;
  const name =
    last?.type === "Identifier"
      ? last.name
      : last?.type === "MemberExpression" && last.property.type === "Identifier"
        ? last.property.name
        : "";
  const first = init.arguments[0];
  if (first === undefined || first.type === "SpreadElement") return undefined;
  if (LOADERS.test(name)) return first.type === "Literal" ? String(first.value) : undefined;
  return WRAPPERS.test(name) ? requiredSpecifier(first) : undefined;
}

const exportName = (imported: { type: string; name?: string; value?: unknown }): string => imported.name ?? String(imported.value);
