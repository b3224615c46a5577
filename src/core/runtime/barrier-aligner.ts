/**
 * When a task has seen the same cut on all of its inputs. Pure: it is told what comes on which channel, and says what is to be done.
 *
 * Exactly-once: a channel that has delivered the barrier is not read until all have, so that the state holds exactly the records in front
 * of the barriers. Unaligned: once that has taken too long, the state is frozen at once; what lies between the present place of a channel
 * and its barrier is in flight, and the caller stores it. At-least-once: no channel is held back, and the state is frozen at the last
 * barrier.
 *
 *     channel 1  … r r │ r r        held back at its barrier
 *     channel 2  … r r r r r │ r    read on, until its barrier is here too: begin
 *
 * Invariants: each checkpoint begins at most once, in rising order of ids; a channel that has ended counts as one that has delivered every
 * barrier; a newer barrier ends the wait for an older one, which can no longer complete; nobody is held back for a checkpoint that was
 * aborted. It trusts each channel to deliver the barriers that it delivers in rising order.
 */
import type { CheckpointTrigger } from "./checkpoint.ts";

/** What is to be done, in this order. */
export type AlignmentStep =
  /** Freeze the state now. `overtaking`: channels whose barrier has not come (`inFlight`) have records in flight until `complete`. */
  | { readonly do: "begin"; readonly trigger: CheckpointTrigger; readonly sinceMs: number; readonly overtaking: boolean }
  /** Everything that is in flight for this checkpoint has come by. */
  | { readonly do: "complete"; readonly checkpoint: number }
  /** Give this checkpoint up; a newer one has come. */
  | { readonly do: "abort"; readonly checkpoint: number; readonly newer: number };

interface Alignment {
  readonly trigger: CheckpointTrigger;
  /** When the first barrier was seen. */
  readonly sinceMs: number;
  readonly arrived: Uint8Array;
  overtaking: boolean;
}

const NOTHING: readonly AlignmentStep[] = [];
/** Aborted checkpoints that are remembered because their barriers may still come: more than a job has in progress. */
const REMEMBERED_ABORTS = 64;

/** The alignment of one task. One thread. */
export class BarrierAligner {
  /** Per channel 1 while it must not be read. Read by the gate before each segment. */
  readonly blocked: Uint8Array;
  readonly #ended: Uint8Array;
  /** In rising order of ids; more than one only for at-least-once. */
  readonly #waiting: Alignment[] = [];
  /** The newest checkpoint that began here, or can no longer. */
  #latest = 0;
  readonly #aborted = new Set<number>();

  /** @param channels how many; 0: a source, which never waits. */
  constructor(channels: number) {
    this.blocked = new Uint8Array(channels);
    this.#ended = new Uint8Array(channels);
  }

  /** Some checkpoint waits for barriers. */
  get waiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Whether records of the channel are in flight for a checkpoint that has begun: the id of that one, or 0. */
  inFlight(channel: number): number {
    const [first] = this.#waiting;
    return first?.overtaking === true && first.arrived[channel] === 0 && this.#ended[channel] === 0 ? first.trigger.checkpoint : 0;
  }

  /** When `overdue` is to be asked, wall clock; Infinity: not at all. */
  get deadlineMs(): number {
    const [first] = this.#waiting;
    if (first === undefined || first.overtaking || !mayOvertake(first.trigger)) return Number.POSITIVE_INFINITY;
    return first.sinceMs + first.trigger.alignedTimeoutMs;
  }

  /** The barrier is the next segment of the channel, and has been taken out. */
  barrier(channel: number, trigger: CheckpointTrigger, nowMs: number): readonly AlignmentStep[] {
    const steps: AlignmentStep[] = [];
    const it = this.#alignment(trigger, nowMs, steps);
    if (it === undefined) return steps;
    if (it.arrived[channel] === 0) {
      it.arrived[channel] = 1;
      if (trigger.mode === "exactly-once" && !it.overtaking) this.blocked[channel] = 1;
    }
    this.#advance(nowMs, steps);
    return steps;
  }

