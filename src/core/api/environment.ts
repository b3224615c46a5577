/**
 * Where a program starts: sources, settings, and the ways to run what was written down (Flink: StreamExecutionEnvironment).
 *
 * A stream is cold. `subscribe`, `for await` and `collect` run a job made of that stream's ancestors and nothing else; `execute` and
 * `submit` run the declared sinks. Two subscriptions are two jobs.
 */
import { type Observable, defer, isObservable, take } from "rxjs";
import type { MalformedPolicy } from "../connectors/file.ts";
import type { LineFormat, RowFormat } from "../connectors/formats/format.ts";
import { RESULT_KIND, FEED_KIND, compileJob } from "../graph/chaining.ts";
import { explain } from "../graph/explain.ts";
import type { CompiledJob } from "../graph/job-graph.ts";
import type { LogLine } from "../graph/job-status.ts";
import { type StreamGraph, type StreamNode, type StreamNodeOptions, streamGraph, streamNode } from "../graph/stream-graph.ts";
import { explainCode } from "../runtime/explain-code.ts";
import type { JobControl, JobExecutor, RowFeed, SavepointStart } from "../runtime/executor.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import { Configuration, options } from "../types/options.ts";
import { tellAwaited } from "./awaited-jobs.ts";
import { type CheckpointingOptions, checkpointingConfiguration, place } from "./checkpointing.ts";
import { DataSet } from "./data-set.ts";
import { DataStream } from "./data-stream.ts";
import { OBSERVABLE_BUFFER_ROWS, iterableFeed, observableFeed } from "./feeds.ts";
import { JobHandle, type JobResult, rowsOf } from "./job-handle.ts";
import { rowsAtMost } from "./sequences.ts";
import { absolute, functionOf, specOf } from "./spec.ts";
import { WorkFolder } from "./work-folder.ts";

/** Settings of a program. */
export interface EnvironmentOptions {
  /** Parallelism of operators that set none. Default: `parallelism.default`, 1. */
  readonly parallelism?: number;
  /** Run operators that can share a thread as one chain. Default true. */
  readonly chaining?: boolean;
  /** How long rows wait for company on their way to another task; 0: not at all. Default 100 ms. */
  readonly bufferTimeout?: Duration;
  /** Any option under its full key, e.g. `{ "heartbeat.timeout": "3 s" }`. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Lines of `print()` and of console calls in functions appear on this program's console while it is attached. Default true. */
  readonly printLogs?: boolean;
}

/** How a job is submitted. */
export interface SubmitJobOptions<
  Outputs extends Readonly<Record<string, DataStream<never> | DataStream<unknown>>> = Record<never, never>,
> {
  readonly name?: string;
  /** The job goes on when this program ends. Needs a cluster that somebody started. */
  readonly detached?: boolean;
  /** Streams whose rows this program takes, besides the declared sinks. */
  readonly outputs?: Outputs;
  /**
   * The job goes on where another run was when this savepoint or retained checkpoint was taken. Operators find their state by `uid`.
   * Relative paths are seen from this program's folder.
   */
  readonly from?: string;
  /** State in it of operators that this job has no more is left behind; without it, that is an error. Default false. */
  readonly allowNonRestoredState?: boolean;
}

/** How many rows are generated, and how fast. */
export interface GenerateOptions {
  /** Number of rows. Default: no end. */
  readonly count?: number;
  /** Over all subtasks. Default: as fast as possible. */
  readonly rowsPerSecond?: number;
}

/** A file, a folder, or several of them. Relative paths are seen from this program's folder. */
export type FilePaths = string | URL | readonly (string | URL)[];

/** How files are read. */
export interface FileOptions {
  /** A line that can't be read fails the job with file and line number, or is left out and counted. Default "fail". */
  readonly malformed?: MalformedPolicy;
}

/** How files of separated values are read. */
export interface CsvOptions extends FileOptions {
  /** Names of the columns; absent: the first row has them. */
  readonly columns?: readonly string[];
  /** Default ",". */
  readonly delimiter?: string;
  /** Numbers, true, false and empty (null) by their look; quoted fields stay text. Default true. */
  readonly infer?: boolean;
}

type RowsOf<Stream> = Stream extends DataStream<infer T> ? T : never;

/** How an environment comes to the executor of its jobs. */
export interface ExecutorSource {
  /** Called for each job; starts or finds what runs jobs. */
  connect(configuration: Configuration): Promise<JobExecutor>;
  /** Why a detached job can't be run there; undefined when it can. */
  readonly noDetached?: string;
  /** Ends what belongs to it. */
  close(): Promise<void>;
}

