/**
 * What a window function can reach while it runs, and where its results go: the current key's state, the state of the window at hand, and
 * the operator's outputs. The operator makes a key current and sets the window before each call.
 */
import type { KeyedBackend } from "../state/backend.ts";
import type { StateDescriptor, StateOf } from "../state/descriptors.ts";
import type { TimeWindow } from "../time/window.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { EvictorContext } from "./evictor.ts";
import type { Collector, SideOutput } from "./function.ts";
import type { OperatorContext } from "./operator.ts";
import { ownLists } from "./function-context.ts";
import { paneState } from "./pane-state.ts";
import { type Pane, newPane } from "./pane.ts";
import type { AnyWindowFunction, ProcessWindowContext } from "./window-function.ts";

/** What the window function of one operator gets: one object, for one window after the other. */
export class WindowFunctionContext implements ProcessWindowContext, EvictorContext, Collector<unknown> {
  readonly #keyed: KeyedBackend;
  readonly #watermark: () => number;
  readonly #operator: OperatorContext;
  readonly #merging: boolean;
  #pane!: Pane;
  #timestamp = Number.NaN;
  window: TimeWindow = { start: Number.NaN, end: Number.NaN };

  /** @param merging windows may merge, so that they have no state of their own. */
  constructor(operator: OperatorContext, watermark: () => number, merging: boolean) {
    this.#keyed = operator.states.keyed;
    this.#watermark = watermark;
    this.#operator = operator;
    this.#merging = merging;
  }

  /** The window at hand, of the current key. */
  at(pane: Pane, window: TimeWindow, timestamp: number): this {
    this.#pane = pane;
    this.window = window;
    this.#timestamp = timestamp;
    return this;
  }

  get key(): unknown {
    return this.#keyed.currentKey;
  }

  currentWatermark(): number {
    return this.#watermark();
  }

  currentProcessingTime(): number {
    return this.#operator.now();
  }

  windowState<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor> {
    if (this.#merging) {
      throw new GraphError(
        `"${this.#operator.operatorName}" keeps the state ${describe(descriptor.name)} per window, but its windows merge; use globalState().`,
      );
    }
    const pane = this.#pane;
    return paneState(() => pane.states, (states) => void (pane.states = states), descriptor);
  }

  globalState<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor> {
    return this.#keyed.state(descriptor);
  }

  output<T>(tag: SideOutput<T>, value: T): void {
    this.#operator.emitSide(tag.id, value, this.#timestamp);
  }

  collect(value: unknown): void {
    this.#operator.emit(value, this.#timestamp);
  }
}

/** Opens a window function, if it wants that. */
export function openWindowFunction(windowFunction: AnyWindowFunction, operator: OperatorContext): void | Promise<void> {
  const { jobName, taskName, subtask, parallelism, attempt, metrics, states } = operator;
  return windowFunction.open?.({
    jobName, taskName, subtask, parallelism, attempt, metrics, ...ownLists(operator), state: (descriptor) => states.keyed.state(descriptor),
  });
}

/** The window function of an operator whose windows fire once, each with one result. */
export class LastCall {
  readonly #function: AnyWindowFunction;
  readonly #operator: OperatorContext;
  readonly #context: WindowFunctionContext;

  /** @param merging windows may merge. */
  constructor(windowFunction: AnyWindowFunction, operator: OperatorContext, watermark: () => number, merging: boolean) {
    this.#function = windowFunction;
    this.#operator = operator;
    this.#context = new WindowFunctionContext(operator, watermark, merging);
  }

  open(): void | Promise<void> {
    return openWindowFunction(this.#function, this.#operator);
  }

  /** A window of a key has come to its end with a result. */
  fire(key: unknown, window: TimeWindow, result: unknown): void {
    this.#operator.states.keyed.setCurrentKey(key);
    const context: ProcessWindowContext = this.#context.at(newPane(window.start, window.end), window, window.end - 1);
    this.#function.process([result], context as ProcessWindowContext<never>, this.#context);
    this.#function.clear?.(context as ProcessWindowContext<never>);
  }

  close(): void | Promise<void> {
    return this.#function.close?.();
  }
}
