/**
 * A conversation: what one side may ask the other, as data. It names each method, the shape of its request and of its reply, and how long
 * an answer may take. The types of handlers and callers follow from it; the shapes are checked on arrival, by the side that reads them.
 *
 * A link between two processes has two conversations, one for each direction: what a process serves, and what it calls.
 *
 *     const greetings = {
 *       greet: { request: v.object({ name: v.string() }), reply: v.string() },
 *       left: { request: v.object({ name: v.string() }), event: true },
 *     } satisfies Conversation;
 */
import type * as v from "valibot";

/** Something that is answered. */
export interface Call<Request, Reply> {
  readonly request: v.GenericSchema<unknown, Request>;
  readonly reply: v.GenericSchema<unknown, Reply>;
  /** How long a caller waits unless it says otherwise, in milliseconds; default 10 000. */
  readonly deadlineMs?: number;
  readonly event?: false;
}

/** Something that is told and not answered. It may get lost with the session; what must arrive is a call. */
export interface Event<Request> {
  readonly request: v.GenericSchema<unknown, Request>;
  readonly reply?: v.GenericSchema<unknown, void>;
  readonly event: true;
}

/** What one side may ask the other, by method name: letters, digits, `.`, `-` and `_`, at most 64. */
export type Conversation = Readonly<Record<string, Call<unknown, unknown> | Event<unknown>>>;

/** The names of what is told. */
export type EventName<C extends Conversation> = {
  [M in keyof C & string]: C[M] extends { readonly event: true } ? M : never;
}[keyof C & string];
/** The names of what is answered. */
export type CallName<C extends Conversation> = Exclude<keyof C & string, EventName<C>>;
/** What goes with a call or an event. */
export type RequestOf<C extends Conversation, M extends keyof C> = v.InferOutput<C[M]["request"]>;
/** What comes back for a call. */
export type ReplyOf<C extends Conversation, M extends keyof C> = C[M] extends { readonly reply: infer Schema extends v.GenericSchema }
  ? v.InferOutput<Schema>
  : void;

/** Opaque bytes that travel beside a message, unread by the control plane: code bundles, snapshots. */
export type Attachments = readonly Uint8Array[];

/** A reply with bytes beside it; a handler returns one where the reply alone doesn't do. */
export class ReplyWithAttachments<Reply> {
  readonly reply: Reply;
  readonly attachments: Attachments;

  constructor(reply: Reply, attachments: Attachments) {
    this.reply = reply;
    this.attachments = attachments;
  }
}

type Answer<Reply> = Reply | ReplyWithAttachments<Reply>;

/**
 * What a process does when it is asked. A handler begins in the order in which the messages of one sender arrived, on the main thread;
 * what it throws reaches the caller as the same error. `from` is who asked.
 */
export type Handlers<C extends Conversation, From> = {
  readonly [M in keyof C & string]: (
    request: RequestOf<C, M>,
    from: From,
    attachments: Attachments,
  ) => C[M] extends { readonly event: true } ? void : Answer<ReplyOf<C, M>> | Promise<Answer<ReplyOf<C, M>>>;
};