const DEFAULT_JOB_NAME = "drey job";

export class Environment {
  readonly #executors: ExecutorSource;
  #configuration: Configuration;
  readonly #printLogs: boolean;
  readonly #feeds = new Map<StreamNode, () => RowFeed>();
  readonly #classes = new Set<new (...args: never) => unknown>();
  /** The result sinks of streams by name, so that an operator has the same id in every graph it is asked for. */
  readonly #results = new WeakMap<DataStream<unknown>, ReadonlyMap<string, StreamNode>>();
  /** What has to happen before an operator can run. */
  readonly #preparations = new WeakMap<StreamNode, () => Promise<void>>();
  /** Where jobs of this program leave rows for later ones. */
  readonly workFolder: WorkFolder;
  #sinks: StreamNode[] = [];
  #positions = 0;

  constructor(executors: ExecutorSource, environmentOptions: EnvironmentOptions = {}, configuration: Configuration = Configuration.empty) {
    this.#executors = executors;
    this.#printLogs = environmentOptions.printLogs ?? true;
    this.#configuration = configuration.with(Configuration.of(environmentOptions.configuration ?? {})).with(
      Configuration.of({
        [options.parallelism.key]: environmentOptions.parallelism,
        [options.chaining.key]: environmentOptions.chaining,
        [options.bufferTimeout.key]:
          environmentOptions.bufferTimeout === undefined
            ? undefined
            : durationMs(environmentOptions.bufferTimeout, "environment({ bufferTimeout })"),
      }),
    );
    this.workFolder = new WorkFolder(this.#configuration.get(options.tmpDirectory));
  }

  /** The options in force. */
  get configuration(): Configuration {
    return this.#configuration;
  }

  /**
   * Jobs submitted from now on take checkpoints, and go back to the last one after a failure.
   * @param interval time between two checkpoints: `"10 s"`, `seconds(10)` or milliseconds.
   * @throws ConfigurationError for values that do not fit.
   */
  enableCheckpointing(interval: Duration, settings: CheckpointingOptions = {}): this {
    const { dir } = settings;
    const absoluteDir = dir === undefined ? {} : { dir: place(dir, (path) => absolute(path, "enableCheckpointing({ dir })")) };
    this.#configuration = this.#configuration.with(checkpointingConfiguration(interval, { ...settings, ...absoluteDir }));
    return this;
  }

  // ------------------------------------------------------------------------------------------------------------ sources

  /** A stream of the given rows. They travel with the job. */
  of<T>(...rows: readonly T[]): DataStream<T> {
    return this.from(rows);
  }

