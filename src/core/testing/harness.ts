/**
 * A pipeline under test (Flink: OneInputStreamOperatorTestHarness and its kin): the tasks that a cluster would run, in this thread, stepped
 * by hand. Records, watermarks and the clock are given by the test; nothing sleeps, and the same calls always give the same outputs.
 *
 * Invariant: after each call the pipeline rests: every record has gone as far as it can. Only functions that are asynchronous themselves
 * (mapAsync, sources that await) go on afterwards; `until` waits for those.
 *
 * There is no second runtime here: chains, exchanges, codecs, timers and snapshots are the runtime's own.
 */
import { DataStream, type KeyedStream } from "../api/data-stream.ts";
import { Environment } from "../api/environment.ts";
import { DataStreamSink } from "../api/operator-settings.ts";
import { FEED_KIND, RESULT_KIND, compileJob } from "../graph/chaining.ts";
import { keyGroupOf, subtaskOfKeyGroup } from "../data/key-groups.ts";
import { keyToken } from "../data/keys.ts";
import type { CompiledJob, JobGraph } from "../graph/job-graph.ts";
import { type StreamNode, streamGraph } from "../graph/stream-graph.ts";
import type { BroadcastProcessFunction, KeyedBroadcastProcessFunction } from "../operators/broadcast-process.ts";
import type { CoProcessFunction, KeyedProcessFunction, ProcessFunction, SideOutput } from "../operators/function.ts";
import { LocalCheckpoints, type LocalSnapshot, restoreOf } from "../runtime/local-checkpoints.ts";
import { type LocalTask, localTasks } from "../runtime/local-tasks.ts";
import type { MemoryChannel } from "../runtime/memory-channel.ts";
import { readTaskMetrics } from "../runtime/metrics.ts";
import { ownInstances } from "../runtime/own-instances.ts";
import type { KeyedBackend } from "../state/backend.ts";
import type { ListStateDescriptor, MapStateDescriptor, StateDescriptor, StateOf } from "../state/descriptors.ts";
import type { Timestamp } from "../time/watermark.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { CheckpointError, DeadlineError, GraphError, InvariantError, StateError, describe } from "../types/errors.ts";
import { type Configuration, options } from "../types/options.ts";
import { HarnessInput } from "./harness-input.ts";
import { HarnessOutput } from "./harness-output.ts";
import type { Marbles } from "./marbles.ts";

/** How a pipeline is tested. */
export interface HarnessOptions {
  /** Parallelism of operators that set none. Default 1. */
  readonly parallelism?: number;
  /** Run operators that can share a thread as one chain. Default true. */
  readonly chaining?: boolean;
  /** Where the clock stands at first, milliseconds since the epoch. Default 0. */
  readonly clock?: Timestamp;
  /** Side outputs to be seen, of whichever operators in the pipeline have them. */
  readonly sideOutputs?: readonly SideOutput<unknown>[];
  /** Any option under its full key. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Classes whose instances are in records. */
  readonly classes?: readonly (new (...args: never) => unknown)[];
  /**
   * Begins where another harness of the same pipeline was, at this parallelism. Operators find their state by uid, or by their place in the
   * pipeline. The clock goes on from there unless `clock` is given.
   */
  readonly restore?: HarnessSnapshot;
}

/** A pipeline at one moment. Made by `TestHarness.snapshot`. */
export interface HarnessSnapshot {
  /** 1, 2, … */
  readonly checkpoint: number;
  /** What it takes, for those who keep an eye on it. */
  readonly bytes: number;
  /** For the harness. */
  readonly job: LocalSnapshot;
  readonly inputs: readonly { readonly watermark: number; readonly ended: boolean }[];
  readonly clockMs: number;
}

/** A timer that has not fired. */
export interface PendingTimer {
  /** The operator's uid or id. */
  readonly operator: string;
  /** Under which the operator keeps it: process functions have "event" and "processing". */
  readonly name: string;
  readonly key: unknown;
  /** Milliseconds since the epoch. */
  readonly time: number;
}

