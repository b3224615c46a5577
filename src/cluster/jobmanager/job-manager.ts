/**
 * One JobManager: the only part of it that has sockets and timers. It hands what arrives to the dispatcher and performs the effects that
 * come back, in order.
 *
 *     message, loss or timer ──▶ Dispatcher ──▶ effects ──▶ calls and events to TaskManagers and clients
 *                                    ▲                           │
 *                                    └──────── deployed, released ┘
 *
 * TaskManagers and clients connect to the same socket; who registers is a TaskManager, who says hello a client. It trusts the transport
 * (protocol/rpc.ts) for identities, order, liveness and fencing. Main thread only.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CheckpointError, ConflictError, ConnectionError, ProtocolError, fromWire } from "../../core/types/errors.ts";
import type { JobId, TaskManagerId } from "../../core/types/ids.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import { type Handlers, ReplyWithAttachments } from "../protocol/conversation.ts";
import type { ServerKeys } from "../protocol/keys.ts";
import {
  type ClientConversation,
  type ClientEvents,
  type RegistrationConversation,
  type TaskManagerConversation,
  clientConversation,
  clientEvents,
  registrationConversation,
  taskManagerConversation,
} from "../protocol/messages.ts";
import { type CheckpointManifest, MANIFEST_NAME, loadManifest, storeManifest } from "../storage/manifest.ts";
import { storageAt } from "../storage/storages.ts";
import { type Peer, RpcServer } from "../protocol/rpc.ts";
import { VERSION } from "../protocol/version.ts";
import { type Clocks, systemClocks } from "./clocks.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { Effect } from "./effect.ts";
import type { ArchivedJob, JobArchive, RecoveredJob } from "./job-archive.ts";
import type { JobStoreBounds } from "./job-store.ts";
import type { Leadership } from "./leadership.ts";

export interface JobManagerOptions {
  /** `ipc://…` or `tcp://…`, as in protocol/addresses.ts. */
  readonly address: string;
  readonly configuration: Configuration;
  /** Without keys the address must be out of strangers' reach. */
  readonly keys?: ServerKeys;
  /** Greater than that of any JobManager that was at this address before; default: the time of day in milliseconds. */
  readonly epoch?: number;
  /** Takes lines for whoever runs the cluster; default: nobody does. */
  readonly note?: (text: string) => void;
  readonly clocks?: Clocks;
  /** Where there are several JobManagers, or one that is to go on where a former one ended. */
  readonly highAvailability?: HighAvailability;
  readonly bounds?: Partial<JobStoreBounds>;
}

/** What a JobManager that leads was given by those before it, and keeps for those after it. */
export interface HighAvailability {
  /** Won already; `epoch` is its epoch. The JobManager keeps and releases it. */
  readonly leadership: Leadership;
  readonly archive: JobArchive;
  readonly recovered: readonly RecoveredJob[];
  /** Where checkpoints lie if no option says so: shared, too. */
  readonly checkpointRoot: string;
}

type Served = RegistrationConversation & ClientConversation;
type Called = TaskManagerConversation & ClientEvents;
type Role = { readonly kind: "client"; readonly client: string } | { readonly kind: "taskManager"; readonly taskManager: TaskManagerId };

/** Starting a job's tasks can take a while: code is fetched, threads are started. */
const DEPLOY_DEADLINE_MS = 30_000;
/** Ending the threads of a job that don't listen, too. */
const RELEASE_DEADLINE_MS = 15_000;
/** How long a JobManager that ends waits for its jobs to end, beyond their own time for it. */
const FAREWELL_MS = 2_000;
/** The longest time between two attempts to learn whether a manifest was stored. */
const MAX_RETRY_MS = 2_000;
/** The longest delay that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A standby process may have to be started first. */
const LEADER_START_MS = 15_000;

