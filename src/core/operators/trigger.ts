/**
 * When a window fires (Flink: Trigger). A trigger hears of each record of a window and of the timers that it set for that window, and
 * answers with what is to be done: nothing, fire (the window's result leaves), purge (its records are forgotten), or both.
 *
 * What users write down is plain data for the triggers that drey brings, or an object of functions; `runningTrigger` makes what the window
 * operator calls. The memory of a trigger is part of its window (`Pane.slots`), so it is snapshotted, merged and forgotten with it.
 */
import type { StateDescriptor, StateOf } from "../state/descriptors.ts";
import type { TimeWindow } from "../time/window.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, InvariantError, RecordError, describe } from "../types/errors.ts";
import { type Pane, windowOf } from "./pane.ts";
import { type PaneStates, mergePaneStates, paneState } from "./pane-state.ts";

/** What a trigger answers. */
export type TriggerResult = "continue" | "fire" | "purge" | "fire-and-purge";

/** What a trigger can reach. All of it belongs to the window at hand; valid during the call. */
export interface TriggerContext {
  /** No record with a timestamp up to this is expected any more; -Infinity before the first watermark. */
  currentWatermark(): number;
  /** Wall clock, milliseconds since the epoch. */
  currentProcessingTime(): number;
  /** Calls `onEventTime` for this key and window once the watermark reaches `time`. */
  registerEventTimeTimer(time: number): void;
  /** Calls `onProcessingTime` for this key and window once the clock reaches `time`. */
  registerProcessingTimeTimer(time: number): void;
  deleteEventTimeTimer(time: number): void;
  deleteProcessingTimeTimer(time: number): void;
  /** State of this key and window. When windows merge, lists and maps are joined; a single value is refused. */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
}

/** A trigger of the user's own: an object of synchronous functions. Methods that are absent do nothing. */
export interface CustomTrigger<T = never> {
  /** A record was added to a window. */
  onElement(element: T, timestamp: number, window: TimeWindow, context: TriggerContext): TriggerResult;
  onEventTime?(time: number, window: TimeWindow, context: TriggerContext): TriggerResult;
  onProcessingTime?(time: number, window: TimeWindow, context: TriggerContext): TriggerResult;
  /**
   * Windows became this one: set the timers that it needs; those of its parts are gone, and their states are joined. A trigger without
   * it can't be used with windows that merge.
   */
  onMerge?(window: TimeWindow, context: TriggerContext): void;
  /** The window is over: delete the timers that are left. What is in `state` goes by itself. */
  clear?(window: TimeWindow, context: TriggerContext): void;
}

/** A trigger that drey brings, as data. */
export type TriggerDescription<T = never> =
  | { readonly kind: "eventTime" | "processingTime" | "never" | "endOfStream" }
  | { readonly kind: "count"; readonly count: number }
  | { readonly kind: "continuousEventTime" | "continuousProcessingTime"; readonly intervalMs: number }
  | { readonly kind: "delta"; readonly threshold: number; readonly distance: (before: T, now: T) => number }
  | { readonly kind: "purging"; readonly of: Trigger<T> }
  | {
      readonly kind: "timeout";
      readonly of: Trigger<T>;
      readonly timeoutMs: number;
      readonly restart: boolean;
      readonly clear: boolean;
    };

/** Any trigger of windows of records of type T. */
export type Trigger<T = never> = TriggerDescription<T> | CustomTrigger<T>;

/** Fires when the watermark passes the end of the window, and for each late record that is still allowed. */
export function eventTimeTrigger(): TriggerDescription<unknown> {
  return { kind: "eventTime" };
}

/** Fires when the wall clock passes the end of the window. */
export function processingTimeTrigger(): TriggerDescription<unknown> {
  return { kind: "processingTime" };
}

/** Fires after every so many records of a window. @throws GraphError unless the count is a positive integer. */
export function countTrigger(count: number): TriggerDescription<unknown> {
  if (!Number.isInteger(count) || count < 1) throw new GraphError(`countTrigger() got ${describe(count)}; give an integer ≥ 1.`);
  return { kind: "count", count };
}

/** Fires whenever the watermark passes a multiple of the interval, and at the end of the window. */
export function continuousEventTime(interval: Duration): TriggerDescription<unknown> {
  return { kind: "continuousEventTime", intervalMs: positive(interval, "continuousEventTime(interval)") };
}

