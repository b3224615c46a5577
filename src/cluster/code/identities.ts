/**
 * Values that every process has anyway and that therefore travel by name: globals, Node's builtin modules, the exports of
 * installed packages, the exports of drey, and the files of drey's own package. A value is recognised by identity alone, never
 * by its name or shape, so a user's patched copy is never mistaken for the original.
 */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { builtinModules, createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Where a value is found: a module and a path of property names from it. */
export interface ModuleMember {
  readonly specifier: string;
  readonly origin: "builtin" | "known" | "drey" | "package" | "url";
  readonly style: "import" | "require";
  readonly path: readonly string[];
  /** The file, for packages. */
  readonly file?: string;
}

/** A module whose exports travel by name, because the worker has the same one. */
export interface KnownModule {
  /** What the worker imports; see `resolve` of `revive`. */
  readonly specifier: string;
  /** `import * as namespace from specifier`. */
  readonly namespace: object;
}

/** The folder of this build of drey: all of its files lie below. Ends with a slash. */
const HOUSE_URL: string = new URL("../../", import.meta.url).href;

const requireHere = createRequire(import.meta.url);
const isReference = (value: unknown): value is object => (typeof value === "object" && value !== null) || typeof value === "function";

/** A property's value without running a getter. */
const dataProperty = (owner: object, key: PropertyKey): unknown => Object.getOwnPropertyDescriptor(owner, key)?.value;

// ---- globals ----

/** Enumerable names on globalThis are the user's (a notebook may load drey late), except those that runtimes make enumerable. */
const ENUMERABLE_HOST_NAMES = new Set(
  (
    "global clearImmediate setImmediate clearInterval clearTimeout setInterval setTimeout queueMicrotask structuredClone atob btoa " +
    "performance fetch navigator crypto CustomEvent process Buffer console Deno Bun self"
  ).split(" "),
);
/** Not looked into: they are large, belong to one process, or warn when touched. */
const OPAQUE_GLOBALS = /^(?:process|navigator|window|localStorage|sessionStorage)$/;
/** Host globals behind getters that may be touched. */
const HARMLESS_GETTERS = /^(?:[A-Z].*|console|performance|crypto)$/;

const hostNames: ReadonlySet<string> = new Set(
  Object.getOwnPropertyNames(globalThis).filter((name) => {
    const enumerable = Object.getOwnPropertyDescriptor(globalThis, name)?.enumerable ?? false;
    return name !== "__tslab__" && (!enumerable || ENUMERABLE_HOST_NAMES.has(name));
  }),
);

/** True for a name that the runtime itself put on globalThis; such a name means the same in a worker. */
export const isHostGlobal = (name: string): boolean => hostNames.has(name);

let globals: Map<unknown, readonly PropertyKey[]> | undefined;

/** The path to a value of the host, e.g. `["Math", "max"]`; the empty path is globalThis itself. */
export function globalPath(value: unknown): readonly PropertyKey[] | undefined {
  globals ??= indexGlobals();
  return globals.get(value);
}

function indexGlobals(): Map<unknown, readonly PropertyKey[]> {
  const index = new Map<unknown, readonly PropertyKey[]>([[globalThis, []]]);
  const add = (value: unknown, at: readonly PropertyKey[], depth: number): void => {
    if (!isReference(value) || index.has(value)) return;
    index.set(value, at);
    if (depth === 0) return;
    for (const key of Reflect.ownKeys(value)) {
      if (key !== "caller" && key !== "arguments" && key !== "callee") add(dataProperty(value, key), [...at, key], depth - 1);
    }
  };
  for (const name of hostNames) {
    if (name === "process") index.set(process, ["process"]);
    if (OPAQUE_GLOBALS.test(name)) continue;
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, name);
    if (descriptor === undefined) continue;
    try {
      add(
        "value" in descriptor ? descriptor.value : HARMLESS_GETTERS.test(name) ? (globalThis as Record<string, unknown>)[name] : undefined,
        [name],
        3,
      );
    } catch {
      // A host global that can't be read here can't have been captured either.
    }
  }
  return index;
}

// ---- builtin modules ----

/** Loading these warns, is costly, or is not possible in a worker. */
const SKIPPED_BUILTINS = new Set(
  "punycode sys wasi repl inspector inspector/promises trace_events cluster domain test sqlite sea quic ffi".split(" "),
);
const builtins = new Map<unknown, ModuleMember>();
const indexedBuiltins = new Set<string>();

