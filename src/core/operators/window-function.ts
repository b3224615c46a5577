/**
 * Functions of whole windows: they see all records of a window, or its aggregate, with the window, its key, and state (Flink:
 * ProcessWindowFunction).
 */
import type { StateDescriptor, StateOf } from "../state/descriptors.ts";
import type { Collector, RuntimeContext, SideOutput } from "./function.ts";
import type { WindowContext } from "./window.ts";

/** What a window function can reach. Valid during the call. */
export interface ProcessWindowContext<Key = unknown> extends WindowContext<Key> {
  /** No record with a timestamp up to this is expected any more; -Infinity before the first watermark. */
  currentWatermark(): number;
  /** Wall clock, milliseconds since the epoch. */
  currentProcessingTime(): number;
  /**
   * State of this key and this window, for windows that fire several times. Clear it in `clear()`, or leave it: it goes with the window.
   * @throws GraphError for windows that merge.
   */
  windowState<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
  /** State of this key over all its windows. It never goes by itself. */
  globalState<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
  /** Sends a record to a side output, with the timestamp of the window's results. */
  output<T>(tag: SideOutput<T>, value: T): void;
}

/**
 * A function of the records of a window, or of the one result of its aggregate. Results have the window's last moment as their timestamp.
 * An instance is copied to every subtask; its methods run on the subtask's thread.
 */
export abstract class ProcessWindowFunction<In, Out, Key = unknown> {
  open?(context: RuntimeContext): void | Promise<void>;
  /** @param elements in order of arrival; valid during the call, not to be changed. */
  abstract process(elements: readonly In[], context: ProcessWindowContext<Key>, out: Collector<Out>): void;
  /** The window is over. */
  clear?(context: ProcessWindowContext<Key>): void;
  close?(): void | Promise<void>;
}

/** Anything with the methods of a window function. */
export interface AnyWindowFunction {
  open?(context: RuntimeContext): void | Promise<void>;
  process(elements: readonly unknown[], context: ProcessWindowContext<never>, out: Collector<never>): void;
  clear?(context: ProcessWindowContext<never>): void;
  close?(): void | Promise<void>;
}
