/**
 * A client's connection to its JobManager, held only while somebody needs it. Whoever waits for something (an answer, a job's end, rows)
 * takes a hold; when the last one is given back, the connection ends. So a program that waits for nothing ends by itself, although an open
 * ZeroMQ socket would keep it alive, and needs no `close()`.
 *
 * Where jobs outlive their JobManager (it says so in its answer to `hello`), a connection that breaks is mended: whoever waits goes on
 * waiting, up to the time that a new leader may take, and is told to say again what it wants; questions that it took with it are asked
 * again, if that is harmless (`repeatable-calls.ts`). Elsewhere it is not: the JobManager has cancelled what was attached to it, so
 * everybody who waits is told. Whoever asks next gets a new connection, which the JobManager takes for another client.
 */
import { randomUUID } from "node:crypto";
import { ConnectionError, ProtocolError } from "../../core/types/errors.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import type { Attachments, Handlers, ReplyOf, ReplyWithAttachments, RequestOf } from "../protocol/conversation.ts";
import type { ClientKeys } from "../protocol/keys.ts";
import { type ClientConversation, type ClientEvents, clientConversation, clientEvents } from "../protocol/messages.ts";
import { RpcClient } from "../protocol/rpc.ts";
import { leaderLookup } from "../storage/published-leader.ts";
import { VERSION } from "../protocol/version.ts";
import { type AskedCall, afterLoss } from "./repeatable-calls.ts";

/** What is asked of the JobManager once a session has begun. */
export type JobManagerCaller = RpcClient<ClientConversation, ClientEvents>;

export interface ConnectionOptions {
  /** One address, or several separated by commas. Empty: where `high-availability.*` says that the leader is. */
  readonly address: string;
  readonly configuration: Configuration;
  readonly connectDeadlineMs: number;
  readonly keys: ClientKeys | undefined;
  readonly handlers: Handlers<ClientEvents, JobManagerCaller>;
  /** The connection broke for good while somebody held it. */
  readonly onLost: (error: ConnectionError) => void;
  /** The connection broke, and will perhaps come back: `onResumed` or `onLost` follows. */
  readonly onInterrupted: () => void;
  /** The connection is back, to the same JobManager or the next leader. What was asked of the former session is forgotten there. */
  readonly onResumed: () => void;
}

/** How long a connection that nobody holds stays open, for the next call; it delays the end of a program by as much. */
const IDLE_MS = 30;