/** The builtin module that a value is, or is a member of. */
export function builtinMember(value: unknown): ModuleMember | undefined {
  return builtins.get(value);
}

function indexBuiltins(): void {
  // A value can only come from a builtin that was loaded; loading all of them to compare would cost 100 ms.
  const list = (process as unknown as { moduleLoadList?: readonly string[] }).moduleLoadList;
  const loaded =
    list === undefined || "Bun" in globalThis || "Deno" in globalThis
      ? undefined
      : new Set(list.map((entry) => entry.replace(/^(?:NativeModule|Internal Binding) /, "")));
  const added: [specifier: string, exports: object][] = [];
  for (const name of builtinModules) {
    if (
      indexedBuiltins.has(name) ||
      name.startsWith("_") ||
      SKIPPED_BUILTINS.has(name) ||
      loaded?.has(name.replace(/^node:/, "")) === false
    )
      continue;
    indexedBuiltins.add(name);
    try {
      const exports: unknown = requireHere(`node:${name.replace(/^node:/, "")}`);
      if (isReference(exports)) added.push([`node:${name.replace(/^node:/, "")}`, exports]);
    } catch {
      // Listed but not available in this runtime.
    }
  }
  const builtin = { origin: "builtin", style: "import" } as const;
  for (const [specifier, exports] of added) if (!builtins.has(exports)) builtins.set(exports, { ...builtin, specifier, path: ["default"] });
  for (const [specifier, exports] of added) {
    for (const key of Object.getOwnPropertyNames(exports)) {
      const value = dataProperty(exports, key);
      if (isReference(value) && !builtins.has(value) && globalPath(value) === undefined)
        builtins.set(value, { ...builtin, specifier, path: ["default", key] });
    }
  }
}

// ---- packages ----

/** True for files that are installed wherever the job runs: those in node_modules. All others are the user's, and travel by value. */
export const isInstalled = (file: string): boolean => /[\\/]node_modules[\\/]/.test(file);

/** A file of an installed package, as an import names it. */
export interface PackageFile {
  readonly name: string;
  /** The package's folder. */
  readonly folder: string;
  readonly subpath: string;
}

/** The package that a file of node_modules belongs to. */
export function packageOf(file: string): PackageFile | undefined {
  const match = /^(.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+))[\\/](.+)$/.exec(file);
  if (match === null) return undefined;
  const slashes = (text: string): string => text.replaceAll("\\", "/");
  return { folder: match[1] as string, name: slashes(match[2] as string), subpath: slashes(match[3] as string) };
}

/** The version in a package folder's package.json; undefined when there is none to read. */
export function packageVersion(folder: string): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as { version?: unknown };
    return typeof version === "string" ? version : undefined;
  } catch {
    return undefined;
  }
}

const packageMembers = new Map<unknown, ModuleMember & { readonly main: boolean }>();
const indexedFiles = new Set<string>();
const mains = new Map<string, string | undefined>();

/** The installed package that a value is, or is an export of. */
export const packageMember = (value: unknown): ModuleMember | undefined => packageMembers.get(value);

function indexPackages(): void {
  const requireFromProject = createRequire(path.join(process.cwd(), "x.js"));
  for (const [file, module] of Object.entries(requireHere.cache ?? {})) {
    if (module?.loaded !== true || indexedFiles.has(file)) continue;
    indexedFiles.add(file);
    const owner = isInstalled(file) ? packageOf(file) : undefined;
    if (owner === undefined) continue;
    if (!mains.has(owner.name)) {
      try {
        mains.set(owner.name, requireFromProject.resolve(owner.name));
      } catch {
        mains.set(owner.name, undefined);
      }
    }
    const main = mains.get(owner.name) === file;
    addPackage(module.exports, { specifier: main ? owner.name : file, file, main, style: "require" });
  }
}

