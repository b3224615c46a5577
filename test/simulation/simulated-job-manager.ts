/**
 * A JobManager in the simulation: the production Dispatcher with its masters and coordinators, and the production archive. The shell around
 * it does what job-manager.ts does with sockets and timers, on the simulated wire and clock.
 */
import { createHash } from "node:crypto";
import { CheckpointError, DeadlineError } from "../../src/core/types/errors.ts";
import { type JobId, type TaskManagerId, jobId } from "../../src/core/types/ids.ts";
import type { Configuration } from "../../src/core/types/options.ts";
import { Dispatcher } from "../../src/cluster/jobmanager/dispatcher.ts";
import type { Effect } from "../../src/cluster/jobmanager/effect.ts";
import { JobArchive } from "../../src/cluster/jobmanager/job-archive.ts";
import type { RecoveredJob } from "../../src/cluster/jobmanager/job-archive.ts";
import type { Registration } from "../../src/cluster/protocol/messages.ts";
import { MANIFEST_NAME, encodeManifest, storeManifest } from "../../src/cluster/storage/manifest.ts";
import { MemoryStorage } from "../../src/cluster/storage/memory-storage.ts";
import type { Cluster } from "./cluster.ts";
import type { SimulatedTaskManager } from "./simulated-task-manager.ts";
import type { Addressee } from "./wire.ts";

const HEARTBEAT_MS = 200;
const TIMEOUT_MS = 1_000;
const DEPLOY_DEADLINE_MS = 2_000;
const RETRY_MS = 50;

/** The job's code stands in the simulation itself (oracle.ts). */
const CODE = { bytes: new Uint8Array(1), digest: createHash("sha256").update(new Uint8Array(1)).digest("hex") };

interface Session {
  readonly taskManager: SimulatedTaskManager;
  readonly number: number;
  heardMs: number;
}

export class SimulatedJobManager implements Addressee {
  readonly name: string;
  readonly epoch: number;
  readonly dispatcher: Dispatcher;
  isAlive = true;
  isPaused = false;
  readonly #cluster: Cluster;
  readonly #archive: JobArchive;
  readonly #sessions = new Map<TaskManagerId, Session>();
  readonly #resumed: (() => void)[] = [];
  #sessionNumber = 0;
  #acting = false;
  #wakes = 0;

  constructor(cluster: Cluster, epoch: number, configuration: Configuration) {
    this.#cluster = cluster;
    this.name = `jm${epoch}`;
    this.epoch = epoch;
    const { world } = cluster;
    this.#archive = new JobArchive(new MemoryStorage(`${cluster.root}/ha`), (text) => world.note(`${this.name} ${text}`));
    this.dispatcher = new Dispatcher({
      configuration,
      clocks: { wallMs: () => 1_700_000_000_000 + world.nowMs, elapsedMs: () => world.nowMs },
      address: () => "simulation",
      version: "0",
      pid: 1,
      silentMs: (taskManager) => world.nowMs - (this.#sessions.get(taskManager)?.heardMs ?? world.nowMs),
      epoch,
      checkpointRoot: `${cluster.root}/checkpoints`,
      random: world.random,
      newJobId: () => jobId("0".repeat(32)),
    });
    this.#watch();
  }

  /** Takes up what the leaders before left. */
  async recover(): Promise<void> {
    const jobs: readonly RecoveredJob[] = await this.#archive.recover(this.epoch);
    this.decide(() => this.dispatcher.recover(jobs));
  }

  submit(): JobId {
    const { graph } = this.#cluster.oracle.compile();
    let job: JobId | undefined;
    this.decide(() => (job = this.dispatcher.submit("client", { graph, code: CODE.digest, attached: false }, CODE.bytes)));
    return job as JobId;
  }

  /** It is the leader as far as the shared storage says. */
  get leads(): boolean {
    return this.isAlive && this.#cluster.leaderEpoch === this.epoch;
  }

  crash(): void {
    this.isAlive = false;
  }

  pause(ms: number): void {
    this.isPaused = true;
    this.#cluster.world.after(ms, () => {
      this.isPaused = false;
      for (const what of this.#resumed.splice(0)) if (this.isAlive) what();
    });
  }

  whenResumed(what: () => void): void {
    this.#resumed.push(what);
  }

  // ------------------------------------------------------------------------------------------------- TaskManagers speak

  /** @returns the session's number. */
  register(taskManager: SimulatedTaskManager, registration: Registration): number {
    const id = registration.taskManager;
    if (this.#sessions.has(id)) this.#lose(id, "it registered again");
    const number = ++this.#sessionNumber;
    this.#sessions.set(id, { taskManager, number, heardMs: this.#cluster.world.nowMs });
    this.decide(() => this.dispatcher.register(registration));
    return number;
  }

  /** Something that a TaskManager says within its session; not heard outside of it. @returns whether it was heard. */
  hear(id: TaskManagerId, session: number, what: (dispatcher: Dispatcher) => void): boolean {
    const known = this.#sessions.get(id);
    if (known?.number !== session) return false;
    known.heardMs = this.#cluster.world.nowMs;
    this.decide(() => what(this.dispatcher));
    return true;
  }

  decide(decision: () => void): void {
    if (!this.isAlive) return;
    decision();
    this.#act();
  }

  // ---------------------------------------------------------------------------------------------------------- effects

  #act(): void {
    if (this.#acting) return;
    this.#acting = true;
    this.dispatcher.tick();
    for (let effects = this.dispatcher.takeEffects(); effects.length > 0; effects = this.dispatcher.takeEffects()) {
      for (const effect of effects) this.#perform(effect);
    }
    this.#acting = false;
    const wake = ++this.#wakes;
    const dueMs = this.dispatcher.nextWakeMs;
    if (Number.isFinite(dueMs)) {
      this.#cluster.world.after(dueMs - this.#cluster.world.nowMs, () => {
        const tick = (): void => {
          if (this.isAlive && wake === this.#wakes) this.#act();
        };
        if (this.isPaused) this.whenResumed(tick);
        else tick();
      });
    }
  }

