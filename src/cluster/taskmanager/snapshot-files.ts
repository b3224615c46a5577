/**
 * The files that this TaskManager's tasks write for checkpoints. A task's thread freezes and serialises its state; the bytes come here, to
 * the main thread, and go into one file per subtask and checkpoint; when that is durable, the JobManager is told.
 *
 *     task's thread ── snapshot (bytes) ──▶ file ── durable ──▶ acknowledgeCheckpoint ──▶ JobManager
 *                   ◀── room again ───────       ── failed ───▶ declineCheckpoint ──────▶
 *
 * Invariants: an acknowledgement leaves after the last byte is durable; it, or a decline, is repeated until the JobManager has answered;
 * of a checkpoint that is aborted, or whose task fails, no file of this TaskManager remains; what comes late for a checkpoint that is over
 * is dropped. A barrier may overtake the trigger that says where the files go; the bytes wait for it in their thread's share.
 *
 * Bounds: the bytes of a thread that are not written yet, by the thread itself (`SnapshotBytes`); checkpoints that are remembered as over,
 * by REMEMBERED per job. Lives on the TaskManager's main thread.
 */
import type { CheckpointAck, CheckpointTrigger } from "../../core/runtime/checkpoint.ts";
import { CheckpointError, DreyError, toWire } from "../../core/types/errors.ts";
import type { WireError } from "../../core/types/errors.ts";
import type { JobId } from "../../core/types/ids.ts";
import type { ExecutionAddress } from "../protocol/messages.ts";
import type { CheckpointStorage, StorageWriter } from "../storage/checkpoint-storage.ts";
import type { LocalSnapshots } from "./local-snapshots.ts";
import { executionKey } from "./state-reports.ts";

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
const REMEMBERED = 64;

export interface SnapshotFilesOptions {
  readonly storageAt: (location: string) => CheckpointStorage;
  /** Tells the JobManager; resolves when it has answered. */
  readonly acknowledge: (execution: ExecutionAddress, ack: CheckpointAck) => Promise<void>;
  /** Resolves when the JobManager has what else belongs before the execution's acknowledgement: rows for clients. Default: at once. */
  readonly before?: (execution: ExecutionAddress, checkpoint: number) => Promise<unknown>;
  readonly decline: (execution: ExecutionAddress, checkpoint: number, error: WireError) => Promise<void>;
  /** Gets copies of what checkpoints are made of, for jobs that want them. Savepoints are not copied. */
  readonly local?: LocalSnapshots;
  /** Waits. Given by tests; default: a timer that does not keep the process alive. */
  readonly pause?: (ms: number) => Promise<void>;
  /** A sentence for the operator of the cluster: an answer could not be given, or a file not be removed. */
  readonly log: (text: string) => void;
}

/** One subtask's file of one checkpoint. */
interface Part {
  readonly execution: ExecutionAddress;
  readonly checkpoint: number;
  readonly file: string;
  /** What was begun for it, in order; never rejects. */
  work: Promise<void>;
  storage: CheckpointStorage | undefined;
  writer: StorageWriter | undefined;
  finished: boolean;
  /** Nothing more is done for it, and what is there goes. */
  over: boolean;
  /** Once the task has handed over everything: resolves when the JobManager knows, or need not know. */
  told: Promise<void>;
}

/** The place of one checkpoint's files, once it is known; undefined: the checkpoint is over. */
interface Place {
  readonly folder: Promise<string | undefined>;
  readonly tell: (folder: string | undefined) => void;
}

/** The checkpoints of one job. */
class Checkpoints {
  readonly places = new Map<number, Place>();
  readonly parts = new Map<string, Part>();
  /** Ids of checkpoints that will not exist, the latest ones. */
  readonly aborted = new Set<number>();
  /** Ids of savepoints, the latest ones: later checkpoints don't stand for them. */
  readonly savepoints = new Set<number>();
  completed = 0;

  isOver(checkpoint: number): boolean {
    return (checkpoint <= this.completed && !this.savepoints.has(checkpoint)) || this.aborted.has(checkpoint);
  }

  place(checkpoint: number): Place {
    let place = this.places.get(checkpoint);
    if (place !== undefined) return place;
    let tell: Place["tell"] = () => undefined;
    const folder = new Promise<string | undefined>((resolve) => (tell = resolve));
    place = { folder, tell };
    this.places.set(checkpoint, place);
    return place;
  }
}

/** What this TaskManager writes for checkpoints. */
export class SnapshotFiles {
  readonly #options: SnapshotFilesOptions;
  readonly #jobs = new Map<JobId, Checkpoints>();

  constructor(options: SnapshotFilesOptions) {
    this.#options = options;
  }

