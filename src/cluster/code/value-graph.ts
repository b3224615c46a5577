/**
 * The walk from captured values to a graph of nodes. It visits each identity once, so shared objects and cycles stay what they
 * are; asks `identities.ts` first, so what every process has travels by name; and descends into functions through the scopes they
 * close over. What can't exist in another process is an error that says by which path it was reached.
 *
 * It trusts that a function uses no other names than its text shows (free-variables.ts), and that a scope's snapshot is consistent,
 * which holds because user code does not run during a synchronous walk.
 */
import { types } from "node:util";
import { CaptureError } from "../../core/types/errors.ts";
import { PropertyFlag } from "./bundle.ts";
import type { Encoded, EncodedKey, EncodedProperty, ModuleImport, ObjectParts, Primitive, ValueNode } from "./bundle.ts";
import { isAsWritten, planClass } from "./class-text.ts";
import type { ClassPlan, Edit } from "./class-text.ts";
import { freeVariables } from "./free-variables.ts";
import type { FreeVariables, Reference } from "./free-variables.ts";
import { parseFunctionText } from "./function-text.ts";
import type { FunctionText } from "./function-text.ts";
import {
  builtinMember,
  globalPath,
  houseFile,
  houseMember,
  importedMember,
  indexHouseFile,
  isHostGlobal,
  knownModuleMembers,
  packageMember,
  packageOf,
  packageVersion,
  relativeModule,
} from "./identities.ts";
import type { KnownModule, ModuleMember } from "./identities.ts";
import type { CapturedScope, FunctionInfo, ScriptLocation, ScriptSource, Steps, ValueProbe } from "./inspector.ts";
import { isWrapperName, scriptNames } from "./script-imports.ts";
import type { ScriptNames } from "./script-imports.ts";

/** An object or class with this property can't be captured; its value says why, as in `a DataStream, which exists in the client only`. */
export const NOT_SHIPPABLE: unique symbol = Symbol.for("drey.notShippable") as never;

/** One step of the path from a root to a value. */
export interface CapturePath {
  readonly name: string;
  readonly parent: CapturePath | undefined;
}

/** The names along a path, from the root. */
export function pathNames(path: CapturePath): string[] {
  const names: string[] = [];
  for (let step: CapturePath | undefined = path; step !== undefined; step = step.parent) names.unshift(step.name);
  return names;
}

/** A path as users read it: `map(f) → conn → sock`. */
export const pathText = (path: CapturePath): string => pathNames(path).join(" → ");

/** A free name of a captured function and the variable it is bound to. */
export interface Binding {
  readonly name: string;
  readonly references: readonly Reference[];
  readonly value: Encoded;
  readonly written: boolean;
  readonly scope: CapturedScope;
  /** No function's or block's scope lies around `scope`, except those that wrap a whole script. */
  readonly outermost: boolean;
}

/** A function or class on its way into a bundle. */
export interface CapturedFunction {
  readonly node: number;
  readonly value: (...args: never[]) => unknown;
  readonly path: CapturePath;
  /** As the engine gives it. */
  readonly text: string;
  readonly parsed: FunctionText;
  readonly free: FreeVariables;
  readonly location: ScriptLocation | undefined;
  readonly script: ScriptSource | undefined;
  readonly classPlan: ClassPlan | undefined;
  readonly bindings: Binding[];
  readonly edits: Edit[];
  /** Node of the superclass. */
  superclass: Encoded;
  /** Node of the object whose `this` an arrow function uses. */
  readonly thisNode: number | undefined;
  /** Instances with private state travel, so the class must be able to restore them. */
  restoresInstances: boolean;
  usesRequire: boolean;
}

/** A node and the value it stands for. */
export interface GraphNode {
  readonly encoded: ValueNode;
  readonly value: unknown;
  readonly function: CapturedFunction | undefined;
}

export interface ValueGraphOptions {
  readonly probe: ValueProbe;
  readonly knownModules: readonly KnownModule[];
  readonly warnAboveBytes: number;
}

/** Whose `this` an arrow function written in a class's text has. */
interface Owner {
  readonly node: number;
  readonly classes: readonly CapturedFunction[];
}

const WELL_KNOWN_SYMBOLS = new Map<symbol, string>(
  Object.getOwnPropertyNames(Symbol).flatMap((name) => {
    const value = (Symbol as unknown as Record<string, unknown>)[name];
    return typeof value === "symbol" ? [[value, name] as const] : [];
  }),
);
const FUNCTION_PROPERTIES: ReadonlySet<PropertyKey> = new Set(["length", "name", "prototype", "caller", "arguments"]);
/** What a value costs besides its content, roughly; for the warning about large captures only. */
const NODE_BYTES = 32;
const NUMBER_BYTES = 8;

const isReference = (value: unknown): value is object => (typeof value === "object" && value !== null) || typeof value === "function";
const step = (parent: CapturePath, name: string): CapturePath => ({ name, parent });

