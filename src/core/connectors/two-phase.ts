/**
 * Sinks whose results become visible exactly once (Flink: TwoPhaseCommittingSink). A writer gathers rows in a transaction. At a barrier
 * it closes the transaction and names it by a *committable*, plain data that becomes part of the checkpoint. Once the checkpoint is
 * complete, the committable is committed:
 *
 *     write write │ write write write │ write
 *                 barrier 1           barrier 2
 *                 └▶ committable ─▶ in checkpoint 1 ─▶ checkpoint 1 complete: commit
 *
 * After a failure, what the checkpoint names is committed (again: commits are idempotent), and what it doesn't name is as if never written.
 * Committables of a checkpoint that was given up stay, and are committed with the next one that completes.
 *
 * Without checkpoints there is one transaction, committed when the input has ended.
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { Operator, OperatorContext, OperatorKind } from "../operators/operator.ts";
import { OwnItems } from "../operators/own-items.ts";
import { options } from "../types/options.ts";

/** What a writer learns about where it runs. */
export interface SinkContext {
  readonly subtask: number;
  readonly parallelism: number;
  /** How often the subtask was started before. */
  readonly attempt: number;
  /** Id or uid of the sink; the same in every attempt. */
  readonly sink: string;
  /** Name of the job. */
  readonly job: string;
  /** Transactions are closed by checkpoints; otherwise there is only one, which ends with the input. */
  readonly checkpoints: boolean;
}

/**
 * The two phases. All methods are called on the thread of the subtask, one at a time. A promise is possible where the types allow it if
 * the sink is declared asynchronous.
 */
export interface TwoPhaseWriter<T, Committable> {
  /**
   * Before anything is written.
   * @param pending what the checkpoint names that the job goes on from; commits follow right after. Empty on a first start.
   * @param others the same, of the other subtasks; after a change of the parallelism also what this one had prepared. Whatever else former
   * attempts left behind will never be committed, and can go.
   */
  open?(context: SinkContext, pending: readonly Committable[], others: readonly Committable[]): void | Promise<void>;
  /** `timestamp` is NaN for a record without one. */
  write(value: T, timestamp: number): void;
  /** Closes what was written since the last call, so that nothing but `commit` is missing. @returns its names, possibly none. */
  prepareCommit(): readonly Committable[];
  /**
   * Makes it visible. Called again after a failure for what was committed already, by other subtasks too: then it does nothing.
   * An error fails the job.
   */
  commit(committable: Committable): void | Promise<void>;
  close?(): void | Promise<void>;
}

/** What is kept in checkpoints. */
interface Pending {
  readonly checkpoint: number;
  readonly committable: unknown;
}

/** Runs a writer in one subtask. */
export class TwoPhaseOperator implements Operator {
  readonly #writer: TwoPhaseWriter<unknown, unknown>;
  readonly #context: OperatorContext;
  readonly #kept: OwnItems<Pending>;
  readonly #checkpoints: boolean;
  #pending: readonly Pending[] = [];
  /** Commits that are under way, one after the other. */
  #committing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(writer: TwoPhaseWriter<never, unknown>, context: OperatorContext) {
    this.#writer = writer as TwoPhaseWriter<unknown, unknown>;
    this.#context = context;
    this.#kept = new OwnItems(context, "committables");
    this.#checkpoints = context.configuration.get(options.checkpointInterval) > 0;
  }

  async open(): Promise<void> {
    const { subtask, parallelism, attempt, operatorId, jobName } = this.#context;
    const restored = this.#kept.restored ?? [];
    await this.#writer.open?.(
      { subtask, parallelism, attempt, sink: operatorId, job: jobName, checkpoints: this.#checkpoints },
      restored.map(({ committable }) => committable),
      this.#kept.others.map(({ committable }) => committable),
    );
    for (const { committable } of restored) await this.#writer.commit(committable);
    this.#kept.keep([]);
  }

  process(value: unknown, timestamp: number): void {
    this.#throwFailure();
    this.#writer.write(value, timestamp);
  }

  onWatermark(): void {
    this.#throwFailure();
  }

  prepareSnapshot(checkpoint: number): void {
    this.#throwFailure();
    this.#prepare(checkpoint);
    this.#kept.keep(this.#pending);
  }

  checkpointCompleted(checkpoint: number): void {
    const covered = this.#pending.filter((it) => it.checkpoint <= checkpoint);
    this.#pending = this.#pending.filter((it) => it.checkpoint > checkpoint);
    for (const { committable } of covered) this.#commit(committable);
  }

  owes(): boolean {
    this.#throwFailure();
    return this.#committing !== undefined;
  }

  finish(): void {
    if (this.#checkpoints) return;
    this.#prepare(0);
    this.checkpointCompleted(0);
  }

  async close(): Promise<void> {
    await this.#committing;
    await this.#writer.close?.();
    this.#throwFailure();
  }

  #prepare(checkpoint: number): void {
    const committables = this.#writer.prepareCommit();
    if (committables.length > 0) this.#pending = [...this.#pending, ...committables.map((committable) => ({ checkpoint, committable }))];
  }

  #commit(committable: unknown): void {
    if (this.#committing === undefined) {
      const done = this.#writer.commit(committable);
      if (!(done instanceof Promise)) return;
      this.#follow(done);
    } else this.#follow(this.#committing.then(() => (this.#failure === undefined ? this.#writer.commit(committable) : undefined)));
  }

  #follow(commit: Promise<void>): void {
    const followed = commit
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        if (this.#committing === followed) this.#committing = undefined;
        this.#context.wake();
      });
    this.#committing = followed;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

export interface TwoPhaseSinkSpec extends OperatorSpec {
  readonly kind: "twoPhaseSink";
  readonly sink: TwoPhaseWriter<never, unknown>;
}

/** A user's writer as a sink. */
export const twoPhaseSink: OperatorKind<TwoPhaseSinkSpec> = {
  kind: "twoPhaseSink",
  inputs: 1,
  fields: (spec, { of }) => of(spec.sink.write, 0),
  create: (spec, context) => new TwoPhaseOperator(spec.sink, context),
};