  /** Files that are being written, or whose checkpoint is not over. */
  get open(): number {
    return [...this.#jobs.values()].reduce((sum, { parts }) => sum + parts.size, 0);
  }

  /** A checkpoint has begun: its files go into `folder`. */
  begin(job: JobId, { checkpoint, kind }: Pick<CheckpointTrigger, "checkpoint" | "kind">, folder: string): void {
    const checkpoints = this.#of(job);
    if (kind === "savepoint") remember(checkpoints.savepoints, checkpoint);
    if (!checkpoints.isOver(checkpoint)) checkpoints.place(checkpoint).tell(folder);
  }

  /**
   * Bytes of a task's snapshot, in order.
   * @param written called once, when the bytes are in the file or of no use any more.
   */
  write(execution: ExecutionAddress, checkpoint: number, file: string, bytes: Uint8Array, written: () => void): void {
    const part = this.#part(execution, checkpoint, file);
    if (part === undefined) return written();
    this.#then(part, async () => {
      await (await this.#writer(part))?.append(bytes);
    }, written);
  }

  /** The task has handed over everything. */
  acknowledge(execution: ExecutionAddress, file: string, ack: CheckpointAck): void {
    const part = this.#part(execution, ack.checkpoint, file);
    if (part === undefined) return;
    const { local, storageAt } = this.#options;
    if (local?.keeps(execution.job) === true) {
      // Also of a part that wrote nothing: it may consist of files of earlier checkpoints.
      void this.#of(execution.job).place(ack.checkpoint).folder.then((folder) => {
        if (folder !== undefined) local.acknowledged(execution.job, ack.checkpoint, storageAt(folder).location, filesOf(ack));
      });
    }
    let told: () => void = () => undefined;
    part.told = new Promise((resolve) => (told = resolve));
    this.#then(part, async () => {
      await part.writer?.finish();
      part.finished = true;
      // Not waited for: what is told is no part of the file's work.
      void Promise.resolve(this.#options.before?.(execution, ack.checkpoint)).then(async () => {
        // Its task may have failed before everything had left.
        if (!part.over) await this.#tell(part, "acknowledge", () => this.#options.acknowledge(execution, ack));
        told();
      });
    }, () => {
      if (!part.finished) told();
    });
  }

  /**
   * Resolves when the JobManager knows what an execution handed over for checkpoints. A task's end is told after that: of a task that ended
   * without a word on a checkpoint the JobManager concludes that all its records went before the barrier.
   */
  async told(execution: ExecutionAddress): Promise<void> {
    const key = executionKey(execution);
    const parts = [...(this.#jobs.get(execution.job)?.parts.values() ?? [])].filter((part) => executionKey(part.execution) === key);
    await Promise.all(parts.map((part) => part.told));
  }

  /** The task gives the checkpoint up. */
  decline(execution: ExecutionAddress, checkpoint: number, error: WireError): void {
    const part = this.#part(execution, checkpoint, "");
    if (part !== undefined) this.#declined(part, error);
  }

  /** The checkpoint exists; it and all before it are over. */
  completed(job: JobId, checkpoint: number): void {
    const checkpoints = this.#of(job);
    checkpoints.completed = Math.max(checkpoints.completed, checkpoint);
    this.#options.local?.completed(job, checkpoint);
    for (const [key, part] of checkpoints.parts) {
      if (part.checkpoint > checkpoint || checkpoints.savepoints.has(part.checkpoint)) continue;
      checkpoints.parts.delete(key);
      // Earlier ones that never completed were aborted; that may be still on its way here.
      if (part.checkpoint < checkpoint && !part.finished) this.#drop(part);
    }
    for (const [id, place] of checkpoints.places) {
      if (id > checkpoint || checkpoints.savepoints.has(id)) continue;
      checkpoints.places.delete(id);
      place.tell(undefined);
    }
    for (const id of checkpoints.aborted) if (id <= checkpoint) checkpoints.aborted.delete(id);
  }

  /** The checkpoint will not exist. */
  aborted(job: JobId, checkpoint: number): void {
    const checkpoints = this.#of(job);
    if (checkpoints.isOver(checkpoint)) return;
    remember(checkpoints.aborted, checkpoint);
    this.#options.local?.aborted(job, checkpoint);
    checkpoints.places.get(checkpoint)?.tell(undefined);
    checkpoints.places.delete(checkpoint);
    for (const [key, part] of checkpoints.parts) {
      if (part.checkpoint !== checkpoint) continue;
      checkpoints.parts.delete(key);
      this.#drop(part);
    }
  }

  /** A task is gone. What it had handed over whole is still told; the rest is of no use. */
  ended(execution: ExecutionAddress, finished: boolean): void {
    const checkpoints = this.#jobs.get(execution.job);
    if (checkpoints === undefined || finished) return;
    const key = executionKey(execution);
    for (const [name, part] of checkpoints.parts) {
      if (executionKey(part.execution) !== key) continue;
      checkpoints.parts.delete(name);
      // The JobManager may know it as a part of a checkpoint that it completes right now: it removes what it does not use.
      if (part.finished) part.over = true;
      else this.#drop(part);
    }
  }

  /** The job is over here; resolves when nothing is being written for it. Its files are the JobManager's. */
  async releaseJob(job: JobId): Promise<void> {
    const checkpoints = this.#jobs.get(job);
    if (checkpoints === undefined) return;
    this.#jobs.delete(job);
    for (const place of checkpoints.places.values()) place.tell(undefined);
    await Promise.all([...checkpoints.parts.values()].map((part) => this.#stop(part)));
  }

  /** As `releaseJob` for every job. */
  async stop(): Promise<void> {
    await Promise.all([...this.#jobs.keys()].map((job) => this.releaseJob(job)));
  }

  #of(job: JobId): Checkpoints {
    let checkpoints = this.#jobs.get(job);
    if (checkpoints === undefined) this.#jobs.set(job, (checkpoints = new Checkpoints()));
    return checkpoints;
  }

  #part(execution: ExecutionAddress, checkpoint: number, file: string): Part | undefined {
    const checkpoints = this.#of(execution.job);
    if (checkpoints.isOver(checkpoint)) return undefined;
    const key = `${executionKey(execution)}@${checkpoint}`;
    let part = checkpoints.parts.get(key);
    if (part === undefined) {
      part = {
        execution,
        checkpoint,
        file,
        work: Promise.resolve(),
        storage: undefined,
        writer: undefined,
        finished: false,
        over: false,
        told: Promise.resolve(),
      };
      checkpoints.parts.set(key, part);
    }
    return part.over ? undefined : part;
  }

  async #writer(part: Part): Promise<StorageWriter | undefined> {
    if (part.writer !== undefined) return part.writer;
    const folder = await this.#of(part.execution.job).place(part.checkpoint).folder;
    if (folder === undefined || part.over) return undefined;
    part.storage = this.#options.storageAt(folder);
    const writer = part.storage.write(part.file);
    const { job } = part.execution;
    const { local } = this.#options;
    part.writer =
      local === undefined || this.#of(job).savepoints.has(part.checkpoint)
        ? writer
        : local.copying(job, part.checkpoint, part.storage.location, part.file, writer);
    return part.writer;
  }

  /** Does something for a part after all that was begun before. What goes wrong declines its checkpoint. */
  #then(part: Part, act: () => Promise<void>, always: () => void = () => undefined): void {
    part.work = part.work.then(async () => {
      try {
        if (!part.over) await act();
      } catch (error) {
        const { vertex, subtask } = part.execution;
        const failure = new CheckpointError(
          `subtask ${subtask + 1} of vertex ${vertex} could not write its part of checkpoint ${part.checkpoint}: ${(error as Error).message}`,
          { cause: error },
        );
        if (!part.over) this.#declined(part, toWire(failure));
      } finally {
        always();
      }
    });
  }

  #declined(part: Part, error: WireError): void {
    this.#drop(part);
    void this.#tell(part, "decline", () => this.#options.decline(part.execution, part.checkpoint, error));
  }

  /** Nothing of it remains. */
  #drop(part: Part): void {
    void this.#stop(part).then(async () => {
      if (!part.finished || part.storage === undefined) return;
      this.#options.local?.remove(part.storage.location, part.file);
      await part.storage.delete(part.file);
    }).catch((error: Error) => this.#options.log(`a file of checkpoint ${part.checkpoint} could not be removed: ${error.message}`));
  }

  async #stop(part: Part): Promise<void> {
    part.over = true;
    await part.work;
    if (!part.finished) await part.writer?.abort();
  }

  /** Repeats it until the JobManager has answered, or nobody is interested any more. */
  async #tell(part: Part, what: string, send: () => Promise<void>): Promise<void> {
    const { pause = quietly, log } = this.#options;
    const { execution, checkpoint } = part;
    const wanted = (): boolean => this.#jobs.get(execution.job)?.isOver(checkpoint) === false;
    for (let retryMs = FIRST_RETRY_MS; wanted(); retryMs = Math.min(LAST_RETRY_MS, 2 * retryMs)) {
      try {
        return await send();
      } catch (error) {
        const code = error instanceof DreyError ? error.code : "";
        if (code !== "DREY_DEADLINE" && code !== "DREY_CONNECTION") {
          return log(`could not ${what} checkpoint ${checkpoint} of ${executionKey(execution)}: ${(error as Error).message}`);
        }
        await pause(retryMs);
      }
    }
  }
}

/** The files that a part of a checkpoint consists of, as they are named in its folder. */
function* filesOf({ operators, channels }: CheckpointAck): Iterable<string> {
  for (const { sections } of operators) for (const { file } of sections) yield file;
  for (const { file } of channels ?? []) yield file;
}

function remember(ids: Set<number>, id: number): void {
  ids.add(id);
  if (ids.size > REMEMBERED) ids.delete(ids.values().next().value as number);
}

const quietly = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
