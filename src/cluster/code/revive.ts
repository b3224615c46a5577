/**
 * A bundle brought to life: modules are loaded by name, the shipped text is evaluated once, and the graph of values is rebuilt with
 * the identities it had. Runs where the job runs, usually in a worker thread; it needs neither parser nor inspector.
 *
 * Evaluating a bundle runs its code. The caller vouches for where it came from.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import vm from "node:vm";
import { CaptureError, InvariantError } from "../../core/types/errors.ts";
import { PropertyFlag } from "./bundle.ts";
import type { CodeBundle, Encoded, EncodedProperty, ModuleImport, NodeRef, ValueNode } from "./bundle.ts";

export interface ReviveOptions {
  /** Folder whose node_modules hold the packages that the code names. Default: the working directory. */
  readonly root?: string;
  /** Where a module is: a URL, or undefined to look for it in the usual way. Called with specifiers of known modules and packages. */
  readonly resolve?: (specifier: string) => string | undefined;
}

/** A class of the bundle. Its index in `RevivedBundle.classes` is the same in every worker: the class's id in the record codec. */
export interface ShippedClass {
  /** Empty for a class without a name. */
  readonly name: string;
  // eslint-disable-next-line @typescript-eslint/no-unsafe-function-type -- any class, also an abstract one
  readonly constructor: Function;
  /** Names, without `#`, of the private fields that it declares or inherits from classes that are not in the bundle. */
  readonly privateFields: readonly string[];
}

export interface RevivedBundle {
  /** One per captured root, in their order. */
  readonly values: readonly unknown[];
  readonly classes: readonly ShippedClass[];
  /** Sentences for the user, e.g. about a package whose version differs from the client's. */
  readonly warnings: readonly string[];
}

/**
 * Evaluates a bundle. Each call makes a new, independent set of values.
 * @throws CaptureError when a module that the code needs is not installed here; whatever a module throws while it loads.
 */
export async function revive(bundle: CodeBundle, options: ReviveOptions = {}): Promise<RevivedBundle> {
  const root = path.resolve(options.root ?? process.cwd());
  const warnings: string[] = [];
  const modules: unknown[] = [];
  for (const module of bundle.imports) modules.push(await loadModule(module, bundle, root, options.resolve, warnings));
  const nodes = new LiveNodes(bundle.nodes, modules, root);
  const values = compile(bundle, root)(nodes.protocol, nodes.proxy) as unknown[];
  const classes = bundle.classes.map(({ node, name, privateFields }) => ({
    name,
    privateFields,
    constructor: nodes.get(node) as ShippedClass["constructor"],
  }));
  return { values, classes, warnings };
}

type ShippedCode = (drey: LiveNodes["protocol"], nodes: unknown) => unknown;

/** Lines that `new Function` puts before its body; positions count them everywhere, so that they agree between runtimes. */
export const HEADER_LINES = 2;

function compile(bundle: CodeBundle, root: string): ShippedCode {
  const filename = path.join(root, bundle.fileName);
  if ("Bun" in globalThis || "Deno" in globalThis) {
    return new Function("$drey", "$nodes", `${bundle.code}\n//# sourceURL=${filename}`) as ShippedCode;
  }
  return vm.compileFunction(bundle.code, ["$drey", "$nodes"], { filename, lineOffset: HEADER_LINES }) as unknown as ShippedCode;
}

// ---- modules ----

async function loadModule(
  module: ModuleImport,
  bundle: CodeBundle,
  root: string,
  resolve: ReviveOptions["resolve"],
  warnings: string[],
): Promise<unknown> {
  const resolved = module.origin === "known" || module.origin === "package" ? resolve?.(module.specifier) : undefined;
  if (resolved !== undefined) return import(resolved);
  switch (module.origin) {
    case "builtin":
    case "url":
      return import(module.specifier);
    case "drey": {
      // Drey's files lie alike in every build; this one says with which extension.
      const url = new URL(`../../${module.specifier}${path.extname(fileURLToPath(import.meta.url))}`, import.meta.url).href;
      return import(url);
    }
    case "known":
      return importFrom(root, module);
    case "package":
      return loadPackage(module, bundle, root, warnings);
  }
}