/** Names at the top of scripts, by script; parsing a script is the costliest part of a warm capture. */
const namesOfScripts = new WeakMap<ScriptSource, ScriptNames>();

export class ValueGraph {
  readonly nodes: GraphNode[] = [];
  readonly functions: CapturedFunction[] = [];
  readonly imports: ModuleImport[] = [];
  readonly packages: Record<string, string> = {};
  readonly warnings: string[] = [];
  /** Names that must keep their meaning in the shipped text: globals. */
  readonly reserved: Set<string> = new Set();

  readonly #options: ValueGraphOptions;
  readonly #ids: Map<unknown, number> = new Map();
  readonly #importIds: Map<string, number> = new Map();
  #explicit: Readonly<Record<string, unknown>> | undefined;
  #bytes = 0;
  #warnedBytes = 0;

  constructor(options: ValueGraphOptions) {
    this.#options = options;
  }

  /** The node number of a value, if it was reached. */
  idOf(value: unknown): number | undefined {
    return this.#ids.get(value);
  }

  /**
   * Adds a root.
   * @param captures values of free names that the user names; they stand before what the scopes say for the root's own function.
   */
  *addRoot(label: string, value: unknown, captures: Readonly<Record<string, unknown>> | undefined): Steps<Encoded> {
    this.#explicit = captures;
    try {
      return yield* this.#value(value, { name: label, parent: undefined });
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new CaptureError(
        `${label}: captures data nested so deeply that it can't be walked; capture it as an array, or read it in open().`,
        {
          cause,
          details: { path: [label] },
        },
      );
    }
  }

  *#value(value: unknown, path: CapturePath, owner?: Owner): Steps<Encoded> {
    switch (typeof value) {
      case "symbol":
        return { ref: this.#symbol(value) };
      case "string":
        this.#bytes += value.length;
        return value;
      case "object":
        if (value === null) return null;
        break;
      case "function":
        break;
      default:
        this.#bytes += NUMBER_BYTES;
        return value as Primitive;
    }
    const known = this.#ids.get(value);
    if (known !== undefined) return { ref: known };
    const before = this.#bytes;
    const warnedBefore = this.#warnedBytes;
    const ref = yield* this.#reference(value as object, path, owner);
    this.#warnIfLarge(path, before, warnedBefore);
    return { ref };
  }

  /** The innermost value above the limit is named; what it is part of is not named again for it. */
  #warnIfLarge(path: CapturePath, before: number, warnedBefore: number): void {
    const bytes = this.#bytes - before - (this.#warnedBytes - warnedBefore);
    if (bytes <= this.#options.warnAboveBytes) return;
    this.#warnedBytes += bytes;
    this.warnings.push(
      `${pathText(path)}: captures ${(bytes / 1e6).toFixed(1)} MB, and each parallel subtask gets a copy; ` +
        "send it as a broadcast stream or read it from a source.",
    );
  }

