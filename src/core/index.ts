/** The front door of core: everything the author of a pipeline needs, without sockets, threads or processes. */
import type { CompiledJob } from "./graph/job-graph.ts";
import { Environment, type EnvironmentOptions } from "./api/environment.ts";
import { LocalExecutor } from "./runtime/local.ts";

export type { BootstrapContext, BootstrapFunction } from "./connectors/savepoint-sink.ts";
export type { CompiledJob };
export { Environment } from "./api/environment.ts";
export type {
  CsvOptions,
  EnvironmentOptions,
  ExecutorSource,
  FileOptions,
  FilePaths,
  GenerateOptions,
  SubmitJobOptions,
} from "./api/environment.ts";
export type { CheckpointingOptions } from "./api/checkpointing.ts";
export { BroadcastConnectedStream, BroadcastStream } from "./api/broadcast.ts";
export type { IterateOptions, LoopEnds } from "./api/iterate.ts";
export { IntervalJoin, IntervalJoined } from "./api/interval-join.ts";
export { JoinedKeys, JoinedStreams, JoinedWindows } from "./api/joined-streams.ts";
export type { JoinKind, Sided } from "./api/joined-streams.ts";
export { BroadcastProcessFunction, KeyedBroadcastProcessFunction } from "./operators/broadcast-process.ts";
export type {
  BroadcastContext, BroadcastTimerContext, KeyedBroadcastContext, ReadOnlyBroadcastContext, ReadOnlyMapState,
} from "./operators/broadcast-process.ts";
export { ProcessJoinFunction } from "./operators/interval-join.ts";
export type { JoinContext } from "./operators/interval-join.ts";
export { ConnectedStreams } from "./api/connected-streams.ts";
export { DataSet, GroupedDataSet } from "./api/data-set.ts";
export type { KeyOf, Order, VariablesOf } from "./api/data-set.ts";
export type { JoinOptions, KeyedCoGroup, KeyedJoin } from "./api/joined-data-sets.ts";
export type { DeltaStep, IterationStep } from "./api/loops.ts";
export { DataStream, KeyedStream } from "./api/data-stream.ts";
export type { TimestampOptions } from "./api/timestamps.ts";
export type { BatchSize } from "./api/batch.ts";
export {
  allowedLateness, batch, countWindow, countWindowAll, evictor, lateTo, processWindow, reduceWindow, trigger, windowAll, withIngestionTime,
} from "./api/pipe.ts";
export type { WindowFunction } from "./api/windowed-stream.ts";
export { WindowedStream } from "./api/windowed-stream.ts";
export { DataStreamSink } from "./api/operator-settings.ts";
export { JobHandle } from "./api/job-handle.ts";
export type { JobResult, MarkedRow, ProfileOptions } from "./api/job-handle.ts";
export { discard, jsonLines, textLines, twoPhaseSink } from "./api/sinks.ts";
export type { SinkContext, TwoPhaseWriter } from "./connectors/two-phase.ts";
export type { Sink } from "./api/sinks.ts";
export { aggregate, filter, flatMap, keyBy, map, process, reduce, union, window, withTimestamps } from "./api/pipe.ts";
export { coGroup, fullJoin, intervalJoin, join, leftJoin, rightJoin } from "./api/pipe.ts";
export {
  dedupe, distinct, distinctUntilChanged, max, maxBy, min, minBy, pairwise, scan, skip, skipWhile, startWith, take, takeUntil, takeWhile,
  throttle, topN,
} from "./api/pipe.ts";
export { mapAsync } from "./api/async.ts";
export { rx } from "./api/rx.ts";
export type { RxOptions } from "./api/rx.ts";
export type { RxContext, RxProject } from "./operators/rx.ts";
export type { MapAsyncOptions, RetryOptions } from "./api/async.ts";
export type { FieldOf } from "./api/sequences.ts";
export { AsyncFunction } from "./operators/map-async.ts";
export type { AsyncContext } from "./operators/map-async.ts";
export { CoProcessFunction, KeyedProcessFunction, ProcessFunction, sideOutput } from "./operators/function.ts";
export type { Counter, Gauge, Histogram, Meter, MetricGroup } from "./operators/function.ts";
export type {
  CheckpointedFunction, Collector, ProcessContext, RuntimeContext, SideOutput, TimerContext, TimerService,
} from "./operators/function.ts";
export type { OperatorList } from "./state/operator-states.ts";
export { average, count, sum } from "./operators/aggregates.ts";
export { top } from "./operators/top-n.ts";
export type { AggregateFunction } from "./operators/aggregates.ts";
export type { WindowContext } from "./operators/window.ts";
export { aggregatingState, listState, mapState, reducingState, valueState } from "./state/descriptors.ts";
export type {
  AggregatingState,
  AggregatingStateDescriptor,
  Aggregation,
  ListState,
  ListStateDescriptor,
  MapState,
  MapStateDescriptor,
  ReducingState,
  ReducingStateDescriptor,
  StateDescriptor,
  StateOf,
  StateOptions,
  TimeToLive,
  ValueState,
  ValueStateDescriptor,
} from "./state/descriptors.ts";
export { cumulative, customWindows, globalWindow, session, sliding, tumbling } from "./time/window.ts";
export type {
  AlignedWindows,
  CumulativeWindows,
  CustomWindows,
  DynamicSessionWindows,
  GlobalWindows,
  SessionWindows,
  TimeWindow,
  WindowDescription,
  WindowOptions,
} from "./time/window.ts";
export {
  continuousEventTime,
  continuousProcessingTime,
  countTrigger,
  delta,
  endOfStreamTrigger,
  eventTimeTrigger,
  neverTrigger,
  processingTimeTrigger,
  processingTimeout,
  purging,
} from "./operators/trigger.ts";
export type { CustomTrigger, Trigger, TriggerContext, TriggerResult } from "./operators/trigger.ts";
export { countEvictor, deltaEvictor, timeEvictor } from "./operators/evictor.ts";
export type { CustomEvictor, Evictor, EvictorContext, TimestampedValue } from "./operators/evictor.ts";
export { ProcessWindowFunction } from "./operators/window-function.ts";
export type { ProcessWindowContext } from "./operators/window-function.ts";
export type { Timestamp, WatermarkGenerator, WatermarkOutput, WatermarkStrategy } from "./time/watermark.ts";
export { days, durationMs, formatDuration, hours, milliseconds, minutes, seconds } from "./types/duration.ts";
export type { Duration } from "./types/duration.ts";
export {
  CaptureError,
  CheckpointError,
  ConfigurationError,
  ConnectionError,
  CorruptCheckpointError,
  DeadlineError,
  DreyError,
  GraphError,
  InvariantError,
  JobCanceledError,
  JobFailedError,
  NotFoundError,
  OutOfMemoryError,
  ProtocolError,
  RecordError,
  StateError,
  TaskManagerLostError,
  UserFunctionError,
  fromWire,
  toWire,
} from "./types/errors.ts";
export type { ErrorDomain, WireError } from "./types/errors.ts";
export { Configuration, allOptions, options } from "./types/options.ts";
export type { Option, OptionValue } from "./types/options.ts";
export { compileJob } from "./graph/chaining.ts";
export { explain } from "./graph/explain.ts";
export { streamGraph } from "./graph/stream-graph.ts";
export type { OperatorSpec, Partitioning, StreamGraph, StreamNode } from "./graph/stream-graph.ts";
export { slotsNeeded } from "./graph/job-graph.ts";
export type { JobEdge, JobGraph, JobVertex, TaskSpec } from "./graph/job-graph.ts";
export { isFinal, isTaskFinal } from "./graph/job-status.ts";
export type {
  CheckpointInfo,
  CheckpointOverview,
  CheckpointState,
  CheckpointSubtaskInfo,
  ExecutionInfo,
  JobDetails,
  JobState,
  JobSummary,
  LogLine,
  MetricsReport,
  SubtaskMetrics,
  TaskState,
} from "./graph/job-status.ts";
export type { FrameKind, ProfileFrame, TaskProfile } from "./graph/task-profile.ts";
export type {
  JobControl, JobExecutor, JobListener, ResultReader, RowFeed, SavepointStart, SnapshotControl, SubmitOptions,
} from "./runtime/executor.ts";
export { LocalExecutor } from "./runtime/local.ts";
export type { LocalExecutorOptions } from "./runtime/local.ts";
export type { ShippedJob } from "./runtime/local-tasks.ts";
export { taskMetrics } from "./runtime/metrics.ts";
export type { MetricInfo } from "./runtime/metrics.ts";

/** An environment that runs its jobs in this thread, without a cluster. `environment` of the door `drey` starts or finds one. */
export function localEnvironment(options?: EnvironmentOptions): Environment {
  const executor = new LocalExecutor();
  return new Environment(
    {
      connect: async () => executor,
      noDetached:
        "A job in this thread ends with this program, so it can't be detached; start a cluster with `drey cluster start` and connect to it.",
      close: () => executor.close(),
    },
    options,
  );
}
