/**
 * What only the engine knows about a value: the scopes a function closes over, the parts of a bound function, `#private` fields,
 * and the script a function was compiled from. V8 tells it through the inspector that every Node carries in the process; no port
 * is opened.
 *
 * Questions are written as generators that yield inspector commands, because Node answers a command before `post` returns and
 * Deno answers it later: the same walk runs under `runSteps` and under `runStepsAsync`.
 *
 * A value is passed to the inspector through a slot on globalThis that exists from `open` to `close`.
 */
import { Session } from "node:inspector";
import { CaptureError, InvariantError } from "../../core/types/errors.ts";

/** One command to the inspector. */
export interface InspectorCommand {
  readonly method: string;
  readonly params: object;
}

/** A computation that asks the inspector on its way. */
export type Steps<T> = Generator<InspectorCommand, T, unknown>;

/** What makes a scope: `explicit` is a list of variables that the user names where there is no inspector. */
export type ScopeKind = "block" | "closure" | "module" | "script" | "global" | "explicit";

/** One scope a function closes over: a snapshot of its variables. V8 makes a new snapshot for every question. */
export interface CapturedScope {
  readonly kind: ScopeKind;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** A place in a script; 0-based. */
export interface ScriptLocation {
  readonly scriptId: string;
  readonly lineNumber: number;
  readonly columnNumber: number;
}

/** What the engine knows of a function besides its text. */
export interface FunctionInfo {
  /** Undefined for native functions, and where there is no inspector. */
  readonly location: ScriptLocation | undefined;
  /** Innermost first. */
  readonly scopes: readonly CapturedScope[];
  readonly bound: { readonly target: unknown; readonly thisValue: unknown; readonly args: readonly unknown[] } | undefined;
}

/** A script as the engine compiled it. */
export interface ScriptSource {
  readonly scriptId: string;
  readonly url: string;
  readonly sourceMapUrl: string;
  readonly source: string;
}

/** What a capture asks about values. */
export interface ValueProbe {
  /** False where free names are known only if the user names them. */
  readonly seesScopes: boolean;
  functionInfo(value: object): Steps<FunctionInfo>;
  /** `#private` fields of an instance, or static ones of a class, by name without `#`. */
  privateFields(value: object): Steps<Map<string, unknown>>;
  script(scriptId: string): Steps<ScriptSource | undefined>;
}

/** Runs steps where the inspector answers at once. */
export function runSteps<T>(steps: Steps<T>, probe: InspectorProbe | undefined): T {
  let next = steps.next();
  while (!next.done) {
    let answer: unknown;
    try {
      answer = required(probe).ask(next.value);
    } catch (cause) {
      next = steps.throw(cause);
      continue;
    }
    next = steps.next(answer);
  }
  return next.value;
}

/** Runs steps where the inspector answers in a later turn. */
export async function runStepsAsync<T>(steps: Steps<T>, probe: InspectorProbe | undefined): Promise<T> {
  let next = steps.next();
  while (!next.done) {
    let answer: unknown;
    try {
      answer = await required(probe).askLater(next.value);
    } catch (cause) {
      next = steps.throw(cause);
      continue;
    }
    next = steps.next(answer);
  }
  return next.value;
}

function required(probe: InspectorProbe | undefined): InspectorProbe {
  if (probe === undefined) throw new InvariantError("A capture without inspector asked the inspector.");
  return probe;
}

const SLOT = "__drey_capture__";
const OBJECT_GROUP = "drey-capture";

/** Scripts seen so far: ids are unique in a process and sources never change, so the debugger need not be asked twice. */
const scripts = new Map<string, ScriptSource>();
/** Each entry holds a whole script; the oldest go first. */
const MAX_SCRIPTS = 256;

interface RemoteObject {
  objectId?: string;
  value?: unknown;
  unserializableValue?: string;
  description?: string;
  type?: string;
}
interface PropertiesAnswer {
  internalProperties?: { name: string; value?: RemoteObject }[];
  privateProperties?: { name: string; value?: RemoteObject; get?: unknown; set?: unknown }[];
}

/** A session with the inspector of this thread. Whoever opens it closes it. */
export class InspectorProbe implements ValueProbe {
  readonly seesScopes = true;
  readonly #session = new Session();
  readonly #slot: { value: unknown } = { value: undefined };
  readonly #parsed: Map<string, { url: string; sourceMapURL?: string | undefined }> = new Map();
  #debugging = false;