/** Fires whenever the wall clock passes a multiple of the interval, as long as the window lives. */
export function continuousProcessingTime(interval: Duration): TriggerDescription<unknown> {
  return { kind: "continuousProcessingTime", intervalMs: positive(interval, "continuousProcessingTime(interval)") };
}

/** Fires when a record is farther than the threshold from the one that it fired for last (at first: the window's first record). */
export function delta<T>(threshold: number, distance: (before: T, now: T) => number): TriggerDescription<T> {
  if (typeof threshold !== "number" || Number.isNaN(threshold)) throw new GraphError(`delta() got the threshold ${describe(threshold)}.`);
  if (typeof distance !== "function") throw new GraphError(`delta() got ${describe(distance)} as distance; it takes a function.`);
  return { kind: "delta", threshold, distance };
}

/** As the trigger inside, but a window forgets its records whenever it fires. */
export function purging<T>(of: Trigger<T>): TriggerDescription<T> {
  return { kind: "purging", of: checkedTrigger(of, "purging()") };
}

/**
 * As the trigger inside, and besides so long after the first record since the last timeout, by the wall clock.
 * @param options.restart each record starts the timeout anew. Default false.
 * @param options.clear the trigger inside forgets what it knew when time is out. Default true.
 */
export function processingTimeout<T>(
  of: Trigger<T>, timeout: Duration, options: { readonly restart?: boolean; readonly clear?: boolean } = {},
): TriggerDescription<T> {
  return {
    kind: "timeout",
    of: checkedTrigger(of, "processingTimeout()"),
    timeoutMs: positive(timeout, "processingTimeout(…, timeout)"),
    restart: options.restart ?? false,
    clear: options.clear ?? true,
  };
}

/** Never fires. */
export function neverTrigger(): TriggerDescription<unknown> {
  return { kind: "never" };
}

/** Fires once all input has ended. */
export function endOfStreamTrigger(): TriggerDescription<unknown> {
  return { kind: "endOfStream" };
}

/** @throws GraphError unless the value is a trigger. */
export function checkedTrigger<T>(trigger: Trigger<T>, where: string): Trigger<T> {
  const given = trigger as { readonly kind?: unknown; readonly onElement?: unknown } | null | undefined;
  if (typeof given?.onElement === "function" || (typeof given?.kind === "string" && given.onElement === undefined)) return trigger;
  throw new GraphError(`${where} got ${describe(trigger)}; it takes a trigger such as countTrigger(10), or an object with onElement().`);
}

/** Whether windows with this trigger may merge. */
export function canMerge(trigger: Trigger): boolean {
  if ("onElement" in trigger) return trigger.onMerge !== undefined;
  if (trigger.kind === "delta") return false;
  return trigger.kind === "purging" || trigger.kind === "timeout" ? canMerge(trigger.of) : true;
}

/** Whether it fires by the event time, so that windows with it need timestamps. */
export function usesEventTime(trigger: Trigger): boolean {
  if ("onElement" in trigger) return false;
  if (trigger.kind === "purging" || trigger.kind === "timeout") return usesEventTime(trigger.of);
  return trigger.kind === "eventTime" || trigger.kind === "continuousEventTime";
}

/** What a trigger answers, as bits. */
export const CONTINUE = 0;
export const FIRE = 1;
export const PURGE = 2;

/** Timers of the pane at hand, and the time. The window operator is one. */
export interface PaneTimers {
  readonly watermark: number;
  now(): number;
  addEventTimer(pane: Pane, time: number): void;
  addProcessingTimer(pane: Pane, time: number): void;
  removeEventTimer(pane: Pane, time: number): void;
  removeProcessingTimer(pane: Pane, time: number): void;
}

/** A trigger, running. Answers are CONTINUE, FIRE, PURGE or FIRE | PURGE. */
export interface RunningTrigger {
  onElement(value: unknown, timestamp: number, pane: Pane, timers: PaneTimers): number;
  onEventTime(time: number, pane: Pane, timers: PaneTimers): number;
  onProcessingTime(time: number, pane: Pane, timers: PaneTimers): number;
  /** Joins what it remembers of panes into the slots of a new one, and sets its timers. */
  onMerge(pane: Pane, parts: readonly Pane[], timers: PaneTimers): void;
  /** Forgets the pane and deletes its timers. */
  clear(pane: Pane, timers: PaneTimers): void;
}

