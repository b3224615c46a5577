/**
 * The source of the house as the house rules see it: every file parsed, with its room, what it imports and what it exports.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { parseSync } from "vite";

/** The folder of the project; another one when a rule is tried on a copy with a planted fault. */
export const house: string = process.env["TIDY_HOUSE"] ?? path.resolve(import.meta.dirname, "../..");

export interface Import {
  readonly specifier: string;
  /** Leaves nothing behind when types are erased. */
  readonly typeOnly: boolean;
}

export interface Export {
  readonly name: string;
  readonly line: number;
  /** A docstring says what it promises; or that of another one speaks for it, see `isDocumented`. */
  readonly documented: boolean;
}

export interface SourceFile {
  /** Relative to src, with slashes. */
  readonly name: string;
  readonly text: string;
  readonly room: string;
  readonly imports: readonly Import[];
  readonly exports: readonly Export[];
  /** Classes, interfaces and types that it declares. */
  readonly types: readonly { readonly name: string; readonly isClass: boolean }[];
  /** It exports what another file declares. */
  readonly passesOn: boolean;
  readonly awaitsAtLoad: boolean;
  /** Lines of more than 140 characters, of which no long string or template takes a part. */
  readonly longLines: readonly number[];
  /** Files that it names by address (`new URL("./x.js", import.meta.url)`), relative to src: to start threads and processes with them. */
  readonly addresses: readonly string[];
}

/** What the rules need of the syntax tree (ESTree with TypeScript's nodes). */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

