/**
 * The windows that were open when a snapshot was taken, whatever operator kept them and however it laid them out: as slices of time that
 * overlapping windows share (window.ts), as sessions (session-window.ts), or as panes (triggered-window.ts). For whoever reads a savepoint;
 * the operators themselves take their state as it is.
 *
 * A window is given out as it would fire if time ended now: with all the records that it had seen. What has fired already and lives on for
 * late records is given too.
 */
import { type KeyToken, keyOfToken } from "../data/keys.ts";
import { valueState } from "../state/descriptors.ts";
import type { SubtaskStates } from "../state/operator-states.ts";
import { type AlignedWindows, type TimeWindow, sliceLength } from "../time/window.ts";
import { StateError, describe } from "../types/errors.ts";
import type { AggregateFunction } from "./aggregates.ts";
import { type Pane, windowOf } from "./pane.ts";
import { type AggregateFunctions, type WindowProgress, aggregateFunctions } from "./window.ts";

/** An open window of a key. Plain data. */
export interface StoredWindow {
  readonly key: unknown;
  readonly window: TimeWindow;
  /** The aggregate's result, or its accumulator if no aggregate is given; undefined for windows that keep their records. */
  readonly value: unknown;
  /** The records, of windows that keep them. */
  readonly rows: readonly unknown[];
}

/** Names of the state in which window operators keep what is in their windows, all of it by key. */
export const WINDOW_STATES: ReadonlySet<string> = new Set(["window slices", "window sessions", "window panes"]);
/** Name of the list in which they keep how far they have come. */
export const WINDOW_PROGRESS = "windows";

/**
 * The windows in some states.
 * @param state which of `WINDOW_STATES` there is. @param progress of all subtasks.
 * @param aggregate as the job has it; undefined: accumulators are given as they are.
 * @throws StateError when windows share their parts, and there is no aggregate that puts them together.
 */
export function* storedWindows(
  operator: string, states: SubtaskStates, state: string, progress: readonly WindowProgress[],
  aggregate: AggregateFunction<never, unknown, unknown> | undefined,
): Generator<StoredWindow, void> {
  const functions = aggregate === undefined ? undefined : aggregateFunctions(aggregate);
  const result = (accumulator: unknown): unknown => (functions === undefined ? accumulator : functions.getResult(accumulator));
  const plain = { store: (value: unknown): unknown => value, load: (value: unknown): unknown => value };
  if (state === "window sessions") {
    for (const [, sessions] of states.tables<unknown>(state, plain).entries()) {
      for (const token of sessions.tokens()) {
        for (const { start, end, accumulator } of sessions.get(token) as readonly (TimeWindow & { readonly accumulator: unknown })[]) {
          yield { key: keyOfToken(token), window: { start, end }, value: result(accumulator), rows: [] };
        }
      }
    }
  } else if (state === "window panes") {
    const descriptor = valueState<readonly Pane[]>(state);
    states.keyed.state(descriptor);
    for (const key of states.keyed.keys(state)) {
      for (const pane of states.keyed.query(state, key) as readonly Pane[]) {
        if (!pane.filled) continue;
        const value = pane.accumulator === undefined ? undefined : result(pane.accumulator);
        yield { key, window: windowOf(pane), value, rows: pane.rows ?? [] };
      }
    }
  } else {
    const described = progress[0]?.window as AlignedWindows | undefined;
    if (described === undefined) return;
    const watermark = Math.min(...progress.map((it) => it.watermark));
    const slices = [...states.tables<unknown>(state, plain).entries()].toSorted(([a], [b]) => a - b);
    for (const [end, accumulators] of windowsOf(operator, described, watermark, slices, functions)) {
      const window = { start: end - described.sizeMs, end };
      for (const [token, accumulator] of accumulators) yield { key: keyOfToken(token), window, value: result(accumulator), rows: [] };
    }
  }
}

type Slice = readonly [number, { tokens(): Iterable<KeyToken>; get(token: KeyToken): unknown }];

/** Accumulators by key, by the end of their window, of windows that a watermark leaves open. */
function windowsOf(
  operator: string, windows: AlignedWindows, watermark: number, slices: readonly Slice[], functions: AggregateFunctions | undefined,
): Map<number, Map<KeyToken, unknown>> {
  const { sizeMs, slideMs, offsetMs } = windows;
  const sliceMs = sliceLength(windows);
  const merge = functions?.merge;
  if (sliceMs < sizeMs && (functions === undefined || merge === undefined)) {
    throw new StateError(
      `The windows of ${describe(operator)} overlap, and share their parts; give windows() the aggregate that the job has, with merge(a, b), ` +
        "so that it can put them together.",
    );
  }
  const open = new Map<number, Map<KeyToken, unknown>>();
  for (const [sliceEnd, cells] of slices) {
    const first = Math.ceil((sliceEnd - offsetMs - sizeMs) / slideMs) * slideMs + offsetMs + sizeMs;
    for (let end = first; end - sizeMs <= sliceEnd - sliceMs; end += slideMs) {
      if (end - 1 <= watermark) continue;
      const window = open.get(end) ?? new Map<KeyToken, unknown>();
      open.set(end, window);
      for (const token of cells.tokens()) {
        const accumulator = cells.get(token);
        // A merge may change its first argument, and the slice belongs to other windows too.
        const before = window.has(token) ? window.get(token) : functions?.createAccumulator();
        window.set(token, sliceMs === sizeMs || merge === undefined ? accumulator : merge(before, accumulator));
      }
    }
  }
  return open;
}
