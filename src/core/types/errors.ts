/**
 * Every error that drey raises. An error has a stable `code`, a `domain` that says whose move it is, and a message of one or two
 * sentences: what happened, to whom, what to do. It keeps its class, code, cause and stack across threads and processes
 * (`toWire` / `fromWire`), and `instanceof` holds on the other side.
 */

/** Whose move it is: the program's author, the engine's maintainers, or something outside (a disk, a network, a peer). */
export type ErrorDomain = "user" | "system" | "external";

/** An error as plain data, for messages between threads and processes. */
export interface WireError {
  readonly name: string;
  readonly code: string;
  readonly domain: ErrorDomain;
  readonly message: string;
  readonly stack?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: WireError;
}

/** What an error carries besides its message. */
export interface DreyErrorOptions {
  readonly cause?: unknown;
  /** Facts about the failure that a program may want (job, vertex, subtask, file, line …): plain data. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The base of all errors of drey. */
export class DreyError extends Error {
  readonly code: string;
  readonly domain: ErrorDomain;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, domain: ErrorDomain, message: string, options: DreyErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.domain = domain;
    this.details = options.details ?? {};
  }
}

/** An option, a flag or a configuration file says something that cannot be done. */
export class ConfigurationError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_CONFIGURATION", "user", message, options);
  }
}

/** The program describes a pipeline that cannot run; raised while the graph is built. */
export class GraphError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_GRAPH", "user", message, options);
  }
}

/** A function cannot be shipped to the cluster; `details.path` leads from the operator to the value that can't travel. */
export class CaptureError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_CAPTURE", "user", message, options);
  }
}

/** A record or a key has a value that a stream can't carry, or a line of input can't be read. */
export class RecordError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_RECORD", "user", message, options);
  }
}

/** A user function threw. `cause` is what it threw; `details`: operator, vertex, subtask. */
export class UserFunctionError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_USER_FUNCTION", "user", message, options);
  }
}

/** A task outgrew the memory of its slot. */
export class OutOfMemoryError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_OUT_OF_MEMORY", "user", message, options);
  }
}

/** A job ended in state FAILED; `cause` is the failure that ended it. */
export class JobFailedError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_JOB_FAILED", "user", message, options);
  }
}

/** A job ended in state CANCELED while somebody waited for its result. */
export class JobCanceledError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_JOB_CANCELED", "user", message, options);
  }
}

/** A job or another thing that was asked for by name does not exist here. */
export class NotFoundError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_NOT_FOUND", "user", message, options);
  }
}

/** Something can be had by one only, and somebody else has it. */
export class ConflictError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_CONFLICT", "user", message, options);
  }
}

/** Nobody answers at an address, or an established connection broke. */
export class ConnectionError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_CONNECTION", "external", message, options);
  }
}

/** Something did not happen before its deadline. */
export class DeadlineError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_DEADLINE", "external", message, options);
  }
}

/** A TaskManager stopped answering or died while it ran tasks. */
export class TaskManagerLostError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_TASK_MANAGER_LOST", "external", message, options);
  }
}

/** A checkpoint or savepoint did not come about: declined, out of time, aborted, or not written. */
export class CheckpointError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_CHECKPOINT", "external", message, options);
  }
}

/**
 * What a checkpoint or savepoint stored can't be read back: missing, torn, damaged, or of another version. A task that throws it while it
 * restores makes its job fall back to the checkpoint before.
 */
export class CorruptCheckpointError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_CORRUPT_CHECKPOINT", "external", message, options);
  }
}

/** A disk or a folder does not take or give what a task needs: full, gone, not permitted, or cut short. */
export class StorageError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_STORAGE", "external", message, options);
  }
}

/** State is declared in a way that does not go with what was restored, or one that is not there is asked for. */
export class StateError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_STATE", "user", message, options);
  }
}

/** A message on the wire has the wrong version, shape or sender. */
export class ProtocolError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_PROTOCOL", "system", message, options);
  }
}

