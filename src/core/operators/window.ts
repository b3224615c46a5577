/**
 * Keyed event-time windows with incremental aggregation (Flink: WindowOperator with an AggregateFunction).
 *
 * State is one pane per window end, each a Map from key token to accumulator (measured: 15 M events per CPU-second on 10,000 keys;
 * a Map per key with a timer per window, as Flink lays it out, 1.5 M). All keys of a window fire together, so a pane needs no timers.
 *
 * Invariants: a pane lives until the watermark reaches its end − 1, then its results leave, each with timestamp end − 1; windows
 * fire in order of their ends; a record whose window has fired is late: it is counted and dropped, or goes to the late output.
 */
import { isPrimitiveKey, type KeyToken, keyToken } from "../data/keys.ts";
import { MIN_WATERMARK } from "../data/element.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import { type TimeWindow, type WindowDescription, windowEnd } from "../time/window.ts";
import { RecordError, describe } from "../types/errors.ts";
import type { AggregateFunction } from "./aggregates.ts";
import type { ChainCode, Operator, OperatorContext, OperatorKind } from "./operator.ts";

/** What a window function learns about its window. */
export interface WindowContext<Key = unknown> {
  readonly key: Key;
  readonly window: TimeWindow;
}

export interface WindowSpec extends OperatorSpec {
  readonly kind: "window";
  readonly key: KeySelector;
  readonly window: WindowDescription;
  readonly aggregate: AggregateFunction<never, unknown, unknown>;
  /** Makes the result that leaves out of the aggregate's; absent: the aggregate's result leaves. */
  readonly finish?: (result: never, context: WindowContext<never>) => unknown;
  /** Side output of late records; absent: they are dropped. */
  readonly lateOutput?: string;
}

export const windowOperator: OperatorKind<WindowSpec> = {
  kind: "window",
  inputs: 1,
  create: (spec, context) => new WindowOperator(spec, context),
};

/** An accumulator in place, so that changing it costs no second look-up. */
class Cell {
  accumulator: unknown;

  constructor(accumulator: unknown) {
    this.accumulator = accumulator;
  }
}

/** One open window. */
interface Pane {
  readonly end: number;
  readonly cells: Map<KeyToken, Cell>;
  /** Keys whose token is not the key itself. */
  readonly keys: Map<KeyToken, unknown>;
}

class WindowOperator implements Operator {
  readonly #spec: WindowSpec;
  readonly #context: OperatorContext;
  readonly #panes = new Map<number, Pane>();
  #earliestEnd = Number.POSITIVE_INFINITY;
  #watermark: number = MIN_WATERMARK;
  /** The pane of the last record, read by the generated code: records with start ≤ time < end belong to it. */
  start = Number.POSITIVE_INFINITY;
  end = Number.NEGATIVE_INFINITY;
  pane: Pane | undefined;

  constructor(spec: WindowSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
  }

  inline(code: ChainCode, value: string, timestamp: string): string {
    const { key, aggregate } = this.#spec;
    const op = code.constant("window", this);
    const [record, token, cell] = [code.name("key"), code.name("token"), code.name("cell")];
    const add = code.constant("add", bound(aggregate, "add"));
    const create = code.constant("createAccumulator", bound(aggregate, "createAccumulator"));
    return `if (!(${timestamp} >= ${op}.start && ${timestamp} < ${op}.end)) ${op}.select(${timestamp}, ${value});
if (${op}.pane !== undefined) {
const ${record} = ${code.constant("keyOf", key)}(${value});
const ${token} = typeof ${record} === "number" ? ${record} + 0 : ${code.constant("keyToken", keyToken)}(${record});
const ${cell} = ${op}.pane.cells.get(${token});
if (${cell} === undefined) ${op}.first(${token}, ${record}, ${add}(${value}, ${create}()));
else ${cell}.accumulator = ${add}(${value}, ${cell}.accumulator);
}`;
  }

  /** Makes the pane of a time the present one; none when the record is late. */
  select(timestamp: number, value: unknown): void {
    if (Number.isNaN(timestamp)) {
      throw new RecordError(`"${this.#context.operatorName}" got a record without a timestamp: ${describe(value)}; write withTimestamps(…) before the window.`);
    }
    const { sizeMs, offsetMs } = this.#spec.window;
    const end = windowEnd(timestamp, sizeMs, offsetMs);
    if (end - 1 <= this.#watermark) {
      this.#deselect();
      if (this.#spec.lateOutput === undefined) this.#context.count("numLateRecordsDropped");
      else this.#context.emitSide(this.#spec.lateOutput, value, timestamp);
      return;
    }
    let pane = this.#panes.get(end);
    if (pane === undefined) {
      pane = { end, cells: new Map(), keys: new Map() };
      this.#panes.set(end, pane);
      if (end < this.#earliestEnd) this.#earliestEnd = end;
    }
    this.pane = pane;
    this.start = end - sizeMs;
    this.end = end;
  }

  /** The first record of a key in the present pane. */
  first(token: KeyToken, key: unknown, accumulator: unknown): void {
    const pane = this.pane as Pane;
    pane.cells.set(token, new Cell(accumulator));
    if (!isPrimitiveKey(key)) pane.keys.set(token, key);
  }

  onWatermark(watermark: number): void {
    this.#watermark = watermark;
    if (this.#earliestEnd - 1 > watermark) return;
    this.#deselect();
    const complete = [...this.#panes.values()].filter((pane) => pane.end - 1 <= watermark).sort((a, b) => a.end - b.end);
    for (const pane of complete) {
      this.#panes.delete(pane.end);
      this.#fire(pane);
    }
    this.#earliestEnd = Math.min(Number.POSITIVE_INFINITY, ...this.#panes.keys());
  }

  #deselect(): void {
    this.pane = undefined;
    this.start = Number.POSITIVE_INFINITY;
    this.end = Number.NEGATIVE_INFINITY;
  }

  #fire(pane: Pane): void {
    const { aggregate, window } = this.#spec;
    const getResult = bound(aggregate, "getResult");
    const finish = this.#spec.finish as ((result: unknown, context: WindowContext) => unknown) | undefined;
    const timestamp = pane.end - 1;
    const bounds: TimeWindow = { start: pane.end - window.sizeMs, end: pane.end };
    for (const [token, cell] of pane.cells) {
      const result = getResult(cell.accumulator);
      this.#context.emit(finish === undefined ? result : finish(result, { key: pane.keys.get(token) ?? token, window: bounds }), timestamp);
    }
  }
}

/** A method as a function; aggregates are often object literals, whose functions need no `this`, but may be instances of classes. */
function bound<Name extends "add" | "createAccumulator" | "getResult">(
  aggregate: AggregateFunction<never, unknown, unknown>, name: Name,
): (...args: unknown[]) => unknown {
  const method = aggregate[name] as (...args: unknown[]) => unknown;
  return Object.getPrototypeOf(aggregate) === Object.prototype && !/\bthis\b/.test(Function.prototype.toString.call(method)) ? method : method.bind(aggregate);
}