/** Keyed state of the pipeline, as `TestHarness.state` shows it. */
export interface HarnessState<Data> {
  /** What a key has: a value (undefined: none), the items of a list, the pairs of a map. */
  get(key: unknown): Data;
  /** The keys that have something, in all subtasks. */
  keys(): unknown[];
}

/** What a state holds for a key, as plain data. */
export type DataOf<Descriptor> =
  Descriptor extends ListStateDescriptor<infer T> ? readonly T[]
  : Descriptor extends MapStateDescriptor<infer Key, infer T> ? readonly (readonly [Key, T])[]
  : StateOf<Descriptor> extends { value(): infer T } ? T
  : StateOf<Descriptor> extends { get(): infer T } ? T
  : unknown;

/** How a function of a keyed stream is tested. */
export interface KeyedHarnessOptions<K, T> extends HarnessOptions {
  readonly keyBy: (value: T) => K;
}

/** How a function of two connected keyed streams is tested. */
export interface KeyedCoHarnessOptions<K, A, B> extends HarnessOptions {
  readonly keyBy: readonly [(value: A) => K, (value: B) => K];
}

/** How a function of a stream and of broadcast records is tested. */
export interface BroadcastHarnessOptions extends HarnessOptions {
  /** The states that broadcast records change. */
  readonly broadcast: readonly MapStateDescriptor<never, never>[] | readonly MapStateDescriptor<unknown, unknown>[];
}

type Outputs = Readonly<Record<string, unknown>>;
type Streams<Outs extends Outputs> = { readonly [Name in keyof Outs]: DataStream<Outs[Name]> };
/** Inputs of a harness, by the types of their records. */
type InputsOf<Ins extends readonly unknown[]> = { readonly [Index in keyof Ins]: HarnessInput<Ins[Index]> };

/** Puts a function of a keyed stream and of broadcast records under test: its inputs are the elements and the broadcast records. */
export function testHarness<K, In, B, Out>(
  process: KeyedBroadcastProcessFunction<K, In, B, Out>, options: BroadcastHarnessOptions & KeyedHarnessOptions<K, In>,
): Promise<TestHarness<[In, B], { output: Out }>>;
/** Puts a function of a stream and of broadcast records under test. */
export function testHarness<In, B, Out>(
  process: BroadcastProcessFunction<In, B, Out>, options: BroadcastHarnessOptions,
): Promise<TestHarness<[In, B], { output: Out }>>;
/** Puts a function of a keyed stream under test. @throws UserFunctionError when its `open` throws. */
export function testHarness<K, In, Out>(
  process: KeyedProcessFunction<K, In, Out>, options: KeyedHarnessOptions<K, In>,
): Promise<TestHarness<[In], { output: Out }>>;
/** Puts a process function under test. */
export function testHarness<In, Out>(
  process: ProcessFunction<In, Out>, options?: HarnessOptions,
): Promise<TestHarness<[In], { output: Out }>>;
/** Puts a function of two connected keyed streams under test. */
export function testHarness<A, B, Out, K>(
  process: CoProcessFunction<A, B, Out, K>, options: KeyedCoHarnessOptions<K, A, B>,
): Promise<TestHarness<[A, B], { output: Out }>>;
/** Puts a function of two connected streams under test. */
export function testHarness<A, B, Out>(
  process: CoProcessFunction<A, B, Out>, options?: HarnessOptions,
): Promise<TestHarness<[A, B], { output: Out }>>;
/**
 * Puts a pipeline under test: a function of one stream or several, which returns a stream (the harness's `output`), an object of streams
 * (its `outputs`), or nothing where it ends in a sink.
 * @throws GraphError for a pipeline that can't run; UserFunctionError when an `open` throws.
 */