/** A running JobManager. Whoever starts it closes it. */
export class JobManager {
  readonly #configuration: Configuration;
  readonly #clocks: Clocks;
  readonly #note: (text: string) => void;
  readonly #dispatcher: Dispatcher;
  readonly #server: RpcServer<Served, Called>;
  readonly #taskManagers = new Map<TaskManagerId, Peer<Called>>();
  readonly #clients = new Map<string, Peer<Called>>();
  readonly #closed: Promise<void>;
  /** Where checkpoints lie that no option gives a place. It ends with this JobManager. */
  readonly #ownCheckpoints: string | undefined;
  readonly #highAvailability: HighAvailability | undefined;
  /** Jobs that are being archived. */
  readonly #archiving = new Map<JobId, Promise<void>>();
  /** Requests of clients that are answered later. */
  readonly #requests = new Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }>();
  #lastRequest = 0;
  #overtaken = false;
  #whenClosed: () => void = () => undefined;
  #whenIdle: (() => void) | undefined;
  #acting = false;
  #timer: NodeJS.Timeout | undefined;
  #windingDown: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @throws ConfigurationError when the address, the keys or the heartbeats can't be. */
  constructor({
    address,
    configuration,
    keys,
    epoch = Date.now(),
    note = () => undefined,
    clocks = systemClocks,
    highAvailability,
    bounds,
  }: JobManagerOptions) {
    this.#configuration = configuration;
    this.#clocks = clocks;
    this.#note = note;
    this.#highAvailability = highAvailability;
    this.#ownCheckpoints = highAvailability === undefined ? makeOwnFolder() : undefined;
    this.#closed = new Promise((resolve) => (this.#whenClosed = resolve));
    this.#dispatcher = new Dispatcher({
      configuration,
      clocks,
      address: () => this.#server.address,
      epoch,
      checkpointRoot: highAvailability?.checkpointRoot ?? (this.#ownCheckpoints as string),
      version: VERSION,
      pid: process.pid,
      silentMs: (taskManager) => Math.max(0, clocks.elapsedMs() - (this.#taskManagers.get(taskManager)?.lastSeenMs ?? clocks.elapsedMs())),
      ...(bounds === undefined ? {} : { bounds }),
    });
    this.#server = new RpcServer<Served, Called>({
      address,
      epoch,
      served: { ...registrationConversation, ...clientConversation },
      handlers: { ...this.#taskManagerHandlers(), ...this.#clientHandlers() },
      called: { ...taskManagerConversation, ...clientEvents },
      heartbeat: { intervalMs: configuration.get(options.heartbeatInterval), timeoutMs: configuration.get(options.heartbeatTimeout) },
      clock: () => clocks.elapsedMs(),
      onPeerLost: (peer, reason) => this.#lost(peer, reason),
      onError: (error) =>
        note(`unexpected: ${error.stack ?? error.message}${error.cause instanceof Error ? `\n  caused by ${error.cause.stack}` : ""}`),
      ...(keys === undefined ? {} : { keys }),
    });
  }

  /**
   * Takes up the jobs of a former leader, and listens. Resolves with the address for TaskManagers and clients.
   * @throws ConfigurationError when it can't be had.
   */
  async start(): Promise<string> {
    const address = await this.#server.start();
    const { leadership, recovered } = this.#highAvailability ?? {};
    leadership?.keep((reason) => {
      this.#note(`${reason}; this one ends, and leaves the jobs to it`);
      this.#overtaken = true;
      void this.abandon();
    });
    if (recovered !== undefined) this.#decide(() => this.#dispatcher.recover(recovered));
    return address;
  }

  /** How long clients wait for the next leader, milliseconds; 0: there will be none. */
  get #resumesWithinMs(): number {
    if (this.#highAvailability === undefined) return 0;
    const configuration = this.#configuration;
    return configuration.get(options.haLeaseTimeout) + configuration.get(options.haRecoveryTimeout) + LEADER_START_MS;
  }

  /** It ended, or is about to, because another JobManager leads. */
  get wasOvertaken(): boolean {
    return this.#overtaken;
  }

  /** Ends at once and leaves its jobs as they are to the next leader. */
  abandon(): Promise<void> {
    this.#closing ??= this.#hangUp();
    return this.#closing;
  }

  /** Resolves when it was closed, by `close` or by a client. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /**
   * Cancels all jobs, waits for their end as long as cancellation may take, tells the TaskManagers to end, and frees the address.
   * Closing twice is harmless.
   * @param reason for people.
   */
  close(reason = "it was closed"): Promise<void> {
    this.#closing ??= this.#windDown(reason).then(() => this.#hangUp());
    return this.#closing;
  }