/** Remembers the exports of one installed module. */
function addPackage(exports: unknown, module: { specifier: string; file: string; main: boolean; style: "import" | "require" }): void {
  if (!isReference(exports)) return;
  const put = (value: unknown, at: readonly string[]): void => {
    if (!isReference(value) || globalPath(value) !== undefined || builtins.has(value)) return;
    const other = packageMembers.get(value);
    // An entry point is named rather than an inner file, a short path rather than a long one.
    if (other !== undefined && (other.main !== module.main ? other.main : other.path.length <= at.length)) return;
    packageMembers.set(value, { ...module, origin: "package", path: at });
  };
  put(exports, []);
  for (const key of Object.keys(exports)) {
    let value: unknown;
    try {
      value = (exports as Record<string, unknown>)[key];
    } catch {
      continue;
    }
    put(value, [key]);
    if (key === "default" && isReference(value)) for (const inner of Object.keys(value)) put(dataProperty(value, inner), [key, inner]);
  }
}

// ---- drey itself ----

const houseMembers = new WeakMap<object, ModuleMember>();
const indexedHouseFiles = new Set<string>();
const knownMembers = new WeakMap<object, ReadonlyMap<unknown, ModuleMember>>();

/** The exports of one known module by value, members of exported plain objects included. Built once per namespace. */
export function knownModuleMembers(module: KnownModule): ReadonlyMap<unknown, ModuleMember> {
  const indexed = knownMembers.get(module.namespace);
  if (indexed !== undefined) return indexed;
  const members = new Map<unknown, ModuleMember>();
  const put = (value: unknown, at: readonly string[]): void => {
    if (!isReference(value) || members.has(value) || globalPath(value) !== undefined || builtins.has(value)) return;
    members.set(value, { specifier: module.specifier, origin: "known", style: "import", path: at });
  };
  put(module.namespace, []);
  const names = Object.keys(module.namespace);
  for (const name of names) put((module.namespace as Record<string, unknown>)[name], [name]);
  for (const name of names) {
    const value = (module.namespace as Record<string, unknown>)[name];
    if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
      for (const key of Object.keys(value)) put(dataProperty(value, key), [name, key]);
    }
  }
  knownMembers.set(module.namespace, members);
  return members;
}

/** The name of one of drey's own files, from the build's folder and without extension; undefined for other scripts. */
export function houseFile(scriptUrl: string): string | undefined {
  const url = scriptFileUrl(scriptUrl);
  return url?.startsWith(HOUSE_URL) === true ? url.slice(HOUSE_URL.length).replace(/\.[cm]?[jt]s(?:\?.*)?$/, "") : undefined;
}

/** Remembers the exports of one of drey's own files, so that its classes keep their identity in the worker. */
export function indexHouseFile(scriptUrl: string): void {
  const name = houseFile(scriptUrl);
  const url = scriptFileUrl(scriptUrl);
  if (name === undefined || url === undefined || indexedHouseFiles.has(name)) return;
  indexedHouseFiles.add(name);
  try {
    // The file is loaded, so requiring it runs nothing and gives the same module.
    const exports = requireHere(fileURLToPath(url)) as Record<string, unknown>;
    for (const key of Object.keys(exports)) {
      const value = exports[key];
      if (isReference(value) && globalPath(value) === undefined)
        houseMembers.set(value, { specifier: name, origin: "drey", style: "import", path: [key] });
    }
  } catch {
    // Sources run by a loader of TypeScript can't be required; then the function travels by its text, like a user's.
  }
}

/** The file of drey that a value is an export of, if `indexHouseFile` saw it. */
export const houseMember = (value: object): ModuleMember | undefined => houseMembers.get(value);

// ---- names in scripts ----

/** A script's URL as a file URL; undefined when it is no file (a notebook cell, eval, data:). */
export function scriptFileUrl(scriptUrl: string): string | undefined {
  if (scriptUrl.startsWith("file:")) return scriptUrl;
  return path.isAbsolute(scriptUrl) ? pathToFileURL(scriptUrl).href : undefined;
}

/**
 * The module that an import statement names, when it travels by name; undefined for the user's own files, which travel by value.
 * @param specifier as written in the script at `scriptUrl`.
 * @param exportPath from the module's namespace to the value; empty for the namespace.
 */