  *#reference(value: object, path: CapturePath, owner: Owner | undefined): Steps<number> {
    const global = globalPath(value);
    if (global !== undefined) return this.#add(value, { kind: "global", path: global.map((key) => this.#key(key)) });
    if (types.isProxy(value)) {
      if (isTslabExports(value)) return this.#add(value, { kind: "namespace", members: {} });
      this.#fail(path, `${quoted(path)} (a Proxy, whose handler can't be read)`, "pass the plain target instead");
    }
    const reason = (value as Record<symbol, unknown>)[NOT_SHIPPABLE];
    if (typeof reason === "string") this.#fail(path, `${quoted(path)} (${reason})`);
    const member = this.#identify(value);
    if (member !== undefined) return this.#import(value, member, path);
    return typeof value === "function"
      ? yield* this.#function(value as CapturedFunction["value"], path, owner)
      : yield* this.#object(value, path);
  }

  /** The module member that a value is, by identity. */
  #identify(value: object): ModuleMember | undefined {
    for (const module of this.#options.knownModules) {
      const member = knownModuleMembers(module).get(value);
      if (member !== undefined) return member;
    }
    const direct = builtinMember(value) ?? packageMember(value) ?? houseMember(value);
    if (direct !== undefined || typeof value !== "object" || types.isProxy(value)) return direct;
    // A namespace, or the copy of one that TypeScript's __importStar and esbuild's __toESM make, has the module itself as default.
    const inner = Object.getOwnPropertyDescriptor(value, "default")?.value as unknown;
    if (!isReference(inner) || !Object.keys(value).every((key) => key === "default" || key in inner)) return undefined;
    const builtin = builtinMember(inner);
    if (builtin !== undefined) return builtin.path.length === 1 ? { ...builtin, path: [] } : undefined;
    const installed = packageMember(inner);
    return installed?.path.length === 0 ? installed : undefined;
  }

  // ---- objects ----

  *#object(value: object, path: CapturePath): Steps<number> {
    this.#refuseLive(value, path);
    const flat = yield* this.#flatObject(value, path);
    if (flat !== undefined) return flat;
    const isArray = Array.isArray(value);
    const isMap = types.isMap(value);
    const isSet = types.isSet(value);
    const isError = types.isNativeError(value);
    const parts: ObjectParts = {};
    const encoded: ValueNode = isArray
      ? Object.assign(parts, { kind: "array" as const, length: value.length })
      : isMap
        ? Object.assign(parts, { kind: "map" as const, entries: [] })
        : isSet
          ? Object.assign(parts, { kind: "set" as const, elements: [] })
          : isError
            ? Object.assign(parts, { kind: "error" as const, message: value.message, stack: value.stack })
            : Object.assign(parts, { kind: "object" as const });
    const node = this.#add(value, encoded);
    const usual: object = isArray ? Array.prototype : isMap ? Map.prototype : isSet ? Set.prototype : Object.prototype;
    const prototype = Object.getPrototypeOf(value) as object | null;
    const classes = prototype === usual ? [] : yield* this.#prototype(value, node, prototype, isError, path);
    if (encoded.kind === "map") {
      for (const [key, item] of value as Map<unknown, unknown>) {
        const encodedKey = yield* this.#value(key, step(path, "a key"));
        encoded.entries.push([encodedKey, yield* this.#value(item, step(path, `get(${isReference(key) ? "…" : String(key)})`))]);
      }
    } else if (encoded.kind === "set") {
      for (const element of value as Set<unknown>) encoded.elements.push(yield* this.#value(element, step(path, "an element")));
    } else if (encoded.kind === "array") {
      const items = primitiveItems(value as readonly unknown[]);
      if (items !== undefined) {
        encoded.items = items;
        for (const item of items) this.#bytes += typeof item === "string" ? item.length : NUMBER_BYTES;
      }
    }
    if (!(encoded.kind === "array" && encoded.items !== undefined)) {
      const skip = (key: PropertyKey): boolean => (isError && (key === "stack" || key === "message")) || (isArray && key === "length");
      const properties = yield* this.#properties(value, path, skip, classes.length > 0 ? { node, classes } : undefined);
      if (properties.length > 0) parts.properties = properties;
    }
    if (Object.isFrozen(value)) parts.integrity = "frozen";
    else if (Object.isSealed(value)) parts.integrity = "sealed";
    else if (!Object.isExtensible(value)) parts.integrity = "fixed";
    return node;
  }

  /** Refuses what is alive: it waits, runs or holds something of this process. */
  #refuseLive(value: object, path: CapturePath): void {
    const what = types.isPromise(value)
      ? "a Promise"
      : types.isWeakMap(value) || types.isWeakSet(value)
        ? `a ${types.isWeakMap(value) ? "WeakMap" : "WeakSet"}, whose entries can't be listed`
        : value instanceof WeakRef
          ? "a WeakRef"
          : types.isGeneratorObject(value)
            ? "a running generator"
            : isExternal(value)
              ? "a native handle"
              : types.isSharedArrayBuffer(value) || (ArrayBuffer.isView(value) && types.isSharedArrayBuffer(value.buffer))
                ? "a SharedArrayBuffer, which exists in one process only"
                : undefined;
    if (what === "a Promise") this.#fail(path, `${quoted(path)} (a Promise)`, "await it before, or inside the function");
    if (what !== undefined && !(types.isWeakMap(value) || types.isWeakSet(value)))
      this.#fail(path, `${quoted(path)} (${what})`, "create it inside the function, e.g. in open()");
    if (what !== undefined && !this.#insideHouse)
      this.#fail(path, `${quoted(path)} (${what})`, "create it inside the function, e.g. in open()");
    if (isObservable(value)) {
      this.#fail(
        path,
        `${quoted(path)} (an rxjs ${className(value) ?? "Observable"})`,
        "build the pipeline inside the function, or make it a source",
      );
    }
  }

  /** True while the variables of one of drey's own functions are walked: a WeakMap there is a cache, and starts empty. */
  #insideHouse = false;

  /** Objects whose content is not in their properties. */
  *#flatObject(value: object, path: CapturePath): Steps<number | undefined> {
    if (types.isWeakMap(value)) return this.#add(value, { kind: "weak", type: "WeakMap" });
    if (types.isWeakSet(value)) return this.#add(value, { kind: "weak", type: "WeakSet" });
    if (types.isDate(value)) return this.#add(value, { kind: "date", time: value.getTime() });
    if (types.isRegExp(value))
      return this.#add(value, { kind: "regexp", source: value.source, flags: value.flags, lastIndex: value.lastIndex });
    if (types.isAnyArrayBuffer(value)) {
      this.#bytes += value.byteLength;
      return this.#add(value, { kind: "array-buffer", bytes: new Uint8Array(value.slice(0)) });
    }
    if (ArrayBuffer.isView(value)) {
      const isBuffer = value instanceof Buffer;
      const type = isBuffer ? "Buffer" : ((value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "DataView");
      // Small Buffers share a pool of 8 KiB with strangers.
      const alone = isBuffer && value.byteLength < value.buffer.byteLength;
      const memory = alone ? value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength) : value.buffer;
      const length = "length" in value ? (value as Uint8Array).length : value.byteLength;
      const encoded = { kind: "view" as const, type, buffer: null as Encoded, byteOffset: alone ? 0 : value.byteOffset, length };
      const node = this.#add(value, encoded);
      encoded.buffer = yield* this.#value(memory, step(path, "buffer"));
      return node;
    }
    if (types.isBoxedPrimitive(value) && !types.isSymbolObject(value))
      return this.#add(value, { kind: "boxed", value: value.valueOf() as Primitive });
    return undefined;
  }

  /** Writes the class or prototype of an object into its node. Returns the shipped classes it is an instance of, nearest first. */
  *#prototype(value: object, node: number, prototype: object | null, isError: boolean, path: CapturePath): Steps<CapturedFunction[]> {
    const parts = this.#encoded(node);
    if (prototype === null) {
      parts.prototype = null;
      return [];
    }
    const constructor = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value as CapturedFunction["value"] | undefined;
    if (typeof constructor !== "function" || constructor.prototype !== prototype) {
      parts.prototype = yield* this.#value(prototype, step(path, "prototype"));
      return [];
    }
    const native = builtinMember(constructor) !== undefined || (globalPath(constructor) !== undefined && !isError);
    if (native) this.#fail(path, `${quoted(path)} (a ${constructor.name})`, "open it inside the function, e.g. in open()");
    const base = nativeBase(prototype);
    if (base !== undefined)
      this.#fail(path, `${quoted(path)} (a ${constructor.name}, which is a ${base})`, "open it inside the function, e.g. in open()");
    parts.class = ((yield* this.#value(constructor, step(path, `class ${constructor.name}`))) as { ref: number }).ref;
    const { shipped, foreign } = this.#classChain(constructor);
    const closed = foreign.find((one) => privateMembers(one).length > 0);
    const ownFramework = closed !== undefined && shipped.length > 0 && this.#isDrey(closed);
    if (closed !== undefined && !ownFramework) {
      this.#fail(
        path,
        `${quoted(path)} (a ${constructor.name}, whose #fields belong to a class that travels by name)`,
        "create it inside the function, e.g. in open()",
      );
    }
    if (ownFramework || shipped.some((one) => (one.classPlan?.privateMembers.length ?? 0) > 0)) {
      const declared = new Set(shipped.flatMap((one) => one.classPlan?.privateFields ?? []));
      parts.privateValues = [];
      for (const one of shipped) one.restoresInstances = true;
      for (const [name, field] of yield* this.#options.probe.privateFields(value)) {
        if (declared.has(name)) parts.privateValues.push([name, yield* this.#value(field, step(path, `#${name}`))]);
      }
    }
    return shipped;
  }

  /** The classes of an instance: those that travel by text, and below them those that travel by name. */
  #classChain(constructor: object): { shipped: CapturedFunction[]; foreign: object[] } {
    const shipped: CapturedFunction[] = [];
    const foreign: object[] = [];
    for (let one: unknown = constructor; typeof one === "function" && one !== Function.prototype; one = Object.getPrototypeOf(one)) {
      const captured = this.nodes[this.#ids.get(one) ?? -1]?.function;
      if (captured === undefined) foreign.push(one);
      else shipped.push(captured);
    }
    return { shipped, foreign };
  }

  #isDrey(value: object): boolean {
    const origin = this.#identify(value)?.origin;
    return origin === "known" || origin === "drey";
  }

  *#properties(value: object, path: CapturePath, skip: (key: PropertyKey) => boolean, owner?: Owner): Steps<EncodedProperty[]> {
    const properties: EncodedProperty[] = [];
    for (const key of Reflect.ownKeys(value)) {
      if (skip(key)) continue;
      const descriptor = Object.getOwnPropertyDescriptor(value, key) as PropertyDescriptor;
      const encodedKey = this.#key(key);
      const at = step(path, String(key));
      const flags =
        (descriptor.enumerable === true ? 0 : PropertyFlag.hidden) | (descriptor.configurable === true ? 0 : PropertyFlag.notConfigurable);
      if ("value" in descriptor) {
        const all = flags | (descriptor.writable === true ? 0 : PropertyFlag.readOnly);
        const encoded = yield* this.#value(descriptor.value, at, owner);
        properties.push(all === 0 ? [encodedKey, encoded] : [encodedKey, encoded, all]);
      } else {
        const getter = descriptor.get && (yield* this.#value(descriptor.get, at, owner));
        const setter = descriptor.set && (yield* this.#value(descriptor.set, at, owner));
        properties.push([encodedKey, getter, flags | PropertyFlag.accessor, setter]);
      }
    }
    return properties;
  }

  // ---- functions ----

  *#function(value: CapturedFunction["value"], path: CapturePath, owner: Owner | undefined): Steps<number> {
    const text = Function.prototype.toString.call(value);
    const info = yield* this.#options.probe.functionInfo(value);
    if (info.bound !== undefined) return yield* this.#boundFunction(value, info.bound, path);
    if (/\{\s*\[native code\]\s*\}\s*$/.test(text)) {
      if (!this.#options.probe.seesScopes)
        this.#fail(
          path,
          `${quoted(path)} (a bound or native function, which this runtime can't look into)`,
          "pass an arrow function instead",
        );
      this.#fail(
        path,
        `${quoted(path)} (the native function ${value.name || "without a name"}, which is no known builtin)`,
        "call it inside a function of your own",
      );
    }
    const script = info.location === undefined ? undefined : yield* this.#options.probe.script(info.location.scriptId);
    const ofHouse = script !== undefined && houseFile(script.url) !== undefined;
    if (ofHouse) {
      indexHouseFile(script.url);
      const member = houseMember(value);
      if (member !== undefined) return this.#import(value, member, path);
    }
    let parsed: FunctionText;
    let free: FreeVariables;
    try {
      parsed = parseFunctionText(text);
      free = freeVariables(parsed);
    } catch (cause) {
      return this.#refuse(path, `is a function whose text can't be read (${(cause as Error).message}); define it as a plain function`);
    }
    const classPlan = parsed.isClass ? planClass(parsed) : undefined;
    const captured: CapturedFunction = {
      node: this.nodes.length,
      value,
      path,
      text,
      parsed,
      free,
      location: info.location,
      script,
      classPlan,
      bindings: [],
      edits: [],
      superclass: undefined,
      thisNode: this.#refuseDetached(value, text, parsed, free, path, owner),
      restoresInstances: false,
      usesRequire: false,
    };
    this.#add(value, { kind: "function" }, captured);
    this.functions.push(captured);
    if (classPlan !== undefined) this.#planClassEdits(captured, classPlan);
    this.#planImportEdits(captured);
    const explicit = this.#explicit;
    if (this.#options.probe.seesScopes) this.#explicit = undefined;
    const insideHouse = this.#insideHouse;
    this.#insideHouse = ofHouse;
    for (const [name, references] of free.references) yield* this.#freeName(captured, name, references, info, explicit);
    this.#insideHouse = insideHouse;
    if (classPlan !== undefined) yield* this.#classState(captured, classPlan);
    else yield* this.#functionState(captured);
    return captured.node;
  }

  *#boundFunction(value: object, bound: NonNullable<FunctionInfo["bound"]>, path: CapturePath): Steps<number> {
    const encoded = { kind: "bound" as const, target: undefined as Encoded, thisValue: undefined as Encoded, args: [] as Encoded[] };
    const node = this.#add(value, encoded);
    encoded.target = yield* this.#value(bound.target, step(path, "bound function"));
    encoded.thisValue = yield* this.#value(bound.thisValue, step(path, "bound this"));
    for (const [index, argument] of bound.args.entries())
      encoded.args.push(yield* this.#value(argument, step(path, `bound argument ${index}`)));
    return node;
  }

  /** Refuses functions whose text means something else outside the place it was written. Returns the node of an arrow's known `this`. */
  #refuseDetached(
    value: CapturedFunction["value"],
    text: string,
    parsed: FunctionText,
    free: FreeVariables,
    path: CapturePath,
    owner: Owner | undefined,
  ): number | undefined {
    const instead = `pass x => object.${value.name || "method"}(x) instead`;
    if (free.outerSuper) this.#refuse(path, `is a method that uses \`super\` outside its class; ${instead}`);
    const [privateName] = free.outerPrivates;
    if (privateName !== undefined) this.#refuse(path, `is a function that uses #${privateName} of a class it was taken out of; ${instead}`);
    if (free.usesImportMeta)
      this.#refuse(path, "uses import.meta, and its module does not exist in the worker; put what you need of it into a variable");
    if (free.usesEval) this.#warn(path, "uses eval: variables that only the evaluated text names are not captured");
    if (!parsed.isArrow || !free.outerThis) return undefined;
    if (owner?.classes.some((one) => one.text.includes(text)) === true) return owner.node;
    return this.#refuse(
      path,
      "is an arrow function that uses the `this` of the place where it was written; " +
        "put what it needs into a local variable (const self = this)",
    );
  }

  #planClassEdits(captured: CapturedFunction, plan: ClassPlan): void {
    captured.edits.push(...plan.removals);
    const gone = [...plan.removals, ...(plan.superclass === undefined ? [] : [plan.superclass])];
    for (const [name, references] of captured.free.references) {
      const kept = references.filter((use) => !gone.some((span) => use.start >= span.start && use.end <= span.end));
      if (kept.length > 0) captured.free.references.set(name, kept);
      else captured.free.references.delete(name);
    }
  }

  /** Shipped text is no module, so import() becomes a call of the runtime's; a relative name is meant relative to the user's file. */
  #planImportEdits({ free, script, edits }: CapturedFunction): void {
    for (const { start, end, literal } of free.dynamicImports) {
      edits.push({ start, end, text: "$drey.import" });
      const file = literal === undefined || script === undefined ? undefined : relativeModule(literal.specifier, script.url);
      if (literal !== undefined && file !== undefined) edits.push({ start: literal.start, end: literal.end, text: JSON.stringify(file) });
    }
  }

  *#freeName(
    captured: CapturedFunction,
    name: string,
    references: readonly Reference[],
    info: FunctionInfo,
    explicit: Readonly<Record<string, unknown>> | undefined,
  ): Steps<void> {
    const { path } = captured;
    if (name === "undefined" || name === "NaN" || name === "Infinity" || name === "eval") return;
    const scopes: CapturedScope[] = explicit === undefined ? [...info.scopes] : [{ kind: "explicit", variables: explicit }, ...info.scopes];
    const index = scopes.findIndex((one) => Object.hasOwn(one.variables, name) || (one.kind === "global" && name in globalThis));
    const scope = scopes[index];
    if ((scope === undefined || scope.kind === "global") && isHostGlobal(name)) {
      this.reserved.add(name);
      return;
    }
    if (scope === undefined) return this.#unknownName(captured, name, references);
    let value: unknown;
    try {
      value = scope.kind === "global" ? (globalThis as Record<string, unknown>)[name] : scope.variables[name];
    } catch (cause) {
      return this.#fail(
        step(path, name),
        `'${name}', which has no value yet (${(cause as Error).message})`,
        "define it before the pipeline",
      );
    }
    if (name === "require" && typeof value === "function") {
      captured.usesRequire = true;
      this.reserved.add(name);
      return;
    }
    const written = references.some((use) => use.write);
    if (written) this.#warn(path, `assigns to the captured variable '${name}': each parallel subtask has its own copy`);
    const before = this.#bytes;
    const warnedBefore = this.#warnedBytes;
    const encoded = yield* this.#boundValue(captured, name, value, references, scope);
    if (typeof encoded === "string") this.#warnIfLarge(step(path, name), before, warnedBefore);
    const outermost = scopes
      .slice(index + 1)
      .every((one) => one.kind === "script" || one.kind === "global" || Object.keys(one.variables).every(isWrapperName));
    captured.bindings.push({ name, references, value: encoded, written, scope, outermost });
  }

  #unknownName(captured: CapturedFunction, name: string, references: readonly Reference[]): void {
    if (references.every((use) => use.typeofOnly) || name === "arguments") return;
    if (!this.#options.probe.seesScopes) {
      const details = { path: [...pathNames(captured.path), name] };
      throw new CaptureError(
        `${pathText(captured.path)}: uses '${name}', which this runtime can't read from the function (it has no V8 inspector); ` +
          `name it: { captures: { ${name} } }.`,
        { details },
      );
    }
    this.#warn(captured.path, `uses '${name}', which is not defined where the function was written; it stays as it is`);
    this.reserved.add(name);
  }

  /** The value of a variable: a module's member when an import statement says so, a part of a module, or the value itself. */
  *#boundValue(
    captured: CapturedFunction,
    name: string,
    value: unknown,
    references: readonly Reference[],
    scope: CapturedScope,
  ): Steps<Encoded> {
    const at = step(captured.path, name);
    if (!isReference(value)) return yield* this.#value(value, at);
    const isNew = (): boolean => this.#ids.get(value) === undefined && globalPath(value) === undefined;
    // Vite gives modules as Proxies; the import statement tells what they are.
    if (isNew() && (types.isProxy(value) || this.#identify(value) === undefined) && scope.kind !== "global" && scope.kind !== "explicit") {
      const imported = this.#importedName(captured, name);
      if (imported !== undefined) return { ref: this.#import(value, imported, at) };
    }
    const known = this.nodes[this.#ids.get(value) ?? -1]?.encoded;
    const partial =
      known === undefined ? isNew() && this.#identify(value) === undefined && isModuleLike(value) : known.kind === "namespace";
    if (!partial || !references.every((use) => use.member !== undefined)) return yield* this.#value(value, at);
    const node = this.#ids.get(value) ?? this.#add(value, { kind: "namespace", members: {} });
    const { members } = this.#encoded(node) as Extract<ValueNode, { kind: "namespace" }>;
    for (const { member } of references) {
      if (member === undefined || Object.hasOwn(members, member)) continue;
      members[member] = undefined;
      const memberPath = isTslabExports(value) ? step(captured.path, member) : step(at, member);
      let item: unknown;
      try {
        item = (value as Record<string, unknown>)[member];
      } catch (cause) {
        return this.#fail(memberPath, `'${member}', which has no value yet (${(cause as Error).message})`, "define it before the pipeline");
      }
      members[member] = yield* this.#value(item, memberPath);
    }
    const assigned = references.find((use) => use.memberWrite)?.member;
    if (assigned !== undefined)
      this.#warn(captured.path, `assigns to the captured variable '${assigned}': each parallel subtask has its own copy`);
    return { ref: node };
  }

  #importedName({ script }: CapturedFunction, name: string): ModuleMember | undefined {
    if (script === undefined) return undefined;
    const entry = namesOf(script).imports.get(name);
    return entry === undefined ? undefined : importedMember(entry.specifier, entry.path, script.url, this.#options.knownModules);
  }

  /** Own properties of a function, and its prototype when it serves as a constructor. */
  *#functionState({ node, value, path, parsed }: CapturedFunction): Steps<void> {
    const parts = this.#encoded(node);
    const properties = yield* this.#properties(value, path, (key) => FUNCTION_PROPERTIES.has(key));
    if (properties.length > 0) parts.properties = properties;
    const parent = Object.getPrototypeOf(value) as object | null;
    if (globalPath(parent) === undefined && !types.isAsyncFunction(value) && !types.isGeneratorFunction(value)) {
      parts.prototype = parent === null ? null : yield* this.#value(parent, step(path, "prototype"));
    }
    const prototype = value.prototype as object | undefined;
    if (typeof prototype !== "object" || prototype === null || parsed.isArrow || types.isGeneratorFunction(value)) return;
    const above = Object.getPrototypeOf(prototype) as object | null;
    if (Reflect.ownKeys(prototype).every((key) => key === "constructor") && above === Object.prototype) return;
    yield* this.#ownPrototype(node, prototype, path, (key) => key === "constructor");
    if (above !== Object.prototype) {
      this.#encoded(this.#ids.get(prototype) as number).prototype =
        above === null ? null : yield* this.#value(above, step(path, "prototype of prototype"));
    }
  }

  /** Superclass, static state, and members that were changed after the class was defined. */
  *#classState(captured: CapturedFunction, plan: ClassPlan): Steps<void> {
    const { node, value, path, parsed } = captured;
    const parts = this.#encoded(node);
    const parent = Object.getPrototypeOf(value) as object | null;
    if (plan.superclass !== undefined && parent !== null && parent !== Function.prototype) {
      captured.superclass = yield* this.#value(parent, step(path, `extends ${(parent as { name?: string }).name ?? "…"}`));
    }
    const prototype = value.prototype as object;
    const unchanged =
      (owner: object, members: ClassPlan["written"]["static"]) =>
      (key: PropertyKey): boolean =>
        isAsWritten(parsed, members, key, Object.getOwnPropertyDescriptor(owner, key) as PropertyDescriptor);
    const sameInPrototype = unchanged(prototype, plan.written.prototype);
    const skip = (key: PropertyKey): boolean => key === "constructor" || sameInPrototype(key);
    if (Reflect.ownKeys(prototype).some((key) => !skip(key))) yield* this.#ownPrototype(node, prototype, path, skip);
    const sameStatic = unchanged(value, plan.written.static);
    const isBuiltIn = (key: PropertyKey): boolean =>
      FUNCTION_PROPERTIES.has(key) && Object.getOwnPropertyDescriptor(value, key)?.enumerable !== true;
    const properties = yield* this.#properties(value, path, (key) => isBuiltIn(key) || sameStatic(key), { node, classes: [captured] });
    if (properties.length > 0) parts.properties = properties;
    if (plan.staticPrivateFields.length === 0) return;
    parts.staticPrivateValues = [];
    for (const [name, field] of yield* this.#options.probe.privateFields(value)) {
      if (plan.staticPrivateFields.includes(name))
        parts.staticPrivateValues.push([name, yield* this.#value(field, step(path, `#${name}`))]);
    }
  }

  *#ownPrototype(owner: number, prototype: object, path: CapturePath, skip: (key: PropertyKey) => boolean): Steps<void> {
    const node = this.#ids.get(prototype) ?? this.#add(prototype, { kind: "member", owner, key: "prototype" });
    const properties = yield* this.#properties(prototype, step(path, "prototype"), skip);
    if (properties.length > 0) this.#encoded(node).properties = properties;
  }

  // ---- nodes ----

  #add(value: unknown, encoded: ValueNode, captured?: CapturedFunction): number {
    const node = this.nodes.length;
    this.nodes.push({ encoded, value, function: captured });
    this.#ids.set(value, node);
    this.#bytes += NODE_BYTES;
    return node;
  }

  #encoded(node: number): ValueNode {
    return (this.nodes[node] as GraphNode).encoded;
  }

  #key(key: PropertyKey): EncodedKey {
    return typeof key === "symbol" ? { ref: this.#symbol(key) } : String(key);
  }

  #symbol(symbol: symbol): number {
    const known = this.#ids.get(symbol);
    if (known !== undefined) return known;
    const wellKnown = WELL_KNOWN_SYMBOLS.get(symbol);
    if (wellKnown !== undefined) return this.#add(symbol, { kind: "well-known-symbol", name: wellKnown });
    const key = Symbol.keyFor(symbol);
    return this.#add(symbol, key === undefined ? { kind: "symbol", description: symbol.description } : { kind: "registered-symbol", key });
  }

  #import(value: object, member: ModuleMember, path: CapturePath): number {
    const key = `${member.style} ${member.specifier}`;
    let module = this.#importIds.get(key);
    if (module === undefined) {
      module = this.imports.length;
      this.#importIds.set(key, module);
      const owner = member.file === undefined ? undefined : packageOf(member.file);
      const version = owner === undefined ? undefined : packageVersion(owner.folder);
      if (owner !== undefined && version !== undefined) this.packages[owner.name] = version;
      this.imports.push({
        specifier: member.specifier,
        origin: member.origin,
        style: member.style,
        neededBy: pathText(path),
        ...(owner === undefined ? {} : { package: owner.name, subpath: owner.subpath, folder: owner.folder }),
      });
    }
    return this.#add(value, { kind: "import", module, path: [...member.path] });
  }

  // ---- messages ----

  #warn(path: CapturePath, what: string): void {
    const warning = `${pathText(path)}: ${what}.`;
    if (!this.warnings.includes(warning)) this.warnings.push(warning);
  }

  #fail(path: CapturePath, what: string, cure?: string): never {
    return this.#refuse(path, `captures ${what}${cure === undefined ? "" : `; ${cure}`}`);
  }

  #refuse(path: CapturePath, sentence: string): never {
    throw new CaptureError(`${pathText(path)}: ${sentence}`, { details: { path: pathNames(path) } });
  }
}

