/**
 * The checkpoints of a job that exist, newest last: what a failure goes back to.
 *
 * Invariants: a number is completed once, in rising order; as many as are to be retained are kept, counting only those that can be read, so
 * that damaged ones never push out the last sound one; a savepoint that the job began with is the first of them, and is never removed, as
 * it is not the job's.
 */
import type { CheckpointManifest } from "../storage/manifest.ts";

/** A checkpoint or savepoint with a durable manifest. */
export interface CompletedCheckpoint {
  readonly id: number;
  readonly folder: string;
  readonly manifest: CheckpointManifest;
  /** The job made it for itself, and removes it. */
  readonly owned: boolean;
}

/** The completed checkpoints of one job. */
export class CompletedCheckpoints {
  readonly #retained: number;
  readonly #grace: number;
  #checkpoints: CompletedCheckpoint[] = [];
  /** Not retained, but later ones refer to their files, or may yet: each with the completions for which it stays in any case. */
  #lingering: { readonly checkpoint: CompletedCheckpoint; readonly stays: number }[] = [];
  #hadAny = false;

  /**
   * @param retained `execution.checkpointing.num-retained`.
   * @param grace so many completions later no task builds upon a checkpoint any more that is not retained: 0 where none build upon others.
   * Till it hears of the next completion a task builds upon the one before, and a barrier may come sooner than that news.
   */
  constructor(retained: number, grace = 0) {
    this.#retained = retained;
    this.#grace = grace;
  }

  /** What a failure goes back to; undefined: to the beginning. */
  get latest(): CompletedCheckpoint | undefined {
    return this.#checkpoints.at(-1);
  }

  get all(): readonly CompletedCheckpoint[] {
    return this.#checkpoints;
  }

  /** There was one, but none can be read any more: starting from nothing would lose or double rows. */
  get areLost(): boolean {
    return this.#hadAny && this.#checkpoints.length === 0;
  }

  /** One more is complete. Returns those that are not needed any more: no retained one refers to a file in their folders. */
  add(checkpoint: CompletedCheckpoint): readonly CompletedCheckpoint[] {
    const { latest } = this;
    if (latest !== undefined && checkpoint.id <= latest.id) return [];
    this.#hadAny = true;
    this.#checkpoints.push(checkpoint);
    const surplus = this.#checkpoints.slice(0, -this.#retained).filter(({ owned }) => owned);
    this.#checkpoints = this.#checkpoints.slice(-this.#retained);
    const needed = new Set(this.#checkpoints.flatMap(({ manifest }) => siblingsOf(manifest)));
    const candidates = [
      ...this.#lingering.map((it) => ({ ...it, stays: it.stays - 1 })),
      ...surplus.map((it) => ({ checkpoint: it, stays: this.#grace })),
    ];
    this.#lingering = candidates.filter(({ checkpoint: { folder }, stays }) => stays > 0 || needed.has(nameOf(folder)));
    const lingering = new Set(this.#lingering);
    return candidates.filter((it) => !lingering.has(it)).map((it) => it.checkpoint);
  }

  /** One can't be read. Returns whether it was here. */
  drop(id: number): boolean {
    const before = this.#checkpoints.length;
    this.#checkpoints = this.#checkpoints.filter((checkpoint) => checkpoint.id !== id);
    return this.#checkpoints.length < before;
  }
}

const nameOf = (folder: string): string => folder.slice(folder.lastIndexOf("/") + 1);

/** The folders beside its own in which a checkpoint has files: those of earlier checkpoints that it builds upon. */
function siblingsOf({ vertices }: CheckpointManifest): readonly string[] {
  const siblings = new Set<string>();
  const look = ({ file }: { readonly file: string }): void => {
    const [up, sibling] = file.split("/");
    if (up === ".." && sibling !== undefined) siblings.add(sibling);
  };
  for (const { subtasks } of vertices) {
    for (const { operators, channels } of subtasks) {
      for (const { sections } of operators) sections.forEach(look);
      ((channels ?? []) as readonly { readonly file: string }[]).forEach(look);
    }
  }
  return [...siblings];
}
