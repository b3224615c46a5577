/**
 * Runs process functions: of single records, keyed, and of two connected inputs. One operator for all of them, since they differ only
 * in whether there is a key and a second input.
 */
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { TimerQueue } from "../state/timers.ts";
import type { CheckpointedFunction, Collector, RuntimeContext, TimerContext } from "./function.ts";
import { FunctionContext, TimestampedCollector, checkpointHooks } from "./function-context.ts";
import { type FieldQuestion, type FieldUse, type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";

/** Anything with the methods of a process function. */
export interface AnyProcessFunction extends CheckpointedFunction {
  open?(context: RuntimeContext): void | Promise<void>;
  processElement?(value: unknown, context: TimerContext, out: Collector<unknown>): void;
  processElement1?(value: unknown, context: TimerContext, out: Collector<unknown>): void;
  processElement2?(value: unknown, context: TimerContext, out: Collector<unknown>): void;
  onTimer?(timestamp: number, context: TimerContext, out: Collector<unknown>): void;
  close?(): void | Promise<void>;
}

export interface ProcessSpec extends OperatorSpec {
  readonly kind: "process" | "coProcess";
  readonly function: AnyProcessFunction;
  /** Key of the first and of the second input; absent: not keyed. */
  readonly key?: KeySelector;
  readonly key2?: KeySelector;
}

const create = (spec: ProcessSpec, context: OperatorContext): Operator => new ProcessOperator(spec, context);
const fields = ({ function: it, key, key2 }: ProcessSpec, { input, of }: FieldQuestion): FieldUse => {
  const [process, select] = input === 1 ? [it.processElement2, key2] : [it.processElement ?? it.processElement1, key];
  return eitherUse(of(process, 0), select === undefined ? new Set() : of(select, 0));
};
export const processOperator: OperatorKind<ProcessSpec> = { kind: "process", inputs: 1, create, fields };
export const coProcessOperator: OperatorKind<ProcessSpec> = { kind: "coProcess", inputs: 2, create, fields };

class ProcessOperator implements Operator {
  readonly #function: AnyProcessFunction;
  readonly #key: ((value: unknown) => unknown) | undefined;
  readonly #key2: ((value: unknown) => unknown) | undefined;
  readonly #operator: OperatorContext;
  readonly #context: FunctionContext;
  readonly #out: TimestampedCollector;

  constructor(spec: ProcessSpec, context: OperatorContext) {
    this.#function = spec.function;
    this.#key = spec.key as ((value: unknown) => unknown) | undefined;
    this.#key2 = spec.key2 as ((value: unknown) => unknown) | undefined;
    this.#operator = context;
    this.#context = new FunctionContext(context, spec.key !== undefined);
    this.#out = new TimestampedCollector(context);
    Object.assign(this, checkpointHooks(spec.function));
  }

  open(): void | Promise<void> {
    return this.#function.open?.(this.#context);
  }

  process(value: unknown, timestamp: number): void {
    this.#prepare(this.#key, value, timestamp);
    const process = this.#function.processElement ?? this.#function.processElement1;
    process?.call(this.#function, value, this.#context, this.#out);
  }

  process2(value: unknown, timestamp: number): void {
    this.#prepare(this.#key2, value, timestamp);
    this.#function.processElement2?.(value, this.#context, this.#out);
  }

  onWatermark(watermark: number): void {
    this.#context.watermark = watermark;
    this.#fire("event", this.#context.eventTimers, watermark);
  }

  nextProcessingTime(): number {
    return this.#context.processingTimers.nextTime;
  }

  onProcessingTime(nowMs: number): void {
    this.#fire("processing", this.#context.processingTimers, nowMs);
  }

  close(): void | Promise<void> {
    return this.#function.close?.();
  }

  #prepare(key: ((value: unknown) => unknown) | undefined, value: unknown, timestamp: number): void {
    if (key !== undefined) this.#context.backend.setCurrentKey(key(value));
    this.#context.time = timestamp;
    this.#out.timestamp = timestamp;
  }

  #fire(domain: "event" | "processing", queue: TimerQueue, until: number): void {
    if (queue.nextTime > until) return;
    const fired = queue.advance(until, (time, key) => {
      this.#context.backend.setCurrentKey(key);
      this.#context.time = time;
      this.#context.timeDomain = domain;
      this.#out.timestamp = domain === "event" ? time : Number.NaN;
      this.#function.onTimer?.(time, this.#context, this.#out);
    });
    this.#operator.count("numFiredTimers", fired);
  }
}