  /**
   * A stream of rows that this program has or can make:
   * an array travels with the job; any other iterable or async iterable and an Observable stay here and are read as the job has room;
   * a function that returns an iterable (`function* () { … }`) travels and runs in the source's subtask, if asked at a rate.
   */
  from<T>(
    rows: readonly T[] | Iterable<T> | AsyncIterable<T> | Observable<T> | (() => Iterable<T> | AsyncIterable<T>),
    { rowsPerSecond }: { readonly rowsPerSecond?: number } = {},
  ): DataStream<T> {
    if (typeof rows === "function") {
      const rate = rateOf(rowsPerSecond, "from()");
      return this.#source("iterable", specOf("iterable", { open: rows, rowsPerSecond: rate }), {
        parallelismLimit: 1,
        asynchronous: /^async\b/.test(String(rows)),
      });
    }
    if (rowsPerSecond !== undefined)
      throw new GraphError(
        "from(…, { rowsPerSecond }) needs a function that returns an iterable; the function is what the source can slow down.",
      );
    if (Array.isArray(rows)) return this.#source("collection", specOf("collection", { rows }), { parallelismLimit: 1 });
    if (isObservable(rows)) return this.fromObservable(rows as Observable<T>);
    const iterable = rows as (Iterable<T> & AsyncIterable<T>) | null | undefined;
    if (iterable?.[Symbol.iterator] === undefined && iterable?.[Symbol.asyncIterator] === undefined) {
      throw new GraphError(
        `from() got ${describe(rows)}; it takes an array, an iterable, an Observable, or a function that returns an iterable.`,
      );
    }
    return this.#feed("from", () => iterableFeed(rows as Iterable<T>));
  }

  /**
   * The rows of an Observable of this program. It is subscribed once per job. Since it can't be made to wait, rows that the job has no
   * room for yet are kept here, up to `buffer` (default 1,000,000); one more fails the job.
   */
  fromObservable<T>(rows$: Observable<T>, { buffer = OBSERVABLE_BUFFER_ROWS }: { readonly buffer?: number } = {}): DataStream<T> {
    if (!isObservable(rows$)) throw new GraphError(`fromObservable() got ${describe(rows$)}; it takes an rxjs Observable.`);
    return this.#feed("observable", () => observableFeed(rows$, buffer));
  }

  /** Rows computed from their number: `generate(0)`, `generate(1)`, …, in parallel, at full speed or at a rate. */
  generate<T>(generate: (index: number) => T, { count = Number.POSITIVE_INFINITY, rowsPerSecond }: GenerateOptions = {}): DataStream<T> {
    functionOf(generate, "generate()");
    if (!(count >= 0)) throw new GraphError(`generate(…, { count }) is ${describe(count)}; give a number ≥ 0.`);
    return this.#source("generator", specOf("generator", { generate, count, rowsPerSecond: rateOf(rowsPerSecond, "generate()") }), {});
  }

  /** Rows of files in which each line is a JSON value. `path`: a file, a folder, or several. Files are opened on the TaskManagers. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as JSON.parse: what files hold is known to whoever names it
  fromJsonLines<T = any>(path: FilePaths, { malformed = "fail" }: FileOptions = {}): DataStream<T> {
    return this.#files("jsonLines", path, { lines: "JSON" }, malformed);
  }

  /** The lines of text files, without their ends; empty lines are left out. */
  fromText(path: FilePaths): DataStream<string> {
    return this.#files("text", path, { lines: "text" }, "fail");
  }

  /** Records of CSV files, under the names of the header row or of `columns`. */
  fromCsv<T = Record<string, string | number | boolean | null>>(path: FilePaths, csv: CsvOptions = {}): DataStream<T> {
    const { columns, delimiter = ",", infer = true, malformed = "fail" } = csv;
    if (delimiter.length !== 1) throw new GraphError(`fromCsv(…, { delimiter }) is ${describe(delimiter)}; give one character.`);
    return this.#files(
      "csv",
      path,
      { rows: "CSV", parameters: { delimiter, infer, ...(columns === undefined ? {} : { columns }) } },
      malformed,
    );
  }

  /** Bounded data: rows that travel with the job, or a stream that ends. */
  dataSet<T>(rows: readonly T[] | DataStream<T>): DataSet<T> {
    return new DataSet<T>(rows instanceof DataStream ? rows : this.from(rows));
  }

  // ---------------------------------------------------------------------------------------------------------- execution

  /**
   * Runs the declared sinks and waits for the end.
   * @throws GraphError without sinks; JobFailedError, JobCanceledError, CaptureError, ConnectionError.
   */
  async execute(name: string = DEFAULT_JOB_NAME): Promise<JobResult> {
    const handle = await this.submit(name);
    return handle.result();
  }

  /**
   * Starts the declared sinks, and the streams named in `outputs`, as one job; resolves when the job is accepted.
   * `submit("name", { from })` is short for `submit({ name: "name", from })`.
   */
  async submit<Outputs extends Readonly<Record<string, DataStream<never> | DataStream<unknown>>> = Record<never, never>>(
    nameOrOptions: string | SubmitJobOptions<Outputs> = {},
    more: SubmitJobOptions<Outputs> = {},
  ): Promise<JobHandle<{ readonly [Name in keyof Outputs]: RowsOf<Outputs[Name]> }>> {
    const {
      name = DEFAULT_JOB_NAME,
      detached = false,
      outputs = {} as Outputs,
      from,
      allowNonRestoredState = false,
    } = typeof nameOrOptions === "string" ? { ...more, name: nameOrOptions } : nameOrOptions;
    const sinks = this.#sinksWith(outputs);
    if (sinks.length === 0) {
      throw new GraphError(
        "There is nothing to run: no sink was declared. End a stream with sinkTo(…) or print(), name it in submit({ outputs }), or subscribe to it.",
      );
    }
    const savepoint = from === undefined ? undefined : place(from, (path) => absolute(path, "submit({ from })"));
    const control = await this.#run(name, sinks, detached, savepoint === undefined ? undefined : { savepoint, allowNonRestoredState });
    this.#sinks = [];
    return new JobHandle(control, Object.keys(outputs));
  }

  /** The program as it stands: the declared sinks, and streams named in `outputs`, with all they need. To be asked for before `submit`. */
  streamGraph(
    nameOrOptions:
      | string
      | Pick<SubmitJobOptions<Readonly<Record<string, DataStream<never> | DataStream<unknown>>>>, "name" | "outputs"> = {},
  ): StreamGraph {
    const { name = DEFAULT_JOB_NAME, outputs = {} } = typeof nameOrOptions === "string" ? { name: nameOrOptions } : nameOrOptions;
    return streamGraph(name, this.#sinksWith(outputs));
  }

  /** The declared sinks as vertices and edges, with their functions. */
  compile(name: string = DEFAULT_JOB_NAME): CompiledJob {
    return this.#compile(name, this.#sinks);
  }

  /**
   * The job graph of the declared sinks as text, for people; see `explain` of drey/core for DOT and JSON. With `code`, also the function
   * that each task's operators became.
   */
  explain({ code = false }: { readonly code?: boolean } = {}): string {
    const job = this.compile();
    return code ? `${explain(job.graph)}\n${explainCode(job)}` : explain(job.graph);
  }

  /** Classes of records that no function of a job mentions, so that their instances can travel. */
  registerClass(...classes: readonly (new (...args: never) => unknown)[]): this {
    for (const it of classes) this.#classes.add(it);
    return this;
  }

  /** Ends what belongs to this environment: its jobs, what they left on disk for each other, and a local cluster that it started. */
  async close(): Promise<void> {
    await this.#executors.close();
    this.workFolder.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ------------------------------------------------------------------------------------ for streams; not for programs

  /** A new operator. */
  add(nodeOptions: StreamNodeOptions): StreamNode {
    return streamNode(++this.#positions, nodeOptions);
  }

  declareSink(node: StreamNode): void {
    this.#sinks.push(node);
  }

  /** `prepare` is called and waited for before a job that reads this stream is submitted. */
  prepare(stream: DataStream<never> | DataStream<unknown>, prepare: () => Promise<void>): void {
    for (const { from } of (stream as DataStream<unknown>).edges(0)) this.#preparations.set(from, prepare);
  }

  /**
   * Runs these sinks to their end, as a job of their own, while the declared ones wait.
   * @param outputs streams whose rows are wanted: few.
   */
  async runAhead(
    name: string,
    sinks: readonly StreamNode[],
    outputs: Readonly<Record<string, DataStream<unknown>>>,
  ): Promise<Record<string, unknown[]>> {
    const results = Object.entries(outputs).map(([output, stream]) => this.#resultNode(stream, output));
    const control = await this.#run(name, [...sinks, ...results], false);
    const handle = new JobHandle(control);
    const read = async (output: string): Promise<[string, unknown[]]> => {
      const reader = await control.openResult(output);
      const rows: unknown[] = [];
      for (let next = await reader.next(); next !== null; next = await reader.next()) rows.push(...next);
      return [output, rows];
    };
    const [rows] = await Promise.all([Promise.all(Object.keys(outputs).map(read)), handle.result()]);
    return Object.fromEntries(rows);
  }

  /** A job per subscription. */
  observe<T>(stream: DataStream<T>): Observable<T> {
    const node = this.#resultNode(stream, RESULT);
    const rows$ = defer(() => {
      let control: JobControl | undefined;
      return rowsOf<T>(
        async () => {
          control = await this.#run(DEFAULT_JOB_NAME, [node], false);
          return control.openResult(RESULT);
        },
        (row) => row as T,
        () => void control?.cancel().catch(() => undefined),
      );
    });
    const most = rowsAtMost(node);
    return most === undefined ? rows$ : rows$.pipe(take(most));
  }

  /** A job per iteration. */
  async *iterate<T>(stream: DataStream<T>): AsyncGenerator<T, undefined> {
    const node = this.#resultNode(stream, RESULT);
    const control = await this.#run(DEFAULT_JOB_NAME, [node], false);
    const reader = await control.openResult(RESULT);
    let over = false;
    let left = rowsAtMost(node) ?? Number.POSITIVE_INFINITY;
    try {
      while (left > 0 && !over) {
        const rows = await reader.next();
        over = rows === null;
        for (const row of rows ?? []) {
          if (left-- === 0) break;
          yield row as T;
        }
      }
    } finally {
      reader.close();
      // A job whose last row was read ends by itself.
      if (!over) await control.cancel();
    }
    return undefined;
  }

  async #run(name: string, sinks: readonly StreamNode[], detached: boolean, from?: SavepointStart): Promise<JobControl> {
    if (detached && this.#executors.noDetached !== undefined) throw new GraphError(this.#executors.noDetached);
    for (const node of streamGraph(name, sinks).nodes) await this.#preparations.get(node)?.();
    const job = this.#compile(name, sinks);
    const feeds = new Map<string, RowFeed>();
    const feedNodes = streamGraph(name, sinks).nodes.filter((node) => this.#feeds.has(node));
    for (const node of feedNodes) feeds.set(node.name, (this.#feeds.get(node) as () => RowFeed)());
    if (detached && feeds.size > 0) {
      throw new GraphError(
        `"${[...feeds.keys()][0]}" brings rows from this program, so the job can't be detached; use a source that runs on the cluster ` +
          `(an array, a function, generate(), files), or submit attached.`,
      );
    }
    const executor = await this.#executors.connect(this.#configuration);
    const control = await executor.submit(job, {
      attached: !detached,
      feeds,
      classes: [...this.#classes],
      ...(from === undefined ? {} : { from }),
    });
    if (!detached) tellAwaited(control);
    if (!detached && this.#printLogs) control.watch({ log: printLines });
    return control;
  }

  #compile(name: string, sinks: readonly StreamNode[]): CompiledJob {
    const graph = streamGraph(name, sinks);
    // Operators that see all their input before they hand anything on have nothing that a checkpoint could hold.
    const bounded = graph.nodes.some((node) => (node.spec as { readonly bounded?: boolean }).bounded === true);
    const configuration = bounded
      ? this.#configuration.with(Configuration.of({ [options.checkpointInterval.key]: 0 }))
      : this.#configuration;
    return compileJob(graph, {
      parallelism: configuration.get(options.parallelism),
      maxParallelism: configuration.get(options.maxParallelism),
      chaining: configuration.get(options.chaining),
      options: configuration.toRecord(),
    });
  }

  #sinksWith(outputs: Readonly<Record<string, DataStream<never> | DataStream<unknown>>>): StreamNode[] {
    return [...this.#sinks, ...Object.entries(outputs).map(([name, stream]) => this.#resultNode(stream as DataStream<unknown>, name))];
  }

  #resultNode(stream: DataStream<unknown>, name: string): StreamNode {
    const known = this.#results.get(stream)?.get(name);
    if (known !== undefined) return known;
    if (!(stream instanceof DataStream))
      throw new GraphError(`The output ${describe(name)} is ${describe(stream)}; name streams of this environment.`);
    if (stream.environment !== this) throw new GraphError(`The output ${describe(name)} is a stream of another environment.`);
    const node = this.add({ name: `result: ${name}`, spec: specOf(RESULT_KIND, { name }), inputs: stream.edges(0) });
    this.#results.set(stream, new Map([...(this.#results.get(stream) ?? []), [name, node]]));
    return node;
  }

  #feed<T>(name: string, open: () => RowFeed): DataStream<T> {
    const node = this.add({ name: `Feed: ${name}`, spec: specOf(FEED_KIND, {}), parallelismLimit: 1 });
    node.name = `Feed: ${name} ${node.id}`;
    this.#feeds.set(node, open);
    return new DataStream<T>(this, [{ from: node, partitioning: undefined, sideOutput: undefined }]);
  }

  #files<T>(name: string, path: FilePaths, format: LineFormat | RowFormat, malformed: MalformedPolicy): DataStream<T> {
    const paths = (Array.isArray(path) ? (path as readonly (string | URL)[]) : [path as string | URL]).map((it) =>
      absolute(it, `${name}()`),
    );
    return this.#source(name, specOf("files", { paths, format, malformed }), {});
  }

  #source<T>(name: string, spec: StreamNodeOptions["spec"], extra: Partial<StreamNodeOptions>): DataStream<T> {
    const node = this.add({ name: `Source: ${name}`, spec, ...extra });
    return new DataStream<T>(this, [{ from: node, partitioning: undefined, sideOutput: undefined }]);
  }
}

const RESULT = "result";

function rateOf(rowsPerSecond: number | undefined, where: string): number {
  const rate = rowsPerSecond ?? Number.POSITIVE_INFINITY;
  if (!(rate > 0)) throw new GraphError(`${where} has { rowsPerSecond: ${describe(rowsPerSecond)} }; give a number > 0.`);
  return rate;
}

function printLines(lines: readonly LogLine[]): void {
  for (const { level, text } of lines) console[level](text);
}