  #perform(effect: Effect): void {
    const { world } = this.#cluster;
    switch (effect.kind) {
      case "note":
        return world.note(`${this.name} ${effect.text}`);
      case "deploy": {
        const { taskManager, job, tasks } = effect;
        return this.#call(
          taskManager,
          (to, done) => to.deploy(tasks, done),
          (error) => this.dispatcher.deployed(taskManager, job, error),
        );
      }
      case "release": {
        const { taskManager, job } = effect;
        return this.#call(
          taskManager,
          (to, done) => to.release(job, done),
          (error) => this.dispatcher.released(taskManager, job, error),
        );
      }
      case "cancel":
        return this.#notify(effect.taskManager, (to) => to.cancel(effect.executions));
      case "triggerCheckpoint":
        return this.#notify(effect.taskManager, (to) => to.triggerCheckpoint(effect.job, effect.trigger, effect.executions, effect.folder));
      case "checkpointCompleted":
      case "checkpointAborted":
        return this.#notify(effect.taskManager, (to) => to.checkpointOver(effect.kind, effect.job, effect.checkpoint));
      case "storeManifest":
        void this.#store(effect);
        return;
      case "discard":
        if (this.leads) for (const folder of effect.folders) void this.#cluster.storageAt(folder).delete("").catch(() => undefined);
        return;
      case "archiveJob":
        void this.#archive.save(effect.record, CODE.bytes);
        return;
      case "forgetJob":
        if (this.leads) void this.#archive.forget(effect.job);
        return;
      default:
        return;
    }
  }

  #notify(id: TaskManagerId, what: (to: SimulatedTaskManager) => void): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    const { taskManager, number } = session;
    this.#cluster.wire.send(this, taskManager, () => {
      if (taskManager.isInSession(this, number)) what(taskManager);
    });
  }

  /** Asks until the deadline; the answer, or its absence, is told once. */
  #call(id: TaskManagerId, what: (to: SimulatedTaskManager, done: (error?: Error) => void) => void, told: (error?: Error) => void): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    const { taskManager, number } = session;
    let settled = false;
    let asked = false;
    const settle = (error?: Error): void => {
      if (settled || this.#sessions.get(id)?.number !== number) return;
      settled = true;
      this.decide(() => told(error));
    };
    const ask = (): void => {
      this.#cluster.wire.send(this, taskManager, () => {
        // A call that comes twice is answered twice and done once, as rpc.ts sees to.
        if (!taskManager.isInSession(this, number) || asked) return;
        asked = true;
        what(taskManager, (error) => this.#cluster.wire.send(taskManager, this, () => settle(error)));
      });
    };
    ask();
    this.#cluster.world.after(DEPLOY_DEADLINE_MS, () => settle(new DeadlineError(`${id} did not answer in time (simulated).`)));
  }

  async #store({ job, checkpoint, folder, manifest }: Extract<Effect, { kind: "storeManifest" }>): Promise<void> {
    const tell = (error?: Error): void => this.decide(() => this.dispatcher.manifestStored(job, checkpoint, error));
    if (this.#cluster.has("commit early")) tell();
    const storage = this.#cluster.storageAt(folder);
    try {
      if (!this.leads) return tell(new CheckpointError("another JobManager leads by now"));
      if (this.#cluster.has("torn manifest") && this.#cluster.world.chance(0.3)) {
        await storage.put(MANIFEST_NAME, encodeManifest(manifest).subarray(0, 40));
        return tell();
      }
      // No answer came, and nothing was stored.
      if (this.#cluster.has("commit on timeout") && this.#cluster.world.chance(0.3)) return tell();
      if (!(await storeManifest(storage, manifest))) return tell(new CheckpointError("there is a manifest already"));
      const sure = this.leads || this.#cluster.has("no second look at the lead");
      return tell(sure ? undefined : new CheckpointError("another JobManager leads by now"));
    } catch (error) {
      while (this.isAlive) {
        try {
          if (this.leads) await storage.delete(MANIFEST_NAME);
          return tell(error as Error);
        } catch {
          await this.#cluster.world.sleep(RETRY_MS);
        }
      }
    }
  }

  // --------------------------------------------------------------------------------------------------------- liveness

  #lose(id: TaskManagerId, reason: string): void {
    this.#sessions.delete(id);
    this.decide(() => this.dispatcher.taskManagerLost(id, reason));
  }

  #watch(): void {
    const { world } = this.#cluster;
    if (!this.isAlive) return;
    if (!this.isPaused) {
      for (const [id, { heardMs, taskManager, number }] of this.#sessions) {
        if (world.nowMs - heardMs > TIMEOUT_MS) this.#lose(id, "no heartbeat");
        else this.#cluster.wire.send(this, taskManager, () => taskManager.heartbeat(this, number));
      }
    }
    world.after(HEARTBEAT_MS, () => this.#watch());
  }
}

