/**
 * The front door `drey`: all of core by name, with environments that find or start a cluster; and clusters themselves.
 */
import { Environment, type EnvironmentOptions } from "../core/api/environment.ts";
import { Configuration, options as optionsByName } from "../core/types/options.ts";
import { ClusterClient, type ClusterClientOptions } from "./client/cluster-client.ts";
import { runContext } from "./client/run-context.ts";
import { installCellTracker } from "./code/notebook-cells.ts";
import { loadConfiguration } from "./configuration-file.ts";
import type { LocalCluster } from "./local/mini-cluster.ts";
import { ProgramCluster } from "./local/program-cluster.ts";

export {
  aggregate, allOptions, average, CaptureError, compileJob, Configuration, ConfigurationError, ConnectedStreams, ConnectionError,
  CoProcessFunction, count, DataStream, DataStreamSink, days, DeadlineError, discard, DreyError, durationMs, Environment, explain, filter,
  flatMap, formatDuration, fromWire, GraphError, hours, InvariantError, isFinal, isTaskFinal, JobCanceledError, JobFailedError, JobHandle,
  jsonLines, keyBy, KeyedProcessFunction, KeyedStream, listState, localEnvironment, LocalExecutor, map, mapState, milliseconds, minutes,
  NotFoundError, options, OutOfMemoryError, process, ProcessFunction, ProtocolError, RecordError, reduce, rx, seconds, session, sideOutput,
  sliding, slotsNeeded, streamGraph, sum, TaskManagerLostError, taskMetrics, textLines, toWire, tumbling, union, UserFunctionError,
  valueState, window, WindowedStream, withTimestamps,
  dedupe, distinct, distinctUntilChanged, mapAsync, max, maxBy, min, minBy, pairwise, scan, skip, skipWhile, startWith, take, takeUntil,
  takeWhile, throttle, topN, BroadcastConnectedStream,
  BroadcastProcessFunction, BroadcastStream, IntervalJoin, IntervalJoined, JoinedKeys, JoinedStreams, JoinedWindows,
  KeyedBroadcastProcessFunction, ProcessJoinFunction, coGroup, fullJoin, intervalJoin,
  join, leftJoin, rightJoin,
  aggregatingState, DataSet, GroupedDataSet, reducingState, StateError, twoPhaseSink, AsyncFunction, top,
} from "../core/index.ts";
export {
  allowedLateness, batch, countWindow, countWindowAll, evictor, lateTo, processWindow, reduceWindow, trigger, windowAll,
  withIngestionTime,
  continuousEventTime, continuousProcessingTime, countEvictor, countTrigger, cumulative, customWindows, delta, deltaEvictor,
  endOfStreamTrigger, eventTimeTrigger, globalWindow, neverTrigger, processingTimeTrigger, processingTimeout, ProcessWindowFunction,
  purging, timeEvictor,
} from "../core/index.ts";
export type {
  BroadcastContext, BroadcastTimerContext, JoinContext, JoinKind, KeyedBroadcastContext, ReadOnlyBroadcastContext, ReadOnlyMapState, Sided,
  BatchSize, WindowFunction,
  CumulativeWindows, CustomEvictor, CustomTrigger, CustomWindows, DynamicSessionWindows, Evictor, EvictorContext, GlobalWindows,
  ProcessWindowContext, TimestampedValue, WatermarkGenerator, WatermarkOutput, Trigger, TriggerContext, TriggerResult, WindowOptions,
  AggregatingState, AggregatingStateDescriptor, Aggregation, DeltaStep, IterationStep, JoinOptions, KeyedCoGroup, KeyedJoin, KeyOf, Order,
  CheckpointedFunction, ReducingState, ReducingStateDescriptor, SinkContext, StateOptions, TimeToLive, TwoPhaseWriter, VariablesOf,
} from "../core/index.ts";
export type {
  AsyncContext, Counter, FieldOf, Gauge, Histogram, IterateOptions, LoopEnds, MapAsyncOptions, Meter, MetricGroup, RetryOptions, RxContext,
  RxOptions, RxProject,
  AggregateFunction, AlignedWindows, Collector, CompiledJob, CsvOptions, Duration, EnvironmentOptions, ErrorDomain, ExecutionInfo,
  ExecutorSource, FileOptions, FilePaths, GenerateOptions, JobControl, JobDetails, JobEdge, JobExecutor, JobGraph, JobListener, JobResult,
  JobState, JobSummary, JobVertex, ListState, ListStateDescriptor, LocalExecutorOptions, LogLine, MapState, MapStateDescriptor,
  MarkedRow,
  MetricInfo, MetricsReport,
  OperatorList, OperatorSpec, Option, OptionValue, Partitioning, ProcessContext, ResultReader, RowFeed, RuntimeContext,
  SessionWindows, ShippedJob, SideOutput, Sink, StateDescriptor, StateOf, StreamGraph, StreamNode, SubmitJobOptions, SubmitOptions,
  SubtaskMetrics, TaskSpec, TaskState, TimerContext, TimerService, Timestamp, TimestampOptions, TimeWindow, ValueState,
  ValueStateDescriptor, WatermarkStrategy, WindowContext, WindowDescription, WireError,
} from "../core/index.ts";
export type { FrameKind, ProfileFrame, ProfileOptions, TaskProfile } from "../core/index.ts";
export { CheckpointError, CorruptCheckpointError } from "../core/index.ts";
export type {
  CheckpointingOptions, CheckpointInfo, CheckpointOverview, CheckpointState, CheckpointSubtaskInfo, SavepointStart, SnapshotControl,
} from "../core/index.ts";
export { ClusterClient } from "./client/cluster-client.ts";
export type { ClusterClientOptions, ClusterListener } from "./client/cluster-client.ts";
export { Savepoint, openSavepoint } from "./client/savepoint.ts";
export type { KeyedEntry, PlainStateOf, SavepointOperator, SavepointState, SavepointTimer, SavepointWindow } from "./client/savepoint.ts";
export { SavepointWriter, changeSavepoint, newSavepoint } from "./client/savepoint-writer.ts";
export type { NewSavepointOptions, WrittenStateOf } from "./client/savepoint-writer.ts";
export type { BootstrapContext, BootstrapFunction } from "../core/index.ts";
export { LocalCluster } from "./local/mini-cluster.ts";
export type { LocalClusterOptions } from "./local/mini-cluster.ts";
export type { ClusterOverview, SlotInfo, TaskManagerInfo } from "./protocol/cluster-overview.ts";

