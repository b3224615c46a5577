/**
 * Session windows with incremental aggregation (Flink: EventTimeSessionWindows with merging windows). A record opens the window
 * [t, t + gap); windows of one key that overlap or touch become one, and so do their accumulators.
 *
 * Invariants: the sessions of a key never overlap or touch; each has one timer, at its end − 1 when the timer was set: a session
 * that grew meanwhile sets it again instead of firing. The watermark is part of the state, so that what is late stays so after a restore.
 */
import { type KeyToken, keyToken } from "../data/keys.ts";
import type { KeyTable } from "../state/key-table.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { TimerQueue } from "../state/timers.ts";
import type { SessionWindows } from "../time/window.ts";
import { RecordError } from "../types/errors.ts";
import { LastCall } from "./window-function-context.ts";
import type { Operator, OperatorContext } from "./operator.ts";
import {
  type AggregateFunctions, type WindowContext, type WindowProgress, type WindowSpec,
  aggregateFunctions, late, requireTimestamp, restoredWatermark,
} from "./window.ts";

interface Session {
  start: number;
  end: number;
  accumulator: unknown;
}

/** The open sessions of a key; rarely more than one. */
type Sessions = Session[];

/** Session windows with an aggregate, running. */
export class SessionOperator implements Operator {
  readonly #spec: WindowSpec;
  readonly #gapMs: number;
  readonly #context: OperatorContext;
  readonly #functions: AggregateFunctions;
  readonly #merge: (a: unknown, b: unknown) => unknown;
  readonly #keyOf: (value: unknown) => unknown;
  readonly #windows: SessionWindows;
  readonly #keys: KeyTable<Sessions>;
  readonly #timers: TimerQueue;
  readonly #progress: OperatorList<WindowProgress>;
  readonly #last: LastCall | undefined;
  #watermark: number;

  /** @throws RecordError when the aggregate cannot merge. */
  constructor(spec: WindowSpec, windows: SessionWindows, context: OperatorContext) {
    this.#spec = spec;
    this.#gapMs = windows.gapMs;
    this.#context = context;
    this.#functions = aggregateFunctions(spec.aggregate);
    this.#keyOf = spec.key as (value: unknown) => unknown;
    if (this.#functions.merge === undefined) {
      throw new RecordError(`The aggregate of "${context.operatorName}" has no merge(a, b), which session windows need.`);
    }
    this.#merge = this.#functions.merge;
    this.#windows = windows;
    this.#last = spec.function === undefined ? undefined : new LastCall(spec.function, context, () => this.#watermark, true);
    this.#progress = context.states.list("windows", "union");
    this.#watermark = restoredWatermark(this.#progress, windows, "sessions", context);
    this.#timers = context.states.timers("session ends");
    this.#keys = context.states
      .tables<Sessions>("window sessions", { store: (sessions) => sessions, load: (sessions) => sessions as Sessions })
      .table(0);
  }

  open(): void | Promise<void> {
    return this.#last?.open();
  }

  close(): void | Promise<void> {
    return this.#last?.close();
  }

  prepareSnapshot(): void {
    this.#progress.update([{ window: this.#windows, layout: "sessions", watermark: this.#watermark }]);
  }

  process(value: unknown, timestamp: number): void {
    requireTimestamp(timestamp, value, this.#context);
    const key = this.#keyOf(value);
    const token = keyToken(key);
    const end = timestamp + this.#gapMs;
    let sessions = this.#keys.get(token);
    const session = sessions?.find((it) => it.start <= end && timestamp <= it.end);
    if (sessions === undefined || session === undefined) {
      if (end - 1 <= this.#watermark) {
        late(this.#spec, this.#context, value, timestamp);
        return;
      }
      if (sessions === undefined) this.#keys.set(token, (sessions = []));
      sessions.push({ start: timestamp, end, accumulator: this.#functions.add(value, this.#functions.createAccumulator()) });
      this.#timers.register(end - 1, token, key);
      return;
    }
    session.accumulator = this.#functions.add(value, session.accumulator);
    if (timestamp < session.start) session.start = timestamp;
    if (end > session.end) session.end = end;
    if (sessions.length > 1) this.#join(sessions, session);
  }

  onWatermark(watermark: number): void {
    this.#watermark = watermark;
    if (this.#timers.nextTime > watermark) return;
    this.#timers.advance(watermark, (_time, key) => this.#fire(keyToken(key), key));
  }

  /** A session that grew takes in the others that it reaches now. */
  #join(sessions: Session[], grown: Session): void {
    for (let at = sessions.length - 1; at >= 0; at--) {
      const other = sessions[at] as Session;
      if (other === grown || other.start > grown.end || grown.start > other.end) continue;
      grown.start = Math.min(grown.start, other.start);
      grown.end = Math.max(grown.end, other.end);
      grown.accumulator = this.#merge(grown.accumulator, other.accumulator);
      sessions.splice(at, 1);
    }
  }

  /** Fires the sessions of a key that are over, and sets the timers of those that grew. */
  #fire(token: KeyToken, key: unknown): void {
    const sessions = this.#keys.get(token);
    if (sessions === undefined) return;
    const over = sessions.filter((it) => it.end - 1 <= this.#watermark).sort((a, b) => a.end - b.end);
    const open = sessions.filter((it) => it.end - 1 > this.#watermark);
    if (open.length === 0) this.#keys.delete(token);
    else if (over.length > 0) sessions.splice(0, sessions.length, ...open);
    for (const { end } of open) this.#timers.register(end - 1, token, key);
    const finish = this.#spec.finish as ((result: unknown, context: WindowContext) => unknown) | undefined;
    for (const { start, end, accumulator } of over) {
      const result = this.#functions.getResult(accumulator);
      if (this.#last !== undefined) this.#last.fire(key, { start, end }, result);
      else this.#context.emit(finish === undefined ? result : finish(result, { key, window: { start, end } }), end - 1);
    }
  }
}
