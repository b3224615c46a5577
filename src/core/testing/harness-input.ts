/**
 * One input of a pipeline under test: what a source and its watermarks would be in a job. Records, watermarks, idleness and the end go
 * through a channel like any other, in the order in which they are given.
 */
import type { ClassRegistry } from "../data/classes.ts";
import { MIN_WATERMARK } from "../data/element.ts";
import type { MemoryChannel } from "../runtime/memory-channel.ts";
import { type Output, output } from "../runtime/output.ts";
import { type Timestamp, timestampMs } from "../time/watermark.ts";
import { GraphError, describe } from "../types/errors.ts";

/** What the harness does for its inputs. */
export interface InputHost {
  /** Lets the pipeline work until nothing is left to do. */
  run(): void;
  /** @throws what made the pipeline fail, or an error that says that it is closed. */
  check(): void;
}

/** An input. Made by `testHarness`; each call runs the pipeline until it rests. */
export class HarnessInput<T> {
  readonly #name: string;
  readonly #output: Output;
  readonly #host: InputHost;
  #watermark: number = MIN_WATERMARK;
  #ended = false;

  constructor(name: string, channel: MemoryChannel, classes: ClassRegistry, host: InputHost) {
    this.#name = name;
    this.#host = host;
    this.#output = output({ kind: "global" }, [channel], { classes, batchRows: 256, wrote: () => undefined }, 1, 0);
  }

  /**
   * A record.
   * @param timestamp its event time; absent: none. A pipeline that has `withTimestamps` gives it its own.
   * @throws whatever the pipeline's functions throw, as a UserFunctionError with the cause; a GraphError after the input's end.
   */
  push(value: T, timestamp?: Timestamp): void {
    this.#check("push()");
    this.#output.emit(value, timestamp === undefined ? Number.NaN : timestampMs(timestamp, value));
    this.#output.flush();
    this.#host.run();
  }

  /** Records without timestamps, one after the other. */
  pushAll(values: Iterable<T>): void {
    for (const value of values) this.push(value);
  }

  /**
   * No record with a timestamp up to this one follows.
   * @throws GraphError when it is lower than the last one: watermarks never go back.
   */
  watermark(watermark: Timestamp): void {
    this.#check("watermark()");
    const ms = watermark instanceof Date ? watermark.getTime() : watermark;
    if (typeof ms !== "number" || Number.isNaN(ms)) {
      throw new GraphError(`watermark() of ${this.#name} got ${describe(watermark)}; give milliseconds since 1970, a Date or Infinity.`);
    }
    if (ms < this.#watermark) {
      throw new GraphError(`watermark(${ms}) of ${this.#name} would go back: it is at ${this.#watermark} already.`);
    }
    this.#watermark = ms;
    this.#output.emitWatermark(ms);
    this.#host.run();
  }

  /** Nothing comes at present: the input holds back no watermark until its next record. */
  idle(): void {
    this.#check("idle()");
    this.#output.emitIdle();
    this.#host.run();
  }

  /** No record follows. When all inputs have ended, all windows and event-time timers fire and the pipeline finishes. Once. */
  end(): void {
    this.#check("end()");
    this.#ended = true;
    this.#output.end();
    this.#host.run();
  }

  /** For the harness: after a restore, the input is where it was. */
  restore({ watermark, ended }: { readonly watermark: number; readonly ended: boolean }): void {
    this.#watermark = watermark;
    this.#ended = ended;
  }

  /** The watermark that was given last; -Infinity before the first. */
  get currentWatermark(): number {
    return this.#watermark;
  }

  /** Whether `end` was called. */
  get ended(): boolean {
    return this.#ended;
  }

  /** For the harness: writes what found its channel full. @returns whether something was written. */
  drain(queued: () => number): boolean {
    const before = queued();
    this.#output.drain();
    return queued() > before;
  }

  #check(what: string): void {
    this.#host.check();
    if (this.#ended) throw new GraphError(`${what} came after the end of ${this.#name}; make a new harness.`);
  }
}