export function importedMember(
  specifier: string,
  exportPath: readonly string[],
  scriptUrl: string,
  known: readonly KnownModule[],
): ModuleMember | undefined {
  if (specifier.startsWith("node:") || builtinModules.includes(specifier)) {
    return {
      specifier: specifier.startsWith("node:") ? specifier : `node:${specifier}`,
      origin: "builtin",
      style: "import",
      path: exportPath,
    };
  }
  const door = known.find((module) => module.specifier === specifier);
  if (door !== undefined) {
    // Another known module that has the same thing may be the lighter one to load: they stand in order of preference.
    let value: unknown = door.namespace;
    for (const name of exportPath) value = isReference(value) ? (value as Record<string, unknown>)[name] : undefined;
    const preferred = known.map((module) => knownModuleMembers(module).get(value)).find((found) => found !== undefined);
    return preferred ?? { specifier, origin: "known", style: "import", path: exportPath };
  }
  if (/^(?:npm|jsr|https?):/.test(specifier)) return { specifier, origin: "url", style: "import", path: exportPath };
  const parent = scriptFileUrl(scriptUrl) ?? pathToFileURL(path.join(process.cwd(), "x.js")).href;
  const found = resolveFile(specifier, parent);
  if (found === undefined) return undefined;
  // As the loader does: a linked package is where its files are.
  const file = attempt(() => realpathSync(found)) ?? found;
  const inHouse = houseFile(pathToFileURL(file).href);
  if (inHouse !== undefined) return { specifier: inHouse, origin: "drey", style: "import", path: exportPath };
  if (!isInstalled(file)) return undefined;
  const bare = !/^(?:[./]|file:)/.test(specifier);
  return { specifier: bare ? specifier : file, origin: "package", style: "import", path: exportPath, file };
}

/** The URL of a file that a script imports by a relative or absolute name; undefined for other specifiers. */
export function relativeModule(specifier: string, scriptUrl: string): string | undefined {
  const parent = scriptFileUrl(scriptUrl);
  if (parent === undefined || !/^\.{0,2}\//.test(specifier)) return undefined;
  return specifier.startsWith(".") ? new URL(specifier, parent).href : pathToFileURL(resolveFile(specifier, parent) ?? specifier).href;
}

/** Vite writes absolute names from its root, which is the working directory. */
function resolveFile(specifier: string, parent: string): string | undefined {
  if (specifier.startsWith("file:")) return fileURLToPath(specifier);
  if (path.isAbsolute(specifier)) return [specifier, path.join(process.cwd(), specifier)].find((file) => existsSync(file));
  if (specifier.startsWith(".")) {
    const file = fileURLToPath(new URL(specifier, parent));
    return existsSync(file) ? file : attempt(() => createRequire(parent).resolve(specifier));
  }
  return packageEntry(specifier, parent) ?? attempt(() => createRequire(parent).resolve(specifier));
}

/**
 * Where `import` finds a package. `import.meta.resolve` takes no parent in Node 20 and require's resolution misses packages that
 * only have an "import" entry, so the folders above are searched and `exports` is read as far as an entry point needs it.
 */
function packageEntry(specifier: string, parent: string): string | undefined {
  const [, name, inner] = /^((?:@[^/]+\/)?[^/]+)(?:\/(.*))?$/.exec(specifier) ?? [];
  if (name === undefined) return undefined;
  for (let folder = path.dirname(fileURLToPath(parent)); ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, "node_modules", name);
    if (existsSync(path.join(candidate, "package.json"))) {
      const manifest = JSON.parse(readFileSync(path.join(candidate, "package.json"), "utf8")) as { exports?: unknown };
      const target = exportTarget(manifest.exports, inner === undefined ? "." : `./${inner}`);
      return target === undefined ? undefined : path.join(candidate, target);
    }
    if (folder === path.dirname(folder)) return undefined;
  }
}

function exportTarget(exports: unknown, entry: string): string | undefined {
  if (exports === undefined || exports === null) return undefined;
  const hasEntries = typeof exports === "object" && !Array.isArray(exports) && Object.keys(exports)[0]?.startsWith(".") === true;
  if (!hasEntries && entry !== ".") return undefined;
  const conditions = (target: unknown): string | undefined => {
    if (typeof target === "string") return target;
    if (typeof target !== "object" || target === null) return undefined;
    for (const [name, inner] of Object.entries(target)) {
      if (name !== "node" && name !== "import" && name !== "default" && name !== "module-sync" && !/^\d+$/.test(name)) continue;
      const found = conditions(inner);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return conditions(hasEntries ? (exports as Record<string, unknown>)[entry] : exports);
}

function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

/** Brings the tables up to date with what was loaded since; the first time takes tens of milliseconds, later times little. */
export function refreshIdentities(): void {
  globals ??= indexGlobals();
  indexBuiltins();
  indexPackages();
}
