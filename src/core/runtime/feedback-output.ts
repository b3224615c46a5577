/**
 * An edge back to the head of a loop. It ends when its task's operators have finished, while other outputs stay open for the last
 * checkpoint: the head waits for the end of what comes back, and the checkpoint for the head. Nothing is written after the end.
 */
import type { CheckpointTrigger } from "./checkpoint.ts";
import type { ChannelWriter, Output } from "./output.ts";

/** An output that can be ended before the others. */
export class FeedbackOutput implements Output {
  readonly #output: Output;
  #ended = false;

  constructor(output: Output) {
    this.#output = output;
  }

  get writers(): readonly ChannelWriter[] {
    return this.#output.writers;
  }

  emit(value: unknown, timestamp: number): void {
    if (!this.#ended) this.#output.emit(value, timestamp);
  }

  emitWatermark(watermark: number): void {
    if (!this.#ended) this.#output.emitWatermark(watermark);
  }

  emitIdle(): void {
    if (!this.#ended) this.#output.emitIdle();
  }

  emitBarrier(trigger: CheckpointTrigger): void {
    if (!this.#ended) this.#output.emitBarrier(trigger);
  }

  flush(): void {
    this.#output.flush();
  }

  flushWhereRead(): boolean {
    return this.#output.flushWhereRead();
  }

  drain(): boolean {
    return this.#output.drain();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#output.end();
  }
}