/** One client's way to its JobManager. Main thread only. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #identity = `client-${process.pid}-${randomUUID().slice(0, 8)}`;
  /** As the last JobManager said. */
  #resumesWithinMs = 0;
  /** Where the last session was. */
  #ledAt: string | undefined;
  /** How often a session broke. */
  #losses = 0;
  /** While the connection is broken and may come back. */
  #interrupted: { readonly resume: (jobManager: JobManagerCaller) => void; readonly giveUp: (error: Error) => void } | undefined;
  #session: Promise<JobManagerCaller> | undefined;
  #holds = 0;
  #idle: NodeJS.Timeout | undefined;
  #closing: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** The deadline of one call, milliseconds: `client.timeout`. */
  get deadlineMs(): number {
    return this.#options.configuration.get(options.clientTimeout);
  }

  /** Runs `work` with one session, connecting if there is none. @throws ConnectionError when nobody answers, and what `work` throws. */
  async use<T>(work: (jobManager: JobManagerCaller) => Promise<T>): Promise<T> {
    const release = this.hold();
    try {
      return await work(await this.#connected());
    } finally {
      release();
    }
  }

  /**
   * Asks the JobManager. Each answer has the deadline of the conversation, or `client.timeout`; a question that is asked again because its
   * connection broke has in addition the time that the next leader may take.
   * @throws ConnectionError when nobody answers, or when the connection broke under a question that is asked once only: then it says what
   * is not known. DeadlineError, and whatever the JobManager answers.
   */
  call<M extends AskedCall>(method: M, request: RequestOf<ClientConversation, M>): Promise<ReplyOf<ClientConversation, M>> {
    return this.#ask(method, request, [], ({ reply }) => reply);
  }

  /** As `call`, with opaque bytes in both directions. */
  callForAttachments<M extends AskedCall>(
    method: M,
    request: RequestOf<ClientConversation, M>,
    attachments: Attachments = [],
  ): Promise<ReplyWithAttachments<ReplyOf<ClientConversation, M>>> {
    return this.#ask(method, request, attachments, (answer) => answer);
  }

  /**
   * As `call`, for what begins something that the session knows of: `begin` runs while the session that answered is the present one, so
   * that whatever it notes down hears of the loss of that session.
   */
  begin<M extends AskedCall, T>(
    method: M,
    request: RequestOf<ClientConversation, M>,
    begin: (reply: ReplyOf<ClientConversation, M>) => T,
  ): Promise<T> {
    return this.#ask(method, request, [], ({ reply }) => begin(reply));
  }

  async #ask<M extends AskedCall, T>(
    method: M,
    request: RequestOf<ClientConversation, M>,
    attachments: Attachments,
    take: (answer: ReplyWithAttachments<ReplyOf<ClientConversation, M>>) => T,
  ): Promise<T> {
    const deadlineMs = (clientConversation[method] as { readonly deadlineMs?: number }).deadlineMs ?? this.deadlineMs;
    const ask = (jobManager: JobManagerCaller): Promise<ReplyWithAttachments<ReplyOf<ClientConversation, M>>> =>
      jobManager.callForAttachments(method, request, { attachments, deadlineMs });
    const after = afterLoss[method];
    const release = this.hold();
    try {
      for (const startedMs = performance.now(); ; ) {
        const losses = this.#losses;
        const jobManager = await this.#connected();
        const wasLost = (): boolean => this.#losses !== losses && this.#session !== undefined;
        const isLate = (): boolean => performance.now() - startedMs > deadlineMs + this.#resumesWithinMs;
        let answer: ReplyWithAttachments<ReplyOf<ClientConversation, M>>;
        try {
          answer = await ask(jobManager);
        } catch (error) {
          if (!(error instanceof ConnectionError)) throw error;
          if (!after.repeated) throw new ConnectionError(`${error.message} ${after.unknown}`, { cause: error });
          if (!wasLost() || isLate()) throw error;
          continue;
        }
        // The loss may have arrived right behind the answer, and what this session was told, the next does not know.
        if (!after.repeated || !wasLost()) return take(answer);
      }
    } finally {
      release();
    }
  }

  /** Keeps the connection, once there is one, until the hold is given back. @returns gives it back; further calls do nothing. */
  hold(): () => void {
    this.#holds++;
    clearTimeout(this.#idle);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#holds === 0 && this.#session !== undefined) this.#idle = setTimeout(() => void this.#hangUp(), IDLE_MS);
    };
  }

  /** Where the JobManager is that was connected last. */
  get address(): string {
    return this.#ledAt ?? this.#options.address;
  }

  /** It broke, and may come back. */
  get isInterrupted(): boolean {
    return this.#interrupted !== undefined;
  }

  /** The session of now, to tell the JobManager something; undefined when there is none. */
  get present(): JobManagerCaller | undefined {
    return this.#present;
  }
  #present: JobManagerCaller | undefined;
  /** The transport of the present session, also while it is interrupted. */
  #client: JobManagerCaller | undefined;
  /** A connection that is being made. */
  #dialling: JobManagerCaller | undefined;

  /** Hangs up for good. Calls that wait reject with ConnectionError. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#hangUp();
  }

  #connected(): Promise<JobManagerCaller> {
    if (this.#closed) return Promise.reject(new ConnectionError(`the client of ${this.address} was closed.`));
    this.#session ??= this.#connect().catch((error: unknown) => {
      this.#session = undefined;
      throw error;
    });
    return this.#session;
  }

  async #connect(): Promise<JobManagerCaller> {
    // The same identity must not be connected twice.
    await this.#closing;
    const { address, configuration, connectDeadlineMs, keys, handlers } = this.#options;
    const leader = leaderLookup(configuration);
    const client: JobManagerCaller = new RpcClient({
      // Of several it begins with the one that led before.
      address: this.#ledAt === undefined || !address.includes(",") ? address : `${this.#ledAt},${address}`,
      ...(leader === undefined ? {} : { leader }),
      identity: this.#identity,
      incarnation: randomUUID(),
      served: clientEvents,
      handlers,
      called: clientConversation,
      heartbeat: { intervalMs: configuration.get(options.heartbeatInterval), timeoutMs: configuration.get(options.heartbeatTimeout) },
      connectDeadlineMs,
      ...(keys === undefined ? {} : { keys }),
      onLost: (reason, final) => this.#lost(client, reason, final),
      onConnected: () => void this.#resume(client),
    });
    this.#dialling = client;
    try {
      await client.connect();
      await this.#greet(client);
    } catch (error) {
      await client.close();
      throw error;
    } finally {
      this.#dialling = undefined;
    }
    this.#present = this.#client = client;
    this.#ledAt = client.dialled;
    return client;
  }

  async #greet(client: JobManagerCaller): Promise<void> {
    const { connectDeadlineMs } = this.#options;
    const { version, resumesWithinMs = 0 } = await client.call("hello", { version: VERSION }, { deadlineMs: connectDeadlineMs });
    this.#resumesWithinMs = resumesWithinMs;
    if (version === VERSION) return;
    throw new ProtocolError(
      `the JobManager at ${client.dialled ?? this.address} is drey ${version}, this program has drey ${VERSION}; install the same on both sides.`,
    );
  }

  #lost(client: JobManagerCaller, reason: string, final: boolean): void {
    // Before `hello` is answered, the call itself fails.
    if (this.#present !== client) return;
    this.#losses++;
    if (!final && this.#resumesWithinMs > 0) return this.#interrupt(client, reason);
    this.#giveUp(client, reason);
  }

  /** The transport looks for a JobManager by itself. */
  #interrupt(client: JobManagerCaller, reason: string): void {
    this.#present = undefined;
    const timer = setTimeout(() => {
      this.#interrupted?.giveUp(new ConnectionError(`no JobManager came back at ${this.address}.`));
      this.#giveUp(client, `${reason}, and none came back within ${this.#resumesWithinMs / 1_000} s`);
    }, this.#resumesWithinMs);
    const session = new Promise<JobManagerCaller>((resolve, reject) => {
      const settled = (): void => {
        clearTimeout(timer);
        this.#interrupted = undefined;
      };
      this.#interrupted = {
        resume: (jobManager) => (settled(), resolve(jobManager)),
        giveUp: (error) => (settled(), reject(error)),
      };
    });
    session.catch(() => undefined);
    this.#session = session;
    this.#options.onInterrupted();
  }

  async #resume(client: JobManagerCaller): Promise<void> {
    const interrupted = this.#interrupted;
    if (interrupted === undefined) return;
    try {
      await this.#greet(client);
    } catch {
      // The next session, or the timer.
      return;
    }
    if (this.#interrupted !== interrupted) return;
    this.#present = client;
    this.#ledAt = client.dialled;
    interrupted.resume(client);
    this.#options.onResumed();
  }

  #giveUp(client: JobManagerCaller, reason: string): void {
    this.#present = undefined;
    this.#session = undefined;
    // Not in this turn: the greeting that the transport sends after a loss tells a JobManager that closes that its farewell was heard.
    this.#closing = new Promise((resolve) => setImmediate(resolve)).then(() => client.close());
    this.#options.onLost(new ConnectionError(`the connection to the JobManager at ${this.address} is lost: ${reason}.`));
  }

  async #hangUp(): Promise<void> {
    clearTimeout(this.#idle);
    const session = this.#session;
    const client = this.#client;
    this.#interrupted?.giveUp(new ConnectionError(`the client of ${this.address} was closed.`));
    this.#session = undefined;
    this.#present = undefined;
    void this.#dialling?.close();
    if (session !== undefined) {
      this.#closing = session.then(
        (present) => present.close(),
        () => client?.close(),
      );
    }
    await this.#closing;
  }
}