async function loadPackage(module: ModuleImport, bundle: CodeBundle, root: string, warnings: string[]): Promise<unknown> {
  const { package: name, subpath, folder } = module;
  if (name === undefined || subpath === undefined) return importFrom(root, module);
  const wanted = bundle.packages[name];
  const here = path.dirname(fileURLToPath(import.meta.url));
  const places = [
    ...packageFolders(root, name),
    ...packageFolders(here, name),
    ...(folder !== undefined && existsSync(folder) ? [folder] : []),
  ];
  const place = places.find((one) => versionOf(one) === wanted) ?? places[0];
  if (place === undefined) throw missing(module, wanted, root);
  const version = versionOf(place);
  if (version !== wanted) {
    warnings.push(
      `${module.neededBy}: uses '${name}' ${wanted ?? "of unknown version"}, but ${version ?? "an unknown version"} ` +
        `is installed in ${place}; install the same version on the cluster.`,
    );
  }
  const file = path.join(place, subpath);
  // Another version may have other files; then its entry point is the best guess.
  if (!existsSync(file))
    return module.style === "require" ? (createRequire(path.join(root, "x.js"))(module.specifier) as unknown) : importFrom(root, module);
  return module.style === "require" ? (createRequire(file)(file) as unknown) : import(pathToFileURL(file).href);
}

async function importFrom(root: string, module: ModuleImport): Promise<unknown> {
  try {
    return await import(pathToFileURL(createRequire(path.join(root, "x.js")).resolve(module.specifier)).href);
  } catch (first) {
    if (!isNotFound(first)) throw first;
    try {
      return await import(module.specifier);
    } catch (second) {
      throw isNotFound(second) ? missing(module, undefined, root, second) : second;
    }
  }
}

/** What the shipped code's `import(specifier)` loads: packages as they are seen from the root. */
function importTarget(specifier: string, require: NodeJS.Require): string {
  if (/^[a-z]+:/.test(specifier)) return specifier;
  try {
    const file = require.resolve(specifier);
    return path.isAbsolute(file) ? pathToFileURL(file).href : specifier;
  } catch {
    return specifier;
  }
}

const isNotFound = (failure: unknown): boolean =>
  /^(?:ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|ERR_PACKAGE_PATH_NOT_EXPORTED)$/.test(String((failure as { code?: unknown }).code));

const missing = (module: ModuleImport, version: string | undefined, root: string, cause?: unknown): CaptureError =>
  new CaptureError(
    `${module.neededBy}: needs the package '${module.package ?? module.specifier}'${version === undefined ? "" : ` ${version}`}, ` +
      `which is not installed where the task runs (${root}); install it there.`,
    {
      ...(cause === undefined ? {} : { cause }),
      details: { path: module.neededBy.split(" → "), package: module.package ?? module.specifier, root },
    },
  );

/** Folders of a package that a module in `from` would find, nearest first. */
function packageFolders(from: string, name: string): string[] {
  const found: string[] = [];
  for (let folder = from; ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, "node_modules", name);
    if (existsSync(path.join(candidate, "package.json"))) found.push(candidate);
    if (folder === path.dirname(folder)) return found;
  }
}

function versionOf(folder: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as { version?: string }).version;
  } catch {
    return undefined;
  }
}

// ---- values ----

type Live = Record<PropertyKey, unknown>;
type Constructor = new (...args: unknown[]) => object;

/** The nodes of one bundle, made on demand; functions are handed over by the shipped code. */
class LiveNodes {
  /** What the shipped code calls `$drey`; see `emit.ts`. */
  readonly protocol: {
    readonly RESTORE: symbol;
    readonly require: NodeJS.Require;
    import(specifier: string, options?: ImportCallOptions): Promise<unknown>;
    name(value: object, name: string): void;
    define(functions: Record<string, unknown>): void;
    fill(): void;
  };
  /** What the shipped code calls `$nodes`. */
  readonly proxy: unknown;
  readonly #nodes: readonly ValueNode[];
  readonly #modules: readonly unknown[];
  readonly #live: unknown[];
  readonly #made: Uint8Array;
  readonly #restore: symbol = Symbol("drey.restore");