  /** @throws Error when this runtime has no inspector, or a session with another slot is open in this thread. */
  open(): void {
    if (Object.hasOwn(globalThis, SLOT)) throw new InvariantError("Two captures run at once in one thread.");
    this.#session.connect();
    Object.defineProperty(globalThis, SLOT, { value: this.#slot, configurable: true, enumerable: false });
    this.#session.on("Debugger.scriptParsed", (message) => this.#parsed.set(message.params.scriptId, message.params));
  }

  /** Ends the session; nothing remains on globalThis and the debugger is off. */
  close(): void {
    try {
      this.#session.disconnect();
    } finally {
      delete (globalThis as Record<string, unknown>)[SLOT];
    }
  }

  /** True when this thread's inspector answers before `post` returns (Node does). */
  answersAtOnce(): boolean {
    let answered = false;
    this.#session.post("Runtime.evaluate", { expression: "1", silent: true }, () => {
      answered = true;
    });
    return answered;
  }

  ask(command: InspectorCommand): unknown {
    let answered = false;
    let failure: Error | null = null;
    let answer: unknown;
    this.#session.post(command.method, command.params, (error: Error | null, result?: object) => {
      answered = true;
      failure = error;
      answer = result;
    });
    if (!answered) {
      throw new CaptureError(
        "This runtime's inspector answers later, so functions can't be captured synchronously; use `await capture(…)`.",
      );
    }
    if (failure !== null) throw commandFailed(command, failure);
    return answer;
  }

  askLater(command: InspectorCommand): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#session.post(command.method, command.params, (error: Error | null, result?: object) => {
        if (error) reject(commandFailed(command, error));
        else resolve(result);
      });
    });
  }

  *functionInfo(value: object): Steps<FunctionInfo> {
    const objectId = yield* this.#handle(value);
    const answer = (yield { method: "Runtime.getProperties", params: { objectId, ownProperties: true } }) as PropertiesAnswer;
    const internal = new Map((answer.internalProperties ?? []).map((property) => [property.name, property.value]));
    const target = internal.get("[[TargetFunction]]");
    if (target !== undefined) {
      const thisValue = yield* this.#valueOf(internal.get("[[BoundThis]]") ?? {});
      const args = Array.from((yield* this.#valueOf(internal.get("[[BoundArgs]]") ?? {})) as ArrayLike<unknown>);
      return { location: undefined, scopes: [], bound: { target: yield* this.#valueOf(target), thisValue, args } };
    }
    const location = internal.get("[[FunctionLocation]]")?.value as ScriptLocation | undefined;
    const chain = internal.get("[[Scopes]]");
    const scopes: CapturedScope[] = [];
    if (chain?.objectId !== undefined) {
      const count = Number(/\[(\d+)\]/.exec(chain.description ?? "")?.[1] ?? 0);
      const list = (yield* this.#valueOf(chain)) as Record<number, { description?: string; object?: Record<string, unknown> } | undefined>;
      for (let i = 0; i < count; i++) {
        const scope = list[i];
        if (scope?.object !== undefined) scopes.push({ kind: scopeKind(scope.description ?? ""), variables: scope.object });
      }
    }
    return { location, scopes, bound: undefined };
  }

  *privateFields(value: object): Steps<Map<string, unknown>> {
    const objectId = yield* this.#handle(value);
    const answer = (yield { method: "Runtime.getProperties", params: { objectId, ownProperties: true } }) as PropertiesAnswer;
    const fields = new Map<string, unknown>();
    for (const property of answer.privateProperties ?? []) {
      if (property.get !== undefined || property.set !== undefined || property.value === undefined) continue;
      if (property.value.type === "function" && property.value.objectId === undefined) continue;
      fields.set(property.name.slice(1), yield* this.#valueOf(property.value));
    }
    return fields;
  }

  *script(scriptId: string): Steps<ScriptSource | undefined> {
    const known = scripts.get(scriptId);
    if (known !== undefined) return known;
    if (!this.#debugging) {
      // Enabling the debugger lists every script of the process, which takes tens of milliseconds: once per batch at the most.
      this.#debugging = true;
      yield { method: "Debugger.enable", params: {} };
    }
    const parsed = this.#parsed.get(scriptId);
    if (parsed === undefined) return undefined;
    const { scriptSource } = (yield { method: "Debugger.getScriptSource", params: { scriptId } }) as { scriptSource: string };
    const script: ScriptSource = { scriptId, url: parsed.url, sourceMapUrl: parsed.sourceMapURL ?? "", source: scriptSource };
    if (scripts.size >= MAX_SCRIPTS) scripts.delete(scripts.keys().next().value as string);
    scripts.set(scriptId, script);
    return script;
  }

  /** Turns the debugger off again and lets go of every value the inspector holds for us. */
  *release(): Steps<void> {
    if (this.#debugging) yield { method: "Debugger.disable", params: {} };
    this.#debugging = false;
    yield { method: "Runtime.releaseObjectGroup", params: { objectGroup: OBJECT_GROUP } };
  }

  *#handle(value: object): Steps<string> {
    this.#slot.value = value;
    const expression = `globalThis.${SLOT}.value`;
    const answer = (yield { method: "Runtime.evaluate", params: { expression, objectGroup: OBJECT_GROUP, silent: true } }) as {
      result: RemoteObject;
    };
    this.#slot.value = undefined;
    if (answer.result.objectId === undefined) throw new InvariantError("The inspector gave no handle for a value.");
    return answer.result.objectId;
  }

  *#valueOf(remote: RemoteObject): Steps<unknown> {
    if (remote.objectId === undefined)
      return remote.unserializableValue === undefined ? remote.value : unserializable(remote.unserializableValue);
    const functionDeclaration = `function () { globalThis.${SLOT}.value = this; }`;
    yield { method: "Runtime.callFunctionOn", params: { objectId: remote.objectId, functionDeclaration, silent: true } };
    const { value } = this.#slot;
    this.#slot.value = undefined;
    return value;
  }
}

/** No inspector (Bun, hardened hosts): nothing is known but what the user names. */
export class BlindProbe implements ValueProbe {
  readonly seesScopes = false;
  *functionInfo(): Steps<FunctionInfo> {
    return {
      location: undefined,
      scopes: [{ kind: "global", variables: globalThis as unknown as Record<string, unknown> }],
      bound: undefined,
    };
  }
  *privateFields(): Steps<Map<string, unknown>> {
    return new Map();
  }
  *script(): Steps<undefined> {
    return undefined;
  }
}

/** V8 describes scopes as `Closure (name)`, `Block`, `Catch`, `With Block`, `Module`, `Script`, `Global` … */
function scopeKind(description: string): ScopeKind {
  if (description.startsWith("Closure") || description.startsWith("Local")) return "closure";
  if (description.startsWith("Module")) return "module";
  if (description.startsWith("Script")) return "script";
  return description.startsWith("Global") ? "global" : "block";
}

const unserializable = (text: string): number | bigint => (text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text));

const commandFailed = (command: InspectorCommand, failure: { message?: string }): InvariantError =>
  new InvariantError(`The inspector refused ${command.method}: ${failure.message ?? JSON.stringify(failure)}.`, { cause: failure });
