/**
 * Windows of any kind with any trigger (Flink: WindowOperator, EvictingWindowOperator): the whole meaning of windows. Aligned event-time
 * windows and sessions that aggregate and fire once have operators of their own, many times as fast (window.ts, session-window.ts); the API
 * takes this one for everything else.
 *
 * What a key has is one value in keyed state: its panes, one per window, each with what the window holds and its timers. So a record costs
 * one look-up, merging and forgetting are changes of one list, and a snapshot has all of it or none. The timers of the operator are per key
 * and time; which panes a timer means stands in the panes.
 *
 * Invariants: a pane lives until its clock reaches its end − 1 (plus the allowed lateness, for event time), or until nothing is left in it
 * and nobody waits for it; panes of merging windows neither overlap nor touch; a time stands in the timers of a key exactly if one of its
 * panes has it.
 */
import { flattenKept } from "../data/text.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { KeyedBackend } from "../state/backend.ts";
import { type ValueState, valueState } from "../state/descriptors.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { TimerQueue } from "../state/timers.ts";
import { type TimeWindow, type WindowDescription, isMerging } from "../time/window.ts";
import { durationMs } from "../types/duration.ts";
import { InvariantError, RecordError, describe } from "../types/errors.ts";
import type { AggregateFunction } from "./aggregates.ts";
import { type Evictor, type RunningEvictor, runningEvictor } from "./evictor.ts";
import { type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";
import { mergePaneStates } from "./pane-state.ts";
import { type Pane, empty, isEmpty, newPane, windowOf } from "./pane.ts";
import { FIRE, PURGE, type PaneTimers, type RunningTrigger, type Trigger, runningTrigger } from "./trigger.ts";
import {
  type AggregateFunctions, type WindowContext, type WindowProgress, aggregateFunctions, requireTimestamp, restoredWatermark,
} from "./window.ts";
import type { AnyWindowFunction, ProcessWindowContext } from "./window-function.ts";
import { WindowFunctionContext, openWindowFunction } from "./window-function-context.ts";

export interface TriggeredWindowSpec extends OperatorSpec {
  readonly kind: "triggeredWindow";
  readonly key: KeySelector;
  readonly window: WindowDescription;
  readonly trigger: Trigger;
  readonly evictor?: Evictor;
  /** Event time that a window lives on after its end. */
  readonly latenessMs: number;
  /** How records are combined as they come; neither: they are kept. */
  readonly aggregate?: AggregateFunction<never, unknown, unknown>;
  readonly reduce?: (a: never, b: never) => unknown;
  /** Makes the result of a combined one; absent: that leaves. */
  readonly finish?: (result: never, context: WindowContext<never>) => unknown;
  /** Instead of `finish`: gets the combined one, or all records. */
  readonly function?: AnyWindowFunction;
  /** Side output of late records; absent: they are dropped. */
  readonly lateOutput?: string;
}

export const triggeredWindowOperator: OperatorKind<TriggeredWindowSpec> = {
  kind: "triggeredWindow",
  inputs: 1,
  fields: (spec, { of }) =>
    spec.aggregate === undefined || spec.evictor !== undefined || spec.lateOutput !== undefined || looksAtRecords(spec.trigger) ||
    spec.window.kind === "custom" || spec.window.kind === "dynamicSession"
      ? "all"
      : eitherUse(of(spec.key, 0), of(spec.aggregate.add, 0)),
  create: (spec, context) => new TriggeredWindowOperator(spec, context),
};

const looksAtRecords = (trigger: Trigger): boolean =>
  "onElement" in trigger || trigger.kind === "delta" || ("of" in trigger && looksAtRecords(trigger.of));

class TriggeredWindowOperator implements Operator, PaneTimers {
  readonly #spec: TriggeredWindowSpec;
  readonly #window: WindowDescription;
  readonly #context: OperatorContext;
  readonly #keyOf: (value: unknown) => unknown;
  readonly #trigger: RunningTrigger;
  readonly #evictor: RunningEvictor | undefined;
  readonly #aggregate: AggregateFunctions | undefined;
  readonly #reduce: ((a: unknown, b: unknown) => unknown) | undefined;
  readonly #merging: boolean;
  readonly #eventTime: boolean;
  readonly #latenessMs: number;
  readonly #keyed: KeyedBackend;
  readonly #panes: ValueState<Pane[]>;
  readonly #eventTimers: TimerQueue;
  readonly #processingTimers: TimerQueue;
  readonly #functionContext: WindowFunctionContext;
  /** Bounds of the windows of the record at hand. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** The panes of the current key. */
  #present: Pane[] = [];
  readonly #progress: OperatorList<WindowProgress>;
  watermark: number;

  constructor(spec: TriggeredWindowSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#window = spec.window;
    this.#context = context;
    this.#keyOf = spec.key as (value: unknown) => unknown;
    this.#trigger = runningTrigger(spec.trigger);
    this.#evictor = spec.evictor === undefined ? undefined : runningEvictor(spec.evictor);
    this.#aggregate = spec.aggregate === undefined ? undefined : aggregateFunctions(spec.aggregate);
    this.#reduce = spec.reduce as ((a: unknown, b: unknown) => unknown) | undefined;
    this.#merging = isMerging(spec.window);
    this.#eventTime = spec.window.time === "event";
    this.#latenessMs = spec.latenessMs;
    this.#keyed = context.states.keyed;
    this.#panes = this.#keyed.state(valueState<Pane[]>("window panes"));
    this.#progress = context.states.list("windows", "union");
    this.watermark = restoredWatermark(this.#progress, spec.window, "panes", context);
    this.#eventTimers = context.states.timers("event");
    this.#processingTimers = context.states.timers("processing");
    this.#functionContext = new WindowFunctionContext(context, () => this.watermark, this.#merging);
  }

  open(): void | Promise<void> {
    return this.#spec.function === undefined ? undefined : openWindowFunction(this.#spec.function, this.#context);
  }

  close(): void | Promise<void> {
    return this.#spec.function?.close?.();
  }

  /** So a record that was late is late again. */
  prepareSnapshot(): void {
    this.#progress.update([{ window: JSON.parse(JSON.stringify(this.#window)) as unknown, layout: "panes", watermark: this.watermark }]);
  }

  now(): number {
    return this.#context.now();
  }

  process(value: unknown, timestamp: number): void {
    this.#keyed.setCurrentKey(this.#keyOf(value));
    const before = this.#panes.value();
    const panes = before ?? [];
    this.#present = panes;
    const windows = this.#assign(value, timestamp);
    let late = this.#eventTime;
    let from = panes.length - 1;
    for (let at = 0; at < windows; at++) {
      const start = this.#starts[at] as number;
      const end = this.#ends[at] as number;
      let index = this.#merging ? this.#merge(panes, start, end) : indexOf(panes, start, end, from);
      if (index < 0) {
        if (this.#cleanupTime(end) <= this.watermark && this.#eventTime) continue;
        index = panes.push(newPane(start, end)) - 1;
      }
      late = false;
      // Windows are assigned from the latest to the earliest, and panes mostly stand in order of their making.
      from = index - 1;
      const pane = panes[index] as Pane;
      this.#add(pane, value, timestamp);
      this.#act(pane, this.#trigger.onElement(value, timestamp, pane, this), timestamp, false);
      const cleanup = this.#cleanupTime(pane.end);
      if (cleanup !== Number.POSITIVE_INFINITY) {
        if (this.#eventTime) this.addEventTimer(pane, cleanup);
        else this.addProcessingTimer(pane, cleanup);
      } else if (isEmpty(pane)) panes.splice(panes.indexOf(pane), 1);
    }
    if (panes.length > 0) this.#panes.update(panes);
    else if (before !== undefined) this.#panes.clear();
    if (late && timestamp + this.#latenessMs <= this.watermark) {
      if (this.#spec.lateOutput === undefined) this.#context.count("numLateRecordsDropped");
      else this.#context.emitSide(this.#spec.lateOutput, value, timestamp);
    }
  }

  onWatermark(watermark: number): void {
    this.watermark = watermark;
    if (this.#eventTimers.nextTime > watermark) return;
    const fired = this.#eventTimers.advance(watermark, (time, key) => this.#onTimer(true, time, key));
    this.#context.count("numFiredTimers", fired);
  }

  nextProcessingTime(): number {
    return this.#processingTimers.nextTime;
  }

  onProcessingTime(nowMs: number): void {
    const fired = this.#processingTimers.advance(nowMs, (time, key) => this.#onTimer(false, time, key));
    this.#context.count("numFiredTimers", fired);
  }

  // --------------------------------------------------------------------------------------------------- timers of panes

  addEventTimer(pane: Pane, time: number): void {
    if (pane.event.includes(time)) return;
    pane.event.push(time);
    this.#eventTimers.register(time, this.#keyed.currentToken, this.#keyed.currentKey);
  }

  addProcessingTimer(pane: Pane, time: number): void {
    if (pane.processing.includes(time)) return;
    pane.processing.push(time);
    this.#processingTimers.register(time, this.#keyed.currentToken, this.#keyed.currentKey);
  }

  removeEventTimer(pane: Pane, time: number): void {
    // The timer at which a window ends outlives its trigger.
    if (this.#eventTime && time === this.#cleanupTime(pane.end) && this.#present.includes(pane)) return;
    if (!remove(pane.event, time)) return;
    if (!this.#present.some((other) => other.event.includes(time))) this.#eventTimers.delete(time, this.#keyed.currentToken);
  }

  removeProcessingTimer(pane: Pane, time: number): void {
    if (!this.#eventTime && time === this.#cleanupTime(pane.end) && this.#present.includes(pane)) return;
    if (!remove(pane.processing, time)) return;
    if (!this.#present.some((other) => other.processing.includes(time))) {
      this.#processingTimers.delete(time, this.#keyed.currentToken);
    }
  }

  #onTimer(event: boolean, time: number, key: unknown): void {
    this.#keyed.setCurrentKey(key);
    const panes = this.#panes.value();
    if (panes === undefined) return;
    this.#present = panes;
    for (const pane of panes.length === 1 ? panes : [...panes]) {
      if (!remove(event ? pane.event : pane.processing, time)) continue;
      const over = event === this.#eventTime && time === this.#cleanupTime(pane.end);
      const result = event ? this.#trigger.onEventTime(time, pane, this) : this.#trigger.onProcessingTime(time, pane, this);
      this.#act(pane, result, event ? time : Number.NaN, over);
      if (over) this.#end(panes, pane);
      else if (pane.end === Number.POSITIVE_INFINITY && isEmpty(pane)) panes.splice(panes.indexOf(pane), 1);
      if (panes.length === 0) break;
    }
    if (panes.length === 0) this.#panes.clear();
    else this.#panes.update(panes);
  }

  // ------------------------------------------------------------------------------------------------------ what is in panes

  /** Writes the bounds of a record's windows, the latest first. @returns how many. */
  #assign(value: unknown, timestamp: number): number {
    const windows = this.#window;
    if (this.#eventTime) requireTimestamp(timestamp, value, this.#context);
    const time = this.#eventTime || windows.time === "none" ? timestamp : this.now();
    const [starts, ends] = [this.#starts, this.#ends];
    let count = 0;
    switch (windows.kind) {
      case "aligned": {
        const { sizeMs, slideMs, offsetMs } = windows;
        for (let start = Math.floor((time - offsetMs) / slideMs) * slideMs + offsetMs; start > time - sizeMs; start -= slideMs) {
          starts[count] = start;
          ends[count++] = start + sizeMs;
        }
        return count;
      }
      case "cumulative": {
        const { sizeMs, stepMs, offsetMs } = windows;
        const start = Math.floor((time - offsetMs) / sizeMs) * sizeMs + offsetMs;
        for (let end = start + sizeMs; end > time; end -= stepMs) {
          starts[count] = start;
          ends[count++] = end;
        }
        return count;
      }
      case "session":
      case "dynamicSession":
        starts[0] = time;
        ends[0] = time + (windows.kind === "session" ? windows.gapMs : gapOf(windows.gap as (value: unknown) => unknown, value));
        return 1;
      case "global":
        starts[0] = Number.NEGATIVE_INFINITY;
        ends[0] = Number.POSITIVE_INFINITY;
        return 1;
      case "custom":
        for (const { start, end } of (windows.assign as (...args: unknown[]) => readonly TimeWindow[])(value, timestamp, this.now())) {
          if (!(start < end)) {
            throw new RecordError(`customWindows() assigned the window [${describe(start)}, ${describe(end)}) to ${describe(value)}.`);
          }
          starts[count] = start;
          ends[count++] = end;
        }
        return count;
      default:
        throw new InvariantError(`No windows are of kind ${describe(windows)}.`);
    }
  }

  /**
   * Makes one pane of all that a new window overlaps or touches.
   * @returns its index; -1 when there are none.
   */
  #merge(panes: Pane[], start: number, end: number): number {
    let first = -1;
    let several = false;
    for (let at = 0; at < panes.length; at++) {
      const pane = panes[at] as Pane;
      if (pane.start > end || start > pane.end) continue;
      if (first >= 0) several = true;
      else first = at;
    }
    if (first < 0) return -1;
    const present = panes[first] as Pane;
    if (!several && present.start <= start && end <= present.end) return first;
    if (!several) {
      const bounds = { start: Math.min(start, present.start), end: Math.max(end, present.end) };
      const grown: Pane = { ...present, ...bounds, event: [], processing: [], slots: undefined };
      panes[first] = grown;
      this.#replace(grown, [present]);
      return first;
    }
    const parts = panes.filter((pane) => pane.start <= end && start <= pane.end).sort((a, b) => a.start - b.start);
    const merged = newPane(Math.min(start, (parts[0] as Pane).start), parts.reduce((max, pane) => Math.max(max, pane.end), end));
    for (const part of parts) this.#join(merged, part);
    merged.states = mergePaneStates(parts.map((part) => part.states));
    for (const part of parts) panes.splice(panes.indexOf(part), 1);
    const index = panes.push(merged) - 1;
    this.#replace(merged, parts);
    return index;
  }

  /** The trigger learns that a pane has come in place of others. */
  #replace(merged: Pane, parts: readonly Pane[]): void {
    // It reads what the parts remember before they forget it.
    this.#trigger.onMerge(merged, parts, this);
    for (const part of parts) {
      this.#trigger.clear(part, this);
      this.#removeTimers(part);
    }
  }

  #join(into: Pane, part: Pane): void {
    if (!part.filled) return;
    if (part.rows !== undefined) {
      into.rows = [...(into.rows ?? []), ...part.rows];
      if (part.times !== undefined) into.times = [...(into.times ?? []), ...part.times];
    } else if (!into.filled) into.accumulator = part.accumulator;
    else if (this.#reduce !== undefined) into.accumulator = this.#reduce(into.accumulator, part.accumulator);
    else if (this.#aggregate?.merge !== undefined) into.accumulator = this.#aggregate.merge(into.accumulator, part.accumulator);
    into.filled = true;
  }

  #add(pane: Pane, value: unknown, timestamp: number): void {
    if (this.#evictor !== undefined) {
      (pane.rows ??= []).push(flattenKept(value));
      (pane.times ??= []).push(timestamp);
    } else if (this.#aggregate !== undefined) {
      const accumulator = pane.filled ? pane.accumulator : this.#aggregate.createAccumulator();
      pane.accumulator = kept(this.#aggregate.add(value, accumulator));
    } else if (this.#reduce !== undefined) {
      pane.accumulator = kept(pane.filled ? this.#reduce(pane.accumulator, value) : value);
    } else (pane.rows ??= []).push(flattenKept(value));
    pane.filled = true;
  }

  /** Does what a trigger said. @param over the pane ends now. */
  #act(pane: Pane, result: number, time: number, over: boolean): void {
    if ((result & FIRE) !== 0 && pane.filled) this.#fire(pane, time, over || (result & PURGE) !== 0);
    if ((result & PURGE) !== 0) empty(pane);
  }

  /** @param last nobody adds to the pane after this. */
  #fire(pane: Pane, time: number, last: boolean): void {
    const window = windowOf(pane);
    // A window without end has no last moment: its results have the time of what made it fire; at the end of input, none.
    const moment = pane.end === Number.POSITIVE_INFINITY ? time : pane.end - 1;
    const timestamp = Number.isFinite(moment) ? moment : Number.NaN;
    const evictor = this.#evictor;
    if (evictor !== undefined) evictor.evict(pane, window, this.#functionContext, "before");
    const rows = pane.rows;
    if (rows !== undefined && this.#aggregate === undefined && this.#reduce === undefined) {
      this.#call(pane, last ? rows : [...rows], window, timestamp);
    } else if (rows === undefined || this.#aggregate !== undefined || rows.length > 0) {
      this.#emit(pane, this.#combined(pane), window, timestamp);
    }
    if (evictor === undefined) return;
    evictor.evict(pane, window, this.#functionContext, "after");
    pane.filled = (pane.rows as unknown[]).length > 0;
  }

  /** The result of what came, or of the records that an evictor left. */
  #combined(pane: Pane): unknown {
    const { rows } = pane;
    if (this.#aggregate === undefined) {
      const reduce = this.#reduce as (a: unknown, b: unknown) => unknown;
      return rows === undefined ? pane.accumulator : rows.reduce((a, b) => reduce(a, b));
    }
    const { createAccumulator, add, getResult } = this.#aggregate;
    return getResult(rows === undefined ? pane.accumulator : rows.reduce((sum: unknown, row) => add(row, sum), createAccumulator()));
  }

  #emit(pane: Pane, result: unknown, window: TimeWindow, timestamp: number): void {
    if (this.#spec.function !== undefined) return this.#call(pane, [result], window, timestamp);
    const finish = this.#spec.finish as ((result: unknown, context: WindowContext) => unknown) | undefined;
    const row = finish === undefined ? result : finish(result, { key: this.#keyed.currentKey, window });
    this.#context.emit(row, timestamp);
  }

  #call(pane: Pane, elements: readonly unknown[], window: TimeWindow, timestamp: number): void {
    const context = this.#functionContext.at(pane, window, timestamp);
    this.#spec.function?.process(elements, context as ProcessWindowContext<unknown> as ProcessWindowContext<never>, context);
  }

  #end(panes: Pane[], pane: Pane): void {
    panes.splice(panes.indexOf(pane), 1);
    this.#trigger.clear(pane, this);
    const context: ProcessWindowContext = this.#functionContext.at(pane, windowOf(pane), pane.end - 1);
    this.#spec.function?.clear?.(context as ProcessWindowContext<never>);
    this.#removeTimers(pane);
  }

  #removeTimers(pane: Pane): void {
    for (const time of [...pane.event]) this.removeEventTimer(pane, time);
    for (const time of [...pane.processing]) this.removeProcessingTimer(pane, time);
  }

  /** When a window that ends then is over for good, by its own clock. */
  #cleanupTime(end: number): number {
    return this.#eventTime ? end - 1 + this.#latenessMs : end - 1;
  }
}

/** Index of the pane of a window, looked for from `from` downwards and then from the end; -1: none. */
function indexOf(panes: readonly Pane[], start: number, end: number, from: number): number {
  for (let at = from; at >= 0; at--) {
    const pane = panes[at] as Pane;
    if (pane.start === start && pane.end === end) return at;
  }
  for (let at = panes.length - 1; at > from; at--) {
    const pane = panes[at] as Pane;
    if (pane.start === start && pane.end === end) return at;
  }
  return -1;
}

function remove(times: number[], time: number): boolean {
  const at = times.indexOf(time);
  if (at < 0) return false;
  if (times.length === 1) times.pop();
  else times.splice(at, 1);
  return true;
}

const kept = (value: unknown): unknown => (typeof value === "number" ? value : flattenKept(value));

function gapOf(gap: (value: unknown) => unknown, value: unknown): number {
  const ms = durationMs(gap(value) as number, "the gap of a session");
  if (ms > 0) return ms;
  throw new RecordError(`The gap of a session is ${ms} ms for the record ${describe(value)}; return a duration > 0.`);
}