/** What the operator calls for a trigger. @param depth how many triggers it is within. */
export function runningTrigger(trigger: Trigger, depth = 0): RunningTrigger {
  if ("onElement" in trigger) return new UserTrigger(trigger, depth);
  switch (trigger.kind) {
    case "eventTime":
      return new EventTimeTrigger();
    case "processingTime":
      return new ProcessingTimeTrigger();
    case "count":
      return new CountTrigger(trigger.count, depth);
    case "continuousEventTime":
      return new ContinuousEventTimeTrigger(trigger.intervalMs, depth);
    case "continuousProcessingTime":
      return new ContinuousProcessingTimeTrigger(trigger.intervalMs, depth);
    case "delta":
      return new DeltaTrigger(trigger.threshold, trigger.distance as (before: unknown, now: unknown) => number, depth);
    case "purging":
      return new PurgingTrigger(runningTrigger(trigger.of, depth));
    case "timeout":
      return new TimeoutTrigger(runningTrigger(trigger.of, depth + 1), trigger, depth);
    case "never":
      return new NeverTrigger();
    case "endOfStream":
      return new EndOfStreamTrigger();
    default:
      throw new InvariantError(`No trigger is of kind ${describe(trigger)}.`);
  }
}

const slot = (pane: Pane, depth: number): unknown => pane.slots?.[depth];

function setSlot(pane: Pane, depth: number, value: unknown): void {
  pane.slots ??= [];
  // No holes: the slots are written to snapshots.
  while (pane.slots.length < depth) pane.slots.push(undefined);
  pane.slots[depth] = value;
}

class EventTimeTrigger implements RunningTrigger {
  onElement(_value: unknown, _timestamp: number, pane: Pane, timers: PaneTimers): number {
    const last = pane.end - 1;
    if (last <= timers.watermark) return FIRE;
    timers.addEventTimer(pane, last);
    return CONTINUE;
  }

  onEventTime(time: number, pane: Pane): number {
    return time === pane.end - 1 ? FIRE : CONTINUE;
  }

  onProcessingTime(): number {
    return CONTINUE;
  }

  onMerge(pane: Pane, _parts: readonly Pane[], timers: PaneTimers): void {
    if (pane.end - 1 > timers.watermark) timers.addEventTimer(pane, pane.end - 1);
  }

  clear(pane: Pane, timers: PaneTimers): void {
    timers.removeEventTimer(pane, pane.end - 1);
  }
}

class ProcessingTimeTrigger implements RunningTrigger {
  onElement(_value: unknown, _timestamp: number, pane: Pane, timers: PaneTimers): number {
    timers.addProcessingTimer(pane, pane.end - 1);
    return CONTINUE;
  }

  onEventTime(): number {
    return CONTINUE;
  }

  onProcessingTime(): number {
    return FIRE;
  }

  onMerge(pane: Pane, _parts: readonly Pane[], timers: PaneTimers): void {
    if (pane.end - 1 > timers.now()) timers.addProcessingTimer(pane, pane.end - 1);
  }

  clear(pane: Pane, timers: PaneTimers): void {
    timers.removeProcessingTimer(pane, pane.end - 1);
  }
}

/** Its slot: records since it fired last. */
class CountTrigger implements RunningTrigger {
  readonly #count: number;
  readonly #depth: number;

  constructor(count: number, depth: number) {
    this.#count = count;
    this.#depth = depth;
  }