export function testHarness<In, Out>(
  pipeline: (stream: DataStream<In>) => DataStream<Out>, options?: HarnessOptions,
): Promise<TestHarness<[In], { output: Out }>>;
export function testHarness<A, B, Out>(
  pipeline: (first: DataStream<A>, second: DataStream<B>) => DataStream<Out>, options?: HarnessOptions,
): Promise<TestHarness<[A, B], { output: Out }>>;
export function testHarness<A, B, C, Out>(
  pipeline: (first: DataStream<A>, second: DataStream<B>, third: DataStream<C>) => DataStream<Out>, options?: HarnessOptions,
): Promise<TestHarness<[A, B, C], { output: Out }>>;
export function testHarness<In>(
  pipeline: (stream: DataStream<In>) => DataStreamSink | void, options?: HarnessOptions,
): Promise<TestHarness<[In], Record<never, never>>>;
export function testHarness<In, Outs extends Outputs>(
  pipeline: (stream: DataStream<In>) => Streams<Outs>, options?: HarnessOptions,
): Promise<TestHarness<[In], Outs>>;
export function testHarness<A, B, Outs extends Outputs>(
  pipeline: (first: DataStream<A>, second: DataStream<B>) => Streams<Outs>, options?: HarnessOptions,
): Promise<TestHarness<[A, B], Outs>>;
export async function testHarness(tested: unknown, harnessOptions: HarnessOptions = {}): Promise<TestHarness<never[], Outputs>> {
  const harness = new TestHarness<never[], Outputs>(pipelineOf(tested, harnessOptions), harnessOptions);
  await harness.open();
  return harness;
}

/** A pipeline with ends for the test to hold. Made by `testHarness`. Not thenable; close it, or declare it with `await using`. */
export class TestHarness<Ins extends readonly unknown[], Outs extends Outputs> {
  readonly #job: CompiledJob;
  readonly #options: HarnessOptions;
  readonly #configuration: Configuration;
  #tasks: readonly LocalTask[] = [];
  readonly #running = new Set<LocalTask>();
  readonly #feeds: { readonly name: string; channel: MemoryChannel | undefined }[] = [];
  #inputs: readonly HarnessInput<unknown>[] = [];
  readonly #outputs: Record<string, HarnessOutput<unknown>> = {};
  readonly #outputNames: readonly string[];
  readonly #sideOutputs = new Map<string, HarnessOutput<unknown>>();
  #nowMs: number;
  readonly #checkpoints = new LocalCheckpoints();
  #checkpointCount: number;
  #playedMs = Number.NEGATIVE_INFINITY;
  #endedAtMs: number | undefined;
  #failure: { readonly error: unknown } | undefined;
  #closed = false;
  #woken: (() => void) | undefined;

