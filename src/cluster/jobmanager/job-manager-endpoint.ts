/**
 * The JobManager but for its sockets and its process: answers what TaskManagers and clients ask, by asking the dispatcher, and performs the
 * effects that come back, in order. Clock, timers, storage and peers are given to it, so a simulation runs this very code on its own.
 *
 *     call, event, loss or timer ──▶ Dispatcher ──▶ effects ──▶ calls and events to TaskManagers and clients, files
 *                                        ▲                           │
 *                                        └─ deployed, released, manifestStored
 *
 * Invariants: a checkpoint counts only when its manifest is durable and this JobManager still leads after that; what can't be undone is
 * done by a leader only; what a TaskManager answers after its session ended is not heard. It trusts its peers (protocol/rpc.ts) for
 * identities, order, liveness and fencing. Main thread only.
 */
import { isTaskFinal } from "../../core/graph/job-status.ts";
import { CheckpointError, ConflictError, ConnectionError, NotFoundError, ProtocolError, fromWire } from "../../core/types/errors.ts";
import type { JobId, TaskManagerId } from "../../core/types/ids.ts";
import { type Handlers, ReplyWithAttachments } from "../protocol/conversation.ts";
import type { ClientConversation, ClientEvents, RegistrationConversation, TaskManagerConversation } from "../protocol/messages.ts";
import type { Peer } from "../protocol/rpc.ts";
import type { BlockCopy } from "../storage/block-copy.ts";
import type { CheckpointStorage } from "../storage/checkpoint-storage.ts";
import { type CheckpointManifest, MANIFEST_NAME, loadManifest, storeManifest } from "../storage/manifest.ts";
import { Dispatcher, type DispatcherOptions } from "./dispatcher.ts";
import type { Effect } from "./effect.ts";
import type { ArchivedJob, JobArchive, RecoveredJob } from "./job-archive.ts";
import type { Leadership } from "./leadership.ts";
import type { Timers } from "./timers.ts";

/** What others ask of a JobManager. */
export type Served = RegistrationConversation & ClientConversation;
/** What a JobManager asks of others, and tells them. */
export type Called = TaskManagerConversation & ClientEvents;

/** What is there besides what the dispatcher wants. */
export interface JobManagerEndpointOptions extends Omit<DispatcherOptions, "silentMs"> {
  readonly timers: Timers;
  /** @throws ConfigurationError when it is no place. */
  readonly storageAt: (location: string) => CheckpointStorage;
  /** Takes lines for whoever runs the cluster. */
  readonly note: (text: string) => void;
  /** Where there may be other JobManagers, before, beside and after this one. */
  readonly shared?: { readonly leadership: Pick<Leadership, "holds">; readonly archive: Pick<JobArchive, "save" | "forget"> };
  /** How long clients wait for the next leader, milliseconds; 0: there will be none. */
  readonly resumesWithinMs: number;
  /** A client wants the cluster to end; resolves when its jobs have ended. */
  readonly shutDown: (client: string) => Promise<void>;
}

type Role = { readonly kind: "client"; readonly client: string } | { readonly kind: "taskManager"; readonly taskManager: TaskManagerId };

/** Starting a job's tasks can take a while: code is fetched, threads are started. */
const DEPLOY_DEADLINE_MS = 30_000;
/** Ending the threads of a job that don't listen, too. */
const RELEASE_DEADLINE_MS = 15_000;
/** The longest time between two attempts to learn whether a manifest was stored. */
const MAX_RETRY_MS = 2_000;

/** What a JobManager does. Its owner connects it to peers, and stops it. */
export class JobManagerEndpoint {
  readonly #options: JobManagerEndpointOptions;
  readonly #dispatcher: Dispatcher;
  readonly #taskManagers = new Map<TaskManagerId, Peer<Called>>();
  readonly #clients = new Map<string, Peer<Called>>();
  /** Jobs that are being archived. */
  readonly #archiving = new Map<JobId, Promise<void>>();
  /** Requests of clients that are answered later. */
  readonly #requests = new Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }>();
  #lastRequest = 0;
  #acting = false;
  #stopped = false;
  #callOff: () => void = () => undefined;
  #whenIdle: (() => void) | undefined;

