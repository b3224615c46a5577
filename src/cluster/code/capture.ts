/**
 * Functions as data. Where Flink ships a JAR, drey ships closures: the functions of a pipeline with the variables they use, the
 * classes of those variables, and the functions that these call, found while the program runs. So a notebook cell and a script are
 * shipped alike, and nobody builds an artifact.
 *
 * All functions of a job are captured together: what they share stays shared, and the costly question for source positions is asked
 * once. A capture reads and never runs user code, apart from getters of imported modules.
 */
import { createHash } from "node:crypto";
import { CaptureError } from "../../core/types/errors.ts";
import type { BundledClass, CodeBundle, Encoded } from "./bundle.ts";
import { emit } from "./emit.ts";
import { knownModuleMembers, refreshIdentities } from "./identities.ts";
import type { KnownModule } from "./identities.ts";
import { BlindProbe, InspectorProbe, runSteps, runStepsAsync } from "./inspector.ts";
import type { Steps, ValueProbe } from "./inspector.ts";
import type { ShippedClass } from "./revive.ts";
import { privateMembers, ValueGraph } from "./value-graph.ts";
import type { CapturedFunction } from "./value-graph.ts";

/** One value to capture: a function, an instance of a class, or plain data that may hold functions. */
export interface CaptureRoot {
  /** How messages call it: operator and function, as in `map(parse)`. */
  readonly label: string;
  readonly value: unknown;
  /** Values of free names of the function. Needed where the runtime has no V8 inspector (Bun); elsewhere they win over what is found. */
  readonly captures?: Readonly<Record<string, unknown>>;
}

export interface CaptureOptions {
  /** Modules whose exports travel by name. Drey's own doors belong here. */
  readonly knownModules?: readonly KnownModule[];
  /** A captured value above this many bytes (estimated) is warned about. Default 1,000,000. */
  readonly warnAboveBytes?: number;
  /** False: act as if there were no inspector, so that only `captures` are known. Default true. */
  readonly inspect?: boolean;
}

const WARN_ABOVE_BYTES = 1_000_000;

/** Captures wait for one another: each uses one slot on globalThis while it runs. */
let turn: Promise<unknown> = Promise.resolve();

/**
 * Captures roots into one bundle. The bundle depends on code and values only: capturing the same again gives the same bytes.
 * @throws CaptureError when a root reaches something that can't travel; `details.path` leads to it.
 */
export function capture(roots: readonly CaptureRoot[], options: CaptureOptions = {}): Promise<CodeBundle> {
  const result = turn.then(() => captureInTurn(roots, options));
  turn = result.catch(() => undefined);
  return result;
}

async function captureInTurn(roots: readonly CaptureRoot[], options: CaptureOptions): Promise<CodeBundle> {
  // Deno's kernel crashes when its inspector is entered in the same turn as the cell's own code.
  if ("Deno" in globalThis) await new Promise((resolve) => setTimeout(resolve, 0));
  const probe = options.inspect === false ? undefined : openProbe();
  if (probe === undefined || probe.answersAtOnce()) return captureWith(probe, roots, options);
  try {
    const bundle = await runStepsAsync(bundleSteps(probe, roots, options), probe);
    await runStepsAsync(probe.release(), probe);
    return bundle;
  } finally {
    probe.close();
  }
}

/**
 * As `capture`, at once.
 * @throws CaptureError also when this runtime's inspector is asynchronous (Deno).
 */
export function captureSync(roots: readonly CaptureRoot[], options: CaptureOptions = {}): CodeBundle {
  return captureWith(options.inspect === false ? undefined : openProbe(), roots, options);
}

/** Builds the tables of known values ahead of the first capture, which then takes milliseconds instead of a tenth of a second. */
export function warmUp(knownModules: readonly KnownModule[] = []): void {
  refreshIdentities();
  for (const module of knownModules) knownModuleMembers(module);
}

function openProbe(): InspectorProbe | undefined {
  // Bun has the module, but no answer to the questions.
  if ("Bun" in globalThis) return undefined;
  try {
    const probe = new InspectorProbe();
    probe.open();
    return probe;
  } catch (cause) {
    if (cause instanceof Error && (cause as { code?: unknown }).code === "DREY_INVARIANT") throw cause;
    return undefined;
  }
}

