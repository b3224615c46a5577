/**
 * Keyed event-time windows with incremental aggregation (Flink: WindowOperator with an AggregateFunction), for windows that begin at
 * regular times.
 *
 * Time is cut into slices, the longest stretches that all windows are made of; a tumbling window is one slice. State is one table from key
 * token to accumulator per slice (measured: 15 M events per CPU-second on 10,000 keys; a Map per key with a timer per window, as
 * Flink lays it out, 1.5 M), and overlapping windows share their slices (7.8 M against 0.8 M with an accumulator per window). All keys of
 * a window fire together, so windows need no timers.
 *
 * Invariants: a window fires once, when the watermark reaches its end − 1, with timestamp end − 1, in order of the ends; a slice lives
 * until its last window has fired; a record of a slice that is gone is late: it is counted and dropped, or goes to the late output. So that
 * this holds after a restore too, the watermark is part of the state: it says which of a slice's windows have fired.
 */
import { KeyTable } from "../state/key-table.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { TableSet } from "../state/table-set.ts";
import { flattenStrings } from "../data/text.ts";
import { isPrimitiveKey, keyOfToken, type KeyToken, keyToken } from "../data/keys.ts";
import { MIN_WATERMARK } from "../data/element.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import { type AlignedWindows, type SessionWindows, type TimeWindow, sliceLength, stretchEnd } from "../time/window.ts";
import { RecordError, StateError, describe } from "../types/errors.ts";
import type { AggregateFunction } from "./aggregates.ts";
import { type ChainCode, type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";
import { SessionOperator } from "./session-window.ts";
import type { AnyWindowFunction } from "./window-function.ts";
import { LastCall } from "./window-function-context.ts";

/** What a window function learns about its window. */
export interface WindowContext<Key = unknown> {
  readonly key: Key;
  readonly window: TimeWindow;
}

export interface WindowSpec extends OperatorSpec {
  readonly kind: "window";
  readonly key: KeySelector;
  readonly window: AlignedWindows | SessionWindows;
  readonly aggregate: AggregateFunction<never, unknown, unknown>;
  /** Makes the result that leaves out of the aggregate's; absent: the aggregate's result leaves. */
  readonly finish?: (result: never, context: WindowContext<never>) => unknown;
  /** Instead of `finish`: gets the aggregate's result. */
  readonly function?: AnyWindowFunction;
  /** Side output of late records; absent: they are dropped. */
  readonly lateOutput?: string;
}

export const windowOperator: OperatorKind<WindowSpec> = {
  kind: "window",
  inputs: 1,
  fields: (spec, { of }) => (spec.lateOutput === undefined ? eitherUse(of(spec.key, 0), of(spec.aggregate.add, 0)) : "all"),
  create: (spec, context) =>
    spec.window.kind === "session" ? new SessionOperator(spec, spec.window, context) : new WindowOperator(spec, spec.window, context),
};

/** An accumulator in place, so that changing it costs no second look-up. */
class Cell {
  accumulator: unknown;

  constructor(accumulator: unknown) {
    this.accumulator = accumulator;
  }
}

interface Slice {
  readonly end: number;
  readonly cells: KeyTable<Cell>;
  /** Keys whose token is not the key itself; those that were restored are made of their tokens. */
  readonly keys: Map<KeyToken, unknown>;
}

/** Slices: aligned windows; sessions; panes: windows with triggers, evictors or lateness, and those that keep their records. */
export type WindowLayout = "slices" | "sessions" | "panes";

/** How far an operator's windows have come, and which windows they are. */
export interface WindowProgress {
  readonly window: unknown;
  /** How the operator lays its windows out: an operator of another kind can't read them. */
  readonly layout: WindowLayout;
  readonly watermark: number;
}

/**
 * The watermark up to which restored windows have fired; the lowest one without any.
 * @throws StateError when they were other windows than now, or laid out in another way.
 */
export function restoredWatermark(
  progress: OperatorList<WindowProgress>, window: unknown, layout: WindowLayout, context: OperatorContext,
): number {
  let watermark = Number.POSITIVE_INFINITY;
  for (const it of progress.get()) {
    watermark = Math.min(watermark, it.watermark);
    if (JSON.stringify(it.window) !== JSON.stringify(window)) {
      throw new StateError(
        `"${context.operatorName}" has windows ${JSON.stringify(window)}, but what was restored for it are windows ${JSON.stringify(it.window)}. ` +
          "Leave them as they were, or give the operator another uid, so that it begins anew.",
      );
    }
    if (it.layout !== layout) {
      throw new StateError(
        `"${context.operatorName}" keeps its windows as ${layout}, but what was restored for it are ${it.layout}: a trigger, an evictor, ` +
          "allowed lateness, or whether records are kept or aggregated, has changed. Leave it as it was, or give the operator another uid.",
      );
    }
  }
  return progress.get().length === 0 ? MIN_WATERMARK : watermark;
}

class WindowOperator implements Operator {
  readonly #spec: WindowSpec;
  readonly #windows: AlignedWindows;
  readonly #sliceMs: number;
  readonly #context: OperatorContext;
  /** The cells of all slices, by the slice's end. */
  readonly #tables: TableSet<Cell>;
  readonly #slices = new Map<number, Slice>();
  readonly #progress: OperatorList<WindowProgress>;
  readonly #functions: AggregateFunctions;
  readonly #last: LastCall | undefined;
  /** Accumulators are objects that a function may change. */
  readonly #changing: boolean;
  /** End of the next window that can fire; Infinity without slices. */
  #nextEnd = Number.POSITIVE_INFINITY;
  #watermark: number;
  /** The slice of the last record, read by the generated code: records with start ≤ time < end belong to it. */
  start = Number.POSITIVE_INFINITY;
  end = Number.NEGATIVE_INFINITY;
  slice: Slice | undefined;

  constructor(spec: WindowSpec, windows: AlignedWindows, context: OperatorContext) {
    this.#spec = spec;
    this.#windows = windows;
    this.#sliceMs = sliceLength(windows);
    this.#context = context;
    this.#functions = aggregateFunctions(spec.aggregate);
    if (this.#sliceMs < windows.sizeMs && spec.aggregate.merge === undefined) {
      throw new RecordError(
        `The aggregate of "${context.operatorName}" has no merge(a, b), which overlapping windows need to share their parts.`,
      );
    }
    this.#changing = typeof this.#functions.createAccumulator() === "object";
    this.#progress = context.states.list("windows", "union");
    this.#watermark = restoredWatermark(this.#progress, windows, "slices", context);
    this.#last = spec.function === undefined ? undefined : new LastCall(spec.function, context, () => this.#watermark, false);
    this.#tables = context.states.tables("window slices", {
      store: (cell) => cell.accumulator,
      load: (accumulator) => new Cell(accumulator),
    });
    for (const [end, cells] of this.#tables.entries()) this.#slices.set(end, { end, cells, keys: new Map() });
    this.#nextEnd = this.#nextEndAfter(this.#watermark);
  }

  open(): void | Promise<void> {
    return this.#last?.open();
  }

  close(): void | Promise<void> {
    return this.#last?.close();
  }

  prepareSnapshot(): void {
    this.#progress.update([{ window: this.#windows, layout: "slices", watermark: this.#watermark }]);
  }

  inline(code: ChainCode, value: string, timestamp: string): string {
    const op = code.constant("window", this);
    const [key, token, cell] = [code.name("key"), code.name("token"), code.name("cell")];
    const add = code.constant("add", this.#functions.add);
    const create = code.constant("createAccumulator", this.#functions.createAccumulator);
    return `if (!(${timestamp} >= ${op}.start && ${timestamp} < ${op}.end)) ${op}.select(${timestamp}, ${value});
if (${op}.slice !== undefined) {
const ${key} = ${code.constant("keyOf", this.#spec.key)}(${value});
const ${token} = typeof ${key} === "number" ? ${key} + 0 : ${code.constant("keyToken", keyToken)}(${key});
const ${cell} = ${op}.slice.cells.get(${token});
if (${cell} === undefined) ${op}.first(${token}, ${key}, ${add}(${value}, ${create}()));
else ${cell}.accumulator = ${add}(${value}, ${cell}.accumulator);
}`;
  }

  /** Makes the slice of a time the present one; none when the record is late. */
  select(timestamp: number, value: unknown): void {
    requireTimestamp(timestamp, value, this.#context);
    const end = stretchEnd(timestamp, this.#sliceMs, this.#windows.offsetMs);
    if (this.#lastWindowEnd(end) - 1 <= this.#watermark) {
      this.#deselect();
      late(this.#spec, this.#context, value, timestamp);
      return;
    }
    let slice = this.#slices.get(end);
    if (slice === undefined) {
      slice = { end, cells: this.#tables.table(end), keys: new Map() };
      this.#slices.set(end, slice);
      this.#nextEnd = Math.min(this.#nextEnd, Math.max(this.#firstWindowEnd(end), this.#endAfter(this.#watermark)));
    }
    this.slice = slice;
    this.start = end - this.#sliceMs;
    this.end = end;
  }

  /** The first record of a key in the present slice. */
  first(token: KeyToken, key: unknown, accumulator: unknown): void {
    const slice = this.slice as Slice;
    slice.cells.set(token, new Cell(accumulator));
    if (!isPrimitiveKey(key)) slice.keys.set(token, flattenStrings(key));
  }

  onWatermark(watermark: number): void {
    this.#watermark = watermark;
    if (this.#nextEnd - 1 > watermark) return;
    this.#deselect();
    const { sizeMs, slideMs } = this.#windows;
    const slices = [...this.#slices.values()].sort((a, b) => a.end - b.end);
    let first = 0;
    for (let end = this.#nextEnd; first < slices.length && end - 1 <= watermark; ) {
      while (first < slices.length && (slices[first] as Slice).end <= end - sizeMs) first++;
      const inside: Slice[] = [];
      for (let at = first; at < slices.length && (slices[at] as Slice).end <= end; at++) inside.push(slices[at] as Slice);
      if (inside.length > 0) this.#fire(end, inside);
      end += slideMs;
      // Nothing between here and the next slice: go on with the first window that has it.
      if (first < slices.length && (slices[first] as Slice).end > end) end = this.#firstWindowEnd((slices[first] as Slice).end);
    }
    for (const { end } of slices) {
      if (this.#lastWindowEnd(end) - 1 > watermark) continue;
      this.#slices.delete(end);
      this.#tables.drop(end);
    }
    this.#nextEnd = this.#nextEndAfter(watermark);
  }

  /** The end of the earliest window with records that a watermark leaves open. */
  #nextEndAfter(watermark: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const end of this.#slices.keys()) next = Math.min(next, Math.max(this.#firstWindowEnd(end), this.#endAfter(watermark)));
    return next;
  }

  /** The end of the earliest window that has the slice. */
  #firstWindowEnd(sliceEnd: number): number {
    const { slideMs, sizeMs, offsetMs } = this.#windows;
    // Window ends are size more than multiples of the slide.
    return Math.ceil((sliceEnd - offsetMs - sizeMs) / slideMs) * slideMs + offsetMs + sizeMs;
  }

  #lastWindowEnd(sliceEnd: number): number {
    const { slideMs, sizeMs, offsetMs } = this.#windows;
    return Math.floor((sliceEnd - this.#sliceMs - offsetMs) / slideMs) * slideMs + offsetMs + sizeMs;
  }

  /** The end of the earliest window that a watermark leaves open. */
  #endAfter(watermark: number): number {
    const { slideMs, sizeMs, offsetMs } = this.#windows;
    if (watermark === MIN_WATERMARK) return watermark;
    return (Math.floor((watermark + 1 - offsetMs - sizeMs) / slideMs) + 1) * slideMs + offsetMs + sizeMs;
  }

  #deselect(): void {
    this.slice = undefined;
    this.start = Number.POSITIVE_INFINITY;
    this.end = Number.NEGATIVE_INFINITY;
  }

  #fire(end: number, slices: readonly Slice[]): void {
    const [single] = slices;
    const window: TimeWindow = { start: end - this.#windows.sizeMs, end };
    if (slices.length === 1 && single !== undefined) {
      const emit = (cell: Cell, token: KeyToken): void => {
        this.#emit(single.keys.get(token) ?? keyOfToken(token), cell.accumulator, window);
      };
      // Results may be made of the accumulator itself, and be changed by whoever gets them.
      if (this.#changing) single.cells.forEachChanging(emit);
      else single.cells.forEach(emit);
      return;
    }
    const { createAccumulator } = this.#functions;
    const merge = this.#functions.merge as (a: unknown, b: unknown) => unknown;
    const merged = new KeyTable<Cell>();
    for (const { cells } of slices) {
      cells.forEach(({ accumulator }, token) => {
        const cell = merged.get(token);
        if (cell !== undefined) cell.accumulator = merge(cell.accumulator, accumulator);
        // A merge may change its first argument, and the slice belongs to other windows too.
        else merged.set(token, new Cell(typeof accumulator === "object" ? merge(createAccumulator(), accumulator) : accumulator));
      });
    }
    const keyOf = (token: KeyToken): unknown => slices.find(({ keys }) => keys.has(token))?.keys.get(token) ?? keyOfToken(token);
    const structured = slices.some(({ keys }) => keys.size > 0);
    merged.forEach((cell, token) => this.#emit(structured ? keyOf(token) : keyOfToken(token), cell.accumulator, window));
  }

  #emit(key: unknown, accumulator: unknown, window: TimeWindow): void {
    const finish = this.#spec.finish as ((result: unknown, context: WindowContext) => unknown) | undefined;
    const result = this.#functions.getResult(accumulator);
    if (this.#last !== undefined) this.#last.fire(key, window, result);
    else this.#context.emit(finish === undefined ? result : finish(result, { key, window }), window.end - 1);
  }
}

/** @throws RecordError for a record without event time. */
export function requireTimestamp(timestamp: number, value: unknown, context: OperatorContext): void {
  if (!Number.isNaN(timestamp)) return;
  throw new RecordError(
    `"${context.operatorName}" got a record without a timestamp: ${describe(value)}; write withTimestamps(…) before the window.`,
  );
}

/** What happens to a late record. */
export function late(spec: WindowSpec, context: OperatorContext, value: unknown, timestamp: number): void {
  if (spec.lateOutput === undefined) context.count("numLateRecordsDropped");
  else context.emitSide(spec.lateOutput, value, timestamp);
}

/** An aggregate's methods as functions that can be called on their own. */
export interface AggregateFunctions {
  readonly createAccumulator: () => unknown;
  readonly add: (value: unknown, accumulator: unknown) => unknown;
  readonly getResult: (accumulator: unknown) => unknown;
  readonly merge: ((a: unknown, b: unknown) => unknown) | undefined;
}

/** Aggregates are mostly object literals, whose functions need no `this`; instances of classes are bound. */
export function aggregateFunctions(aggregate: AggregateFunction<never, unknown, unknown>): AggregateFunctions {
  const own = <F>(method: F): F => {
    const free = Object.getPrototypeOf(aggregate) === Object.prototype && !/\bthis\b/.test(Function.prototype.toString.call(method));
    return free ? method : ((method as (...args: unknown[]) => unknown).bind(aggregate) as F);
  };
  return {
    createAccumulator: own(aggregate.createAccumulator),
    add: own(aggregate.add) as AggregateFunctions["add"],
    getResult: own(aggregate.getResult),
    merge: aggregate.merge === undefined ? undefined : own(aggregate.merge),
  };
}