/** Settings of a program and of the cluster that it runs on. */
export interface ProgramOptions extends EnvironmentOptions {
  /** The cluster to run on: one that this program has started or connected to, or a JobManager's address. */
  readonly cluster?: LocalCluster | ClusterClient | string;
  /** Start a local cluster of so many TaskManagers, even if one runs in the background. */
  readonly taskManagers?: number;
  /** Slots of each TaskManager of the local cluster. */
  readonly slots?: number;
}

/**
 * A new program. Its jobs run on the cluster that is named here, or that `drey run` is connected to, or that DREY_JOBMANAGER or
 * `jobmanager.rpc.address` names, or that runs in the background (`drey cluster start`); where none does, a local cluster is started with
 * the first job, real processes that end with this one.
 *
 * Options of the engine come from the configuration file, then environment variables, then `options.configuration`; later ones win.
 * @throws ConfigurationError when one of them says something that can't be.
 */
export function environment({ cluster, taskManagers, slots, ...options }: ProgramOptions = {}): Environment {
  // In a notebook under tslab errors of functions then name the cell and its line, from the next cell on.
  installCellTracker();
  const context = runContext();
  const configuration = context === undefined ? loadConfiguration() : Configuration.of(context.options, "drey run");
  const program = new ProgramCluster({
    ...(cluster === undefined ? {} : { cluster }),
    local: { ...(taskManagers === undefined ? {} : { taskManagers }), ...(slots === undefined ? {} : { slots }) },
  });
  return new Environment(program, options, configuration);
}

/**
 * Connects to a cluster, to see and steer its jobs, and to run programs on it: `environment({ cluster: await connect(address) })`.
 * @param address of the JobManager, or of several, separated by commas, of which one leads. Without one the leader is looked up where
 * `high-availability.*` say that it publishes its address.
 * @throws ConnectionError when no JobManager answers there.
 */
export function connect(address = "", options: ClusterClientOptions = {}): Promise<ClusterClient> {
  const configuration = options.configuration ?? loadConfiguration();
  return ClusterClient.connect(address || configuration.get(optionsByName.jobManagerAddress), { ...options, configuration });
}
