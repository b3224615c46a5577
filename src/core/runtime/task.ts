/**
 * The life of one subtask: build and open the chain, take input until it ends, close. Everything a subtask does happens on one thread, one
 * thing at a time (Flink: the mailbox model): a segment of input, a timer, a tick of the clock, a control message.
 *
 * A task parks its thread while there is nothing to do or an output is full, and still serves control messages then. A task with
 * asynchronous operators never parks: it works in slices of at most SLICE_MS and lets the event loop turn in between; segments that
 * find their channel full are kept aside, and no more input is taken until they have gone.
 */
import { MAX_WATERMARK } from "../data/element.ts";
import type { ClassRegistry } from "../data/classes.ts";
import type { ChainedOperator, JobVertex, TaskSpec } from "../graph/job-graph.ts";
import { connectorKinds } from "../connectors/index.ts";
import { operatorKinds } from "../operators/index.ts";
import type { Operator, OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import { HeapStates } from "../state/operator-states.ts";
import { DreyError, InvariantError, OutOfMemoryError, UserFunctionError } from "../types/errors.ts";
import type { EdgeId } from "../types/ids.ts";
import { type Configuration, options } from "../types/options.ts";
import type { Doorbell, InputChannel, OutputChannel } from "./channel.ts";
import type { CheckpointHost, TaskRestore } from "./checkpoint.ts";
import { InputGate } from "./input-gate.ts";
import { BACK_PRESSURED_SINCE, IDLE_SINCE, metricIndex } from "./metrics.ts";
import { type ChainMember, type FusedChain, chainScript, fuse } from "./operator-chain.ts";
import { type Output, output } from "./output.ts";

/** What the thread that runs a task gives to it. */
export interface TaskHost {
  readonly info: { readonly jobName: string; readonly vertex: JobVertex; readonly subtask: number; readonly attempt: number };
  /** Inputs, each with its channels in order of the producer's subtask. A feed is an input under the feed's edge id. */
  readonly inputs: readonly { readonly edge: EdgeId; readonly input: 0 | 1; readonly channels: readonly InputChannel[] }[];
  /** Outputs with their channels in the order of `targetsOf`. A result is an output with one channel under the result's edge id. */
  readonly outputs: readonly { readonly edge: EdgeId; readonly channels: readonly OutputChannel[] }[];
  readonly doorbell: Doorbell;
  /** Shared with whoever reads the metrics (see metrics.ts). */
  readonly metrics: Float64Array;
  readonly classes: ClassRegistry;
  readonly configuration: Configuration;
  /** Serves waiting control messages. @returns true once the task is cancelled. Cheap when nothing waits. */
  poll(): boolean;
  /** Not 0 while a control message waits: looked at every few records, so that slow functions don't delay `poll` by a batch. */
  readonly controlWord?: Int32Array;
  /** For tasks that may not park: waits like a doorbell, but lets the event loop turn. */
  wait(timeoutMs: number, ready: () => boolean): Promise<void>;
  /** Makes a wait that is going on return. Called on the task's own thread, by asynchronous operators. */
  wake(): void;
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Heap limit of this thread, bytes; 0: none. */
  readonly heapLimitBytes: number;
  heapUsed(): number;
  /** Collects garbage now, where that is possible; makes sure that `heapUsed` counts live objects. */
  collectGarbage?(): void;
  /** Absent: a job without checkpoints. */
  readonly checkpoints?: CheckpointHost;
  /** Absent: the task begins with nothing. */
  readonly restored?: TaskRestore;
  /** This host's threads must not park: the one-thread executor. */
  readonly cooperative?: boolean;
}

/** What one step of a task came to. */
export type Step = "worked" | "idle" | "blocked" | "finished";

/** An asynchronous task gives up the thread after so long. */
const SLICE_MS = 5;
/** Idle tasks write gathered rows after so long even if the buffer timeout is longer: it costs an idle thread nothing. */
const IDLE_FLUSH_MS = 2;
/** Time between two looks at the heap. */
const HEAP_CHECK_MS = 20;

const kinds: ReadonlyMap<string, OperatorKind> = new Map([...operatorKinds, ...connectorKinds].map((kind) => [kind.kind, kind]));

/** Thrown to leave user code and waits when the task is cancelled; never seen outside. */
const CANCELED: unique symbol = Symbol("canceled");

const RECORDS_IN = metricIndex("numRecordsIn");
const RECORDS_OUT = metricIndex("numRecordsOut");
const BYTES_IN = metricIndex("numBytesIn");
const BYTES_OUT = metricIndex("numBytesOut");
const BUFFERS_IN = metricIndex("numBuffersIn");
const BUFFERS_OUT = metricIndex("numBuffersOut");
const BUSY = metricIndex("accumulateBusyTimeMs");
const IDLE = metricIndex("accumulateIdleTimeMs");
const BACK_PRESSURED = metricIndex("accumulateBackPressuredTimeMs");
const INPUT_WATERMARK = metricIndex("currentInputWatermark");
const OUTPUT_WATERMARK = metricIndex("currentOutputWatermark");
const IN_USAGE = metricIndex("inPoolUsage");
const OUT_USAGE = metricIndex("outPoolUsage");
const HEAP_USED = metricIndex("heapUsed");
const HEAP_LIMIT = metricIndex("heapLimit");
const TURNS = metricIndex("turns");

/** One subtask. Used by one thread; `open`, `run` (or `step`), `close`, each once. */
export class Task {
  readonly #host: TaskHost;
  readonly #name: string;
  readonly #members: readonly ChainMember[];
  readonly #outputs: readonly Output[];
  readonly #chain: FusedChain;
  readonly #gate: InputGate;
  readonly #source: SourceOperator | undefined;
  readonly #mayPark: boolean;
  readonly #bufferTimeoutMs: number;
  readonly #ticks: { readonly operator: Operator; readonly everyMs: number; nextMs: number }[];
  readonly #processingTimers: readonly Operator[];
  /** Operators that may be full. */
  readonly #bounded: readonly Operator[];
  readonly #batchRows: number;
  readonly #sourceRows: unknown[];
  readonly #sourceTimestamps: Float64Array;
  #sourceEnded = false;
  #lastWatermarkPassed = false;
  /** Operators that have finished, from the first on. */
  #finishedOperators = 0;
  #ended = false;
  #finished = false;
  #wanted = false;
  #lastFlushMs = 0;
  #gathering = false;
  #gatheringSinceMs = 0;
  #nextHeapCheckMs = 0;
  #lastMarkMs = 0;

  /** @throws UserFunctionError when an operator can't be built. */
  constructor(host: TaskHost, spec: TaskSpec) {
    const { vertex, subtask } = host.info;
    this.#host = host;
    this.#name = `${vertex.name} (${subtask + 1}/${vertex.parallelism})`;
    this.#mayPark = host.cooperative !== true && !vertex.asynchronous;
    this.#bufferTimeoutMs = host.configuration.get(options.bufferTimeout);
    this.#batchRows = host.configuration.get(options.batchRows);
    this.#sourceRows = new Array<unknown>(this.#batchRows).fill(undefined);
    this.#sourceTimestamps = new Float64Array(this.#batchRows).fill(Number.NaN);
    const { metrics } = host;
    metrics[HEAP_LIMIT] = host.heapLimitBytes;
    this.#outputs = spec.edges.map(({ id, partitioning, result }) => {
      const channels = host.outputs.find((it) => it.edge === id)?.channels;
      if (channels === undefined) throw new InvariantError(`Task ${this.#name} has no channels for its edge ${id}.`);
      return output(partitioning, channels, {
        classes: host.classes,
        batchRows: this.#batchRows,
        // Clients come and go, and old rows may be dropped.
        separable: result ?? false,
        ...(this.#mayPark ? { waitForRoom: (channel: OutputChannel): void => this.#waitForRoom(channel) } : {}),
        wrote: (records, bytes) => {
          metrics[RECORDS_OUT] = (metrics[RECORDS_OUT] as number) + records;
          metrics[BYTES_OUT] = (metrics[BYTES_OUT] as number) + bytes;
          metrics[BUFFERS_OUT] = (metrics[BUFFERS_OUT] as number) + 1;
        },
      }, vertex.maxParallelism, subtask);
    });
    this.#members = spec.operators.map((definition) => this.#member(definition));
    this.#chain = fuse(vertex.id, this.#members, spec.edges, this.#outputs, {
      word: host.controlWord ?? new Int32Array(1),
      serve: () => {
        if (host.poll()) throw CANCELED;
      },
    });
    const head = (this.#members[0] as ChainMember).operator;
    this.#source = "read" in head ? (head as SourceOperator) : undefined;
    const makesWatermarks = this.#members.some(
      ({ operator }) => operator.makesWatermarks === true || operator.holdsWatermarks === true,
    );
    this.#gate = new InputGate(host.inputs, host.classes, {
      read: (records, bytes) => {
        metrics[RECORDS_IN] = (metrics[RECORDS_IN] as number) + records;
        metrics[BYTES_IN] = (metrics[BYTES_IN] as number) + bytes;
        metrics[BUFFERS_IN] = (metrics[BUFFERS_IN] as number) + 1;
      },
      watermark: (watermark) => {
        metrics[INPUT_WATERMARK] = watermark;
        if (!makesWatermarks) metrics[OUTPUT_WATERMARK] = watermark;
        this.#chain.watermark(watermark);
      },
      idle: () => this.#chain.idle(),
    });
    const now = host.now();
    this.#ticks = this.#members.flatMap(({ operator }) =>
      operator.onTick !== undefined && Number.isFinite(operator.tickMs ?? Number.POSITIVE_INFINITY)
        ? [{ operator, everyMs: operator.tickMs as number, nextMs: now + (operator.tickMs as number) }]
        : [],
    );
    this.#processingTimers = this.#members.map(({ operator }) => operator).filter((operator) => operator.nextProcessingTime !== undefined);
    this.#bounded = this.#members.map(({ operator }) => operator).filter((operator) => operator.full !== undefined);
  }

  /** The generated text of the chain, for people. */
  get code(): string {
    return this.#chain.code;
  }

  /** Opens all operators, the last one first, so that each finds its consumers open. */
  async open(): Promise<void> {
    for (const { operator, definition } of [...this.#members].reverse()) {
      try {
        await operator.open?.();
      } catch (error) {
        throw this.#explained(error, definition);
      }
    }
    this.#lastMarkMs = performance.now();
  }

  /**
   * Runs to the end.
   * @returns "canceled" when the host said so.
   * @throws UserFunctionError, RecordError, OutOfMemoryError …; stacks are in the coordinates of the shipped code.
   */
  async run(): Promise<"finished" | "canceled"> {
    try {
      if (this.#mayPark) this.#runParking();
      else await this.#runYielding();
      return "finished";
    } catch (error) {
      if (error === CANCELED) return "canceled";
      throw error;
    }
  }

  /** Closes all operators. Never throws: what goes wrong is written to the console. */
  async close(): Promise<void> {
    for (const { operator, definition } of this.#members) {
      try {
        await operator.close?.();
      } catch (error) {
        console.error(`closing "${definition.name}" of ${this.#name} failed:`, error);
      }
    }
  }

  /**
   * One piece of work: a segment of input or a batch of the source, timers that are due, ticks, flushes.
   * @returns blocked: an output is full; idle: ask again when the doorbell rings or at `nextWakeMs`.
   */
  step(): Step {
    if (this.#finished) return "finished";
    if (this.#host.poll()) throw CANCELED;
    this.#host.metrics[TURNS] = (this.#host.metrics[TURNS] as number) + 1;
    if (!this.#mayPark && !this.#drained()) return "blocked";
    try {
      if (this.#ended) return this.#finish();
      const worked = !this.#full && (this.#source === undefined ? this.#gate.poll(this.#chain) : this.#readSource(this.#source));
      const now = this.#host.now();
      const served = this.#serveClock(now);
      if (this.#source === undefined ? this.#gate.ended : this.#sourceEnded) this.#endInput();
      if (worked || served || this.#ended) {
        if (!this.#gathering) this.#gatheringSinceMs = now;
        this.#gathering = true;
        if (now - this.#gatheringSinceMs >= this.#bufferTimeoutMs) this.#flush(now);
        return "worked";
      }
      if (this.#gathering && now - this.#lastFlushMs >= Math.min(IDLE_FLUSH_MS, this.#bufferTimeoutMs)) this.#flushIdle(now);
      return "idle";
    } catch (error) {
      if (error === CANCELED) throw error;
      throw this.#explained(error, this.#culprit(error));
    }
  }

  /** Wall-clock time at which an idle task has something to do without being rung for. */
  nextWakeMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const tick of this.#ticks) next = Math.min(next, tick.nextMs);
    for (const operator of this.#processingTimers) next = Math.min(next, operator.nextProcessingTime?.() ?? next);
    if (this.#source !== undefined && !this.#sourceEnded && !this.#full) next = Math.min(next, this.#source.nextReadMs?.() ?? 0);
    if (this.#gathering) next = Math.min(next, this.#lastFlushMs + Math.min(IDLE_FLUSH_MS, this.#bufferTimeoutMs));
    return next;
  }

  #runParking(): void {
    const ready = (): boolean => this.#wanted || (this.#gate.hasInput && !this.#full);
    for (let step = this.step(); step !== "finished"; step = this.step()) {
      if (step !== "idle") continue;
      const timeoutMs = this.nextWakeMs() - this.#host.now();
      if (timeoutMs <= 0) continue;
      const from = this.#beginWait(IDLE);
      this.#host.doorbell.park(timeoutMs, ready);
      this.#wanted = false;
      this.#endWait(IDLE, from);
    }
    this.#markBusy();
  }

  async #runYielding(): Promise<void> {
    const ready = (): boolean => this.#wanted || (this.#gate.hasInput && !this.#full);
    const drained = (): boolean =>
      this.#wanted || this.#outputs.every((it) => it.writers.every((writer) => writer.channel.queued < writer.channel.capacity));
    let sliceEndMs = performance.now() + SLICE_MS;
    for (let step = this.step(); step !== "finished"; step = this.step()) {
      if (step === "worked" && performance.now() < sliceEndMs) continue;
      const waiting = step === "worked" ? BUSY : step === "blocked" ? BACK_PRESSURED : IDLE;
      const from = this.#beginWait(waiting);
      const timeoutMs = step === "worked" ? 0 : step === "blocked" ? 50 : Math.max(0, this.nextWakeMs() - this.#host.now());
      await this.#host.wait(timeoutMs, step === "blocked" ? drained : ready);
      this.#wanted = false;
      this.#endWait(waiting, from);
      sliceEndMs = performance.now() + SLICE_MS;
    }
    this.#markBusy();
  }

  /** Some operator takes no records at present. */
  get #full(): boolean {
    for (const operator of this.#bounded) if (operator.full?.() === true) return true;
    return false;
  }

  #readSource(source: SourceOperator): boolean {
    if (this.#sourceEnded) return false;
    const rows = this.#sourceRows;
    const count = source.read(rows, this.#sourceTimestamps, this.#batchRows);
    if (count < 0) {
      this.#sourceEnded = true;
      return false;
    }
    if (count === 0) return false;
    const { metrics } = this.#host;
    metrics[RECORDS_IN] = (metrics[RECORDS_IN] as number) + count;
    this.#chain.process(rows, this.#sourceTimestamps, count);
    return true;
  }

  /** Timers, ticks, the heap. @returns whether an operator was called: it may have emitted. */
  #serveClock(now: number): boolean {
    let served = false;
    for (const tick of this.#ticks) {
      if (now < tick.nextMs) continue;
      tick.nextMs = now + tick.everyMs;
      tick.operator.onTick?.(now);
      served = true;
    }
    for (const operator of this.#processingTimers) {
      if ((operator.nextProcessingTime?.() ?? Number.POSITIVE_INFINITY) > now) continue;
      operator.onProcessingTime?.(now);
      served = true;
    }
    if (now >= this.#nextHeapCheckMs) {
      this.#nextHeapCheckMs = now + HEAP_CHECK_MS;
      this.#checkHeap();
      this.#host.metrics[IN_USAGE] = this.#gate.usage;
      this.#host.metrics[OUT_USAGE] = usage(this.#outputs);
      this.#markBusy();
    }
    return served;
  }

  /**
   * V8 ends the whole process when one large structure overflows a worker's heap, so the task is failed before (measured: a look every
   * 1,024 entries at 70 % saved all cases).
   */
  #checkHeap(): void {
    const { heapLimitBytes: limit, metrics } = this.#host;
    metrics[HEAP_USED] = this.#host.heapUsed();
    const share = this.#host.configuration.get(options.heapGuard);
    if (limit === 0 || (metrics[HEAP_USED] as number) < limit * share) return;
    if (this.#host.collectGarbage !== undefined) {
      this.#host.collectGarbage();
      metrics[HEAP_USED] = this.#host.heapUsed();
      if ((metrics[HEAP_USED] as number) < limit * share) return;
    }
    const mb = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MB`;
    throw new OutOfMemoryError(
      `${this.#name} holds ${mb(metrics[HEAP_USED] as number)} of the ${mb(limit)} heap of its slot. Keep less state, use more parallelism, ` +
        `or raise ${options.taskManagerHeap.key}.`,
    );
  }

  /** All input has come: the last watermark passes, operators finish from first to last as soon as they owe nothing, outputs end. */
  #endInput(): void {
    if (this.#ended) return;
    // A gate passes the last watermark on when its channels end; a source has none that would.
    if (this.#source !== undefined && !this.#lastWatermarkPassed) this.#chain.watermark(MAX_WATERMARK);
    this.#lastWatermarkPassed = true;
    for (; this.#finishedOperators < this.#members.length; this.#finishedOperators++) {
      const { operator } = this.#members[this.#finishedOperators] as ChainMember;
      if (operator.owes?.() === true) return;
      operator.finish?.();
    }
    this.#ended = true;
    for (const it of this.#outputs) it.end();
  }

  #finish(): Step {
    this.#finished = true;
    return "finished";
  }

  #flush(now: number): void {
    this.#lastFlushMs = now;
    this.#gathering = false;
    for (const it of this.#outputs) it.flush();
  }

  /** Writes what is gathered for consumers that keep up. Those that are behind get larger batches, up to the buffer timeout. */
  #flushIdle(now: number): void {
    if (now - this.#gatheringSinceMs >= this.#bufferTimeoutMs) return this.#flush(now);
    let all = true;
    for (const it of this.#outputs) all = it.flushWhereRead() && all;
    this.#lastFlushMs = now;
    this.#gathering = !all;
  }

  #drained(): boolean {
    let done = true;
    for (const it of this.#outputs) done = it.drain() && done;
    return done;
  }

  #waitForRoom(channel: OutputChannel): void {
    const from = this.#beginWait(BACK_PRESSURED);
    const ready = (): boolean => channel.tryAcquire() >= 0;
    while (channel.tryAcquire() < 0) {
      this.#host.doorbell.park(100, ready);
      if (this.#host.poll()) throw CANCELED;
      this.#host.metrics[TURNS] = (this.#host.metrics[TURNS] as number) + 1;
    }
    this.#endWait(BACK_PRESSURED, from);
  }

  /** Time up to now was busy; what comes is a wait of this kind. @returns now, for `#endWait`. */
  #beginWait(kind: number): number {
    this.#markBusy();
    const since = sinceOf(kind);
    if (since !== undefined) this.#host.metrics[since] = this.#host.now();
    return this.#lastMarkMs;
  }

  #endWait(kind: number, from: number): void {
    this.#mark(kind, from);
    const since = sinceOf(kind);
    if (since !== undefined) this.#host.metrics[since] = 0;
  }

  /** Counts the time since the last mark as busy. */
  #markBusy(): void {
    this.#mark(BUSY, this.#lastMarkMs);
  }

  #mark(metric: number, fromMs: number): void {
    const now = performance.now();
    this.#host.metrics[metric] = (this.#host.metrics[metric] as number) + now - fromMs;
    this.#lastMarkMs = now;
  }

  #member(definition: ChainedOperator): ChainMember {
    const kind = kinds.get(definition.spec.kind);
    if (kind === undefined) throw new InvariantError(`No operator is of kind ${definition.spec.kind}.`);
    const { vertex, subtask, attempt, jobName } = this.#host.info;
    const wiring: ChainMember["wiring"] = { emit: noWhere, emitSide: noWhere, emitWatermark: noWhere, emitIdle: noWhere };
    const { metrics } = this.#host;
    const states = new HeapStates();
    const context: OperatorContext = {
      operatorId: definition.id,
      operatorName: definition.name,
      jobName,
      taskName: vertex.name,
      subtask,
      parallelism: vertex.parallelism,
      maxParallelism: vertex.maxParallelism,
      attempt,
      configuration: this.#host.configuration,
      states,
      now: () => this.#host.now(),
      emit: (value, timestamp) => wiring.emit(value, timestamp),
      emitSide: (tag, value, timestamp) => wiring.emitSide(tag, value, timestamp),
      emitWatermark: (watermark) => {
        metrics[OUTPUT_WATERMARK] = watermark;
        wiring.emitWatermark(watermark);
      },
      emitIdle: () => wiring.emitIdle(),
      count: (metric, by = 1) => {
        const index = metricIndex(metric);
        metrics[index] = (metrics[index] as number) + by;
      },
      wake: () => {
        this.#wanted = true;
        this.#host.wake();
      },
    };
    try {
      return { definition, operator: kind.create(definition.spec, context), states, inputs: kind.inputs, wiring };
    } catch (error) {
      throw this.#explained(error, definition);
    }
  }

  /** The operator whose generated line stands nearest to the throw. */
  #culprit(error: unknown): ChainedOperator | undefined {
    const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : "";
    const script = chainScript(this.#host.info.vertex.id).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const frame = new RegExp(`${script}:(\\d+):`).exec(stack);
    return frame === null ? undefined : this.#chain.operatorAtLine(Number(frame[1]));
  }

  /** An error with the operator and subtask in it. Errors that drey raises about records and graphs name them already. */
  #explained(error: unknown, definition: ChainedOperator | undefined): Error {
    const { vertex, subtask } = this.#host.info;
    const details = {
      vertex: vertex.id, task: vertex.name, subtask, parallelism: vertex.parallelism,
      ...(definition === undefined ? {} : { operator: definition.name, operatorId: definition.id }),
    };
    if (error instanceof DreyError) {
      Object.assign(error, { details: { ...details, ...error.details } });
      return error;
    }
    const where = definition === undefined ? `Task ${vertex.name}` : `"${definition.name}"`;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : `a value that is not an Error: ${String(error)}`;
    return new UserFunctionError(`${where} (subtask ${subtask + 1} of ${vertex.parallelism}) threw ${what}`, { cause: error, details });
  }
}

const noWhere = (): void => undefined;

const sinceOf = (kind: number): number | undefined =>
  kind === IDLE ? IDLE_SINCE : kind === BACK_PRESSURED ? BACK_PRESSURED_SINCE : undefined;

function usage(outputs: readonly Output[]): number {
  let queued = 0;
  let capacity = 0;
  for (const it of outputs) {
    for (const { channel } of it.writers) {
      queued += channel.queued;
      capacity += channel.capacity;
    }
  }
  return capacity === 0 ? 0 : queued / capacity;
}
