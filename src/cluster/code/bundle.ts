/**
 * The unit in which user code travels: what a JAR is to Flink, made from live functions. A bundle is plain data (it can be
 * structured-cloned): the text of every function and class that was reached, the values they captured as a graph of nodes, the
 * modules they need by name, and where each line of the text was written. Nodes refer to one another by index, so cycles and
 * shared identity survive. The order of nodes and classes is part of the bundle: every worker that revives it sees the same.
 *
 * A bundle is code. Whoever accepts one runs it with all rights of the process, so it may come from authenticated peers only.
 */
import { createHash } from "node:crypto";
import { deserialize, serialize } from "node:v8";
import { ProtocolError } from "../../core/types/errors.ts";

/** Values without identity: they stand in the bundle as they are. */
export type Primitive = string | number | bigint | boolean | null | undefined;

/** Stands for `bundle.nodes[ref]`. */
export interface NodeRef {
  readonly ref: number;
}

/** A captured value: a primitive as it is, anything with an identity as a reference. */
export type Encoded = Primitive | NodeRef;

/** A property key: a string, or a reference to a symbol's node. */
export type EncodedKey = string | NodeRef;

/** How an own property deviates from `{ enumerable, configurable, writable: true }`. */
export const PropertyFlag = { hidden: 1, notConfigurable: 2, readOnly: 4, accessor: 8 } as const;

/** Key, value (or getter), flags when they are not 0, setter of an accessor. */
export type EncodedProperty = readonly [key: EncodedKey, value: Encoded, flags?: number, setter?: Encoded];

/** What any object, array, collection or function may have besides its own kind of content. */
export interface ObjectParts {
  /** Node of the class whose prototype it has. */
  class?: number;
  /** Its prototype, where that is not a class's: an object or null. */
  prototype?: Encoded;
  properties?: EncodedProperty[];
  /** Values of its `#private` fields, own and inherited, by name without `#`. */
  privateValues?: [name: string, value: Encoded][];
  /** Of a class: values of its static `#private` fields. */
  staticPrivateValues?: [name: string, value: Encoded][];
  integrity?: "fixed" | "sealed" | "frozen";
}

/** A value with an identity that is no function: how to find it again, or to make it anew, and the properties put on it. */
export type ValueNode = ObjectParts &
  (
    | { kind: "well-known-symbol"; name: string }
    | { kind: "registered-symbol"; key: string }
    | { kind: "symbol"; description: string | undefined }
    /** Found on globalThis along a path. */
    | { kind: "global"; path: EncodedKey[] }
    /** Found in `bundle.imports[module]` along a path; the empty path is the module itself. */
    | { kind: "import"; module: number; path: string[] }
    | { kind: "date"; time: number }
    | { kind: "regexp"; source: string; flags: string; lastIndex: number }
    | { kind: "boxed"; value: Primitive }
    | { kind: "array-buffer"; bytes: Uint8Array }
    | { kind: "view"; type: string; buffer: Encoded; byteOffset: number; length: number }
    /** `items` when the array holds nothing but primitives. */
    | { kind: "array"; length: number; items?: readonly Primitive[] }
    | { kind: "map"; entries: [Encoded, Encoded][] }
    | { kind: "set"; elements: Encoded[] }
    | { kind: "error"; message: string; stack: string | undefined }
    | { kind: "object" }
    /** A module or a notebook's variables, of which only the members in use travel. */
    | { kind: "namespace"; members: Record<string, Encoded> }
    /** A fresh, empty cache. */
    | { kind: "weak"; type: "WeakMap" | "WeakSet" }
    /** Defined by `bundle.code`. */
    | { kind: "function" }
    | { kind: "bound"; target: Encoded; thisValue: Encoded; args: Encoded[] }
    /** A property that its owner makes itself, such as a function's prototype. */
    | { kind: "member"; owner: number; key: string }
  );

/** A module that travels by name and is loaded where the bundle is revived. */
export interface ModuleImport {
  readonly specifier: string;
  /**
   * builtin: Node's own; known: one the capturer named in `knownModules`; drey: a file of drey's package, by its path from
   * the folder of the build, without extension; package: installed in node_modules; url: npm:, jsr:, https: as Deno has them.
   */
  readonly origin: "builtin" | "known" | "drey" | "package" | "url";
  /** CommonJS modules are loaded with require, so that they are the same instance as for other CommonJS code. */
  readonly style: "import" | "require";
  readonly package?: string;
  /** The file within the package's folder, with forward slashes. */
  readonly subpath?: string;
  /** The package's folder on the machine that captured; looked at last. */
  readonly folder?: string;
  /** Path to the first captured value that needs it, for messages. */
  readonly neededBy: string;
}

