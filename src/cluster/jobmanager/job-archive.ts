/**
 * What outlives a JobManager: the jobs that have not ended, their code, and where they go on. It lies in shared storage, and is read by
 * whoever leads next. Checkpoints lie where the job's options say; their manifests are found there.
 *
 *     jobs/<job>/job          graph, code, owner          jobs/<job>/recovered/<epoch>    from which checkpoint that leader went on
 *     code/<sha-256>          code bundles
 *
 * Invariant: a leader goes on from the newest sound checkpoint that no later leader has passed over. A leader that was overtaken without
 * knowing may still complete a checkpoint; as the next one has noted from where it went on, such a checkpoint counts for nobody.
 */
import type { JobGraph } from "../../core/graph/job-graph.ts";
import { CheckpointError, CorruptCheckpointError } from "../../core/types/errors.ts";
import type { JobId } from "../../core/types/ids.ts";
import type { SubmittedFrom } from "../protocol/messages.ts";
import { type FileKind, decodeChecked, encodeChecked } from "../storage/checked-file.ts";
import type { CheckpointStorage } from "../storage/checkpoint-storage.ts";
import { type CheckpointManifest, MANIFEST_NAME, decodeManifest, loadManifest } from "../storage/manifest.ts";
import { storageAt } from "../storage/storages.ts";
import type { CompletedCheckpoint } from "./completed-checkpoints.ts";
import { under } from "./checkpoint-settings.ts";
import { type Timers, systemTimers } from "./timers.ts";

/** A job as it was submitted. */
export interface ArchivedJob {
  readonly job: JobId;
  readonly graph: JobGraph;
  /** SHA-256 of its code. */
  readonly code: string;
  /** The client that it lives and ends with. */
  readonly owner?: string;
  /** The client that submitted it. */
  readonly submitter?: string;
  readonly from?: SubmittedFrom;
  /** Folder of its checkpoints. */
  readonly checkpoints: string;
  /** Milliseconds since the epoch. */
  readonly submittedAtMs: number;
}

/** A job that goes on. */
export interface RecoveredJob extends ArchivedJob {
  readonly bytes: Uint8Array;
  /** Sound checkpoints, the newest last; a savepoint that it began with is the first. */
  readonly completed: readonly CompletedCheckpoint[];
  /** Why none can be read although there are some. */
  readonly lost?: Error;
  /** The highest number of any checkpoint that there may be. */
  readonly lastId: number;
  /** Leaders that had it before. */
  readonly leaders: number;
}

/** With growing pauses between them these take about a second and a half. */
const MAX_TRIES = 5;
const FIRST_RETRY_MS = 100;

const JOB: FileKind = { name: "job", version: 1 };

/** The archive of one cluster. Used by the leader; others' writes are fenced by the caller (`Leadership.holds`). */
export class JobArchive {
  readonly #storage: CheckpointStorage;
  readonly #note: (text: string) => void;
  readonly #storageAt: (location: string) => CheckpointStorage;
  readonly #timers: Timers;

  /**
   * @param note takes lines for whoever runs the cluster.
   * @param places gives the storages in which jobs have their checkpoints.
   */
  constructor(
    storage: CheckpointStorage,
    note: (text: string) => void,
    places: (location: string) => CheckpointStorage = storageAt,
    timers: Timers = systemTimers,
  ) {
    this.#storage = storage;
    this.#note = note;
    this.#storageAt = places;
    this.#timers = timers;
  }

  /** Keeps a job. @throws CheckpointError when it can't be stored; then it must not be accepted. */
  async save(job: ArchivedJob, code: Uint8Array): Promise<void> {
    await this.#storage.create(`code/${job.code}`, code);
    await this.#storage.put(`jobs/${job.job}/job`, encodeChecked(JOB, job));
  }

