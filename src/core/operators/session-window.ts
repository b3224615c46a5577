/**
 * Session windows with incremental aggregation (Flink: EventTimeSessionWindows with merging windows). A record opens the window
 * [t, t + gap); windows of one key that overlap or touch become one, and so do their accumulators.
 *
 * Invariants: the sessions of a key never overlap or touch; each has one timer, at its end − 1 when the timer was set: a session
 * that grew meanwhile sets it again instead of firing.
 */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenString, flattenStrings } from "../data/text.ts";
import { MIN_WATERMARK } from "../data/element.ts";
import { KeyTable } from "../state/key-table.ts";
import { TimerQueue } from "../state/timers.ts";
import type { SessionWindows } from "../time/window.ts";
import { RecordError } from "../types/errors.ts";
import type { Operator, OperatorContext } from "./operator.ts";
import { type AggregateFunctions, type WindowContext, type WindowSpec, aggregateFunctions, late, requireTimestamp } from "./window.ts";

interface Session {
  start: number;
  end: number;
  accumulator: unknown;
}

interface SessionsOfKey {
  readonly key: unknown;
  /** Rarely more than one is open. */
  readonly sessions: Session[];
}

/** Session windows with an aggregate, running. */
export class SessionOperator implements Operator {
  readonly #spec: WindowSpec;
  readonly #gapMs: number;
  readonly #context: OperatorContext;
  readonly #functions: AggregateFunctions;
  readonly #merge: (a: unknown, b: unknown) => unknown;
  readonly #keyOf: (value: unknown) => unknown;
  readonly #keys = new KeyTable<SessionsOfKey>();
  readonly #timers = new TimerQueue();
  #watermark: number = MIN_WATERMARK;

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
  }

  process(value: unknown, timestamp: number): void {
    requireTimestamp(timestamp, value, this.#context);
    const key = this.#keyOf(value);
    const token = keyToken(key);
    const end = timestamp + this.#gapMs;
    let entry = this.#keys.get(token);
    const session = entry?.sessions.find((it) => it.start <= end && timestamp <= it.end);
    if (entry === undefined || session === undefined) {
      if (end - 1 <= this.#watermark) {
        late(this.#spec, this.#context, value, timestamp);
        return;
      }
      if (entry === undefined)
        this.#keys.set(typeof token === "string" ? flattenString(token) : token, (entry = { key: flattenStrings(key), sessions: [] }));
      entry.sessions.push({ start: timestamp, end, accumulator: this.#functions.add(value, this.#functions.createAccumulator()) });
      this.#timers.register(end - 1, token, token);
      return;
    }
    session.accumulator = this.#functions.add(value, session.accumulator);
    if (timestamp < session.start) session.start = timestamp;
    if (end > session.end) session.end = end;
    if (entry.sessions.length > 1) this.#join(entry.sessions, session);
  }

  onWatermark(watermark: number): void {
    this.#watermark = watermark;
    if (this.#timers.nextTime > watermark) return;
    this.#timers.advance(watermark, (_time, token) => this.#fire(token as KeyToken));
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
  #fire(token: KeyToken): void {
    const entry = this.#keys.get(token);
    if (entry === undefined) return;
    const over = entry.sessions.filter((it) => it.end - 1 <= this.#watermark).sort((a, b) => a.end - b.end);
    const open = entry.sessions.filter((it) => it.end - 1 > this.#watermark);
    if (open.length === 0) this.#keys.delete(token);
    else if (over.length > 0) entry.sessions.splice(0, entry.sessions.length, ...open);
    for (const { end } of open) this.#timers.register(end - 1, token, token);
    const finish = this.#spec.finish as ((result: unknown, context: WindowContext) => unknown) | undefined;
    for (const { start, end, accumulator } of over) {
      const result = this.#functions.getResult(accumulator);
      this.#context.emit(finish === undefined ? result : finish(result, { key: entry.key, window: { start, end } }), end - 1);
    }
  }
}