  // ---------------------------------------------------------------------------------------------- what arrives

  #taskManagerHandlers(): Handlers<RegistrationConversation, Peer<Called>> {
    const from = (peer: Peer<Called>): TaskManagerId => {
      const role = roleOf(peer);
      if (role?.kind !== "taskManager") throw new ProtocolError(`${peer.id} is not registered here; register first.`);
      return role.taskManager;
    };
    return {
      register: (registration, peer) =>
        this.#decide(() => {
          const { taskManager } = registration;
          const before = this.#taskManagers.get(taskManager);
          if (before !== undefined && before.id !== peer.id) {
            throw new ConflictError(`there is a TaskManager ${taskManager} already; start this one under another id.`);
          }
          // The same process once more: it has begun anew.
          if (before !== undefined) this.#dispatcher.taskManagerLost(taskManager, "it registered again");
          this.#taskManagers.set(taskManager, peer);
          peer.data = { kind: "taskManager", taskManager } satisfies Role;
          return this.#dispatcher.register(registration);
        }),
      taskState: (change, peer) => this.#decide(() => this.#dispatcher.taskState(from(peer), change)),
      metrics: (report, peer) => this.#decide(() => this.#dispatcher.metrics(from(peer), report)),
      log: ({ lines }, peer) => this.#decide(() => this.#dispatcher.log(from(peer), lines)),
      fetchCode: ({ code }, peer) => {
        from(peer);
        return new ReplyWithAttachments(undefined, [this.#dispatcher.code(code)]);
      },
      resultSegments: (message, peer, segments) => this.#decide(() => this.#dispatcher.resultSegments(from(peer), message, segments)),
      grantFeed: (grant, peer) => this.#decide(() => this.#dispatcher.grantFeed(from(peer), grant)),
      acknowledgeCheckpoint: ({ execution, ack }, peer) =>
        this.#decide(() => this.#dispatcher.acknowledgeCheckpoint(from(peer), execution, ack)),
      requestCheckpoint: ({ execution }, peer) => this.#decide(() => this.#dispatcher.requestCheckpoint(from(peer), execution)),
      declineCheckpoint: ({ execution, checkpoint, error }, peer) =>
        this.#decide(() => this.#dispatcher.declineCheckpoint(from(peer), execution, checkpoint, fromWire(error))),
    };
  }

  #clientHandlers(): Handlers<ClientConversation, Peer<Called>> {
    const from = (peer: Peer<Called>): string => {
      const role = roleOf(peer);
      if (role?.kind !== "client") throw new ProtocolError(`${peer.id} has not said hello; say hello first.`);
      return role.client;
    };
    const asked = <T>(peer: Peer<Called>, answer: (client: string) => T): T => this.#decide(() => answer(from(peer)));
    const later = <T>(peer: Peer<Called>, ask: (request: number) => void): Promise<T> => {
      from(peer);
      return new Promise<T>((resolve, reject) => {
        const request = ++this.#lastRequest;
        this.#requests.set(request, { resolve: resolve as (value: unknown) => void, reject });
        try {
          this.#decide(() => ask(request));
        } catch (error) {
          this.#requests.delete(request);
          reject(error as Error);
        }
      });
    };
    const dispatcher = this.#dispatcher;
    return {
      hello: (_, peer) =>
        this.#decide(() => {
          // A program that was started anew is another client, even under the same name.
          const client = `${peer.id} ${peer.incarnation}`;
          peer.data = { kind: "client", client } satisfies Role;
          this.#clients.set(client, peer);
          dispatcher.clientConnected(client);
          return { version: VERSION, pid: process.pid, ...(this.#resumesWithinMs === 0 ? {} : { resumesWithinMs: this.#resumesWithinMs }) };
        }),
      submit: (request, peer, [bytes]) => {
        const submit = (manifest?: CheckpointManifest): { readonly job: JobId } =>
          asked(peer, (client) => ({ job: dispatcher.submit(client, request, bytes, manifest) }));
        if (request.from === undefined && this.#highAvailability === undefined) return submit();
        const loading = request.from === undefined ? Promise.resolve(undefined) : loadManifest(storageAt(request.from.savepoint));
        return loading.then(submit).then(async (accepted) => {
          await this.#archiving.get(accepted.job);
          return accepted;
        });
      },
      jobs: (_, peer) => asked(peer, () => ({ jobs: dispatcher.jobs() })),
      job: ({ job }, peer) => asked(peer, () => dispatcher.job(job)),
      cancel: ({ job }, peer) => asked(peer, () => dispatcher.cancel(job)),
      watchJob: ({ job, topics }, peer) => asked(peer, (client) => dispatcher.watchJob(client, job, topics)),
      unwatchJob: ({ job }, peer) => asked(peer, (client) => dispatcher.unwatchJob(client, job)),
      queryState: async (question, peer, attachments) => {
        const { executions } = asked(peer, () => dispatcher.job(question.job));
        const hosts = new Set(executions.flatMap(({ taskManager }) => this.#taskManagers.get(taskManager as TaskManagerId) ?? []));
        const answers = await Promise.all([...hosts].map((host) => host.callForAttachments("queryState", question, { attachments })));
        return answers.find(({ reply }) => reply.declared) ?? { declared: false, found: false };
      },
      metricsHistory: ({ job }, peer) => asked(peer, () => ({ reports: dispatcher.metricsHistory(job) })),
      checkpoints: ({ job }, peer) => asked(peer, () => dispatcher.checkpoints(job)),
      triggerCheckpoint: ({ job }, peer) => later(peer, (request) => dispatcher.triggerCheckpoint(job, request)),
      savepoint: ({ job, target }, peer) => later(peer, (request) => dispatcher.savepoint(job, checkedPlace(target), request)),
      stopWithSavepoint: ({ job, drain, target }, peer) =>
        later(peer, (request) => dispatcher.stopWithSavepoint(job, drain, checkedPlace(target), request)),
      disposeSavepoint: async ({ location }) => {
        const storage = storageAt(location);
        // Whatever is not the folder of a checkpoint is not removed.
        await loadManifest(storage);
        await storage.delete("");
      },
      rescale: ({ job, parallelism }, peer) => later(peer, (request) => dispatcher.rescale(job, parallelism, request)),
      overview: (_, peer) => asked(peer, () => dispatcher.overview()),
      watchCluster: ({ on }, peer) => asked(peer, (client) => dispatcher.watchCluster(client, on)),
      openResult: ({ job, name, from: position }, peer) =>
        asked(peer, (client) => dispatcher.openResult(client, job, name, position)),
      closeResult: ({ job, name, taken }, peer) => asked(peer, (client) => dispatcher.closeResult(client, job, name, taken)),
      grantResult: (grant, peer) => asked(peer, (client) => dispatcher.grantResult(client, grant)),
      feedSegments: (message, peer, segments) => asked(peer, (client) => dispatcher.feedSegments(client, message, segments)),
      shutdownCluster: async (_, peer) => {
        await this.#windDown(`client ${from(peer)} shut the cluster down`);
        // After the answer is on its way.
        setImmediate(() => void this.close());
      },
    };
  }

  #lost(peer: Peer<Called>, reason: string): void {
    const role = roleOf(peer);
    this.#decide(() => {
      if (role?.kind === "client") {
        this.#clients.delete(role.client);
        this.#dispatcher.clientLost(role.client);
      } else if (role?.kind === "taskManager" && this.#taskManagers.get(role.taskManager) === peer) {
        this.#taskManagers.delete(role.taskManager);
        this.#dispatcher.taskManagerLost(role.taskManager, reason);
      }
    });
  }

  // -------------------------------------------------------------------------------------------------- what is done

  /** Lets the dispatcher decide, and does what it decided. */
  #decide<T>(decision: () => T): T {
    try {
      return decision();
    } finally {
      this.#act();
    }
  }

  #act(): void {
    // An effect that fails at once comes back here; the outer round goes on with what follows from it.
    if (this.#acting) return;
    this.#acting = true;
    try {
      this.#dispatcher.tick();
      for (let effects = this.#dispatcher.takeEffects(); effects.length > 0; effects = this.#dispatcher.takeEffects()) {
        for (const effect of effects) {
          try {
            this.#perform(effect);
          } catch (error) {
            // Such as a message that is too large. The others must still go.
            this.#note(`could not perform ${effect.kind}: ${(error as Error).message}`);
          }
        }
      }
    } finally {
      this.#acting = false;
      clearTimeout(this.#timer);
      const waitMs = this.#dispatcher.nextWakeMs - this.#clocks.elapsedMs();
      if (Number.isFinite(waitMs)) this.#timer = setTimeout(() => this.#act(), Math.min(Math.max(0, waitMs), MAX_TIMER_MS));
      if (this.#dispatcher.isIdle) this.#whenIdle?.();
    }
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case "note":
        return this.#note(effect.text);
      case "tell":
        return this.#clients.get(effect.client)?.notify(effect.event, effect.message, effect.attachments);
      case "grantResult":
        return this.#taskManagers.get(effect.taskManager)?.notify("grantResult", effect.grant);
      case "feed":
        return this.#taskManagers.get(effect.taskManager)?.notify("feedSegments", effect.message, effect.segments);
      case "dismiss":
        return this.#taskManagers.get(effect.taskManager)?.notify("shutdown", { reason: effect.reason });
      case "triggerCheckpoint": {
        const { job, trigger, executions, folder } = effect;
        return this.#taskManagers.get(effect.taskManager)?.notify("triggerCheckpoint", { job, trigger, executions, folder });
      }
      case "checkpointCompleted":
      case "checkpointAborted":
        return this.#taskManagers.get(effect.taskManager)?.notify(effect.kind, { job: effect.job, checkpoint: effect.checkpoint });
      case "limitWatermarks":
        return this.#taskManagers.get(effect.taskManager)?.notify("limitWatermarks", { job: effect.job, limits: effect.limits });
      case "storeManifest":
        void this.#store(effect);
        return;
      case "discard":
        void this.#asLeader(`remove checkpoints of job ${effect.job}`, async () => {
          for (const folder of effect.folders) await storageAt(folder).delete("");
        });
        return;
      case "archiveJob":
        return this.#archive(effect.record);
      case "forgetJob": {
        const { archive } = this.#highAvailability ?? {};
        if (archive === undefined) return;
        void this.#asLeader(`forget job ${effect.job}`, async () => {
          await this.#archiving.get(effect.job)?.catch(() => undefined);
          await archive.forget(effect.job);
        });
        return;
      }
      case "reply":
      case "refuse": {
        const waiting = this.#requests.get(effect.request);
        this.#requests.delete(effect.request);
        if (effect.kind === "reply") waiting?.resolve(effect.value);
        else waiting?.reject(effect.error);
        return;
      }
      case "cancel":
        // Not heard: it is repeated until the tasks report their ends.
        this.#taskManagers
          .get(effect.taskManager)
          ?.call("cancel", { executions: effect.executions })
          .catch(() => undefined);
        return;
      case "deploy": {
        const { taskManager, job, tasks } = effect;
        return this.#ask(
          taskManager,
          (peer) => peer.call("deploy", { tasks }, { deadlineMs: DEPLOY_DEADLINE_MS }),
          (error) => this.#dispatcher.deployed(taskManager, job, error),
        );
      }
      case "release": {
        const { taskManager, job } = effect;
        return this.#ask(
          taskManager,
          (peer) => peer.call("releaseJob", { job }, { deadlineMs: RELEASE_DEADLINE_MS }),
          (error) => this.#dispatcher.released(taskManager, job, error),
        );
      }
    }
  }

  /** Calls a TaskManager and tells the dispatcher how it went, unless the TaskManager got lost: that is told for itself. */
  #ask(taskManager: TaskManagerId, call: (peer: Peer<Called>) => Promise<void>, answered: (error?: Error) => void): void {
    const peer = this.#taskManagers.get(taskManager);
    if (peer === undefined) return;
    call(peer).then(
      () => peer.signal.aborted || this.#decide(() => answered()),
      (error: Error) => peer.signal.aborted || this.#decide(() => answered(error)),
    );
  }

  /**
   * Makes a checkpoint exist, and tells whether it does. After an error nobody knows: then the manifest is removed, again and again until
   * that is certain, since a job must not go on from an earlier checkpoint while a later one might turn up.
   */
  async #store({ job, checkpoint, folder, manifest }: Extract<Effect, { kind: "storeManifest" }>): Promise<void> {
    const tell = (error?: Error): void => this.#decide(() => this.#dispatcher.manifestStored(job, checkpoint, error));
    const overtaken = async (): Promise<boolean> => (await this.#highAvailability?.leadership.holds()) === false;
    const storage = storageAt(folder);
    try {
      if (await overtaken()) return tell(new CheckpointError("another JobManager leads by now"));
      if (!(await storeManifest(storage, manifest))) {
        return tell(new CheckpointError(`${folder} has a manifest already, of another JobManager`));
      }
      // One that took the lead meanwhile may have looked for checkpoints before this one was there, and gone on without it. One that takes
      // it from here on finds it.
      return tell((await overtaken()) ? new CheckpointError("another JobManager leads by now") : undefined);
    } catch (error) {
      for (let retryMs = 50; this.#closing === undefined; retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)) {
        try {
          if (!(await overtaken())) await storage.delete(MANIFEST_NAME);
          return tell(error as Error);
        } catch (again) {
          this.#note(`job ${job}: whether checkpoint ${checkpoint} exists is not known: ${(again as Error).message}`);
          await new Promise((resolve) => setTimeout(resolve, retryMs).unref());
        }
      }
    }
  }

  /** What a JobManager that was overtaken without knowing must not do. */
  async #asLeader(what: string, act: () => Promise<void>): Promise<void> {
    try {
      if ((await this.#highAvailability?.leadership.holds()) === false) return;
      await act();
    } catch (error) {
      this.#note(`could not ${what}: ${(error as Error).message}`);
    }
  }

  /** A job that is not kept for the next leader is not accepted. */
  #archive(record: ArchivedJob): void {
    const { archive } = this.#highAvailability ?? {};
    if (archive === undefined) return;
    const saving = archive.save(record, this.#dispatcher.code(record.code)).catch((error: Error) => {
      this.#decide(() => this.#dispatcher.cancel(record.job));
      throw new CheckpointError(`job ${JSON.stringify(record.graph.name)} could not be kept for other JobManagers: ${error.message}`, {
        cause: error,
      });
    });
    this.#archiving.set(record.job, saving);
    saving.catch(() => undefined).finally(() => this.#archiving.delete(record.job));
  }

  // ------------------------------------------------------------------------------------------------------- its end

  #windDown(reason: string): Promise<void> {
    this.#windingDown ??= this.#endJobs(reason);
    return this.#windingDown;
  }

  async #endJobs(reason: string): Promise<void> {
    const idle = new Promise<void>((resolve) => (this.#whenIdle = resolve));
    this.#decide(() => this.#dispatcher.close(reason));
    const deadlineMs = this.#configuration.get(options.cancellationTimeout) + FAREWELL_MS;
    const deadline = setTimeout(() => this.#whenIdle?.(), deadlineMs);
    await idle;
    clearTimeout(deadline);
    this.#decide(() => this.#dispatcher.dismissTaskManagers(reason));
  }

  async #hangUp(): Promise<void> {
    clearTimeout(this.#timer);
    for (const { reject } of this.#requests.values()) reject(new ConnectionError("the JobManager ends."));
    this.#requests.clear();
    await this.#server.close();
    clearTimeout(this.#timer);
    await this.#highAvailability?.leadership.release().catch((error: Error) => this.#note(`could not give up the lead: ${error.message}`));
    if (this.#ownCheckpoints !== undefined) removeOwnFolder(this.#ownCheckpoints);
    this.#whenClosed();
  }
}

/** @throws ConfigurationError when it is no place. */
function checkedPlace(place: string | undefined): string | undefined {
  return place === undefined ? undefined : storageAt(place).location;
}

/** Folders for checkpoints that end with their JobManager, also when its process has to exit before it could close. */
const ownFolders = new Set<string>();
const removeOwnFolders = (): void => {
  for (const folder of ownFolders) rmSync(folder, { recursive: true, force: true });
};

function makeOwnFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "drey-checkpoints-"));
  if (ownFolders.size === 0) process.on("exit", removeOwnFolders);
  ownFolders.add(folder);
  return folder;
}

function removeOwnFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  if (ownFolders.delete(folder) && ownFolders.size === 0) process.off("exit", removeOwnFolders);
}

const roleOf = (peer: Peer<Called>): Role | undefined => peer.data as Role | undefined;