  /** The job has ended. Code that no other job needs goes with it. */
  async forget(job: JobId): Promise<void> {
    const ended = await this.#load(job);
    await this.#storage.delete(`jobs/${job}`);
    if (ended === undefined) return;
    for (const other of await this.#ids()) if ((await this.#load(other))?.code === ended.code) return;
    await this.#storage.delete(`code/${ended.code}`);
  }

  /**
   * All jobs that have not ended, in order of submission, each with where it goes on; that is noted for later leaders.
   * @param epoch of the leader that asks. Jobs whose files are damaged are left out, with a line for whoever runs the cluster.
   * @throws CheckpointError when the storage fails again and again. Nobody should lead then: a job that goes on from an earlier checkpoint,
   * because the latest could not be read just now, makes again what was committed.
   */
  async recover(epoch: number): Promise<readonly RecoveredJob[]> {
    const recovered: RecoveredJob[] = [];
    for (const id of await this.#insist(() => this.#ids())) {
      try {
        const job = await this.#insist(() => this.#load(id));
        if (job !== undefined) recovered.push(await this.#insist(() => this.#recover(job, epoch)));
      } catch (error) {
        if (error instanceof CheckpointError) throw error;
        this.#note(`job ${id} can't be recovered: ${(error as Error).message}`);
      }
    }
    return recovered.sort((a, b) => a.submittedAtMs - b.submittedAtMs);
  }

  /** Asks a storage that fails again, a few times. What is damaged stays so. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (let tries = 1, retryMs = FIRST_RETRY_MS; ; tries++, retryMs *= 2) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof CheckpointError) || tries === MAX_TRIES) throw error;
        this.#note(`the memory of former JobManagers can't be read, and is asked again: ${error.message}`);
        const pauseMs = retryMs;
        await new Promise<void>((resolve) => this.#timers.after(pauseMs, resolve));
      }
    }
  }

  async #recover(job: ArchivedJob, epoch: number): Promise<RecoveredJob> {
    const bytes = await this.#storage.get(`code/${job.code}`);
    if (bytes === undefined) throw new CorruptCheckpointError(`its code ${job.code} is not in ${this.#storage.location}.`);
    const passed = await this.#recoveries(job.job);
    const { completed, lastId, lost } = await this.#checkpoints(job, passed);
    const base = completed.at(-1)?.id ?? 0;
    await this.#storage.put(`jobs/${job.job}/recovered/${epoch}`, new TextEncoder().encode(String(base)));
    return { ...job, bytes, completed, lastId, leaders: passed.size + 1, ...(lost === undefined ? {} : { lost }) };
  }

  /** By epoch, the checkpoint from which its leader went on. */
  async #recoveries(job: JobId): Promise<ReadonlyMap<number, number>> {
    const folder = `jobs/${job}/recovered`;
    const recoveries = new Map<number, number>();
    for (const name of await this.#storage.list(folder)) {
      const bytes = await this.#storage.get(name);
      if (bytes !== undefined) recoveries.set(Number(name.slice(folder.length + 1)), Number(new TextDecoder().decode(bytes)));
    }
    return recoveries;
  }

  async #checkpoints(
    job: ArchivedJob,
    passed: ReadonlyMap<number, number>,
  ): Promise<Pick<RecoveredJob, "completed" | "lastId" | "lost">> {
    const storage = this.#storageAt(job.checkpoints);
    const found = (await storage.list())
      .map((name) => /^chk-(\d+)\/(.+)$/.exec(name))
      .filter((match) => match !== null)
      .map(([, id, file]) => ({ id: Number(id), isManifest: file === MANIFEST_NAME }));
    const lastId = Math.max(0, ...found.map(({ id }) => id));
    const completed: CompletedCheckpoint[] = [];
    let lost: Error | undefined;
    if (job.from !== undefined) {
      try {
        const manifest = await loadManifest(this.#storageAt(job.from.savepoint));
        completed.push({ id: manifest.checkpoint, folder: job.from.savepoint, manifest, owned: false });
      } catch (error) {
        // It may have been removed since: the job's own checkpoints stand for it.
        lost = error as Error;
      }
    }
    for (const { id } of found.filter(({ isManifest }) => isManifest).sort((a, b) => a.id - b.id)) {
      const folder = under(job.checkpoints, `chk-${id}`);
      try {
        const manifest = await this.#manifest(storage, id);
        const isStray = [...passed].some(([epoch, base]) => epoch > manifest.epoch && manifest.checkpoint > base);
        if (isStray) this.#note(`checkpoint ${id} of job ${job.job} is passed over: a leader of a later epoch went on without it`);
        else completed.push({ id, folder, manifest, owned: true });
      } catch (error) {
        if (error instanceof CheckpointError) throw error;
        lost = error as Error;
        this.#note(`checkpoint ${id} of job ${job.job} can't be read: ${lost.message}`);
      }
    }
    if (completed.length === 0 && lost instanceof CheckpointError) throw lost;
    return { completed, lastId, ...(lost === undefined || completed.length > 0 ? {} : { lost }) };
  }

  async #manifest(storage: CheckpointStorage, id: number): Promise<CheckpointManifest> {
    const name = `chk-${id}/${MANIFEST_NAME}`;
    const bytes = await storage.get(name);
    if (bytes === undefined) throw new CorruptCheckpointError(`${storage.location}/${name} is gone.`);
    return decodeManifest(bytes, `${storage.location}/${name}`);
  }

  async #load(job: JobId): Promise<ArchivedJob | undefined> {
    const name = `jobs/${job}/job`;
    const bytes = await this.#storage.get(name);
    return bytes === undefined ? undefined : (decodeChecked(JOB, bytes, `${this.#storage.location}/${name}`) as ArchivedJob);
  }

  async #ids(): Promise<readonly JobId[]> {
    const ids = new Set((await this.#storage.list("jobs")).map((name) => name.split("/")[1] as JobId));
    return [...ids];
  }
}