/** All files of src, by name. */
export const files: ReadonlyMap<string, SourceFile> = new Map(
  readdirSync(path.join(house, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => name.split(path.sep).join("/"))
    .sort()
    .map((name) => [name, read(name)]),
);

/** The manifest of the package, as far as the rules need it. */
export const manifest = JSON.parse(readFileSync(path.join(house, "package.json"), "utf8")) as {
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly typesVersions: Readonly<Record<"*", Readonly<Record<string, readonly string[]>>>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
  /** What users bring along if they want it. */
  readonly peerDependencies: Readonly<Record<string, string>>;
};

/** Doors of the package, as files of src. */
export const doors: ReadonlySet<string> = new Set(
  Object.values(manifest.exports).flatMap((door) => (typeof door === "string" ? [] : [sourceOf(door.default)])),
);

/** Commands of the package, as files of src. */
export const commands: ReadonlySet<string> = new Set(Object.values(manifest.bin).map(sourceOf));

/** Whether src has the file. */
export const exists = (name: string): boolean => existsSync(path.join(house, "src", name));

/** The file of src that a relative specifier means. */
export function targetOf(from: SourceFile, specifier: string): string {
  return path.posix.join(path.posix.dirname(from.name), specifier);
}

/** Files of the house that a file imports; `load`: leaving out what is imported as types only. */
export function neighbours(file: SourceFile, of: "all" | "load"): SourceFile[] {
  return file.imports
    .filter(({ specifier, typeOnly }) => specifier.startsWith(".") && (of === "all" || !typeOnly))
    .flatMap(({ specifier }) => files.get(targetOf(file, specifier)) ?? []);
}

/** What is loaded with a file: itself, and all it imports other than as types. */
export function loadedWith(name: string): ReadonlySet<SourceFile> {
  const loaded = new Set<SourceFile>();
  const visit = (file: SourceFile | undefined): void => {
    if (file === undefined || loaded.has(file)) return;
    loaded.add(file);
    for (const next of neighbours(file, "load")) visit(next);
  };
  visit(files.get(name));
  return loaded;
}

/** The package of a specifier; of Node's own modules their full name. */
export function packageOf(specifier: string): string {
  if (specifier.startsWith("node:")) return specifier;
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

function sourceOf(built: string): string {
  return built.replace(/^(\.\/)?dist\//, "").replace(/\.js$/, ".ts");
}

/** A folder of a storey, or a file that stands alone in it; a door belongs to its storey, and notebook is one room. */
function roomOf(name: string): string {
  const [storey = "", inner = ""] = name.split("/");
  if (storey === "notebook" || inner === "index.ts") return storey;
  return `${storey}/${inner.replace(/\.ts$/, "")}`;
}

function read(name: string): SourceFile {
  const text = readFileSync(path.join(house, "src", name), "utf8");
  const parsed = parseSync(name, text);
  const [problem] = parsed.errors;
  if (problem !== undefined) throw new SyntaxError(`src/${name}: ${problem.message}`);
  const body = parsed.program.body as unknown as readonly Node[];
  const statements = body.filter(({ source }) => source !== undefined && source !== null);
  const addresses = [...text.matchAll(/new URL\("(\.[^"]*?)\.js", import\.meta\.url\)/g)];
  return {
    name,
    text,
    room: roomOf(name),
    imports: [
      ...statements.map((node) => ({
        specifier: (node["source"] as { value: string }).value,
        typeOnly: (node["importKind"] ?? node["exportKind"]) === "type",
      })),
      ...parsed.module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
        const [, specifier] = /^["'](.*)["']$/.exec(text.slice(start, end)) ?? [];
        return specifier === undefined ? [] : [{ specifier, typeOnly: false }];
      }),
    ],
    exports: exportsOf(name, text, body, parsed.comments),
    types: body.map(declarationOf).flatMap((node) => {
      const isClass = node.type === "ClassDeclaration";
      if (!isClass && node.type !== "TSInterfaceDeclaration" && node.type !== "TSTypeAliasDeclaration") return [];
      return [{ name: (node["id"] as { name: string }).name, isClass }];
    }),
    passesOn: statements.some(({ type }) => type.startsWith("Export")),
    awaitsAtLoad: body.some(awaits),
    longLines: longLinesOf(text, body),
    addresses: addresses.map((match) => path.posix.join(path.posix.dirname(name), `${match[1] as string}.ts`)),
  };
}

function declarationOf(node: Node): Node {
  return (node.type === "ExportNamedDeclaration" ? (node["declaration"] as Node | null) : null) ?? node;
}

/** Whether a statement awaits outside of functions. */
function awaits(node: Node): boolean {
  if (node.type === "AwaitExpression" || (node.type === "ForOfStatement" && node["await"] === true)) return true;
  if (/Function|^TS|MethodDefinition/.test(node.type)) return false;
  return Object.values(node).some((value) => (Array.isArray(value) ? (value as unknown[]) : [value]).some((inner) => isNode(inner) && awaits(inner)));
}

function longLinesOf(text: string, body: readonly Node[]): number[] {
  let at = 0;
  const lines = text.split("\n").map((line, index) => {
    const start = at;
    at += line.length + 1;
    return { number: index + 1, start, end: start + line.length, long: [...line].length > 140 };
  });
  const long = lines.filter((line) => line.long);
  if (long.length === 0) return [];
  const texts: { readonly start: number; readonly end: number }[] = [];
  const visit = (node: Node): void => {
    if (node.type === "TemplateLiteral" || (node.type === "Literal" && node.end - node.start > 60)) texts.push(node);
    for (const inner of Object.values(node).flat().filter(isNode)) visit(inner);
  };
  for (const node of body) visit(node);
  return long
    .filter(({ start, end }) => !texts.some((literal) => Math.min(end, literal.end) - Math.max(start, literal.start) > 60))
    .map(({ number }) => number);
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

function exportsOf(name: string, text: string, body: readonly Node[], comments: readonly { value: string; start: number; end: number }[]): Export[] {
  const documented = new Map<string, boolean>();
  const found: Export[] = [];
  let previous: { readonly node: Node; readonly documented: boolean } | undefined;
  for (const node of body) {
    const declaration = node.type === "ExportNamedDeclaration" ? (node["declaration"] as Node | null) : null;
    if (declaration === null) {
      previous = undefined;
      continue;
    }
    const of = (declaration["declarations"] as readonly Node[] | undefined)?.[0] ?? declaration;
    const exported = ((of["id"] as { name?: string } | null)?.name ?? "") as string;
    const isDocumented =
      isConcept(exported, name) ||
      comments.some(({ value, end }) => value.startsWith("*") && end <= node.start && text.slice(end, node.start).trim() === "") ||
      // Overloads, and a type beside the constant of its name.
      documented.get(exported) === true ||
      // The docstring of a list of alike lines stands above its first.
      (previous?.documented === true && /^\n$/.test(text.slice(previous.node.end, node.start)) && !text.slice(node.start, node.end).includes("{\n"));
    documented.set(exported, isDocumented);
    previous = { node, documented: isDocumented };
    found.push({ name: exported, line: text.slice(0, node.start).split("\n").length, documented: isDocumented });
  }
  return found;
}

/** What bears its file's name is what the file's first comment speaks of: `mapOperator` and `MapSpec` in map.ts. */
function isConcept(exported: string, file: string): boolean {
  const concept = path.posix.basename(file, ".ts").replaceAll("-", "").toLowerCase();
  return exported.toLowerCase().includes(concept);
}
