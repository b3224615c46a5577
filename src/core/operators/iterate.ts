/**
 * The head of a loop (Flink: StreamIterationHead, and the loops of "Lightweight Asynchronous Snapshots for Distributed Dataflows"): records
 * come in from before the loop, and back from its end.
 *
 * Invariants: what comes back is taken at any time, even while the head's own outputs are full, so that a loop of bounded channels can't
 * stop itself; it is handed on before anything new is taken in. Event time goes forward with the input alone: no watermark comes back.
 *
 * When the input has ended and nothing has come back for `maxWaitMs`, the heads find out whether the loop is empty, by waves (Dijkstra's
 * and Safra's token, sent along every way at once): a wave is a watermark beyond all times. A head sends the next one when the last has
 * come back on all its ways, and says whether it had no record in between. Where ways meet, the lowest watermark goes on; and the ways back
 * lead from every subtask to every head, so that no head is ahead of a wave that is still under way. Therefore the first watermark of a
 * wave that a head gets says "no record" only if every head said so; then nothing is under way, since each wave pushes all records
 * before it out of the loop.
 *
 * A checkpoint goes round the loop: the head sends the barrier, takes in everything that comes back before it, sends nothing, and its
 * state is what it has taken in then (runtime/task.ts).
 */
import { MAX_WATERMARK } from "../data/element.ts";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";
import { FeedbackQueue, type FeedbackRecord } from "./feedback-queue.ts";

export interface IterateSpec extends OperatorSpec {
  readonly kind: "iterate";
  readonly maxWaitMs: number;
  /** Watermarks go round the loop. Otherwise it ends when nothing has come back for `maxWaitMs`. */
  readonly waves: boolean;
}

export const iterateOperator: OperatorKind<IterateSpec> = {
  kind: "iterate",
  inputs: 2,
  create: (spec, context) => new IterateOperator(spec, context),
};

/** Stands where records leave a loop: waves end here, so that nobody outside takes them for the end of time. */
export interface LoopExitSpec extends OperatorSpec {
  readonly kind: "loopExit";
}

/** See LoopExitSpec. */
export const loopExitOperator: OperatorKind<LoopExitSpec> = {
  kind: "loopExit",
  inputs: 1,
  fields: (_spec, { consumers }) => consumers,
  create: (_spec, context) => ({
    holdsWatermarks: true,
    inline: (code, value, timestamp) => code.emit(value, timestamp),
    onWatermark: (watermark) => {
      if (watermark < WAVES || watermark === MAX_WATERMARK) context.emitWatermark(watermark);
    },
  }),
};

/** Watermarks of waves: beyond every point of time that a Date can be. An odd one says "no record". */
const WAVES = 8.7e15;
/** Records that are handed on before the task looks at its channels again. */
const SLICE_ROWS = 1_024;

class IterateOperator implements Operator {
  readonly holdsWatermarks = true;
  readonly takesFeedback = true;
  readonly #maxWaitMs: number;
  readonly #waves: boolean;
  readonly #context: OperatorContext;
  readonly #queue: FeedbackQueue;
  readonly #list: OperatorList<FeedbackRecord>;
  #inputEnded = false;
  #over = false;
  #moved = true;
  #movedAtMs = 0;
  /** The last wave sent, from 1. */
  #wave = 0;
  #recordSinceWave = false;
  /** The first watermark of the last wave, once it has come back on all ways. */
  #cameBack: number | undefined;

  constructor({ maxWaitMs, waves }: IterateSpec, context: OperatorContext) {
    this.#maxWaitMs = maxWaitMs;
    this.#waves = waves;
    this.#context = context;
    this.#queue = new FeedbackQueue(context.classes);
    this.#list = context.states.list<FeedbackRecord>("feedback", "split");
  }

  open(): void {
    for (const { value, timestamp } of this.#list.get()) this.#queue.push(value, timestamp);
  }

  process(value: unknown, timestamp: number): void {
    this.#moved = true;
    this.#recordSinceWave = true;
    this.#context.emit(value, timestamp);
  }

  process2(value: unknown, timestamp: number): void {
    if (this.#over) return;
    this.#moved = true;
    this.#recordSinceWave = true;
    this.#queue.push(value, timestamp);
  }

  feedbackWatermark(watermark: number): void {
    if (this.#wave > 0 && this.#cameBack === undefined && watermark >= WAVES + 2 * this.#wave) this.#cameBack = watermark;
  }

  onWatermark(watermark: number): void {
    if (watermark === MAX_WATERMARK) this.#inputEnded = true;
    else this.#context.emitWatermark(watermark);
  }

  full(): boolean {
    return this.#queue.size > 0;
  }

  owes(): boolean {
    if (this.#over) return false;
    if (this.#queue.size > 0) return true;
    const quiet = this.#context.now() >= this.#quietSinceMs() + this.#maxWaitMs;
    const empty = this.#waves ? this.#cameBack === WAVES + 2 * this.#wave + 1 : quiet;
    if (!empty) {
      if (this.#waves && (this.#wave === 0 ? quiet : this.#cameBack !== undefined)) this.#sendWave();
      return true;
    }
    this.#over = true;
    this.#context.emitWatermark(MAX_WATERMARK);
    return false;
  }

  nextProcessingTime(): number {
    if (this.#queue.size > 0) return Number.NEGATIVE_INFINITY;
    if (!this.#inputEnded || this.#over) return Number.POSITIVE_INFINITY;
    return this.#wave === 0 ? this.#quietSinceMs() + this.#maxWaitMs : Number.POSITIVE_INFINITY;
  }

  onProcessingTime(): void {
    for (let rows = 0; rows < SLICE_ROWS; rows++) {
      const record = this.#queue.shift();
      if (record === undefined) return;
      this.#moved = true;
      this.#context.emit(record.value, record.timestamp);
    }
  }

  prepareSnapshot(): void {
    this.#list.update(this.#queue.all());
  }

  close(): void {
    this.#queue.close();
  }

  #sendWave(): void {
    const noRecord = this.#wave > 0 && !this.#recordSinceWave;
    this.#wave++;
    this.#cameBack = undefined;
    this.#recordSinceWave = false;
    this.#context.emitWatermark(WAVES + 2 * this.#wave + (noRecord ? 1 : 0));
  }

  /** Since when nothing has moved. The clock is not asked for each record. */
  #quietSinceMs(): number {
    if (this.#moved) this.#movedAtMs = this.#context.now();
    this.#moved = false;
    return this.#movedAtMs;
  }
}