  constructor(nodes: readonly ValueNode[], modules: readonly unknown[], root: string) {
    const require = createRequire(path.join(root, "x.js"));
    this.#nodes = nodes;
    this.#modules = modules;
    this.#live = new Array(nodes.length);
    this.#made = new Uint8Array(nodes.length);
    this.protocol = {
      RESTORE: this.#restore,
      require,
      import: (specifier, options) => import(importTarget(String(specifier), require), options),
      name: (value, name) => Object.defineProperty(value, "name", { value: name, configurable: true }),
      define: (functions) => this.#define(functions),
      fill: () => this.#fill(),
    };
    this.proxy = new Proxy({}, { get: (_target, key) => this.get(Number(key)) });
  }

  get(id: number): unknown {
    if (this.#made[id] === 1) return this.#live[id];
    const node = this.#nodes[id] as ValueNode;
    const value = this.#make(node, id);
    this.#keep(id, value);
    if (node.kind !== "array" && node.kind !== "map" && node.kind !== "set" && node.kind !== "error") return value;
    if (node.privateValues === undefined && (node.class !== undefined || "prototype" in node))
      Object.setPrototypeOf(value, this.#prototypeOf(node));
    return value;
  }

  #keep(id: number, value: unknown): void {
    this.#live[id] = value;
    this.#made[id] = 1;
  }

  #value(encoded: Encoded): unknown {
    return typeof encoded === "object" && encoded !== null ? this.get(encoded.ref) : encoded;
  }

