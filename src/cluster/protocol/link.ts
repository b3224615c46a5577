/**
 * One end of one session between two processes: who called what and waits for the answer, what the other side asks and who answers it.
 *
 * Invariants: every call settles exactly once (its reply, the error of its handler, its deadline, its signal, or the loss of the link);
 * the calls that wait are bounded in number and bytes; handlers begin in the order in which messages arrive. A link knows no sockets and no
 * liveness: its owner (`rpc.ts`) feeds it messages that belong to its session, gives it a way to transmit, and ends it with `lose`.
 */
import * as v from "valibot";
import { ConnectionError, DeadlineError, ProtocolError, fromWire, toWire, type WireError } from "../../core/types/errors.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { MAX_ATTACHMENTS, MAX_ERROR_TEXT, encode, type Content, type Envelope } from "./codec.ts";
import {
  ReplyWithAttachments,
  type Attachments,
  type CallName,
  type Conversation,
  type EventName,
  type Handlers,
  type ReplyOf,
  type RequestOf,
} from "./conversation.ts";

/** How long an answer may take unless the conversation or the caller says otherwise. */
export const DEFAULT_DEADLINE_MS = 10_000;
/** The most calls that may wait for an answer, in one direction of one link. */
export const MAX_WAITING_CALLS = 4096;

/** Per call. */
export interface CallOptions {
  readonly attachments?: Attachments;
  /** How long to wait for the answer, in milliseconds; instead of the conversation's. */
  readonly deadlineMs?: number;
  /** Stops waiting: the call rejects with the signal's reason. The other side is not told. */
  readonly signal?: AbortSignal;
}

/** What can be asked of the other side of a link. */
export interface Caller<Called extends Conversation> {
  /**
   * Asks, and waits for the answer. Attachments are not copied: leave their bytes alone until the answer is there.
   * @throws the error of the handler, of the same class; DeadlineError when no answer came in time; ConnectionError when the other side is
   * not connected, gets lost meanwhile or leaves too many calls waiting; ProtocolError when a message is too large or has another shape
   * than agreed.
   */
  call<M extends CallName<Called>>(method: M, request: RequestOf<Called, M>, options?: CallOptions): Promise<ReplyOf<Called, M>>;
  /** As `call`, for answers that come with bytes beside them. */
  callForAttachments<M extends CallName<Called>>(
    method: M,
    request: RequestOf<Called, M>,
    options?: CallOptions,
  ): Promise<ReplyWithAttachments<ReplyOf<Called, M>>>;
  /**
   * Tells, and does not wait. Events and requests arrive in the order in which they were sent, as long as the session lasts; an event that
   * meets the end of the session gets lost with it (and is counted in `drops`).
   * @throws ProtocolError when the message can't be packed or is too large.
   */
  notify<M extends EventName<Called>>(method: M, event: RequestOf<Called, M>, attachments?: Attachments): void;
}

/** Why messages were dropped, and how many. */
export class Drops extends Map<string, number> {
  /** Counts one. */
  count(reason: string): void {
    this.set(reason, (this.get(reason) ?? 0) + 1);
  }
}

/** What a link needs from its owner. */
export interface LinkOptions<Served extends Conversation, Called extends Conversation, From> {
  /** The other side, for messages: "TaskManager tm-1". */
  readonly name: string;
  readonly served: Served;
  readonly handlers: Handlers<Served, From>;
  readonly called: Called;
  /** The largest message that both sides take, in bytes. */
  readonly maxMessageBytes: number;
  readonly envelope: Envelope;
  /** Sends frames; rejects with ConnectionError when they can't go. Never blocks. */
  readonly transmit: (frames: readonly Uint8Array[]) => Promise<void>;
  readonly drops: Drops;
  /** Takes the error of a handler of an event, which nobody waits for. */
  readonly report: (error: Error) => void;
}

interface WaitingCall {
  readonly method: string;
  readonly bytes: number;
  readonly settle: (error: Error | undefined, answer?: ReplyWithAttachments<unknown>) => void;
}

/** One end of one session. */
export class Link<Served extends Conversation, Called extends Conversation, From> implements Caller<Called> {
  readonly #options: LinkOptions<Served, Called, From>;
  readonly #waiting = new Map<number, WaitingCall>();
  #waitingBytes = 0;
  #lastId = 0;
  #lost: string | undefined;

  constructor(options: LinkOptions<Served, Called, From>) {
    this.#options = options;
  }