/** An invariant of the engine does not hold: a bug in drey. */
export class InvariantError extends DreyError {
  constructor(message: string, options?: DreyErrorOptions) {
    super("DREY_INVARIANT", "system", `${message} This is a bug in drey; please report it with this message.`, options);
  }
}

type ErrorClass = new (message: string, options?: DreyErrorOptions) => DreyError;

/** Every class by the name it travels under. */
export const errorClasses: Readonly<Record<string, ErrorClass>> = {
  ConfigurationError,
  GraphError,
  CaptureError,
  RecordError,
  UserFunctionError,
  OutOfMemoryError,
  JobFailedError,
  JobCanceledError,
  NotFoundError,
  ConflictError,
  ConnectionError,
  DeadlineError,
  TaskManagerLostError,
  CheckpointError,
  CorruptCheckpointError,
  StorageError,
  StateError,
  ProtocolError,
  InvariantError,
};

/** The deepest chain of causes that is written to the wire; what lies deeper is cut. */
const MAX_CAUSES = 8;

/** Anything that was thrown, as plain data. Never throws itself: what can't be read is described. */
export function toWire(thrown: unknown, depth = 0): WireError {
  const cause = thrown instanceof Error && thrown.cause !== undefined && depth < MAX_CAUSES ? toWire(thrown.cause, depth + 1) : undefined;
  if (thrown instanceof DreyError) {
    return {
      name: thrown.name,
      code: thrown.code,
      domain: thrown.domain,
      message: thrown.message,
      ...(thrown.stack === undefined ? {} : { stack: thrown.stack }),
      ...(Object.keys(thrown.details).length === 0 ? {} : { details: thrown.details }),
      ...(cause === undefined ? {} : { cause }),
    };
  }
  if (thrown instanceof Error) {
    const code = (thrown as { code?: unknown }).code;
    return {
      name: String(thrown.name),
      code: typeof code === "string" ? code : "",
      domain: "user",
      message: String(thrown.message),
      ...(typeof thrown.stack === "string" ? { stack: thrown.stack } : {}),
      ...(cause === undefined ? {} : { cause }),
    };
  }
  return { name: "Error", code: "", domain: "user", message: `a value that is not an Error was thrown: ${describe(thrown)}` };
}

/** The error that `toWire` wrote: of the same class where the class is one of drey's, else an Error of the same name. */
export function fromWire(wire: WireError): Error {
  const cause = wire.cause === undefined ? undefined : fromWire(wire.cause);
  // A name that every object inherits, such as "constructor", is not one of ours.
  const known = Object.hasOwn(errorClasses, wire.name) ? errorClasses[wire.name] : undefined;
  const error =
    known === undefined
      ? Object.assign(new Error(wire.message, cause === undefined ? undefined : { cause }), wire.code === "" ? {} : { code: wire.code })
      : new known(wire.message, {
          ...(cause === undefined ? {} : { cause }),
          ...(wire.details === undefined ? {} : { details: wire.details }),
        });
  // An InvariantError's constructor adds a sentence that the wire form already has.
  if (error.message !== wire.message) Object.defineProperty(error, "message", { value: wire.message, configurable: true, writable: true });
  if (known === undefined) Object.defineProperty(error, "name", { value: wire.name, configurable: true, writable: true });
  if (wire.stack !== undefined) Object.defineProperty(error, "stack", { value: wire.stack, configurable: true, writable: true });
  return error;
}

/** A short text for any value, for use in messages; cut at `limit` characters. Never throws. */
export function describe(value: unknown, limit = 120): string {
  let text: string;
  try {
    if (typeof value === "string") text = JSON.stringify(value);
    else if (typeof value === "bigint") text = `${value}n`;
    else if (typeof value === "function") text = `function ${value.name || "(anonymous)"}`;
    else if (typeof value === "object" && value !== null) {
      const name = (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor?.name ?? "Object";
      const json = JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? `${inner}n` : inner));
      text = name === "Object" || name === "Array" ? json : `${name} ${json}`;
    } else text = String(value);
  } catch {
    text = Object.prototype.toString.call(value);
  }
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}