  #key(key: string | NodeRef): PropertyKey {
    return this.#value(key) as PropertyKey;
  }

  #make(node: ValueNode, id: number): unknown {
    switch (node.kind) {
      case "well-known-symbol":
        return (Symbol as unknown as Live)[node.name];
      case "registered-symbol":
        return Symbol.for(node.key);
      case "symbol":
        return Symbol(node.description);
      case "global":
        return this.#follow(globalThis, node.path);
      case "import":
        return this.#follow(this.#modules[node.module], node.path);
      case "date":
        return new Date(node.time);
      case "regexp":
        return Object.assign(new RegExp(node.source, node.flags), { lastIndex: node.lastIndex });
      case "boxed":
        return Object(node.value);
      case "array-buffer":
        return node.bytes.slice().buffer;
      case "view":
        return this.#view(node);
      case "array":
        return this.#restored(node) ?? (node.items === undefined ? new Array(node.length) : [...node.items]);
      case "map":
        return this.#restored(node) ?? new Map();
      case "set":
        return this.#restored(node) ?? new Set();
      case "error": {
        const error = (this.#restored(node) as Error | undefined) ?? new Error();
        Object.defineProperty(error, "message", { value: node.message, configurable: true, writable: true });
        Object.defineProperty(error, "stack", { value: node.stack, configurable: true, writable: true });
        return error;
      }
      case "object":
        return (
          this.#restored(node) ??
          Object.create(node.class !== undefined || "prototype" in node ? this.#prototypeOf(node) : Object.prototype)
        );
      case "namespace":
        return {};
      case "weak":
        return node.type === "WeakMap" ? new WeakMap() : new WeakSet();
      case "bound": {
        const target = this.#value(node.target) as (...args: unknown[]) => unknown;
        return target.bind(this.#value(node.thisValue), ...node.args.map((argument) => this.#value(argument)));
      }
      case "member":
        return (this.get(node.owner) as Live)[node.key];
      case "function":
        throw new InvariantError(`Node ${id} of a code bundle is a function that is used before it is defined.`);
    }
  }

  /** An instance whose class must construct it, because nothing else can give it `#private` fields. Its initialisers have run. */
  #restored(node: ValueNode): object | undefined {
    if (node.privateValues === undefined || node.class === undefined) return undefined;
    const instance = new (this.get(node.class) as Constructor)(this.#restore);
    for (const key of Reflect.ownKeys(instance))
      if (Object.getOwnPropertyDescriptor(instance, key)?.configurable === true) delete (instance as Live)[key];
    return instance;
  }

  #view(node: Extract<ValueNode, { kind: "view" }>): unknown {
    const buffer = this.#value(node.buffer) as ArrayBuffer;
    if (node.type === "Buffer") return Buffer.from(buffer, node.byteOffset, node.length);
    const View = (globalThis as unknown as Record<string, new (buffer: ArrayBuffer, byteOffset: number, length: number) => object>)[
      node.type
    ];
    if (View === undefined) throw new CaptureError(`This runtime has no ${node.type}, which the shipped code captured.`);
    return new View(buffer, node.byteOffset, node.length);
  }

  #prototypeOf(node: ValueNode): object | null {
    if (node.class !== undefined) return (this.get(node.class) as { prototype: object }).prototype;
    return this.#value(node.prototype) as object | null;
  }

  #follow(start: unknown, keys: readonly (string | NodeRef)[]): unknown {
    let value = start;
    for (const key of keys) value = (value as Live)[this.#key(key)];
    return value;
  }

  #define(functions: Record<string, unknown>): void {
    for (const [id, value] of Object.entries(functions)) this.#keep(Number(id), value);
    for (const [id, node] of this.#nodes.entries()) {
      // Bound functions and prototypes need functions that may be defined later.
      if (node.kind !== "function" && node.kind !== "bound" && node.kind !== "member") this.get(id);
    }
  }

  #fill(): void {
    for (const [id, node] of this.#nodes.entries()) {
      const value = this.get(id) as object;
      if (node.kind === "map") for (const [key, item] of node.entries) Map.prototype.set.call(value, this.#value(key), this.#value(item));
      else if (node.kind === "set") for (const element of node.elements) Set.prototype.add.call(value, this.#value(element));
      else if (node.kind === "namespace")
        for (const [name, member] of Object.entries(node.members)) (value as Live)[name] = this.#value(member);
      else if ((node.kind === "function" || node.kind === "member") && "prototype" in node)
        Object.setPrototypeOf(value, this.#prototypeOf(node));
      if (node.properties !== undefined) for (const property of node.properties) this.#put(value, property);
      if (node.privateValues !== undefined) this.#setPrivates(value, node);
      if (node.staticPrivateValues !== undefined) {
        (value as unknown as { $dreySetStatic(values: Live): void }).$dreySetStatic(this.#record(node.staticPrivateValues));
      }
    }
    for (const [id, { integrity }] of this.#nodes.entries()) {
      if (integrity === "frozen") Object.freeze(this.get(id));
      else if (integrity === "sealed") Object.seal(this.get(id));
      else if (integrity === "fixed") Object.preventExtensions(this.get(id));
    }
  }

  #setPrivates(value: object, node: ValueNode): void {
    const values = this.#record(node.privateValues ?? []);
    for (
      let one: unknown = this.get(node.class as number);
      typeof one === "function" && one !== Function.prototype;
      one = Object.getPrototypeOf(one)
    ) {
      if (Object.hasOwn(one, "$dreySet")) (one as unknown as { $dreySet(object: object, values: Live): void }).$dreySet(value, values);
    }
  }

  #record(entries: readonly (readonly [string, Encoded])[]): Live {
    return Object.assign(Object.create(null) as Live, Object.fromEntries(entries.map(([name, value]) => [name, this.#value(value)])));
  }

  #put(owner: object, [encodedKey, encoded, flags = 0, setter]: EncodedProperty): void {
    const key = this.#key(encodedKey);
    if (flags === 0 && key !== "__proto__") {
      // Plain assignment keeps V8's fast object shapes; it is right only where it meets no setter and no read-only property.
      const own = Object.getOwnPropertyDescriptor(owner, key);
      if (own === undefined ? !(key in owner) : own.writable === true) {
        (owner as Live)[key] = this.#value(encoded);
        return;
      }
    }
    const enumerable = (flags & PropertyFlag.hidden) === 0;
    const configurable = (flags & PropertyFlag.notConfigurable) === 0;
    Object.defineProperty(
      owner,
      key,
      (flags & PropertyFlag.accessor) !== 0
        ? { get: this.#value(encoded) as () => unknown, set: this.#value(setter) as (value: unknown) => void, enumerable, configurable }
        : { value: this.#value(encoded), writable: (flags & PropertyFlag.readOnly) === 0, enumerable, configurable },
    );
  }
}