/** A class in the bundle; its index in `bundle.classes` is the class's id in the record codec. */
export interface BundledClass {
  readonly node: number;
  readonly name: string;
  /** Names, without `#`, of the private instance fields that it declares or inherits from classes that are not in the bundle. */
  readonly privateFields: readonly string[];
}

/** A stretch of a shipped line: from its column on it was written at this line and column. All 0-based. */
export type LineSegment = readonly [column: number, originalLine: number, originalColumn: number];

/** Where one shipped function was written. */
export interface FunctionPosition {
  /** Path to the function, e.g. `map(f) → helper`. */
  readonly path: string;
  /** First line of its text in `bundle.code`, 0-based. */
  readonly firstLine: number;
  /** Absolute path, URL, or the label of a notebook cell; empty when unknown. */
  readonly file: string;
  /** False where a segment's column is only the start of what it covers, or unknown (a notebook cell without a source map). */
  readonly columns: "exact" | "start" | "unknown";
  /** Per shipped line, its segments by rising column. */
  readonly lines: readonly (readonly LineSegment[])[];
  /** The original lines that the segments name, trimmed and cut at 200 characters. */
  readonly texts: Readonly<Record<number, string>>;
}

/** Everything a worker needs to bring captured values to life. Plain data; treat as immutable. */
export interface CodeBundle {
  /** File name in stack traces of the shipped code; derived from the code. */
  readonly fileName: string;
  /** Body of a function of `$drey` (see `revive.ts`) and `$nodes`. Returns the roots. */
  readonly code: string;
  readonly nodes: readonly ValueNode[];
  readonly imports: readonly ModuleImport[];
  readonly classes: readonly BundledClass[];
  /** Labels of the roots, in the order of the captured list. */
  readonly roots: readonly string[];
  /** Positions of the shipped functions, by rising line. */
  readonly map: readonly FunctionPosition[];
  /** Versions of the packages that travel by name. */
  readonly packages: Readonly<Record<string, string>>;
  /** Sentences for the user: what was captured, but may surprise. */
  readonly warnings: readonly string[];
}

const MAGIC = "dreycode";
const VERSION = 1;
const HEADER_BYTES = 16;

/** A bundle as bytes: a header with a version and a length, then V8's structured-clone format. */
export function encodeBundle(bundle: CodeBundle): Uint8Array {
  const payload = serialize(bundle);
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  bytes.write(MAGIC, 0, "latin1");
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(payload.length, 12);
  payload.copy(bytes, HEADER_BYTES);
  return bytes;
}

/**
 * The bundle that `encodeBundle` wrote.
 * @throws ProtocolError when the bytes are not a bundle, are cut off, or were written by a newer drey or Node than this process can read.
 */
export function decodeBundle(bytes: Uint8Array): CodeBundle {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < HEADER_BYTES || buffer.toString("latin1", 0, 8) !== MAGIC) {
    throw new ProtocolError(`These ${buffer.length} bytes are not a code bundle: they do not begin with "${MAGIC}".`);
  }
  const version = buffer.readUInt32LE(8);
  if (version !== VERSION) {
    throw new ProtocolError(
      `The code bundle has version ${version}; this process reads version ${VERSION}. ` +
        "Run the same version of drey in the client and on the cluster.",
    );
  }
  const length = buffer.readUInt32LE(12);
  if (buffer.length !== HEADER_BYTES + length) {
    throw new ProtocolError(
      `The code bundle should have ${HEADER_BYTES + length} bytes, but ${buffer.length} arrived; submit the job again.`,
    );
  }
  let bundle: CodeBundle;
  try {
    bundle = deserialize(buffer.subarray(HEADER_BYTES)) as CodeBundle;
  } catch (cause) {
    throw new ProtocolError(
      `The code bundle can't be read by ${process.version}: it is damaged, or its client runs a newer Node. ` +
        "Run the same Node version on both sides.",
      { cause },
    );
  }
  if (
    typeof bundle?.code !== "string" ||
    !Array.isArray(bundle.nodes) ||
    !Array.isArray(bundle.imports) ||
    !Array.isArray(bundle.classes)
  ) {
    throw new ProtocolError("The code bundle lacks its code, nodes, imports or classes; it was not written by drey.");
  }
  return bundle;
}

/** The content address of an encoded bundle: SHA-256 in hex. */
export const bundleDigest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