  constructor(options: JobManagerEndpointOptions) {
    this.#options = options;
    const { clocks } = options;
    this.#dispatcher = new Dispatcher({
      ...options,
      silentMs: (taskManager) => Math.max(0, clocks.elapsedMs() - (this.#taskManagers.get(taskManager)?.lastSeenMs ?? clocks.elapsedMs())),
    });
  }

  /** What it answers. */
  get handlers(): Handlers<Served, Peer<Called>> {
    return { ...this.#taskManagerHandlers(), ...this.#clientHandlers() };
  }

  /** Takes up the jobs of a former leader. Called once, before anything else. */
  recover(jobs: readonly RecoveredJob[]): void {
    this.#decide(() => this.#dispatcher.recover(jobs));
  }

  /** Accepts nothing more, cancels all jobs, and waits for their end, but not longer than this; then TaskManagers are told to end. */
  async endJobs(reason: string, withinMs: number): Promise<void> {
    const idle = new Promise<void>((resolve) => (this.#whenIdle = resolve));
    this.#decide(() => this.#dispatcher.close(reason));
    const callOff = this.#options.timers.after(withinMs, () => this.#whenIdle?.());
    await idle;
    callOff();
    this.#decide(() => this.#dispatcher.dismissTaskManagers(reason));
  }

  /** Nothing happens by itself any more; requests that wait are refused. */
  stop(): void {
    this.#stopped = true;
    this.#callOff();
    for (const { reject } of this.#requests.values()) reject(new ConnectionError("the JobManager ends."));
    this.#requests.clear();
  }

  /** A session has ended. */
  lost(peer: Peer<Called>, reason: string): void {
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
    const { version, pid, resumesWithinMs, shared, storageAt, shutDown } = this.#options;
    const checked = (place: string | undefined): string | undefined => (place === undefined ? undefined : storageAt(place).location);
    return {
      hello: (_, peer) =>
        this.#decide(() => {
          // A program that was started anew is another client, even under the same name.
          const client = `${peer.id} ${peer.incarnation}`;
          peer.data = { kind: "client", client } satisfies Role;
          this.#clients.set(client, peer);
          dispatcher.clientConnected(client);
          return { version, pid, ...(resumesWithinMs === 0 ? {} : { resumesWithinMs }) };
        }),
      submit: (request, peer, [bytes]) => {
        const submit = (manifest?: CheckpointManifest): { readonly job: JobId } =>
          asked(peer, (client) => ({ job: dispatcher.submit(client, request, bytes, manifest) }));
        if (request.from === undefined && shared === undefined) return submit();
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
      profile: async ({ job, vertex, subtask, durationMs }, peer) => {
        const { name, state, executions } = asked(peer, () => dispatcher.job(job));
        const attempts = executions.filter((it) => it.vertex === vertex && it.subtask === subtask).map(({ attempt }) => attempt);
        const latest = executions.find((it) => it.vertex === vertex && it.subtask === subtask && it.attempt === Math.max(...attempts));
        const host = this.#taskManagers.get(latest?.taskManager as TaskManagerId);
        if (latest === undefined || host === undefined || isTaskFinal(latest.state)) {
          const why = latest === undefined ? `it has no subtask ${vertex}/${subtask}` : `${vertex}/${subtask} is ${latest.state}`;
          throw new NotFoundError(`job "${name}" (${state}) can't be profiled there: ${why}.`);
        }
        return host.call("profile", { execution: { job, vertex, subtask, attempt: latest.attempt }, durationMs });
      },
      metricsHistory: ({ job }, peer) => asked(peer, () => ({ reports: dispatcher.metricsHistory(job) })),
      checkpoints: ({ job }, peer) => asked(peer, () => dispatcher.checkpoints(job)),
      triggerCheckpoint: ({ job }, peer) => later(peer, (request) => dispatcher.triggerCheckpoint(job, request)),
      savepoint: ({ job, target }, peer) => later(peer, (request) => dispatcher.savepoint(job, checked(target), request)),
      stopWithSavepoint: ({ job, drain, target }, peer) =>
        later(peer, (request) => dispatcher.stopWithSavepoint(job, drain, checked(target), request)),
      disposeSavepoint: async ({ location }) => {
        const storage = storageAt(location);
        this.#dispatcher.requireDisposable(location);
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
      shutdownCluster: (_, peer) => shutDown(from(peer)),
    };
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
            this.#options.note(`could not perform ${effect.kind}: ${(error as Error).message}`);
          }
        }
      }
    } finally {
      this.#acting = false;
      this.#callOff();
      const { clocks, timers } = this.#options;
      const waitMs = this.#dispatcher.nextWakeMs - clocks.elapsedMs();
      if (!this.#stopped && Number.isFinite(waitMs)) this.#callOff = timers.after(waitMs, () => this.#act());
      if (this.#dispatcher.isIdle) this.#whenIdle?.();
    }
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case "note":
        return this.#options.note(effect.text);
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
          for (const folder of effect.folders) await this.#options.storageAt(folder).delete("");
        });
        return;
      case "archiveJob":
        return this.#archive(effect.record);
      case "forgetJob": {
        const archive = this.#options.shared?.archive;
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
   *
   * A JobManager that finds itself overtaken tells nothing. The next leader may have found the manifest and gone on from it, or may have
   * looked before it was there: were it told that the checkpoint exists, tasks would commit what is done again; were it told that it does
   * not, they would remove files that are needed.
   *
   * What a savepoint needs of the job's checkpoints stays while it is copied: they go only after the answer, or when later ones, which name
   * the same files, do not need them any more.
   */
  async #store({ job, checkpoint, folder, manifest, copies }: Extract<Effect, { kind: "storeManifest" }>): Promise<void> {
    const { shared, timers, note } = this.#options;
    const tell = (error?: Error): void => this.#decide(() => this.#dispatcher.manifestStored(job, checkpoint, error));
    const isOvertaken = async (): Promise<boolean> => (await shared?.leadership.holds()) === false;
    const storage = this.#options.storageAt(folder);
    try {
      if (await isOvertaken()) return;
      if (copies !== undefined) await copyAll(copies.files, this.#options.storageAt(copies.from), storage);
      if (!(await storeManifest(storage, manifest))) {
        return tell(new CheckpointError(`${folder} has a manifest already, of another JobManager`));
      }
      if (!(await isOvertaken())) tell();
    } catch (error) {
      for (let retryMs = 50; !this.#stopped; retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)) {
        try {
          if (await isOvertaken()) return;
          await storage.delete(MANIFEST_NAME);
          for (const { file } of copies?.files ?? []) await storage.delete(file);
          if (!(await isOvertaken())) tell(error as Error);
          return;
        } catch (again) {
          note(`job ${job}: whether checkpoint ${checkpoint} exists is not known: ${(again as Error).message}`);
          await new Promise<void>((resolve) => timers.after(retryMs, resolve));
        }
      }
    }
  }

  /** What a JobManager that was overtaken without knowing must not do. */
  async #asLeader(what: string, act: () => Promise<void>): Promise<void> {
    try {
      if ((await this.#options.shared?.leadership.holds()) === false) return;
      await act();
    } catch (error) {
      this.#options.note(`could not ${what}: ${(error as Error).message}`);
    }
  }

  /** A job that is not kept for the next leader is not accepted. */
  #archive(record: ArchivedJob): void {
    const archive = this.#options.shared?.archive;
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
}

/** One after the other, each in pieces: whatever their sizes, little of them is in memory. */
async function copyAll(copies: readonly BlockCopy[], from: CheckpointStorage, to: CheckpointStorage): Promise<void> {
  try {
    for (const copy of copies) await copy.run(from, to);
  } catch (cause) {
    const message = `state of tasks that have ended could not be copied into ${to.location}: ${(cause as Error).message}`;
    throw new CheckpointError(message, { cause });
  }
}

const roleOf = (peer: Peer<Called>): Role | undefined => peer.data as Role | undefined;