  /** How many calls wait for an answer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  async call<M extends CallName<Called>>(method: M, request: RequestOf<Called, M>, options?: CallOptions): Promise<ReplyOf<Called, M>> {
    return (await this.callForAttachments(method, request, options)).reply;
  }

  callForAttachments<M extends CallName<Called>>(
    method: M,
    request: RequestOf<Called, M>,
    { attachments = [], deadlineMs, signal }: CallOptions = {},
  ): Promise<ReplyWithAttachments<ReplyOf<Called, M>>> {
    return new Promise((resolve, reject) => {
      const { name } = this.#options;
      const schema = this.#options.called[method];
      if (schema === undefined) throw new ProtocolError(`${name} has no method ${method}.`);
      if (this.#lost !== undefined) throw new ConnectionError(`can't call ${method}: ${name} is gone (${this.#lost}).`);
      signal?.throwIfAborted();
      const id = ++this.#lastId;
      const frames = this.#frames({ kind: "request", id, method, args: request }, attachments);
      const bytes = sizeOf(frames);
      const tooMuch = this.#waitingBytes + bytes > 2 * this.#options.maxMessageBytes;
      if (this.#waiting.size >= MAX_WAITING_CALLS || (this.#waiting.size > 0 && tooMuch)) {
        throw new ConnectionError(
          `can't call ${method}: ${name} has not answered ${this.#waiting.size} calls of ${this.#waitingBytes} bytes; try again later.`,
        );
      }
      const limitMs = deadlineMs ?? (schema as { deadlineMs?: number }).deadlineMs ?? DEFAULT_DEADLINE_MS;
      const onDeadline = (): void => {
        const details = { method, deadlineMs: limitMs };
        settle(new DeadlineError(`${name} did not answer ${method} within ${formatDuration(limitMs)}.`, { details }));
      };
      const onAbort = (): void => {
        const reason: unknown = signal!.reason;
        settle(reason instanceof Error ? reason : new ConnectionError(`the call of ${method} was given up.`));
      };
      const settle = (error: Error | undefined, answer?: ReplyWithAttachments<unknown>): void => {
        if (!this.#waiting.delete(id)) return;
        this.#waitingBytes -= bytes;
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        if (error !== undefined) reject(error);
        else resolve(answer as ReplyWithAttachments<ReplyOf<Called, M>>);
      };
      // A timer of more than 2^31 ms would fire at once.
      const timer = setTimeout(onDeadline, Math.min(limitMs, 2 ** 31 - 1));
      signal?.addEventListener("abort", onAbort);
      this.#waiting.set(id, { method, bytes, settle });
      this.#waitingBytes += bytes;
      this.#options.transmit(frames).catch((error: Error) => settle(error));
    });
  }

  notify<M extends EventName<Called>>(method: M, event: RequestOf<Called, M>, attachments: Attachments = []): void {
    if (this.#lost !== undefined) return this.#options.drops.count("unsent event");
    this.#options
      .transmit(this.#frames({ kind: "event", method, args: event }, attachments))
      .catch(() => this.#options.drops.count("unsent event"));
  }

  /** Takes a message of this session. Never throws. */
  accept(message: Content, attachments: Attachments, from: From): void {
    switch (message.kind) {
      case "request":
        return this.#serve(message.id, message.method, message.args, attachments, from);
      case "event":
        return this.#hear(message.method, message.args, attachments, from);
      case "reply":
        return this.#answered(message.id, message.args, attachments);
      case "failure": {
        const call = this.#waiting.get(message.id);
        return call === undefined ? this.#options.drops.count("late reply") : call.settle(fromWire(message.error));
      }
      default:
        // Greetings, farewells and heartbeats are the owner's.
        return;
    }
  }