  /** See `testHarness`. @throws GraphError for a pipeline that can't run. */
  constructor(pipeline: Pipeline, harnessOptions: HarnessOptions) {
    const { parallelism, chaining, restore, sideOutputs = [], classes = [], configuration = {} } = harnessOptions;
    const { clock = restore?.clockMs ?? 0 } = harnessOptions;
    this.#options = harnessOptions;
    this.#checkpointCount = restore?.checkpoint ?? 0;
    this.#nowMs = clock instanceof Date ? clock.getTime() : clock;
    const env = new Environment(nowhere, {
      ...(parallelism === undefined ? {} : { parallelism }),
      ...(chaining === undefined ? {} : { chaining }),
      // What an operator gives is seen at once.
      configuration: { ...configuration, [options.bufferTimeout.key]: 0 },
    });
    env.registerClass(...classes);
    this.#configuration = env.configuration;
    const streams = Array.from({ length: pipeline.inputs }, (_, index) => {
      const node = env.add({ name: `input ${index + 1}`, spec: { kind: FEED_KIND, timestamped: true } as never, parallelismLimit: 1 });
      this.#feeds.push({ name: node.name, channel: undefined });
      return new DataStream<never>(env, [{ from: node, partitioning: undefined, sideOutput: undefined }]);
    });
    const returned = pipeline.build(...streams);
    const outputs = outputsOf(returned);
    this.#outputNames = Object.keys(outputs);
    const graph = env.streamGraph({ name: "test", outputs });
    if (graph.nodes.length === 0) throw new GraphError("The pipeline under test returned nothing and has no sink; return its stream.");
    const inPipeline = graph.nodes.filter((node) => node.spec.kind !== RESULT_KIND);
    const sides = sideOutputs.map((tag): StreamNode =>
      env.add({
        name: `result: ${sideName(tag.id)}`,
        spec: { kind: RESULT_KIND, name: sideName(tag.id) } as never,
        inputs: inPipeline.map((from) => ({ from, input: 0, partitioning: undefined, sideOutput: tag.id })),
      }),
    );
    this.#job = compileJob(streamGraph("test", [...graph.nodes, ...streams.map((it) => it.edges(0)[0]!.from), ...sides]), {
      parallelism: this.#configuration.get(options.parallelism),
      maxParallelism: this.#configuration.get(options.maxParallelism),
      chaining: this.#configuration.get(options.chaining),
      options: this.#configuration.toRecord(),
    });
    const foreign = this.#job.graph.feeds.find((feed) => !this.#feeds.some(({ name }) => name === feed.name));
    if (foreign !== undefined) {
      throw new GraphError(`"${foreign.name}" brings rows from this program; take them as an argument of the pipeline, and push them.`);
    }
  }

  /** For `testHarness`: builds and opens the tasks. */
  async open(): Promise<void> {
    const byHand = (this.#options.classes ?? []).map((constructor) => ({ name: constructor.name, constructor, privateFields: [] }));
    const { graph, tasks } = this.#job;
    const wake = (): void => this.#woken?.();
    const { restore } = this.#options;
    if (restore !== undefined) checkRestorable(restore, graph);
    const wired = await localTasks(
      graph,
      async () => ({ tasks: tasks.map((task, index) => ownInstances(task, graph.vertices[index]!)), classes: byHand }),
      () => undefined,
      (vertex, subtask) => ({
        checkpoints: this.#checkpoints.hostOf(vertex, subtask),
        ...(restore === undefined ? {} : { restored: restoreOf(restore.job, vertex, subtask) }),
        doorbell: { park: () => undefined },
        configuration: this.#configuration,
        poll: () => false,
        wait: async () => undefined,
        wake,
        now: () => this.#nowMs,
        heapLimitBytes: 0,
        heapUsed: () => 0,
        cooperative: true,
      }),
    );
    this.#tasks = wired.tasks;
    for (const it of wired.tasks) this.#running.add(it);
    const host = { run: (): void => this.#run(), check: (): void => this.#check() };
    this.#inputs = this.#feeds.map((feed) => {
      const { channel, classes } = wired.feeds.get(feed.name)!;
      feed.channel = channel;
      return new HarnessInput(feed.name, channel, classes, host);
    });
    for (const [index, input] of restore?.inputs.entries() ?? []) this.#inputs[index]?.restore(input);
    for (const name of this.#outputNames) this.#outputs[name] = outputOf(wired.results, name);
    for (const { id } of this.#options.sideOutputs ?? []) this.#sideOutputs.set(id, outputOf(wired.results, sideName(id)));
    for (const { task } of [...wired.tasks].reverse()) await task.open();
    this.#run();
  }

  // ------------------------------------------------------------------------------------------------------------- inputs

  /** The inputs, in the order of the pipeline's parameters. */
  get inputs(): InputsOf<Ins> {
    return this.#inputs as unknown as InputsOf<Ins>;
  }

  /** A record of the first input; see `HarnessInput.push`. */
  push(value: Ins[0], timestamp?: Timestamp): void {
    this.#first.push(value, timestamp);
  }

  /** Records of the first input, without timestamps. */
  pushAll(values: Iterable<Ins[0]>): void {
    this.#first.pushAll(values);
  }

  /** A watermark of every input that has not ended. */
  watermark(watermark: Timestamp): void {
    for (const input of this.#inputs) if (!input.ended) input.watermark(watermark);
  }

  /** The end of every input that has not ended. */
  end(): void {
    for (const input of this.#inputs) if (!input.ended) input.end();
  }

  /**
   * Plays a diagram per input (see marbles.ts), all in step: at each time at which something happens, a watermark just before it, then
   * the records of that time, then the watermark of that time. An input whose diagram ends is ended then.
   */
  play(...diagrams: { readonly [Index in keyof Ins]: Marbles<Ins[Index]> }): void {
    const played = diagrams as readonly Marbles<unknown>[];
    if (played.length !== this.#inputs.length) {
      throw new GraphError(`play() got ${played.length} diagrams for ${this.#inputs.length} inputs; give one for each.`);
    }
    const times = new Set(played.flatMap(({ records, endMs = [] }) => [...records.map(({ timestamp }) => timestamp)].concat(endMs)));
    for (const time of [...times].sort((a, b) => a - b)) {
      // On a clock of whole milliseconds, what is before this time.
      if (this.#playedMs < time - 1) this.watermark(time - 1);
      for (const [index, { records }] of played.entries()) {
        for (const { value, timestamp } of records) if (timestamp === time) this.#inputs[index]!.push(value, timestamp);
      }
      this.#playedMs = time;
      this.watermark(time);
      for (const [index, { endMs }] of played.entries()) {
        if (endMs !== time) continue;
        this.#endedAtMs = Math.max(time, this.#endedAtMs ?? time);
        this.#inputs[index]!.end();
      }
    }
  }

  /** Event time at which the last diagram that was played ended; undefined when none has. */
  get endedAtMs(): number | undefined {
    return this.#endedAtMs;
  }

  // -------------------------------------------------------------------------------------------------------------- clock

  /** The processing time, milliseconds since the epoch. */
  get now(): number {
    return this.#nowMs;
  }

  /**
   * Moves the clock; timers of processing time that are passed fire at their time, in order.
   * @throws GraphError for a time that has been.
   */
  advanceTo(time: Timestamp): void {
    this.#check();
    const targetMs = time instanceof Date ? time.getTime() : time;
    if (!(targetMs >= this.#nowMs) || targetMs === Number.POSITIVE_INFINITY) {
      throw new GraphError(`advanceTo(${describe(time)}): the clock is at ${this.#nowMs} and goes forward only.`);
    }
    for (;;) {
      let nextMs = Number.POSITIVE_INFINITY;
      for (const { task } of this.#running) {
        const wakeMs = task.nextWakeMs();
        if (wakeMs > this.#nowMs && wakeMs < nextMs) nextMs = wakeMs;
      }
      if (nextMs > targetMs) break;
      this.#nowMs = nextMs;
      this.#run();
    }
    this.#nowMs = targetMs;
    this.#run();
  }

  /** Moves the clock by a duration. */
  advanceBy(duration: Duration): void {
    this.advanceTo(this.#nowMs + durationMs(duration, "advanceBy()"));
  }

  /**
   * Waits, in real time, for what asynchronous functions do.
   * @throws DeadlineError when the condition does not hold within `timeout` (default 5 s).
   */
  async until(condition: () => boolean, { timeout = 5_000 }: { readonly timeout?: Duration } = {}): Promise<void> {
    const deadline = performance.now() + durationMs(timeout, "until(…, { timeout })");
    for (;;) {
      this.#check();
      this.#run();
      if (condition()) return;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new DeadlineError(`until(): the condition did not come true within ${describe(timeout)}.`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, 10));
        this.#woken = () => {
          this.#woken = undefined;
          clearTimeout(timer);
          setImmediate(resolve);
        };
      });
    }
  }

  // ------------------------------------------------------------------------------------------------------------ outputs

  /** The outputs by the names that the pipeline gave them; `output` where it returned one stream. */
  get outputs(): { readonly [Name in keyof Outs]: HarnessOutput<Outs[Name]> } {
    return this.#outputs as never;
  }

  /** The output of a pipeline that returned one stream. */
  get output(): HarnessOutput<Outs["output"]> {
    return this.#main as HarnessOutput<Outs["output"]>;
  }

  /** The records that left since the last call. */
  take(): Outs["output"][] {
    return this.output.take();
  }

  /** The same, with their times. */
  takeRecords(): ReturnType<HarnessOutput<Outs["output"]>["takeRecords"]> {
    return this.output.takeRecords();
  }

  /** A side output. @throws GraphError unless it was named in `sideOutputs`. */
  sideOutput<T>(tag: SideOutput<T>): HarnessOutput<T> {
    const it = this.#sideOutputs.get(tag.id);
    if (it === undefined) {
      throw new GraphError(`The side output ${describe(tag.id)} is not seen; write testHarness(…, { sideOutputs: [tag] }).`);
    }
    return it as HarnessOutput<T>;
  }

  /**
   * A metric by its name, summed up over all subtasks that have it: `numLateRecordsDropped`, or `<operator>.<name>` for one that a function
   * made. @throws GraphError when none has it.
   */
  metric(name: string): number {
    const values = this.#tasks.flatMap(({ metrics }) => readTaskMetrics(metrics)[name] ?? []);
    if (values.length === 0) throw new GraphError(`No metric of a task is named ${describe(name)}.`);
    return values.reduce((sum, value) => sum + value, 0);
  }

  /** All inputs have ended and every task has finished. */
  get finished(): boolean {
    return this.#running.size === 0;
  }

  /** Closes the functions. Nothing more can be pushed; outputs can still be taken. Twice does no harm. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { task } of this.#tasks) await task.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // --------------------------------------------------------------------------------------------------- state, snapshots

  /**
   * Keyed state under a descriptor, of all subtasks.
   * @param operator uid of the operator, or its id; needed where several have a state of that name.
   * @throws GraphError when no operator, or more than one, has declared it so far.
   */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor, operator?: string): HarnessState<DataOf<Descriptor>> {
    const { name } = descriptor;
    const found = this.#tasks.flatMap(({ vertex, subtask, task }) =>
      task.states
        .filter(({ stateId, states }) => (operator === undefined || stateId === operator) && declares(states.keyed, name))
        .map(({ stateId, states }) => ({ vertex, subtask, stateId, keyed: states.keyed })),
    );
    const ids = [...new Set(found.map(({ stateId }) => stateId))];
    if (ids.length !== 1) {
      throw new GraphError(
        ids.length === 0
          ? `No operator of the pipeline${operator === undefined ? "" : ` with the uid ${describe(operator)}`} has declared keyed state named ` +
            `${describe(name)} so far.`
          : `Several operators have keyed state named ${describe(name)}: ${ids.join(", ")}; write state(descriptor, uid).`,
      );
    }
    return {
      get: (key) => {
        const { vertex } = found[0]!;
        const owner = subtaskOfKeyGroup(keyGroupOf(keyToken(key), vertex.maxParallelism), vertex.parallelism, vertex.maxParallelism);
        return (found.find(({ subtask }) => subtask === owner)?.keyed.query(name, key) ?? nothingOf(descriptor)) as DataOf<Descriptor>;
      },
      keys: () => found.flatMap(({ keyed }) => [...keyed.keys(name)]),
    };
  }

  /** The timers that have not fired, by time. */
  timers(): PendingTimer[] {
    return this.#tasks
      .flatMap(({ task }) =>
        task.states.flatMap(({ stateId, states }) =>
          [...states.timerQueues].flatMap(([name, queue]) =>
            [...queue.entries()].map(([time, key]) => ({ operator: stateId, name, key, time })),
          ),
        ),
      )
      .sort((a, b) => a.time - b.time);
  }

  /**
   * Takes a snapshot through the whole pipeline, as a checkpoint does; `testHarness(pipeline, { restore: snapshot })` begins from there.
   * The harness goes on unharmed.
   * @param settings complete: tell sinks and functions that the checkpoint is durable, so that they commit. Default true; otherwise
   * `complete` tells them.
   * @throws CheckpointError when an operator can't be part of a snapshot.
   */
  snapshot({ complete = true }: { readonly complete?: boolean } = {}): HarnessSnapshot {
    this.#check();
    const checkpoint = ++this.#checkpointCount;
    const trigger = {
      checkpoint, timestampMs: this.#nowMs, kind: "savepoint", mode: "exactly-once", unaligned: false, alignedTimeoutMs: 0,
    } as const;
    const { edges } = this.#job.graph;
    const runs = (vertex: string): boolean => [...this.#running].some((it) => it.vertex.id === vertex);
    const isFed = ({ vertex }: LocalTask): boolean =>
      edges.some(({ source, target, feedback }) => target === vertex.id && feedback !== true && runs(source));
    this.#checkpoints.begin(trigger, this.#tasks, this.#running, isFed);
    // State is written in slices of real time, one per step.
    const deadline = performance.now() + SNAPSHOT_TIMEOUT_MS;
    do this.#run();
    while (this.#checkpoints.pending && performance.now() < deadline);
    const { outcome } = this.#checkpoints;
    if (outcome === undefined) {
      this.#checkpoints.abort();
      throw new CheckpointError(
        `The snapshot did not come through within ${SNAPSHOT_TIMEOUT_MS} ms: an operator with asynchronous calls is full; wait for it with until().`,
      );
    }
    if (outcome instanceof CheckpointError) {
      for (const { task } of this.#running) task.checkpointAborted(checkpoint);
      this.#run();
      throw outcome;
    }
    const snapshot: HarnessSnapshot = {
      checkpoint,
      bytes: [...outcome.files.values()].reduce((sum, { length }) => sum + length, 0),
      job: outcome,
      inputs: this.#inputs.map(({ currentWatermark, ended }) => ({ watermark: currentWatermark, ended })),
      clockMs: this.#nowMs,
    };
    if (complete) this.complete(snapshot);
    return snapshot;
  }

  /** Tells sinks and functions that a snapshot is durable: two-phase sinks commit what belongs to it. */
  complete(snapshot: HarnessSnapshot): void {
    this.#check();
    for (const { task } of this.#running) task.checkpointCompleted(snapshot.checkpoint);
    this.#run();
  }

  /** Tells them that it will never be. */
  abort(snapshot: HarnessSnapshot): void {
    this.#check();
    for (const { task } of this.#running) task.checkpointAborted(snapshot.checkpoint);
    this.#run();
  }

  // ---------------------------------------------------------------------------------------------------------- internals

  get #first(): HarnessInput<unknown> {
    return this.#inputs[0] as HarnessInput<unknown>;
  }

  get #main(): HarnessOutput<unknown> {
    const it = this.#outputs["output"];
    if (it !== undefined) return it;
    throw new GraphError(
      this.#outputNames.length === 0
        ? "The pipeline under test returned no stream, so there is nothing to take."
        : `The pipeline under test returned several streams; take from outputs.${this.#outputNames.join(" or outputs.")}.`,
    );
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#closed) throw new GraphError("The harness is closed; make a new one.");
  }

  /** Steps all tasks until none of them has anything to do. */
  #run(): void {
    try {
      for (let worked = true; worked; ) {
        worked = false;
        for (const it of this.#running) {
          const step = it.task.step();
          if (step === "finished") this.#running.delete(it);
          if (step === "finished" || step === "worked") worked = true;
        }
        for (const it of Object.values(this.#outputs)) worked = it.read() || worked;
        for (const it of this.#sideOutputs.values()) worked = it.read() || worked;
        for (const [index, it] of this.#inputs.entries()) {
          worked = it.drain(() => this.#feeds[index]!.channel!.queued) || worked;
        }
      }
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }
}

/** Only an operator that is full holds a barrier back, and it will do so as long as the event loop does not turn. */
const SNAPSHOT_TIMEOUT_MS = 5_000;

/** A function of streams, with their number. */
interface Pipeline {
  readonly inputs: number;
  readonly build: (...streams: readonly DataStream<never>[]) => unknown;
}

const nowhere = {
  connect: async (): Promise<never> => {
    throw new GraphError("A pipeline under test runs in its harness; return its stream instead of subscribing to it.");
  },
  close: async (): Promise<void> => undefined,
};

/** @throws GraphError when the snapshot has state for which the pipeline has no operator. */
function checkRestorable({ job }: HarnessSnapshot, graph: JobGraph): void {
  const known = new Set(graph.vertices.flatMap(({ operators }) => operators.map(({ id, uid }): string => uid ?? id)));
  for (const [operator, subtasks] of job.operators) {
    // What a task knows of its inputs is no state of the user's.
    const states = subtasks.flatMap((it) => it?.sections.filter(({ name }) => !name.startsWith("$")).map(({ name }) => name) ?? []);
    if (known.has(operator) || states.length === 0) continue;
    throw new GraphError(
      `The snapshot has state of an operator ${describe(operator)} (${[...new Set(states)].join(", ")}), which the pipeline does not have; give ` +
        "operators uids, and let both pipelines have the same.",
    );
  }
}

function declares(keyed: KeyedBackend, name: string): boolean {
  try {
    keyed.query(name, 0);
    return true;
  } catch (error) {
    if (error instanceof StateError) return false;
    throw error;
  }
}

/** What a key has that has nothing. */
function nothingOf(descriptor: StateDescriptor): unknown {
  if (descriptor.kind === "value") return descriptor.initial;
  return descriptor.kind === "list" || descriptor.kind === "map" ? [] : undefined;
}

const sideName = (id: string): string => `side output ${id}`;

function outputOf(
  results: Awaited<ReturnType<typeof localTasks>>["results"], name: string,
): HarnessOutput<unknown> {
  const result = results.get(name);
  if (result === undefined) throw new InvariantError(`The test harness has no result ${name}.`);
  return new HarnessOutput(result.channels, result.classes);
}

/** The streams that a pipeline returned, by name. */
function outputsOf(returned: unknown): Record<string, DataStream<unknown>> {
  if (returned === undefined || returned instanceof DataStreamSink) return {};
  if (returned instanceof DataStream) return { output: returned as DataStream<unknown> };
  if (typeof returned === "object" && returned !== null && Object.values(returned).every((it) => it instanceof DataStream)) {
    return returned as Record<string, DataStream<unknown>>;
  }
  throw new GraphError(`The pipeline under test returned ${describe(returned)}; let it return a stream, or an object of streams.`);
}

/** What is tested, as a function of streams. */
function pipelineOf(tested: unknown, harnessOptions: HarnessOptions): Pipeline {
  if (typeof tested === "function") {
    return { inputs: Math.max(1, tested.length), build: tested as Pipeline["build"] };
  }
  const methods = tested as Readonly<Record<"processElement" | "processElement1" | "processBroadcastElement", unknown>> | null | undefined;
  const { keyBy } = harnessOptions as { readonly keyBy?: unknown };
  if (typeof methods?.processBroadcastElement === "function") {
    const { broadcast } = harnessOptions as Partial<BroadcastHarnessOptions>;
    if (!Array.isArray(broadcast) || broadcast.length === 0) {
      throw new GraphError("testHarness() got a function of broadcast records; name their states: testHarness(…, { broadcast: [descriptor] }).");
    }
    return {
      inputs: 2,
      build: (elements, records) => {
        const input = keyBy === undefined ? elements! : elements!.keyBy(keyBy as never);
        return input.connect((records as DataStream<unknown>).broadcast(...(broadcast as [never])) as never).process(tested as never);
      },
    };
  }
  if (typeof methods?.processElement === "function") {
    if (keyBy !== undefined && typeof keyBy !== "function") {
      throw new GraphError(`testHarness(…, { keyBy }) is ${describe(keyBy)}; give a function.`);
    }
    return {
      inputs: 1,
      build: (stream) => {
        const input = keyBy === undefined ? stream! : (stream!.keyBy(keyBy as never) as KeyedStream<never, unknown>);
        return input.process(tested as never);
      },
    };
  }
  if (typeof methods?.processElement1 === "function") {
    const keys = keyBy as readonly [never, never] | undefined;
    return {
      inputs: 2,
      build: (first, second) => {
        const both = first!.connect(second!);
        return (keys === undefined ? both : both.keyBy(keys[0], keys[1])).process(tested as never);
      },
    };
  }
  throw new GraphError(`testHarness() got ${describe(tested)}; it takes a function of streams, or a process function.`);
}