  onElement(_value: unknown, _timestamp: number, pane: Pane): number {
    const count = ((slot(pane, this.#depth) as number | undefined) ?? 0) + 1;
    setSlot(pane, this.#depth, count >= this.#count ? 0 : count);
    return count >= this.#count ? FIRE : CONTINUE;
  }

  onEventTime(): number {
    return CONTINUE;
  }

  onProcessingTime(): number {
    return CONTINUE;
  }

  onMerge(pane: Pane, parts: readonly Pane[]): void {
    setSlot(pane, this.#depth, parts.reduce((sum, part) => sum + ((slot(part, this.#depth) as number | undefined) ?? 0), 0));
  }

  clear(pane: Pane): void {
    setSlot(pane, this.#depth, undefined);
  }
}

/** Its slot: when it fires next, besides at the end. */
class ContinuousEventTimeTrigger implements RunningTrigger {
  readonly #intervalMs: number;
  readonly #depth: number;

  constructor(intervalMs: number, depth: number) {
    this.#intervalMs = intervalMs;
    this.#depth = depth;
  }

  onElement(_value: unknown, timestamp: number, pane: Pane, timers: PaneTimers): number {
    const last = pane.end - 1;
    if (last <= timers.watermark) return FIRE;
    timers.addEventTimer(pane, last);
    if (slot(pane, this.#depth) === undefined) this.#next(Math.floor(timestamp / this.#intervalMs) * this.#intervalMs, pane, timers);
    return CONTINUE;
  }

  onEventTime(time: number, pane: Pane, timers: PaneTimers): number {
    if (time === pane.end - 1) {
      setSlot(pane, this.#depth, undefined);
      return FIRE;
    }
    if (slot(pane, this.#depth) !== time) return CONTINUE;
    this.#next(time, pane, timers);
    return FIRE;
  }

  onProcessingTime(): number {
    return CONTINUE;
  }

  onMerge(pane: Pane, parts: readonly Pane[], timers: PaneTimers): void {
    const next = earliest(parts, this.#depth);
    if (pane.end - 1 > timers.watermark) timers.addEventTimer(pane, pane.end - 1);
    if (next === undefined) return;
    setSlot(pane, this.#depth, next);
    timers.addEventTimer(pane, next);
  }

  clear(pane: Pane, timers: PaneTimers): void {
    const next = slot(pane, this.#depth) as number | undefined;
    if (next !== undefined) timers.removeEventTimer(pane, next);
    setSlot(pane, this.#depth, undefined);
  }

  #next(time: number, pane: Pane, timers: PaneTimers): void {
    // After the last watermark, a window without end would fire for ever.
    const step = pane.end === timers.watermark ? Number.POSITIVE_INFINITY : this.#intervalMs;
    const next = Math.min(time + step, pane.end - 1);
    setSlot(pane, this.#depth, next);
    timers.addEventTimer(pane, next);
  }
}

/** Its slot: when it fires next. */
class ContinuousProcessingTimeTrigger implements RunningTrigger {
  readonly #intervalMs: number;
  readonly #depth: number;

  constructor(intervalMs: number, depth: number) {
    this.#intervalMs = intervalMs;
    this.#depth = depth;
  }

  onElement(_value: unknown, _timestamp: number, pane: Pane, timers: PaneTimers): number {
    if (slot(pane, this.#depth) === undefined) {
      this.#next(Math.floor(timers.now() / this.#intervalMs) * this.#intervalMs, pane, timers);
    }
    return CONTINUE;
  }

  onEventTime(): number {
    return CONTINUE;
  }

  onProcessingTime(time: number, pane: Pane, timers: PaneTimers): number {
    if (slot(pane, this.#depth) !== time) return CONTINUE;
    this.#next(time, pane, timers);
    return FIRE;
  }

  onMerge(pane: Pane, parts: readonly Pane[], timers: PaneTimers): void {
    const next = earliest(parts, this.#depth);
    if (next === undefined) return;
    setSlot(pane, this.#depth, next);
    timers.addProcessingTimer(pane, next);
  }

  clear(pane: Pane, timers: PaneTimers): void {
    const next = slot(pane, this.#depth) as number | undefined;
    if (next !== undefined) timers.removeProcessingTimer(pane, next);
    setSlot(pane, this.#depth, undefined);
  }

  #next(time: number, pane: Pane, timers: PaneTimers): void {
    // Not after the end of a window that goes by the wall clock; the end of one that goes by event time may be long past.
    const last = pane.end - 1 > time ? pane.end - 1 : Number.POSITIVE_INFINITY;
    const next = Math.min(time + this.#intervalMs, last);
    setSlot(pane, this.#depth, next);
    timers.addProcessingTimer(pane, next);
  }
}

function earliest(parts: readonly Pane[], depth: number): number | undefined {
  const times = parts.map((part) => slot(part, depth) as number | undefined).filter((time) => time !== undefined);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Its slot: a list with the record that it measures from. */
class DeltaTrigger implements RunningTrigger {
  readonly #threshold: number;
  readonly #distance: (before: unknown, now: unknown) => number;
  readonly #depth: number;

  constructor(threshold: number, distance: (before: unknown, now: unknown) => number, depth: number) {
    this.#threshold = threshold;
    this.#distance = distance;
    this.#depth = depth;
  }

  onElement(value: unknown, _timestamp: number, pane: Pane): number {
    const before = slot(pane, this.#depth) as readonly [unknown] | undefined;
    if (before !== undefined && !(this.#distance(before[0], value) > this.#threshold)) return CONTINUE;
    setSlot(pane, this.#depth, [value]);
    return before === undefined ? CONTINUE : FIRE;
  }

  onEventTime(): number {
    return CONTINUE;
  }

  onProcessingTime(): number {
    return CONTINUE;
  }

  onMerge(): void {
    throw new InvariantError("A delta trigger was asked to merge.");
  }

  clear(pane: Pane): void {
    setSlot(pane, this.#depth, undefined);
  }
}

class PurgingTrigger implements RunningTrigger {
  readonly #of: RunningTrigger;

  constructor(of: RunningTrigger) {
    this.#of = of;
  }

  onElement(value: unknown, timestamp: number, pane: Pane, timers: PaneTimers): number {
    return purged(this.#of.onElement(value, timestamp, pane, timers));
  }

  onEventTime(time: number, pane: Pane, timers: PaneTimers): number {
    return purged(this.#of.onEventTime(time, pane, timers));
  }

  onProcessingTime(time: number, pane: Pane, timers: PaneTimers): number {
    return purged(this.#of.onProcessingTime(time, pane, timers));
  }

  onMerge(pane: Pane, parts: readonly Pane[], timers: PaneTimers): void {
    this.#of.onMerge(pane, parts, timers);
  }

  clear(pane: Pane, timers: PaneTimers): void {
    this.#of.clear(pane, timers);
  }
}

const purged = (result: number): number => ((result & FIRE) === 0 ? result : FIRE | PURGE);

/** Its slot: when time is out. */
class TimeoutTrigger implements RunningTrigger {
  readonly #of: RunningTrigger;
  readonly #timeoutMs: number;
  readonly #restart: boolean;
  readonly #clear: boolean;
  readonly #depth: number;

  constructor(of: RunningTrigger, settings: { timeoutMs: number; restart: boolean; clear: boolean }, depth: number) {
    this.#of = of;
    this.#timeoutMs = settings.timeoutMs;
    this.#restart = settings.restart;
    this.#clear = settings.clear;
    this.#depth = depth;
  }

  onElement(value: unknown, timestamp: number, pane: Pane, timers: PaneTimers): number {
    const result = this.#of.onElement(value, timestamp, pane, timers);
    if ((result & PURGE) !== 0) {
      this.clear(pane, timers);
      return result;
    }
    let out = slot(pane, this.#depth) as number | undefined;
    if (out !== undefined && this.#restart) {
      timers.removeProcessingTimer(pane, out);
      out = undefined;
    }
    if (out === undefined) {
      out = timers.now() + this.#timeoutMs;
      setSlot(pane, this.#depth, out);
      timers.addProcessingTimer(pane, out);
    }
    return result;
  }

  onEventTime(time: number, pane: Pane, timers: PaneTimers): number {
    const result = this.#of.onEventTime(time, pane, timers);
    if ((result & PURGE) !== 0) this.clear(pane, timers);
    return result;
  }

  onProcessingTime(time: number, pane: Pane, timers: PaneTimers): number {
    const result = this.#of.onProcessingTime(time, pane, timers);
    if (slot(pane, this.#depth) !== time) return result;
    setSlot(pane, this.#depth, undefined);
    if (this.#clear) this.#of.clear(pane, timers);
    return result | FIRE;
  }

  onMerge(pane: Pane, parts: readonly Pane[], timers: PaneTimers): void {
    this.#of.onMerge(pane, parts, timers);
    const out = earliest(parts, this.#depth);
    if (out === undefined) return;
    setSlot(pane, this.#depth, out);
    timers.addProcessingTimer(pane, out);
  }

  clear(pane: Pane, timers: PaneTimers): void {
    const out = slot(pane, this.#depth) as number | undefined;
    if (out !== undefined) timers.removeProcessingTimer(pane, out);
    setSlot(pane, this.#depth, undefined);
    this.#of.clear(pane, timers);
  }
}

class NeverTrigger implements RunningTrigger {
  onElement(_value: unknown, _timestamp: number, _pane: Pane, _timers: PaneTimers): number {
    return CONTINUE;
  }

  onEventTime(_time: number, _pane: Pane, _timers: PaneTimers): number {
    return CONTINUE;
  }

  onProcessingTime(): number {
    return CONTINUE;
  }

  onMerge(_pane: Pane, _parts: readonly Pane[], _timers: PaneTimers): void {
    // It remembers nothing.
  }

  clear(_pane: Pane, _timers: PaneTimers): void {
    // It has no timers.
  }
}

/** A timer at the last watermark. */
class EndOfStreamTrigger extends NeverTrigger {
  override onElement(_value: unknown, _timestamp: number, pane: Pane, timers: PaneTimers): number {
    timers.addEventTimer(pane, Number.POSITIVE_INFINITY);
    return CONTINUE;
  }

  override onEventTime(time: number): number {
    return time === Number.POSITIVE_INFINITY ? FIRE : CONTINUE;
  }

  override onMerge(pane: Pane, _parts: readonly Pane[], timers: PaneTimers): void {
    timers.addEventTimer(pane, Number.POSITIVE_INFINITY);
  }

  override clear(pane: Pane, timers: PaneTimers): void {
    timers.removeEventTimer(pane, Number.POSITIVE_INFINITY);
  }
}

const results: Readonly<Record<TriggerResult, number>> = {
  continue: CONTINUE, fire: FIRE, purge: PURGE, "fire-and-purge": FIRE | PURGE,
};

/** Its slot: the user's states by name. */
class UserTrigger implements RunningTrigger {
  readonly #trigger: CustomTrigger<unknown>;
  readonly #depth: number;
  readonly #context: UserTriggerContext;

  constructor(trigger: CustomTrigger<never>, depth: number) {
    this.#trigger = trigger as CustomTrigger<unknown>;
    this.#depth = depth;
    this.#context = new UserTriggerContext(depth);
  }

  onElement(value: unknown, timestamp: number, pane: Pane, timers: PaneTimers): number {
    return resultOf(this.#trigger.onElement(value, timestamp, windowOf(pane), this.#context.at(pane, timers)), "onElement");
  }

  onEventTime(time: number, pane: Pane, timers: PaneTimers): number {
    if (this.#trigger.onEventTime === undefined) return CONTINUE;
    return resultOf(this.#trigger.onEventTime(time, windowOf(pane), this.#context.at(pane, timers)), "onEventTime");
  }

  onProcessingTime(time: number, pane: Pane, timers: PaneTimers): number {
    if (this.#trigger.onProcessingTime === undefined) return CONTINUE;
    return resultOf(this.#trigger.onProcessingTime(time, windowOf(pane), this.#context.at(pane, timers)), "onProcessingTime");
  }

  onMerge(pane: Pane, parts: readonly Pane[], timers: PaneTimers): void {
    setSlot(pane, this.#depth, mergePaneStates(parts.map((part) => slot(part, this.#depth) as PaneStates | undefined)));
    this.#trigger.onMerge?.(windowOf(pane), this.#context.at(pane, timers));
  }

  clear(pane: Pane, timers: PaneTimers): void {
    this.#trigger.clear?.(windowOf(pane), this.#context.at(pane, timers));
    setSlot(pane, this.#depth, undefined);
  }
}

class UserTriggerContext implements TriggerContext {
  readonly #depth: number;
  #pane!: Pane;
  #timers!: PaneTimers;

  constructor(depth: number) {
    this.#depth = depth;
  }

  at(pane: Pane, timers: PaneTimers): this {
    this.#pane = pane;
    this.#timers = timers;
    return this;
  }

  currentWatermark(): number {
    return this.#timers.watermark;
  }

  currentProcessingTime(): number {
    return this.#timers.now();
  }

  registerEventTimeTimer(time: number): void {
    this.#timers.addEventTimer(this.#pane, checkedTime(time));
  }

  registerProcessingTimeTimer(time: number): void {
    this.#timers.addProcessingTimer(this.#pane, checkedTime(time));
  }

  deleteEventTimeTimer(time: number): void {
    this.#timers.removeEventTimer(this.#pane, time);
  }

  deleteProcessingTimeTimer(time: number): void {
    this.#timers.removeProcessingTimer(this.#pane, time);
  }

  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor> {
    const pane = this.#pane;
    return paneState(
      () => slot(pane, this.#depth) as PaneStates | undefined,
      (states) => setSlot(pane, this.#depth, states),
      descriptor,
    );
  }
}

function resultOf(result: TriggerResult, where: string): number {
  const bits = results[result];
  if (bits !== undefined) return bits;
  throw new RecordError(`A trigger's ${where}() returned ${describe(result)}; it returns "continue", "fire", "purge" or "fire-and-purge".`);
}

function checkedTime(time: number): number {
  if (typeof time === "number" && !Number.isNaN(time)) return time;
  throw new RecordError(`A trigger set a timer for the time ${describe(time)}; give milliseconds since 1970.`);
}

function positive(value: Duration, what: string): number {
  const ms = durationMs(value, what);
  if (ms > 0) return ms;
  throw new GraphError(`${what} is ${describe(value)}; give a duration > 0, e.g. seconds(10).`);
}
