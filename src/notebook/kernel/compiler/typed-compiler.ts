/**
 * Cells with types. To the compiler each cell is a module of its own that imports from earlier ones what it mentions, so that a name may be
 * declared anew, with another type, and cells that were checked before keep what they saw.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ts } from "@ts-morph/common";
import { parseSourceMap } from "../../../cluster/code/source-map.ts";
import type { CellCompiler } from "./cell-compiler.ts";
import { cellScript } from "./cell-script.ts";
import { ancestors, importOfDrey, typesOfDrey } from "./own-package.ts";
import type { Compiled, Completeness, Completions, Diagnostic } from "./protocol.ts";
import type { LoadedTypeScript, TypeScript } from "./typescript.ts";

/** Which cell declared a name, and whether other cells may assign to it. */
interface Declared {
  readonly cell: number;
  readonly assignable: boolean;
}

const MOST_COMPLETIONS = 300;
/** A name of an earlier cell is an import to the compiler, which forbids what a notebook allows. */
const ASSIGNS_TO_IMPORT = 2632;
/** "Could not find a declaration file for module …": it runs all the same. */
const MODULE_WITHOUT_TYPES = 7016;
const MISSING_MODULE = new Set([2307, 2792]);

/** A compiler that checks types. @param folder where the notebook lies: its packages and files are found from there. */
export function typedCompiler({ typescript, library }: LoadedTypeScript, folder: string): CellCompiler {
  const cells = new CellFiles(typescript, folder);
  const service = typescript.createLanguageService(languageHost(typescript, cells, library, folder), typescript.createDocumentRegistry());
  const declared = new Map<string, Declared>();
  const respelled = new Map<string, string>();
  const importAs = importOfDrey(folder);

  /** The line before a cell: what it takes from others. One line, always, so that positions move by one. */
  const preamble = (code: string, own: ReadonlySet<string>): string => {
    const byCell = new Map<number, string[]>();
    const words = new Set(code.match(/[\p{ID_Start}$_][\p{ID_Continue}$]*/gu));
    for (const [name, { cell }] of declared) if (words.has(name) && !own.has(name)) byCell.set(cell, [...(byCell.get(cell) ?? []), name]);
    return `${[...byCell].map(([cell, names]) => `import { ${names.join(", ")} } from "./${cells.moduleOf(cell)}";`).join(" ")}export {};\n`;
  };
  /** The file of a text that is being written, and where the text begins in it. */
  const draft = (code: string): { file: string; offset: number } => {
    const before = preamble(code, new Set(cells.declarations(code).keys()));
    return { file: cells.put(-1, before + code), offset: before.length };
  };

  return {
    about: { compiler: `TypeScript ${typescript.version}`, checksTypes: true },
    compile(cell, code, mode) {
      const own = cells.declarations(code);
      const before = preamble(code, new Set(own.keys()));
      // Statements that end without a semicolon, and comments, must not swallow it.
      const after = own.size === 0 ? "" : `\n;export { ${[...own.keys()].join(", ")} };`;
      const exported = [...own.values()].some(({ exported: already }) => already);
      const file = cells.put(cell, before + code + (exported ? exportsBut(own) : after));
      const syntax = service.getSyntacticDiagnostics(file);
      const semantic = syntax.length > 0 || mode === "off" ? [] : service.getSemanticDiagnostics(file);
      const problems = [...syntax, ...semantic].filter((one) => !isForgiven(typescript, one, declared));
      const diagnostics = problems.map((one) => diagnosticOf(typescript, one, code, before.length, syntax.includes(one as never)));
      if (diagnostics.some(({ syntax: broken }) => broken) || (mode === "error" && diagnostics.length > 0)) {
        cells.remove(cell);
        return { diagnostics };
      }
      const output = service.getEmitOutput(file, false, true).outputFiles;
      const javascript = output.find(({ name }) => name.endsWith(".js"))?.text ?? "";
      const sourceMap = parseSourceMap(output.find(({ name }) => name.endsWith(".map"))?.text ?? "");
      const text = javascript
        .replace(/^import .* from "\.\/Cell_\d+";$/gm, (line) => " ".repeat(line.length))
        .replace(/\/\/# sourceMappingURL=.*\s*$/, "");
      const compiled: Compiled = {
        script: cellScript({ javascript: text, sourceMap, linesBefore: 1, importAs }, (name) => own.has(name), respelled),
        diagnostics,
      };
      for (const [name, { assignable }] of own) declared.set(name, { cell, assignable });
      return compiled;
    },
    complete: (code, cursor) => {
      const { file, offset } = draft(code);
      return completionsOf(service.getCompletionsAtPosition(file, offset + cursor, {}), code, cursor, [...declared.keys()]);
    },
    inspect: (code, cursor) => {
      const { file, offset } = draft(code);
      const info =
        service.getQuickInfoAtPosition(file, offset + cursor) ?? service.getQuickInfoAtPosition(file, offset + Math.max(0, cursor - 1));
      if (info === undefined) return undefined;
      const documentation = typescript.displayPartsToString(info.documentation ?? []);
      const tags = (info.tags ?? []).map(({ name, text }) => `@${name} ${typescript.displayPartsToString(text ?? [])}`);
      return [typescript.displayPartsToString(info.displayParts ?? []), documentation, tags.join("\n")]
        .filter((part) => part !== "")
        .join("\n\n");
    },
    isComplete: (code) => completeness(typescript, code),
    forget() {
      declared.clear();
      respelled.clear();
    },
  };
}

/** Names that a cell with `export` of its own has not exported. */
function exportsBut(own: ReadonlyMap<string, { readonly exported: boolean }>): string {
  const names = [...own].filter(([, { exported }]) => !exported).map(([name]) => name);
  return names.length === 0 ? "" : `\n;export { ${names.join(", ")} };`;
}

/** The cells as files that exist only here. */
class CellFiles {
  readonly #texts = new Map<string, { readonly text: string; readonly version: number }>();
  readonly #typescript: TypeScript;
  readonly #folder: string;
  #version = 0;
  #latest: string;

  constructor(typescript: TypeScript, folder: string) {
    this.#typescript = typescript;
    this.#folder = folder;
    this.#latest = this.put(-1, "");
  }

  moduleOf(cell: number): string {
    return cell < 0 ? "Cell_draft" : `Cell_${cell}`;
  }

  put(cell: number, text: string): string {
    const file = this.#fileOf(cell);
    this.#texts.set(file, { text, version: ++this.#version });
    this.#latest = file;
    return file;
  }

  remove(cell: number): void {
    this.#texts.delete(this.#fileOf(cell));
  }

  /** Only what is looked at now: it brings along the cells whose names it mentions, so a long notebook costs no more than a short one. */
  names(): string[] {
    return [this.#latest];
  }

  get(file: string): { readonly text: string; readonly version: number } | undefined {
    return this.#texts.get(file);
  }

  /** What a cell declares at its top level. */
  declarations(code: string): Map<string, { readonly assignable: boolean; readonly exported: boolean }> {
    const { SyntaxKind, NodeFlags, isIdentifier } = this.#typescript;
    const names = new Map<string, { assignable: boolean; exported: boolean }>();
    const file = this.#typescript.createSourceFile("cell.ts", code, this.#typescript.ScriptTarget.Latest);
    const bind = (name: ts.BindingName, assignable: boolean, exported: boolean): void => {
      if (isIdentifier(name)) names.set(name.text, { assignable, exported });
      else for (const element of name.elements) if ("name" in element) bind(element.name, assignable, exported);
    };
    for (const statement of file.statements) {
      const modifiers = (statement as { modifiers?: readonly ts.ModifierLike[] }).modifiers ?? [];
      const exported = modifiers.some(({ kind }) => kind === SyntaxKind.ExportKeyword);
      if (this.#typescript.isVariableStatement(statement)) {
        const { flags, declarations } = statement.declarationList;
        for (const { name } of declarations) bind(name, (flags & NodeFlags.Const) === 0, exported);
      } else if (this.#typescript.isImportDeclaration(statement)) {
        const { name, namedBindings } = statement.importClause ?? {};
        if (name !== undefined) bind(name, false, false);
        if (namedBindings === undefined) continue;
        if (this.#typescript.isNamespaceImport(namedBindings)) bind(namedBindings.name, false, false);
        else for (const element of namedBindings.elements) bind(element.name, false, false);
      } else if ("name" in statement && statement.name !== undefined && isIdentifier(statement.name as ts.Node)) {
        // Functions, classes, interfaces, type aliases, enums, namespaces.
        bind(statement.name as ts.Identifier, false, exported);
      }
    }
    return names;
  }

  #fileOf(cell: number): string {
    return join(this.#folder, `${this.moduleOf(cell)}.ts`);
  }
}

function languageHost(
  typescript: TypeScript,
  cells: CellFiles,
  library: LoadedTypeScript["library"],
  folder: string,
): ts.LanguageServiceHost {
  const { sys } = typescript;
  const settings = compilerOptions(typescript, folder);
  const ambient = join(folder, "Cell_globals.d.ts");
  const globals = settings.types?.includes("node") === true ? GLOBALS : GLOBALS + WITHOUT_NODE;
  // A folder of the language's own files, which need not exist.
  const libraries = join(folder, "Cell_libraries");
  const read = (file: string): string | undefined => {
    if (file === ambient) return globals;
    return file.startsWith(libraries) ? library(file) : (cells.get(file)?.text ?? sys.readFile(file));
  };
  const exists = (file: string): boolean =>
    file === ambient || cells.get(file) !== undefined || (file.startsWith(libraries) ? library(file) !== undefined : sys.fileExists(file));
  return {
    getScriptFileNames: () => [ambient, ...cells.names()],
    getScriptVersion: (file) => String(cells.get(file)?.version ?? 0),
    getScriptSnapshot: (file) => {
      const text = read(file);
      return text === undefined ? undefined : typescript.ScriptSnapshot.fromString(text);
    },
    getCurrentDirectory: () => folder,
    getCompilationSettings: () => settings,
    getDefaultLibFileName: (options) => join(libraries, typescript.getDefaultLibFileName(options)),
    fileExists: exists,
    readFile: read,
    readDirectory: (...args) => sys.readDirectory(...args),
    directoryExists: (name) => sys.directoryExists(name),
    getDirectories: (name) => sys.getDirectories(name),
    ...(sys.realpath === undefined ? {} : { realpath: (file) => (file.startsWith(libraries) ? file : (sys.realpath?.(file) ?? file)) }),
  };
}

/** What the kernel gives to cells. */
const GLOBALS = `
/** Asks the user for a line; null when the front end can't ask. */
declare function prompt(message?: string, initial?: string): string | null;
/** Asks the user for yes or no. */
declare function confirm(message?: string): boolean;
/** Shows a message and waits for Enter. */
declare function alert(message?: string): void;
`;
/** Where the types of Node are not installed. */
const WITHOUT_NODE = `
declare module "node:*";
declare const process: any, Buffer: any, console: any, require: any, fetch: any, URL: any, performance: any, crypto: any;
declare function setTimeout(work: (...args: any[]) => void, ms?: number): any;
declare function setInterval(work: (...args: any[]) => void, ms?: number): any;
declare function clearTimeout(timer: any): void;
declare function clearInterval(timer: any): void;
`;

function compilerOptions(typescript: TypeScript, folder: string): ts.CompilerOptions {
  const typeRoots = [...ancestors(folder), ...ancestors(fileURLToPath(new URL(".", import.meta.url)))]
    .map((place) => join(place, "node_modules/@types"))
    .filter((place) => existsSync(place));
  return {
    target: typescript.ScriptTarget.ES2022,
    module: typescript.ModuleKind.ESNext,
    moduleResolution: typescript.ModuleResolutionKind.Bundler,
    customConditions: ["node"],
    lib: ["lib.esnext.d.ts"],
    types: typeRoots.some((place) => existsSync(join(place, "node"))) ? ["node"] : [],
    typeRoots,
    strict: true,
    // A notebook is read from top to bottom by a person: what can be left out may be left out.
    noImplicitAny: false,
    strictPropertyInitialization: false,
    useUnknownInCatchVariables: false,
    allowUnreachableCode: true,
    allowUnusedLabels: true,
    skipLibCheck: true,
    skipDefaultLibCheck: true,
    esModuleInterop: true,
    allowImportingTsExtensions: true,
    resolveJsonModule: true,
    sourceMap: true,
    newLine: typescript.NewLineKind.LineFeed,
    paths: typesOfDrey(folder),
  };
}

function isForgiven(
  typescript: TypeScript,
  { code, messageText, file, start = 0, length = 0 }: ts.Diagnostic,
  declared: ReadonlyMap<string, Declared>,
): boolean {
  if (code === MODULE_WITHOUT_TYPES) return true;
  if (code === ASSIGNS_TO_IMPORT) return declared.get(file?.text.slice(start, start + length) ?? "")?.assignable === true;
  // A name of the preamble that is a type and a value, or was removed with its cell.
  return file !== undefined && start < file.text.indexOf("\n") && typescript.flattenDiagnosticMessageText(messageText, "\n") !== "";
}

function diagnosticOf(typescript: TypeScript, problem: ts.Diagnostic, code: string, offset: number, syntax: boolean): Diagnostic {
  const at = Math.min(Math.max(0, (problem.start ?? 0) - offset), code.length);
  const before = code.slice(0, at);
  const line = before.split("\n").length;
  const column = at - (before.lastIndexOf("\n") + 1) + 1;
  const text = code.split("\n")[line - 1] ?? "";
  let message = typescript.flattenDiagnosticMessageText(problem.messageText, "\n");
  const missing = MISSING_MODULE.has(problem.code) ? /module '([^'./][^']*)'/.exec(message)?.[1] : undefined;
  if (missing !== undefined && !missing.startsWith("node:")) {
    message += ` Install it in the notebook's folder: npm install ${missing.split("/", missing.startsWith("@") ? 2 : 1).join("/")}`;
  }
  if (problem.code === ASSIGNS_TO_IMPORT)
    message = message.replace("because it is an import", "because it is a constant of an earlier cell");
  const length = Math.max(1, Math.min(problem.length ?? 1, text.length - column + 1));
  return { message, line, column, text, length, code: `TS${problem.code}`, syntax };
}

function completionsOf(info: ts.CompletionInfo | undefined, code: string, cursor: number, names: readonly string[]): Completions {
  const word = /[\p{ID_Continue}$]*$/u.exec(code.slice(0, cursor))?.[0] ?? "";
  const start = cursor - word.length;
  const isMember = /\.\s*$/.test(code.slice(0, start));
  const lower = word.toLowerCase();
  const fits = (name: string): boolean => name.toLowerCase().startsWith(lower);
  const own = isMember || info?.isMemberCompletion === true ? [] : names.filter(fits).map((text) => ({ text, type: "variable" }));
  const entries = (info?.entries ?? [])
    .filter(({ name, kind }) => fits(name) && (kind !== "warning" || !isMember))
    .sort((a, b) => (a.sortText < b.sortText ? -1 : a.sortText > b.sortText ? 1 : a.name < b.name ? -1 : 1))
    .map(({ name, kind }) => ({ text: name, type: kind }));
  const known = new Set(own.map(({ text }) => text));
  const matches = [...own, ...entries.filter(({ text }) => !known.has(text) && !/^Cell_\w+$/.test(text))].slice(0, MOST_COMPLETIONS);
  return { matches, start, end: cursor };
}

function completeness(typescript: TypeScript, code: string): Completeness {
  const file = typescript.createSourceFile("cell.ts", code, typescript.ScriptTarget.Latest) as ts.SourceFile & {
    parseDiagnostics: readonly ts.DiagnosticWithLocation[];
  };
  const [first] = file.parseDiagnostics;
  if (first === undefined) return { status: "complete" };
  const end = code.trimEnd().length;
  const unterminated = /unterminated|expected/i.test(typescript.flattenDiagnosticMessageText(first.messageText, "\n"));
  if (unterminated && first.start + Math.max(1, first.length) >= end) {
    const depth = (code.match(/[{([]/g)?.length ?? 0) - (code.match(/[})\]]/g)?.length ?? 0);
    return { status: "incomplete", indent: "  ".repeat(Math.max(0, depth)) };
  }
  return { status: "invalid" };
}
