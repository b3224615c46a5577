/**
 * `throttle` and `dedupe`: a record passes, then those of the same key less than `withinMs` away from it are dropped (RxJS: throttleTime).
 * Distance is in event time where the stream has timestamps, by the wall clock else. A record that comes late and lies `withinMs` or more
 * before the last one that passed passes too.
 *
 * What a key keeps is given up once nothing can be dropped on its account any more, by a timer: in event time when the watermark has come
 * `withinMs` further.
 */
import { keyToken } from "../data/keys.ts";
import { type ValueState, valueState } from "../state/descriptors.ts";
import type { KeyedBackend } from "../state/backend.ts";
import type { TimerQueue } from "../state/timers.ts";
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";
import type { KeyedStepSpec } from "./keyed-step.ts";

export interface ThrottleSpec extends KeyedStepSpec {
  readonly kind: "throttle";
  readonly withinMs: number;
  readonly time: "event" | "processing";
}

export const throttleOperator: OperatorKind<ThrottleSpec> = {
  kind: "throttle",
  inputs: 1,
  create: (spec, context) => new ThrottleOperator(spec, context),
};

class ThrottleOperator implements Operator {
  readonly #key: ((value: unknown) => unknown) | undefined;
  readonly #withinMs: number;
  readonly #context: OperatorContext;
  readonly #keyed: KeyedBackend;
  /** When the last record passed. */
  readonly #last: ValueState<number>;
  readonly #timers: TimerQueue;
  readonly #event: boolean;

  constructor({ key, withinMs, time }: ThrottleSpec, context: OperatorContext) {
    this.#key = key as ((value: unknown) => unknown) | undefined;
    this.#withinMs = withinMs;
    this.#context = context;
    this.#keyed = context.states.keyed;
    this.#last = this.#keyed.state(valueState<number>("last"));
    this.#timers = context.states.timers(time);
    this.#event = time === "event";
  }

  process(value: unknown, timestamp: number): void {
    const key = this.#key === undefined ? "" : this.#key(value);
    this.#keyed.setCurrentKey(key);
    const time = this.#event ? timestamp : this.#context.now();
    const last = this.#last.value();
    if (last !== undefined && Math.abs(time - last) < this.#withinMs) return;
    if (last === undefined || time > last) {
      this.#last.update(time);
      this.#timers.register(time + this.#withinMs, keyToken(key), key);
    }
    this.#context.emit(value, timestamp);
  }

  onWatermark(watermark: number): void {
    if (this.#event) this.#forget(watermark);
  }

  nextProcessingTime(): number {
    return this.#event ? Number.POSITIVE_INFINITY : this.#timers.nextTime;
  }

  onProcessingTime(nowMs: number): void {
    this.#forget(nowMs);
  }

  #forget(until: number): void {
    if (this.#timers.nextTime > until) return;
    this.#timers.advance(until, (time, key) => {
      this.#keyed.setCurrentKey(key);
      // Another record may have passed since.
      if (this.#last.value() === time - this.#withinMs) this.#last.clear();
    });
  }
}
