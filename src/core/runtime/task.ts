/**
 * The life of one subtask: build and open the chain, take input until it ends, close. Everything a subtask does happens on one thread, one
 * thing at a time (Flink: the mailbox model): a segment of input, a timer, a tick of the clock, a control message.
 *
 * A task parks its thread while there is nothing to do or an output is full, and still serves control messages then. A task with
 * asynchronous operators never parks: it works in slices of at most SLICE_MS and lets the event loop turn in between; segments that
 * find their channel full are kept aside, and no more input is taken until they have gone.
 */
import { MAX_WATERMARK, MIN_WATERMARK } from "../data/element.ts";
import type { ClassRegistry } from "../data/classes.ts";
import type { ChainedOperator, JobVertex, TaskSpec } from "../graph/job-graph.ts";
import { FEED_KIND } from "../graph/chaining.ts";
import { connectorKinds } from "../connectors/index.ts";
import { operatorKinds } from "../operators/index.ts";
import type { Operator, OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import { SubtaskStates, type OperatorList } from "../state/operator-states.ts";
import type { WatermarkMemory } from "../time/watermark.ts";
import { CheckpointError, DreyError, InvariantError, OutOfMemoryError, UserFunctionError } from "../types/errors.ts";
import type { EdgeId } from "../types/ids.ts";
import { type Configuration, options } from "../types/options.ts";
import type { AlignmentStep } from "./barrier-aligner.ts";
import type { Doorbell, InputChannel, OutputChannel } from "./channel.ts";
import type { CheckpointHost, CheckpointTrigger, TaskRestore } from "./checkpoint.ts";
import { FeedbackOutput } from "./feedback-output.ts";
import { type GateListener, InputGate } from "./input-gate.ts";
import { BACK_PRESSURED_SINCE, IDLE_SINCE, WATERMARK_LIMIT, metricIndex, USER_METRICS_OFFSET } from "./metrics.ts";
import { type ChainMember, type FusedChain, chainScript, fuse } from "./operator-chain.ts";
import { type Output, output } from "./output.ts";
import { TaskCheckpoints } from "./task-checkpoints.ts";
import { UserMetrics } from "./user-metrics.ts";

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
/** A source that is too far ahead of others looks again after so long. */
const AHEAD_WAIT_MS = 10;
/** Idle tasks write gathered rows after so long even if the buffer timeout is longer: it costs an idle thread nothing. */
const IDLE_FLUSH_MS = 2;
/** Segments that come back round a loop and are taken in one step. */
const FEEDBACK_SEGMENTS = 8;
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
const WATERMARKS_IDLE = metricIndex("watermarksIdle");
const IN_USAGE = metricIndex("inPoolUsage");
const OUT_USAGE = metricIndex("outPoolUsage");
const HEAP_USED = metricIndex("heapUsed");
const HEAP_LIMIT = metricIndex("heapLimit");
const TURNS = metricIndex("turns");

/** One subtask. Used by one thread; `open`, `run` (or `step`), `close`, each once. */
export class Task {
  readonly #host: TaskHost;
  readonly #userMetrics: UserMetrics;
  readonly #name: string;
  readonly #members: readonly ChainMember[];
  readonly #outputs: readonly Output[];
  readonly #chain: FusedChain;
  readonly #gate: InputGate;
  /** Of the head of a loop: what comes back to it. */
  readonly #feedback: InputGate | undefined;
  /** A checkpoint on its way round the loop: nothing else leaves until it is back. */
  #circling: CheckpointTrigger | undefined;
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
  /** All input has been taken, and all operators have finished. */
  #ended = false;
  /** The end of input has been written to all outputs. Barriers can be sent until then. */
  #outputsEnded = false;
  #finished = false;
  readonly #checkpoints: TaskCheckpoints | undefined;
  /** The job ends with this savepoint: no more input is taken. */
  #stopping: CheckpointTrigger | undefined;
  /** A savepoint that begins when all operators have finished. */
  #draining: CheckpointTrigger | undefined;
  /** What was written since the last checkpoint is not committed. */
  #awaitsFinal: boolean;
  /** The first checkpoint that began after the end of the input. */
  #finalCheckpoint = Number.POSITIVE_INFINITY;
  /** Of a task that takes a feed. */
  #feedRows: number | undefined;
  readonly #inputs: OperatorList<InputMemory>;
  #wanted = false;
  /** The last step found nothing to do. */
  #resting = false;
  #lastFlushMs = 0;
  #gathering = false;
  #gatheringSinceMs = 0;
  #nextHeapCheckMs = 0;
  #lastMarkMs = 0;

  /** @throws UserFunctionError when an operator can't be built. */
  constructor(host: TaskHost, spec: TaskSpec) {
    const { vertex, subtask } = host.info;
    this.#host = host;
    this.#userMetrics = new UserMetrics(host.metrics.buffer, USER_METRICS_OFFSET);
    this.#name = `${vertex.name} (${subtask + 1}/${vertex.parallelism})`;
    this.#mayPark = host.cooperative !== true && !vertex.asynchronous;
    this.#bufferTimeoutMs = host.configuration.get(options.bufferTimeout);
    this.#batchRows = host.configuration.get(options.batchRows);
    this.#sourceRows = new Array<unknown>(this.#batchRows).fill(undefined);
    this.#sourceTimestamps = new Float64Array(this.#batchRows).fill(Number.NaN);
    const { metrics } = host;
    metrics[HEAP_LIMIT] = host.heapLimitBytes;
    this.#outputs = spec.edges.map(({ id, partitioning, result, feedback }) => {
      const channels = host.outputs.find((it) => it.edge === id)?.channels;
      if (channels === undefined) throw new InvariantError(`Task ${this.#name} has no channels for its edge ${id}.`);
      const it = output(partitioning, channels, {
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
      return feedback === true ? new FeedbackOutput(it) : it;
    });
    this.#members = spec.operators.map((definition) => this.#member(definition));
    this.#chain = fuse(vertex.id, this.#members, spec.edges, this.#outputs, {
      word: host.controlWord ?? new Int32Array(1),
      serve: () => {
        if (host.poll()) throw CANCELED;
      },
    });
    const first = this.#members[0] as ChainMember;
    const head = first.operator;
    this.#source = "read" in head ? (head as SourceOperator) : undefined;
    this.#inputs = first.states.list("$input", "union");
    if (first.definition.spec.kind === FEED_KIND) this.#feedRows = ownInput(this.#inputs, subtask, vertex.parallelism)?.feedRows ?? 0;
    const makesWatermarks = this.#members.some(
      ({ operator }) => operator.makesWatermarks === true || operator.holdsWatermarks === true,
    );
    const gateListener: GateListener = {
      read: (records, bytes) => {
        if (this.#feedRows !== undefined) this.#feedRows += records;
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
      align: (step) => this.#checkpoints?.align(step),
      now: () => host.now(),
    };
    const comesBack = (input: 0 | 1): boolean => head.takesFeedback === true && input === 1;
    const inputs = host.inputs.filter(({ input }) => !comesBack(input));
    this.#gate = new InputGate(inputs, host.classes, gateListener, host.configuration.get(options.unalignedCheckpoints));
    this.#feedback =
      head.takesFeedback === true
        ? new InputGate(host.inputs.filter(({ input }) => comesBack(input)), host.classes, {
            ...gateListener,
            watermark: (watermark) => head.feedbackWatermark?.(watermark),
            idle: () => undefined,
            align: (step) => this.#cameRound(step),
          })
        : undefined;
    this.#checkpoints = host.checkpoints === undefined ? undefined : this.#takeCheckpoints(host.checkpoints);
    this.#awaitsFinal =
      host.checkpoints !== undefined &&
      host.configuration.get(options.checkpointInterval) > 0 &&
      this.#members.some(({ operator }) => operator.checkpointCompleted !== undefined);
    const now = host.now();
    this.#ticks = this.#members.flatMap(({ operator }) =>
      operator.onTick !== undefined && Number.isFinite(operator.tickMs ?? Number.POSITIVE_INFINITY)
        ? [{ operator, everyMs: operator.tickMs as number, nextMs: now + (operator.tickMs as number) }]
        : [],
    );
    this.#processingTimers = this.#members.map(({ operator }) => operator).filter((operator) => operator.nextProcessingTime !== undefined);
    this.#bounded = this.#members.map(({ operator }) => operator).filter((operator) => operator.full !== undefined);
  }

  /** What its operators keep, from the first to the last, for whoever looks into a task. On the task's thread, between steps. */
  get states(): readonly Pick<ChainMember, "stateId" | "states">[] {
    return this.#members;
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
    this.#goOn();
    this.#host.restored?.forget?.();
    this.#lastMarkMs = performance.now();
  }

  /**
   * Begins a checkpoint, as soon as the task stands between two steps. For tasks whose inputs have no running producers: all others hear
   * of it by its barriers. Like the next two: on the task's thread, at any time, also from inside `poll`.
   */
  triggerCheckpoint(trigger: CheckpointTrigger): void {
    this.#checkpoints?.trigger(trigger);
    this.#wanted = true;
  }

  /** The checkpoint, and all before it, will not be undone. */
  checkpointCompleted(checkpoint: number): void {
    this.#checkpoints?.completed(checkpoint);
    this.#wanted = true;
  }

  /** The checkpoint will never be complete. */
  checkpointAborted(checkpoint: number): void {
    this.#checkpoints?.aborted(checkpoint);
    this.#wanted = true;
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
    for (const { states } of this.#members) states.close();
  }

  /**
   * One piece of work: a segment of input or a batch of the source, timers that are due, ticks, flushes.
   * @returns blocked: an output is full; idle: ask again when the doorbell rings or at `nextWakeMs`.
   */
  step(): Step {
    if (this.#finished) return "finished";
    // A call for the next step that comes during this one stays.
    this.#wanted = false;
    if (this.#host.poll()) throw CANCELED;
    this.#host.metrics[TURNS] = (this.#host.metrics[TURNS] as number) + 1;
    try {
      if (this.#checkpoints?.pending === true) this.#checkpoints.serve(this.#resting);
      this.#resting = false;
      const cameBack = this.#takeFeedback();
      if (!this.#mayPark && !this.#drained()) return cameBack ? "worked" : "blocked";
      this.#checkpoints?.sent();
      if (this.#circling !== undefined) return cameBack ? "worked" : "idle";
      if (this.#stopping !== undefined || this.#draining !== undefined) return this.#stop();
      if (this.#ended) return this.#end();
      const full = this.#full;
      if (full) this.#gate.watch();
      const taken = !full && (this.#source === undefined ? this.#gate.poll(this.#chain) : this.#readSource(this.#source));
      const worked = taken || cameBack;
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
      this.#resting = true;
      return "idle";
    } catch (error) {
      if (error === CANCELED) throw error;
      throw this.#explained(error, this.#culprit(error));
    }
  }

  /** Wall-clock time at which an idle task has something to do without being rung for. */
  nextWakeMs(): number {
    if (this.#wanted) return 0;
    let next = Number.POSITIVE_INFINITY;
    if (this.#circling !== undefined) return this.#checkpoints?.pending === true ? this.#host.now() + 1 : next;
    for (const tick of this.#ticks) next = Math.min(next, tick.nextMs);
    for (const operator of this.#processingTimers) next = Math.min(next, operator.nextProcessingTime?.() ?? next);
    if (this.#takesInput && this.#source !== undefined && !this.#full) {
      next = Math.min(next, this.#isAhead ? this.#host.now() + AHEAD_WAIT_MS : (this.#source.nextReadMs?.() ?? 0));
    }
    if (this.#gathering) next = Math.min(next, this.#lastFlushMs + Math.min(IDLE_FLUSH_MS, this.#bufferTimeoutMs));
    if (this.#checkpoints !== undefined) {
      if (this.#checkpoints.pending) next = Math.min(next, this.#checkpoints.refused ? this.#host.now() + 1 : 0);
      next = Math.min(next, this.#gate.deadlineMs);
    }
    return next;
  }

  #runParking(): void {
    const ready = (): boolean => this.#wanted || (this.#takesInput && this.#gate.hasInput && !this.#full);
    for (let step = this.step(); step !== "finished"; step = this.step()) {
      if (step !== "idle") continue;
      const timeoutMs = this.nextWakeMs() - this.#host.now();
      if (timeoutMs <= 0) continue;
      const from = this.#beginWait(IDLE);
      this.#host.doorbell.park(timeoutMs, ready);
      this.#endWait(IDLE, from);
    }
    this.#markBusy();
  }

  async #runYielding(): Promise<void> {
    const ready = (): boolean =>
      this.#wanted ||
      this.#feedback?.hasInput === true ||
      (this.#takesInput && this.#gate.hasInput && !this.#full && this.#circling === undefined);
    const drained = (): boolean =>
      this.#wanted ||
      this.#feedback?.hasInput === true ||
      this.#outputs.every((it) => it.writers.every((writer) => writer.channel.queued < writer.channel.capacity));
    let sliceEndMs = performance.now() + SLICE_MS;
    for (let step = this.step(); step !== "finished"; step = this.step()) {
      if (step === "worked" && performance.now() < sliceEndMs) continue;
      const waiting = step === "worked" ? BUSY : step === "blocked" ? BACK_PRESSURED : IDLE;
      const from = this.#beginWait(waiting);
      const timeoutMs = step === "worked" ? 0 : step === "blocked" ? 50 : Math.max(0, this.nextWakeMs() - this.#host.now());
      await this.#host.wait(timeoutMs, step === "blocked" ? drained : ready);
      this.#endWait(waiting, from);
      sliceEndMs = performance.now() + SLICE_MS;
    }
    this.#markBusy();
  }

  /** Takes in what has come back round the loop, up to a number of segments. @returns whether there was anything. */
  #takeFeedback(): boolean {
    if (this.#feedback === undefined) return false;
    let segments = 0;
    while (segments < FEEDBACK_SEGMENTS && this.#feedback.poll(this.#chain)) segments++;
    return segments > 0;
  }

  /** A checkpoint is back on all ways of the loop: nothing of before it is under way any more. */
  #cameRound(step: AlignmentStep): void {
    if (step.do === "abort") this.#checkpoints?.align(step);
    if (step.do !== "begin" || this.#circling?.checkpoint !== step.trigger.checkpoint) return;
    this.#checkpoints?.begin(this.#circling);
    this.#circling = undefined;
  }

  /** The source is to wait for others. */
  get #isAhead(): boolean {
    const { metrics } = this.#host;
    return (metrics[OUTPUT_WATERMARK] as number) > (metrics[WATERMARK_LIMIT] as number);
  }

  /** Some operator takes no records at present. */
  get #full(): boolean {
    for (const operator of this.#bounded) if (operator.full?.() === true) return true;
    return false;
  }

  get #takesInput(): boolean {
    return !this.#ended && !this.#sourceEnded && this.#stopping === undefined && this.#draining === undefined;
  }

  #readSource(source: SourceOperator): boolean {
    if (this.#sourceEnded || this.#isAhead) return false;
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
      this.#userMetrics.refresh(now);
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
    if (this.#ended || !this.#finishOperators()) return;
    this.#ended = true;
    this.#flush(this.#host.now());
    this.#endFeedback();
    if (this.#awaitsFinal) this.#host.checkpoints?.requestFinal?.();
  }

  #endFeedback(): void {
    for (const it of this.#outputs) if (it instanceof FeedbackOutput) it.end();
  }

  /** @returns false while some operator owes results. */
  #finishOperators(): boolean {
    // A gate passes the last watermark on when its channels end; a source, or a feed that is stopped, has none that would.
    if (!this.#lastWatermarkPassed && !this.#gate.passedLastWatermark) this.#chain.watermark(MAX_WATERMARK);
    this.#lastWatermarkPassed = true;
    this.#host.metrics[OUTPUT_WATERMARK] = MAX_WATERMARK;
    for (; this.#finishedOperators < this.#members.length; this.#finishedOperators++) {
      const { operator } = this.#members[this.#finishedOperators] as ChainMember;
      if (operator.owes?.() === true) return false;
      operator.finish?.();
    }
    return true;
  }

  #takeCheckpoints(host: CheckpointHost): TaskCheckpoints {
    const { vertex, subtask } = this.#host.info;
    const feeds = this.#feedRows !== undefined;
    // The task as its checkpoints see it; live, because they outlast what is read here.
    const ended = (): boolean => this.#ended;
    const outputsEnded = (): boolean => this.#outputsEnded;
    const feedRows = (): number | undefined => this.#feedRows;
    return new TaskCheckpoints(host, {
      name: this.#name,
      members: this.#members,
      gate: this.#gate,
      metrics: this.#host.metrics,
      isSource: this.#source !== undefined || feeds,
      get ended() {
        return ended();
      },
      get feedRows() {
        return feedRows();
      },
      defer: (trigger) => {
        if (this.#feedback !== undefined && !this.#ended && trigger.stop !== "drain") {
          for (const it of this.#outputs) it.emitBarrier(trigger);
          this.#circling = trigger;
          return true;
        }
        if (trigger.stop !== "drain" || this.#ended) return false;
        this.#draining = trigger;
        return true;
      },
      prepareSnapshot: () => {
        this.#inputs.update([
          { subtask, parallelism: vertex.parallelism, watermarks: this.#gate.watermarks, feedRows: this.#feedRows ?? 0 },
        ]);
      },
      emitBarrier: (trigger) => {
        if (this.#circling?.checkpoint === trigger.checkpoint) return;
        if (this.#ended) this.#finalCheckpoint = Math.min(this.#finalCheckpoint, trigger.checkpoint);
        for (const it of this.#outputs) it.emitBarrier(trigger);
      },
      get over() {
        return outputsEnded();
      },
      stop: (trigger) => {
        this.#stopping = trigger;
      },
      completed: (checkpoint) => {
        if (checkpoint >= this.#finalCheckpoint) this.#awaitsFinal = false;
        if (this.#stopping === undefined || checkpoint < this.#stopping.checkpoint) return;
        this.#stopping = undefined;
        this.#awaitsFinal = false;
        this.#ended = true;
      },
      aborted: (checkpoint) => {
        this.#feedback?.abort(checkpoint);
        if (this.#circling?.checkpoint === checkpoint) this.#circling = undefined;
        if (checkpoint === this.#finalCheckpoint) {
          this.#finalCheckpoint = Number.POSITIVE_INFINITY;
          if (this.#awaitsFinal) host.requestFinal?.();
        }
        if (this.#stopping?.checkpoint !== checkpoint && this.#draining?.checkpoint !== checkpoint) return;
        if (this.#lastWatermarkPassed && !this.#ended) {
          throw new CheckpointError(
            `Savepoint ${checkpoint}, which was to end the job, was given up after ${this.#name} had finished its operators; it begins again from ` +
              "the last checkpoint.",
          );
        }
        this.#stopping = undefined;
        this.#draining = undefined;
      },
      now: () => this.#host.now(),
    });
  }

  /** A step of a task that takes no more input, because the job ends with a savepoint. */
  #stop(): Step {
    this.#serveClock(this.#host.now());
    if (this.#draining !== undefined) {
      if (!this.#finishOperators()) return "idle";
      const trigger = this.#draining;
      this.#draining = undefined;
      this.#checkpoints?.begin(trigger);
      return "worked";
    }
    return this.#rest();
  }

  /** A step of a task that has nothing to do but to write a snapshot, or to wait for its completion. */
  #rest(): Step {
    this.#resting = true;
    return this.#checkpoints?.pending === true && !this.#checkpoints.refused ? "worked" : "idle";
  }

  /** After a restore, with open operators: begins where the former attempt was. */
  #goOn(): void {
    const { restored } = this.#host;
    if (restored === undefined) return;
    const { vertex, subtask } = this.#host.info;
    for (const { edge, channel, file, start, end } of restored.channels ?? []) {
      if (this.#gate.restoreChannel(edge, channel, restored.read(file, start, end))) continue;
      throw new CheckpointError(
        `Checkpoint ${restored.checkpoint} holds records that were on their way to channel ${channel} of edge ${edge}, which ${this.#name} does not ` +
          "have. An unaligned checkpoint can only be restored at the same parallelism; take a savepoint to change it.",
      );
    }
    if (restored.finished === true) {
      this.#ended = true;
      this.#awaitsFinal = false;
      for (const it of this.#outputs) it.emitWatermark(MAX_WATERMARK);
      this.#endFeedback();
      return;
    }
    const own = ownInput(this.#inputs, subtask, vertex.parallelism);
    if (own === undefined) return;
    const watermark = this.#gate.restoreWatermarks(own.watermarks);
    if (watermark === MIN_WATERMARK) return;
    this.#host.metrics[INPUT_WATERMARK] = watermark;
    this.#chain.watermark(watermark);
  }

  /**
   * A step of a task whose operators have finished: it ends once its last snapshot is written and what it wrote for others is committed.
   * The end of input is sent at that time only, so that barriers can pass before.
   */
  #end(): Step {
    if (this.#checkpoints?.writing === true || this.#awaitsFinal || this.#members.some(({ operator }) => operator.owes?.() === true)) {
      return this.#rest();
    }
    if (!this.#outputsEnded) {
      this.#outputsEnded = true;
      for (const it of this.#outputs) it.end();
      return "worked";
    }
    if (this.#feedback?.ended === false) return this.#rest();
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
    const stateId = vertex.operators.find(({ id }) => id === definition.id)?.uid ?? definition.id;
    const { restored } = this.#host;
    const from = restored?.operators.find(({ operator }) => operator === stateId);
    const { configuration } = this.#host;
    const states = new SubtaskStates({
      stateId,
      maxParallelism: vertex.maxParallelism,
      classes: this.#host.classes,
      now: () => this.#host.now(),
      ...(configuration.get(options.stateBackend) !== "lmdb" ? {} : {
        disk: {
          folder: configuration.get(options.stateDirectory),
          cachedEntries: configuration.get(options.stateCacheEntries),
          // Whoever runs jobs in one thread keeps the files of the latest checkpoint only.
          incremental: configuration.get(options.incrementalCheckpoints) && this.#host.cooperative !== true,
        },
      }),
      ...(restored === undefined || from === undefined
        ? {}
        : { restore: { from, read: ({ file, offset, bytes }) => restored.read(file, offset, offset + bytes) } }),
    });
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
      classes: this.#host.classes,
      metrics: this.#userMetrics.group(definition.name),
      states,
      now: () => this.#host.now(),
      emit: (value, timestamp) => wiring.emit(value, timestamp),
      emitSide: (tag, value, timestamp) => wiring.emitSide(tag, value, timestamp),
      emitWatermark: (watermark) => {
        metrics[OUTPUT_WATERMARK] = watermark;
        metrics[WATERMARKS_IDLE] = 0;
        wiring.emitWatermark(watermark);
      },
      emitIdle: () => {
        metrics[WATERMARKS_IDLE] = 1;
        wiring.emitIdle();
      },
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
      return { definition, operator: kind.create(definition.spec, context), stateId, states, inputs: kind.inputs, wiring };
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

/** What a task keeps about its inputs: one item per subtask, among the state of the first operator. */
interface InputMemory {
  readonly subtask: number;
  readonly parallelism: number;
  readonly watermarks: WatermarkMemory;
  readonly feedRows: number;
}

/** What a restored subtask knows of its inputs; at another parallelism only how far all of the former ones were. */
function ownInput(inputs: OperatorList<InputMemory>, subtask: number, parallelism: number): InputMemory | undefined {
  const items = inputs.get();
  const [any] = items;
  if (any === undefined) return undefined;
  const own = items.find((it) => it.subtask === subtask && it.parallelism === parallelism);
  if (own !== undefined) return own;
  const current = Math.min(...items.map(({ watermarks }) => watermarks.current));
  return { subtask, parallelism, watermarks: { current, inputs: [] }, feedRows: Math.max(...items.map(({ feedRows }) => feedRows)) };
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