const quoted = (path: CapturePath): string => `'${path.name}'`;

/** The names at the top of a script; read once. */
export function namesOf(script: ScriptSource): ScriptNames {
  let names = namesOfScripts.get(script);
  if (names === undefined) namesOfScripts.set(script, (names = scriptNames(script.source)));
  return names;
}

/** The variables of tslab's earlier cells: an object that knows all of them, of which only those in use may travel. */
const isTslabExports = (value: unknown): boolean => (globalThis as { __tslab__?: { exports?: unknown } }).__tslab__?.exports === value;

/** A module, or what compilers make of one: only the members in use travel. */
const isModuleLike = (value: object): boolean =>
  isTslabExports(value) ||
  types.isModuleNamespaceObject(value) ||
  (typeof value === "object" &&
    ((value as { __esModule?: unknown }).__esModule === true || (value as Record<symbol, unknown>)[Symbol.toStringTag] === "Module"));

/** Deno lacks the question, and the thing. */
const isExternal = (value: object): boolean => (types as Partial<typeof types>).isExternal?.(value) ?? false;

const className = (value: object): string | undefined =>
  (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor?.name;

function isObservable(value: object): boolean {
  try {
    const candidate = value as Record<PropertyKey, unknown>;
    if (typeof candidate["subscribe"] !== "function") return false;
    const symbol = (Symbol as { observable?: symbol }).observable ?? "@@observable";
    return typeof candidate["pipe"] === "function" || typeof candidate[symbol] === "function";
  } catch {
    return false;
  }
}

/** The items of an array that has nothing but primitives: no holes, no further properties. */
function primitiveItems(array: readonly unknown[]): Primitive[] | undefined {
  for (let i = 0; i < array.length; i++) {
    const item = array[i];
    if (isReference(item) || typeof item === "symbol" || (item === undefined && !(i in array))) return undefined;
  }
  // The exact question costs 0.4 µs an item, this one 0.08 (measured for a million); who hides properties on a large array?
  const further =
    array.length <= 1_000 ? Reflect.ownKeys(array).length - 1 : Object.keys(array).length + Object.getOwnPropertySymbols(array).length;
  return further === array.length ? (array.slice() as Primitive[]) : undefined;
}

/** Names of collections and errors, whose subclasses can be rebuilt. */
const REBUILDABLE = /^(?:Object|Array|Map|Set)$|Error$/;

/** The native class that an object's class extends and that can't be rebuilt from its properties. */
function nativeBase(prototype: object): string | undefined {
  for (let one: object | null = prototype; one !== null && one !== Object.prototype; one = Object.getPrototypeOf(one) as object | null) {
    const constructor = Object.getOwnPropertyDescriptor(one, "constructor")?.value as unknown;
    if (constructor === undefined) continue;
    const builtin = builtinMember(constructor);
    const name = builtin?.path.at(-1);
    if (builtin !== undefined && name !== "EventEmitter" && builtin.specifier !== "node:events") return `${builtin.specifier}.${name}`;
    const global = globalPath(constructor)?.[0];
    if (typeof global === "string" && !REBUILDABLE.test(global)) return global;
  }
  return undefined;
}

const privateMembersOf = new WeakMap<object, readonly string[]>();

/** `#private` instance members of a class that travels by name; its text tells, because they can't be seen from outside. */
export function privateMembers(constructor: object): readonly string[] {
  const known = privateMembersOf.get(constructor);
  if (known !== undefined) return known;
  let names: readonly string[] = [];
  const text = Function.prototype.toString.call(constructor);
  if (text.startsWith("class") && text.includes("#")) {
    try {
      names = planClass(parseFunctionText(text)).privateMembers;
    } catch {
      // A class whose text can't be read has no fields we could restore anyway.
    }
  }
  privateMembersOf.set(constructor, names);
  return names;
}