  /** Ends the link: every call that waits rejects with ConnectionError, and later ones too. */
  lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    for (const { method, settle } of this.#waiting.values()) {
      settle(new ConnectionError(`${this.#options.name} got lost before it answered ${method} (${reason}).`, { details: { method } }));
    }
  }

  #answered(id: number, args: unknown, attachments: Attachments): void {
    const call = this.#waiting.get(id);
    if (call === undefined) return this.#options.drops.count("late reply");
    const reply = v.safeParse(this.#options.called[call.method]!.reply!, args);
    if (reply.success) return call.settle(undefined, new ReplyWithAttachments(reply.output, attachments));
    const flaw = flawOf(reply.issues);
    call.settle(new ProtocolError(`the reply of ${this.#options.name} to ${call.method} has another shape than agreed: ${flaw}.`));
  }

  #serve(id: number, method: string, args: unknown, attachments: Attachments, from: From): void {
    let answer: unknown;
    try {
      answer = this.#handle(method, this.#read(method, args, false), attachments, from);
    } catch (error) {
      return this.#fail(id, error);
    }
    Promise.resolve(answer).then(
      (reply) => this.#reply(id, reply),
      (error: unknown) => this.#fail(id, error),
    );
  }

  #hear(method: string, args: unknown, attachments: Attachments, from: From): void {
    const failed = (error: unknown): void =>
      this.#options.report(new Error(`the handler of the event ${method} of ${this.#options.name} failed`, { cause: error }));
    let event: unknown;
    try {
      event = this.#read(method, args, true);
    } catch {
      return this.#options.drops.count("malformed event");
    }
    try {
      Promise.resolve(this.#handle(method, event, attachments, from)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** The request or event, when there is such a method and it has the agreed shape; else throws ProtocolError. */
  #read(method: string, args: unknown, isEvent: boolean): unknown {
    // A conversation is a plain object: what it inherits is not served.
    const exchange = Object.hasOwn(this.#options.served, method) ? this.#options.served[method] : undefined;
    if (exchange === undefined) throw new ProtocolError(`there is no method ${method} here.`);
    if (isEvent !== (exchange.event === true)) {
      throw new ProtocolError(`${method} is ${isEvent ? "called, not told" : "told, not called"}.`);
    }
    const request = v.safeParse(exchange.request, args);
    if (request.success) return request.output;
    throw new ProtocolError(`the request of ${method} has another shape than agreed: ${flawOf(request.issues)}.`);
  }

  #handle(method: string, request: unknown, attachments: Attachments, from: From): unknown {
    type Handler = (request: unknown, from: From, attachments: Attachments) => unknown;
    return (this.#options.handlers as Readonly<Record<string, Handler>>)[method]!(request, from, attachments);
  }

  #reply(id: number, answer: unknown): void {
    const withBytes = answer instanceof ReplyWithAttachments;
    try {
      const args: unknown = withBytes ? (answer.reply as unknown) : answer;
      this.#answer(this.#frames({ kind: "reply", id, args }, withBytes ? answer.attachments : []));
    } catch (error) {
      this.#fail(id, error);
    }
  }

  #fail(id: number, thrown: unknown): void {
    const error = trimmed(toWire(thrown));
    // The details may hold what can't travel, and the stacks be longer than a message; the error itself must arrive.
    for (const form of [error, withoutDetails(error), bare(error)]) {
      try {
        return this.#answer(this.#frames({ kind: "failure", id, error: form }, []));
      } catch {
        continue;
      }
    }
  }

  #answer(frames: readonly Uint8Array[]): void {
    if (this.#lost !== undefined) return this.#options.drops.count("unsent reply");
    this.#options.transmit(frames).catch(() => this.#options.drops.count("unsent reply"));
  }

  #frames(content: Content, attachments: Attachments): readonly Uint8Array[] {
    const frames = [encode({ ...this.#options.envelope, ...content }), ...attachments];
    const bytes = sizeOf(frames);
    const { name, maxMessageBytes } = this.#options;
    const refuse = (what: string): never => {
      throw new ProtocolError(`a message for ${name} has ${what}; nothing was sent.`);
    };
    if (bytes > maxMessageBytes) refuse(`${bytes} bytes, the limit is ${maxMessageBytes} (maxMessageBytes)`);
    if (attachments.length > MAX_ATTACHMENTS) refuse(`${attachments.length} attachments, the limit is ${MAX_ATTACHMENTS}`);
    return frames;
  }
}

const sizeOf = (frames: readonly Uint8Array[]): number => frames.reduce((sum, frame) => sum + frame.byteLength, 0);

/** Where and how a value departs from its schema, in a line. */
function flawOf(issues: readonly v.BaseIssue<unknown>[]): string {
  const [issue] = issues;
  if (issue === undefined) return "no reason given";
  const path = (issue.path ?? []).map((step) => String(step.key)).join(".");
  return `${path === "" ? "" : `${path}: `}${issue.message}`.slice(0, 300);
}

function trimmed(error: WireError): WireError {
  return {
    ...error,
    name: error.name.slice(0, 256),
    code: error.code.slice(0, 256),
    message: error.message.slice(0, MAX_ERROR_TEXT),
    ...(error.stack === undefined ? {} : { stack: error.stack.slice(0, MAX_ERROR_TEXT) }),
    ...(error.cause === undefined ? {} : { cause: trimmed(error.cause) }),
  };
}

function withoutDetails({ name, code, domain, message, stack, cause }: WireError): WireError {
  return {
    name,
    code,
    domain,
    message,
    ...(stack === undefined ? {} : { stack }),
    ...(cause === undefined ? {} : { cause: withoutDetails(cause) }),
  };
}

const bare = ({ name, code, domain, message }: WireError): WireError => ({ name, code, domain, message: message.slice(0, 1000) });