  /**
   * The barrier was seen further back in the channel. All in front of it that is not taken yet is in flight if the checkpoint overtakes.
   */
  announced(trigger: CheckpointTrigger, nowMs: number): readonly AlignmentStep[] {
    const steps: AlignmentStep[] = [];
    if (this.#alignment(trigger, nowMs, steps) !== undefined) this.#advance(nowMs, steps);
    return steps;
  }

  /** All records in front of the barrier of a checkpoint that has begun are stored. */
  stored(channel: number, checkpoint: number): readonly AlignmentStep[] {
    const [it] = this.#waiting;
    if (it === undefined || !it.overtaking || it.trigger.checkpoint !== checkpoint) return NOTHING;
    it.arrived[channel] = 1;
    const steps: AlignmentStep[] = [];
    this.#advance(Number.NEGATIVE_INFINITY, steps);
    return steps;
  }

  /** The channel has ended. */
  end(channel: number, nowMs: number): readonly AlignmentStep[] {
    this.#ended[channel] = 1;
    this.blocked[channel] = 0;
    if (this.#waiting.length === 0) return NOTHING;
    const steps: AlignmentStep[] = [];
    this.#advance(nowMs, steps);
    return steps;
  }

  /** Time has passed. */
  overdue(nowMs: number): readonly AlignmentStep[] {
    if (nowMs < this.deadlineMs) return NOTHING;
    const steps: AlignmentStep[] = [];
    this.#advance(nowMs, steps);
    return steps;
  }

  /** The coordinator has given a checkpoint up. */
  abort(checkpoint: number): void {
    const at = this.#waiting.findIndex(({ trigger }) => trigger.checkpoint === checkpoint);
    if (at >= 0) {
      this.#waiting.splice(at, 1);
      if (this.#waiting.length === 0) this.blocked.fill(0);
      this.#latest = Math.max(this.#latest, checkpoint);
    } else if (checkpoint > this.#latest) {
      this.#aborted.add(checkpoint);
      if (this.#aborted.size > REMEMBERED_ABORTS) this.#aborted.delete(this.#aborted.values().next().value as number);
    }
  }

  /** The alignment that a barrier belongs to; undefined when nobody waits for it (any more). */
  #alignment(trigger: CheckpointTrigger, nowMs: number, steps: AlignmentStep[]): Alignment | undefined {
    const { checkpoint } = trigger;
    const known = this.#waiting.find((it) => it.trigger.checkpoint === checkpoint);
    if (known !== undefined) return known;
    const newest = this.#waiting.at(-1)?.trigger.checkpoint ?? this.#latest;
    if (checkpoint <= newest || this.#aborted.has(checkpoint)) return undefined;
    if (trigger.mode === "exactly-once") {
      for (const older of this.#waiting.splice(0)) steps.push({ do: "abort", checkpoint: older.trigger.checkpoint, newer: checkpoint });
      this.blocked.fill(0);
    }
    const it: Alignment = { trigger, sinceMs: nowMs, arrived: new Uint8Array(this.blocked.length), overtaking: false };
    this.#waiting.push(it);
    return it;
  }

  /** Begins and completes what can be. */
  #advance(nowMs: number, steps: AlignmentStep[]): void {
    // At-least-once: a later checkpoint may have all of its barriers while an earlier one lost some.
    for (let at = this.#waiting.length - 1; at >= 0; at--) {
      const it = this.#waiting[at] as Alignment;
      const { trigger, sinceMs } = it;
      const all = it.arrived.every((arrived, channel) => arrived === 1 || this.#ended[channel] === 1);
      if (!all) {
        if (it.overtaking || !mayOvertake(trigger) || nowMs < sinceMs + trigger.alignedTimeoutMs) continue;
        it.overtaking = true;
        this.#begun(trigger.checkpoint);
        steps.push({ do: "begin", trigger, sinceMs, overtaking: true });
        continue;
      }
      for (const older of this.#waiting.splice(0, at + 1).slice(0, -1)) {
        steps.push({ do: "abort", checkpoint: older.trigger.checkpoint, newer: trigger.checkpoint });
      }
      if (it.overtaking) steps.push({ do: "complete", checkpoint: trigger.checkpoint });
      else {
        this.#begun(trigger.checkpoint);
        steps.push({ do: "begin", trigger, sinceMs, overtaking: false });
      }
      return;
    }
  }

  #begun(checkpoint: number): void {
    this.blocked.fill(0);
    this.#latest = checkpoint;
    for (const aborted of this.#aborted) if (aborted <= checkpoint) this.#aborted.delete(aborted);
  }
}

const mayOvertake = ({ mode, unaligned, kind }: CheckpointTrigger): boolean =>
  unaligned && mode === "exactly-once" && kind === "checkpoint";