function captureWith(probe: InspectorProbe | undefined, roots: readonly CaptureRoot[], options: CaptureOptions): CodeBundle {
  try {
    return runSteps(bundleSteps(probe ?? new BlindProbe(), roots, options), probe);
  } finally {
    if (probe !== undefined) {
      try {
        runSteps(probe.release(), probe);
      } finally {
        probe.close();
      }
    }
  }
}

function* bundleSteps(probe: ValueProbe, roots: readonly CaptureRoot[], options: CaptureOptions): Steps<CodeBundle> {
  refreshIdentities();
  const graph = new ValueGraph({
    probe,
    knownModules: options.knownModules ?? [],
    warnAboveBytes: options.warnAboveBytes ?? WARN_ABOVE_BYTES,
  });
  const values: Encoded[] = [];
  for (const { label, value, captures } of roots) values.push(yield* graph.addRoot(label, value, captures));
  const { code, map } = emit(graph, values);
  checkSyntax(code, roots);
  const digest = createHash("sha256").update(code).digest("hex").slice(0, 12);
  const bundle: CodeBundle = {
    fileName: `drey-code-${digest}.js`,
    code,
    nodes: graph.nodes.map((node) => node.encoded),
    imports: graph.imports,
    classes: bundledClasses(graph),
    roots: roots.map((root) => root.label),
    map,
    packages: graph.packages,
    warnings: graph.warnings,
  };
  originals.set(
    bundle,
    bundle.classes.map(({ node, name, privateFields }) => ({
      name,
      privateFields,
      constructor: graph.nodes[node]?.value as ShippedClass["constructor"],
    })),
  );
  return bundle;
}

const originals = new WeakMap<CodeBundle, readonly ShippedClass[]>();

/** The classes of a bundle that was captured in this process, as they are here, in the order of `bundle.classes`. Of any other: none. */
export const originalClasses = (bundle: CodeBundle): readonly ShippedClass[] => originals.get(bundle) ?? [];

/** Text that does not parse should fail here, in the user's cell, and not in a worker. */
function checkSyntax(code: string, roots: readonly CaptureRoot[]): void {
  try {
    // Parsed, never called.
    new Function("$drey", "$nodes", code);
  } catch (cause) {
    throw new CaptureError(
      `${roots.map((root) => root.label).join(", ")}: can't be written as code of its own (${(cause as Error).message}); ` +
        "define it as a plain function.",
      { cause, details: { path: roots.map((root) => root.label) } },
    );
  }
}

/** Classes that travel by text, and classes of packages; in the order in which they were reached. */
function bundledClasses(graph: ValueGraph): BundledClass[] {
  const classes: BundledClass[] = [];
  for (const [node, { encoded, value, function: captured }] of graph.nodes.entries()) {
    const byName =
      encoded.kind === "import" && typeof value === "function" && graph.imports[encoded.module]?.origin === "package" && isClass(value);
    if (captured?.parsed.isClass !== true && !byName && !isConstructorFunction(captured)) continue;
    const constructor = value as { readonly name: string };
    classes.push({
      node,
      name: String(constructor.name),
      privateFields: [...(captured?.classPlan?.privateFields ?? privateMembers(constructor))],
    });
  }
  return classes.map((one) => ({ ...one, privateFields: [...one.privateFields, ...inheritedFromOutside(graph, one, classes)] }));
}

function inheritedFromOutside(graph: ValueGraph, { node }: BundledClass, classes: readonly BundledClass[]): string[] {
  const fields: string[] = [];
  let one: unknown = Object.getPrototypeOf(graph.nodes[node]?.value);
  for (; typeof one === "function" && one !== Function.prototype; one = Object.getPrototypeOf(one)) {
    const parent = graph.idOf(one);
    if (parent === undefined || !classes.some((other) => other.node === parent)) fields.push(...privateMembers(one));
  }
  return fields;
}

const isClass = (value: object): boolean => /^class\b/.test(Function.prototype.toString.call(value));

/** A function with methods on its prototype: a class as it was written before there were classes. */
const isConstructorFunction = (captured: CapturedFunction | undefined): boolean => {
  const prototype = captured?.value.prototype as object | undefined;
  return (
    typeof prototype === "object" &&
    prototype !== null &&
    captured?.parsed.form === "expression" &&
    !captured.parsed.isArrow &&
    Object.hasOwn(prototype, "constructor") &&
    Reflect.ownKeys(prototype).length > 1
  );
};
