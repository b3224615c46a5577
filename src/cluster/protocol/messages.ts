/**
 * The only words that the processes of a cluster exchange: three conversations, each a table of methods with the shape of what is
 * asked and answered. Whatever arrives is checked against its shape before a handler sees it.
 *
 *     client  ── clientConversation ──▶  JobManager  ◀── registrationConversation ──  TaskManager
 *             ◀── clientEvents ────────              ── taskManagerConversation ───▶
 *
 * Rows do not travel here, with two exceptions that pass through the JobManager under credits: results on their way to clients and
 * rows that a client feeds in. Their segments are attachments, which nobody on the way reads.
 */
import * as v from "valibot";
import type { JobEdge, JobFeed, JobGraph, JobOperator, JobResult, JobVertex } from "../../core/graph/job-graph.ts";
import type { WatermarkLimit } from "../../core/graph/watermark-alignment.ts";
import {
  type CheckpointOverview,
  type ExecutionInfo,
  JOB_STATES,
  type JobDetails,
  type JobState,
  type JobSummary,
  type LogLine,
  type MetricsReport,
  type SubtaskMetrics,
  TASK_STATES,
  type TaskState,
} from "../../core/graph/job-status.ts";
import type { PartitioningKind } from "../../core/graph/stream-graph.ts";
import { FRAME_KINDS, LONGEST_PROFILE_MS, MOST_FRAMES, type TaskProfile } from "../../core/graph/task-profile.ts";
import type { WireError } from "../../core/types/errors.ts";
import type { EdgeId, JobId, OperatorId, TaskManagerId, VertexId } from "../../core/types/ids.ts";
import {
  type CheckpointAck,
  type CheckpointDeployment,
  type CheckpointTrigger,
  type RestoreDeployment,
  checkpointAck,
  checkpointDeployment,
  checkpointOverview,
  checkpointTrigger,
  location,
  restoreDeployment,
} from "./checkpoint-messages.ts";
import type { Call, Event } from "./conversation.ts";
import type { ClusterOverview, SlotInfo } from "./cluster-overview.ts";

// --------------------------------------------------------------------------------------------------------- what is said

/** Which execution of which subtask of which job. */
export interface ExecutionAddress {
  readonly job: JobId;
  readonly vertex: VertexId;
  readonly subtask: number;
  readonly attempt: number;
}

/** A TaskManager introduces itself. */
export interface Registration {
  readonly taskManager: TaskManagerId;
  readonly slots: number;
  /** Where other TaskManagers send records to. */
  readonly dataAddress: string;
  readonly host: string;
  readonly pid: number;
  /** Heap limit of one slot, bytes. */
  readonly slotHeapBytes: number;
  readonly version: string;
}

/** One channel of an edge, seen from one of its ends. */
export interface ChannelDeployment {
  /** Unique in the cluster, and different for each attempt. */
  readonly channel: string;
  /** The subtask at the other end. */
  readonly subtask: number;
  /** The TaskManager of the other end; absent when it is this one. */
  readonly peer?: { readonly taskManager: TaskManagerId; readonly address: string };
}

/** One edge of a subtask with its channels. */
export interface EdgeDeployment {
  readonly edge: EdgeId;
  readonly input: 0 | 1;
  readonly channels: readonly ChannelDeployment[];
}

/** Everything a TaskManager needs to run one subtask. */
export interface TaskDeployment {
  readonly execution: ExecutionAddress;
  readonly jobName: string;
  readonly vertex: JobVertex;
  /** Position of the vertex in the job graph: the task spec's position in the code. */
  readonly vertexIndex: number;
  /** Slot of the TaskManager. Subtasks of one job that share a slot have the same number. */
  readonly slot: number;
  /** SHA-256 of the job's code. */
  readonly code: string;
  readonly inputs: readonly EdgeDeployment[];
  readonly outputs: readonly EdgeDeployment[];
  readonly results: readonly JobResult[];
  readonly feeds: readonly JobFeed[];
  /** Job options, as in JobGraph. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  /** Absent: the job has no checkpoints. */
  readonly checkpoints?: CheckpointDeployment;
  /** Absent: it begins with nothing. */
  readonly restore?: RestoreDeployment;
}

/** Where a job begins that goes on from another run. */
export interface SubmittedFrom {
  /** Folder of a savepoint or of a retained checkpoint. */
  readonly savepoint: string;
  /** State of operators that the job no longer has is left behind; else it is an error. */
  readonly allowNonRestoredState: boolean;
}

/** A subtask changed its state. */
export interface TaskStateChange {
  readonly execution: ExecutionAddress;
  readonly state: TaskState;
  readonly atMs: number;
  readonly error?: WireError;
}

/** Segments of one channel between a task and a client. `sequence` is the number of the first attached segment, from 0. */
export interface ChannelSegments {
  readonly job: JobId;
  /** Name of the result or feed. */
  readonly name: string;
  readonly subtask: number;
  readonly attempt: number;
  readonly sequence: number;
}

/** How many segments of a channel may have been sent in all since it was opened (cumulative, so that a lost grant heals). */
export interface ChannelGrant {
  readonly job: JobId;
  readonly name: string;
  readonly subtask: number;
  readonly attempt: number;
  readonly granted: number;
}

/** A grant for a feed, as the client that sends its rows hears it. */
export interface FeedGrant extends ChannelGrant {
  /** Number of the row that this attempt begins with, counted since the job began. Default: 0. */
  readonly from?: number;
  /** So many rows are covered by a checkpoint and will not be asked for again. Absent: the job takes no checkpoints by itself. */
  readonly covered?: number;
}

/** What clients can be told about a job as it happens. */
export type JobTopic = "status" | "metrics" | "log" | "checkpoints";

// -------------------------------------------------------------------------------------------------------------- shapes

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const text = (limit = 1_024): v.GenericSchema<string> => v.pipe(v.string(), v.maxLength(limit));
const id = <Id extends string>(): v.GenericSchema<unknown, Id> =>
  v.pipe(v.string(), v.minLength(1), v.maxLength(512)) as unknown as v.GenericSchema<unknown, Id>;
const numbers: v.GenericSchema<unknown, Record<string, number>> = v.record(text(256), v.number());
const optionValues: v.GenericSchema<unknown, Record<string, string | number | boolean>> = v.record(
  text(256),
  v.union([text(65_536), v.number(), v.boolean()]),
);
const inputIndex = v.picklist([0, 1]);

const wireError: v.GenericSchema<unknown, WireError> = v.strictObject({
  name: text(256),
  code: text(256),
  domain: v.picklist(["user", "system", "external"]),
  message: text(1 << 20),
  stack: v.exactOptional(text(1 << 20)),
  details: v.exactOptional(v.record(text(256), v.unknown())),
  cause: v.exactOptional(v.lazy(() => wireError)),
});

const execution: v.GenericSchema<unknown, ExecutionAddress> = v.strictObject({
  job: id<JobId>(),
  vertex: id<VertexId>(),
  subtask: count,
  attempt: count,
});

const PARTITIONINGS: readonly PartitioningKind[] = ["forward", "hash", "rebalance", "rescale", "shuffle", "broadcast", "global", "custom"];
const jobOperator: v.GenericSchema<unknown, JobOperator> = v.strictObject({
  id: id<OperatorId>(), name: text(), kind: text(64), uid: v.exactOptional(text()), chainedAfter: v.array(count),
});
const jobVertex: v.GenericSchema<unknown, JobVertex> = v.strictObject({
  id: id<VertexId>(),
  name: text(65_536),
  operators: v.array(jobOperator),
  parallelism: v.pipe(count, v.minValue(1)),
  maxParallelism: v.pipe(count, v.minValue(1)),
  parallelismLimit: v.exactOptional(v.pipe(count, v.minValue(1))),
  slotSharingGroup: text(),
  asynchronous: v.boolean(),
  alignment: v.exactOptional(v.strictObject({ group: text(), maxDriftMs: v.number() })),
});
const jobEdge: v.GenericSchema<unknown, JobEdge> = v.strictObject({
  id: id<EdgeId>(),
  source: id<VertexId>(),
  target: id<VertexId>(),
  input: inputIndex,
  partitioning: v.picklist(PARTITIONINGS),
  sideOutput: v.exactOptional(text()),
  feedback: v.exactOptional(v.boolean()),
});
const jobEnd = v.strictObject({ name: text(), vertex: id<VertexId>(), edge: id<EdgeId>() });
const jobGraph: v.GenericSchema<unknown, JobGraph> = v.strictObject({
  name: text(),
  vertices: v.array(jobVertex),
  edges: v.array(jobEdge),
  results: v.array(jobEnd),
  feeds: v.array(jobEnd),
  options: optionValues,
});

const edgeDeployment: v.GenericSchema<unknown, EdgeDeployment> = v.strictObject({
  edge: id<EdgeId>(), input: inputIndex,
  channels: v.array(v.strictObject({
    channel: text(), subtask: count, peer: v.exactOptional(v.strictObject({ taskManager: id<TaskManagerId>(), address: text() })),
  })),
});
const taskDeployment: v.GenericSchema<unknown, TaskDeployment> = v.strictObject({
  execution,
  jobName: text(),
  vertex: jobVertex,
  vertexIndex: count,
  slot: count,
  code: text(128),
  inputs: v.array(edgeDeployment),
  outputs: v.array(edgeDeployment),
  results: v.array(jobEnd),
  feeds: v.array(jobEnd),
  options: optionValues,
  checkpoints: v.exactOptional(checkpointDeployment),
  restore: v.exactOptional(restoreDeployment),
});
const taskState: v.GenericSchema<unknown, TaskState> = v.picklist(TASK_STATES);
const jobState: v.GenericSchema<unknown, JobState> = v.picklist(JOB_STATES);
const taskStateChange: v.GenericSchema<unknown, TaskStateChange> = v.strictObject({
  execution,
  state: taskState,
  atMs: v.number(),
  error: v.exactOptional(wireError),
});
const subtaskMetrics: v.GenericSchema<unknown, SubtaskMetrics> = v.strictObject({
  job: id<JobId>(), vertex: id<VertexId>(), subtask: count, attempt: count, slot: count, values: numbers,
});
const metricsReport: v.GenericSchema<unknown, MetricsReport> = v.strictObject({
  taskManager: id<TaskManagerId>(), atMs: v.number(), process: numbers, subtasks: v.array(subtaskMetrics),
});
const logLine: v.GenericSchema<unknown, LogLine> = v.strictObject({
  job: id<JobId>(),
  vertex: id<VertexId>(),
  subtask: count,
  level: v.picklist(["log", "warn", "error"]),
  text: text(1 << 20),
  atMs: v.number(),
});
const channelSegments: v.GenericSchema<unknown, ChannelSegments> = v.strictObject({
  job: id<JobId>(),
  name: text(),
  subtask: count,
  attempt: count,
  sequence: count,
});
const ofChannel = v.strictObject({ job: id<JobId>(), name: text() });
const stateFound: v.GenericSchema<unknown, StateFound> = v.strictObject({ declared: v.boolean(), found: v.boolean() });
const channelGrant: v.GenericSchema<unknown, ChannelGrant> = v.strictObject({
  job: id<JobId>(),
  name: text(),
  subtask: count,
  attempt: count,
  granted: count,
});

const feedGrant: v.GenericSchema<unknown, FeedGrant> = v.strictObject({
  job: id<JobId>(),
  name: text(),
  subtask: count,
  attempt: count,
  granted: count,
  from: v.exactOptional(count),
  covered: v.exactOptional(count),
});

const executionInfo: v.GenericSchema<unknown, ExecutionInfo> = v.strictObject({
  vertex: id<VertexId>(),
  subtask: count,
  attempt: count,
  state: taskState,
  taskManager: v.exactOptional(id<TaskManagerId>()),
  slot: v.exactOptional(count),
  timestamps: numbers,
  error: v.exactOptional(wireError),
});
const summary = {
  job: id<JobId>(), name: text(), state: jobState, startedAtMs: v.number(), endedAtMs: v.exactOptional(v.number()), tasks: numbers,
};
const jobSummary: v.GenericSchema<unknown, JobSummary> = v.strictObject(summary);
const jobDetails: v.GenericSchema<unknown, JobDetails> = v.strictObject({
  ...summary,
  graph: jobGraph,
  executions: v.array(executionInfo),
  timestamps: numbers,
  waitingFor: v.exactOptional(text(65_536)),
  failure: v.exactOptional(wireError),
});
const slotInfo: v.GenericSchema<unknown, SlotInfo> = v.strictObject({
  slot: count, job: v.exactOptional(id<JobId>()), jobName: v.exactOptional(text()),
  tasks: v.array(v.strictObject({ vertex: id<VertexId>(), name: text(65_536), subtask: count, state: taskState })),
});
const clusterOverview: v.GenericSchema<unknown, ClusterOverview> = v.strictObject({
  version: text(),
  pid: count,
  address: text(),
  startedAtMs: v.number(),
  slotsTotal: count,
  slotsFree: count,
  taskManagers: v.array(
    v.strictObject({
      taskManager: id<TaskManagerId>(),
      host: text(),
      pid: count,
      dataAddress: text(),
      registeredAtMs: v.number(),
      silentMs: v.number(),
      slotHeapBytes: count,
      slots: v.array(slotInfo),
      process: numbers,
    }),
  ),
  jobs: v.array(jobSummary),
});

const profiledMs = v.pipe(count, v.minValue(1), v.maxValue(LONGEST_PROFILE_MS));
const taskProfile: v.GenericSchema<unknown, TaskProfile> = v.strictObject({
  job: id<JobId>(),
  vertex: id<VertexId>(),
  name: text(65_536),
  subtask: count,
  attempt: count,
  durationMs: v.number(),
  samples: count,
  frames: v.pipe(
    v.array(
      v.strictObject({
        parent: v.pipe(v.number(), v.integer(), v.minValue(-1)),
        name: text(256),
        kind: v.picklist(FRAME_KINDS),
        place: v.exactOptional(text()),
        selfMs: v.number(),
        hottest: v.exactOptional(text()),
      }),
    ),
    v.maxLength(MOST_FRAMES),
    v.check((frames) => frames.every(({ parent }, at) => parent < at), "a caller stands before what it calls"),
  ),
});

const nothing: v.GenericSchema<unknown, void> = v.pipe(
  v.unknown(),
  v.transform((): void => undefined),
);
const call = <Request, Reply>(
  request: v.GenericSchema<unknown, Request>,
  reply: v.GenericSchema<unknown, Reply>,
): Call<Request, Reply> => ({ request, reply });
/** A checkpoint may take its time; its own deadline is `execution.checkpointing.timeout`. */
const SLOW_DEADLINE_MS = 3_600_000;
const slowCall = <Request, Reply>(
  request: v.GenericSchema<unknown, Request>,
  reply: v.GenericSchema<unknown, Reply>,
): Call<Request, Reply> => ({ request, reply, deadlineMs: SLOW_DEADLINE_MS });
/** As long as the longest profile, and what a task may take to come round before and after. */
const profileCall = <Request, Reply>(
  request: v.GenericSchema<unknown, Request>,
  reply: v.GenericSchema<unknown, Reply>,
): Call<Request, Reply> => ({ request, reply, deadlineMs: LONGEST_PROFILE_MS + 30_000 });
const event = <Request>(request: v.GenericSchema<unknown, Request>): Event<Request> => ({ request, reply: nothing, event: true });

// ------------------------------------------------------------------------------------------------------- conversations

/** What a JobManager answers to TaskManagers. */
export type RegistrationConversation = {
  /** Before anything else, and again after a reconnection. Answers the settings that the JobManager decides. */
  readonly register: Call<Registration, { readonly heartbeatIntervalMs: number; readonly heartbeatTimeoutMs: number }>;
  readonly taskState: Call<TaskStateChange, void>;
  readonly metrics: Event<MetricsReport>;
  readonly log: Event<{ readonly lines: readonly LogLine[] }>;
  /** Answers with the bundle as the only attachment. */
  readonly fetchCode: Call<{ readonly code: string }, void>;
  /** Rows of a result (attachments: segments). */
  readonly resultSegments: Event<ChannelSegments>;
  /** The task can take rows of a feed. */
  readonly grantFeed: Event<ChannelGrant>;
  /** All files of the execution's part are durable. Repeated until answered; one that comes too late is answered all the same. */
  readonly acknowledgeCheckpoint: Call<{ readonly execution: ExecutionAddress; readonly ack: CheckpointAck }, void>;
  /** The task has come to its end, and waits for a checkpoint that covers it: one should be taken soon. */
  readonly requestCheckpoint: Event<{ readonly execution: ExecutionAddress }>;
  /** The execution could not take its part. */
  readonly declineCheckpoint: Call<
    { readonly execution: ExecutionAddress; readonly checkpoint: number; readonly error: WireError },
    void
  >;
};

/** `RegistrationConversation` with the shapes of its messages, checked as they arrive. */
export const registrationConversation: RegistrationConversation = {
  register: call(
    v.strictObject({
      taskManager: id<TaskManagerId>(),
      slots: v.pipe(count, v.minValue(1)),
      dataAddress: text(),
      host: text(),
      pid: count,
      slotHeapBytes: count,
      version: text(),
    }),
    v.strictObject({ heartbeatIntervalMs: v.number(), heartbeatTimeoutMs: v.number() }),
  ),
  taskState: call(taskStateChange, nothing),
  metrics: event(metricsReport),
  log: event(v.strictObject({ lines: v.array(logLine) })),
  fetchCode: call(v.strictObject({ code: text(128) }), nothing),
  resultSegments: event(channelSegments),
  grantFeed: event(channelGrant),
  acknowledgeCheckpoint: call(v.strictObject({ execution, ack: checkpointAck }), nothing),
  requestCheckpoint: event(v.strictObject({ execution })),
  declineCheckpoint: call(v.strictObject({ execution, checkpoint: count, error: wireError }), nothing),
};

/** What a TaskManager answers to its JobManager. */
export type TaskManagerConversation = {
  /** Starts subtasks. Answers when all of them are on their way (rings made, threads taken); failures after that come as task states. */
  readonly deploy: Call<{ readonly tasks: readonly TaskDeployment[] }, void>;
  /** Cancels executions; each reports its final state. Unknown ones are ignored. */
  readonly cancel: Call<{ readonly executions: readonly ExecutionAddress[] }, void>;
  /** The job is over: its slots, channels and code can go. Threads still running are ended. */
  readonly releaseJob: Call<{ readonly job: JobId }, void>;
  /** A client or the JobManager's buffer has room for rows of a result. */
  readonly grantResult: Event<ChannelGrant>;
  /** Rows of a feed (attachments: segments). */
  readonly feedSegments: Event<ChannelSegments>;
  /**
   * Barriers start at these executions, tasks without inputs. `folder`: where all files of this checkpoint go, whichever task writes them;
   * so every TaskManager of the job gets the message, also with no executions. Unknown executions are ignored.
   */
  readonly triggerCheckpoint: Event<{
    readonly job: JobId;
    readonly trigger: CheckpointTrigger;
    readonly executions: readonly ExecutionAddress[];
    readonly folder: string;
  }>;
  /** The checkpoint exists: transactions that it covers may be committed, rows that it covers be shown. Covers all earlier ones. */
  readonly checkpointCompleted: Event<{ readonly job: JobId; readonly checkpoint: number }>;
  /** The checkpoint will not exist. What was written for it can go; what belongs to it is the next one's. */
  readonly checkpointAborted: Event<{ readonly job: JobId; readonly checkpoint: number }>;
  /** How far the watermarks of the sources of some vertices may be for them to read on. */
  readonly limitWatermarks: Event<{ readonly job: JobId; readonly limits: readonly WatermarkLimit[] }>;
  /** What running tasks of a job hold for a key (attachment 0: the key, as a row). Attachment of the answer: the value, as a row. */
  readonly queryState: Call<{ readonly job: JobId; readonly name: string }, StateFound>;
  /** Watches for so long where the thread of a running task spends its time. */
  readonly profile: Call<{ readonly execution: ExecutionAddress; readonly durationMs: number }, TaskProfile>;
  readonly shutdown: Event<{ readonly reason: string }>;
};

/** `TaskManagerConversation` with the shapes of its messages. */
export const taskManagerConversation: TaskManagerConversation = {
  deploy: call(v.strictObject({ tasks: v.array(taskDeployment) }), nothing),
  cancel: call(v.strictObject({ executions: v.array(execution) }), nothing),
  releaseJob: call(v.strictObject({ job: id<JobId>() }), nothing),
  grantResult: event(channelGrant),
  feedSegments: event(channelSegments),
  triggerCheckpoint: event(
    v.strictObject({ job: id<JobId>(), trigger: checkpointTrigger, executions: v.array(execution), folder: location }),
  ),
  checkpointCompleted: event(v.strictObject({ job: id<JobId>(), checkpoint: count })),
  checkpointAborted: event(v.strictObject({ job: id<JobId>(), checkpoint: count })),
  limitWatermarks: event(
    v.strictObject({ job: id<JobId>(), limits: v.array(v.strictObject({ vertex: id<VertexId>(), limit: v.number() })) }),
  ),
  queryState: call(ofChannel, stateFound),
  profile: profileCall(v.strictObject({ execution, durationMs: profiledMs }), taskProfile),
  shutdown: event(v.strictObject({ reason: text() })),
};

/** What a JobManager answers to clients. */
export type ClientConversation = {
  /** Must come first. */
  readonly hello: Call<{ readonly version: string }, HelloReply>;
  /**
   * Attachment 0: the code bundle. With `attached`, the job is cancelled when the connection of this client is lost. A client that names
   * the job (at random) may ask again when it got no answer: the job is accepted once.
   */
  readonly submit: Call<
    { readonly job?: JobId; readonly graph: JobGraph; readonly code: string; readonly attached: boolean; readonly from?: SubmittedFrom },
    { readonly job: JobId }
  >;
  readonly jobs: Call<Record<string, never>, { readonly jobs: readonly JobSummary[] }>;
  readonly job: Call<{ readonly job: JobId }, JobDetails>;
  readonly cancel: Call<{ readonly job: JobId }, void>;
  /** From now on (and at once, with the present state) the client is told about the job. */
  readonly watchJob: Call<{ readonly job: JobId; readonly topics: readonly JobTopic[] }, void>;
  readonly unwatchJob: Call<{ readonly job: JobId }, void>;
  /** Metrics of a job that were reported so far, oldest first, up to `metrics.history`. */
  readonly metricsHistory: Call<{ readonly job: JobId }, { readonly reports: readonly MetricsReport[] }>;
  /** As TaskManagers answer it. */
  readonly queryState: Call<{ readonly job: JobId; readonly name: string }, StateFound>;
  /** As TaskManagers answer it. @throws NotFoundError when there is no such subtask, or it does not run */
  readonly profile: Call<
    { readonly job: JobId; readonly vertex: VertexId; readonly subtask: number; readonly durationMs: number },
    TaskProfile
  >;
  readonly checkpoints: Call<{ readonly job: JobId }, CheckpointOverview>;
  /** Takes a checkpoint now; answered when it is complete. @throws CheckpointError */
  readonly triggerCheckpoint: Call<{ readonly job: JobId }, { readonly checkpoint: number }>;
  /**
   * Takes a savepoint and lets the job go on; answered when it is complete. `target`: a folder to put it in, by default
   * `execution.checkpointing.savepoint-dir`. @throws CheckpointError, ConfigurationError without any target.
   */
  readonly savepoint: Call<{ readonly job: JobId; readonly target?: string }, { readonly location: string }>;
  /** Takes a savepoint and ends the job with it; answered when the job is FINISHED. @throws CheckpointError: then the job goes on. */
  readonly stopWithSavepoint: Call<
    { readonly job: JobId; readonly drain: boolean; readonly target?: string },
    { readonly location: string }
  >;
  /** Removes a savepoint with its files. @throws CorruptCheckpointError when there is none */
  readonly disposeSavepoint: Call<{ readonly location: string }, void>;
  /**
   * Runs the job at another parallelism from now on, with its state: vertices that can have it, get it. Answered when all tasks run again.
   * @throws CheckpointError when its state could not be saved (the job goes on as it was), ConfigurationError beyond maxParallelism.
   */
  readonly rescale: Call<{ readonly job: JobId; readonly parallelism: number }, void>;
  readonly overview: Call<Record<string, never>, ClusterOverview>;
  readonly watchCluster: Call<{ readonly on: boolean }, void>;
  /** Takes a result: segments follow as events, as far as granted. One reader at a time; a second one is refused while the first lives. */
  readonly openResult: Call<{ readonly job: JobId; readonly name: string; readonly from?: readonly ResultPosition[] }, OpenedResult>;
  /** The reader has enough, or everything. `taken`: how far it came, by subtask; the next reader begins there. */
  readonly closeResult: Call<{ readonly job: JobId; readonly name: string; readonly taken: readonly TakenRows[] }, void>;
  readonly grantResult: Event<ChannelGrant>;
  /** Rows of a feed (attachments: segments), as far as granted. */
  readonly feedSegments: Event<ChannelSegments>;
  /** Ends the JobManager and its TaskManagers; running jobs are cancelled first. */
  readonly shutdownCluster: Call<Record<string, never>, void>;
};

/** What a client learns first. */
export interface HelloReply {
  readonly version: string;
  readonly pid: number;
  /** Jobs outlive this JobManager: after a loss the next leader is there within so many milliseconds. Absent: they don't. */
  readonly resumesWithinMs?: number;
}

/** What came of a question about state. */
export interface StateFound {
  /** There is a state of this name, and the subtask that owns the key has answered. */
  readonly declared: boolean;
  /** It holds something for the key. */
  readonly found: boolean;
}

/** Segments that a reader of a result may be sent beyond those that it has taken: it grants so many more than it took. */
export const RESULT_WINDOW_SEGMENTS = 8;

/** What the reader of a result learns first. */
export interface OpenedResult {
  readonly subtasks: number;
  /** By subtask: rows at the start of its first segment that an earlier reader has taken. */
  readonly skip: readonly number[];
  /** By subtask: the number of that segment, counted since the job began. */
  readonly from: readonly number[];
}

/** Where a reader goes on that has read a result before and lost its connection, in the rows of one subtask. */
export interface ResultPosition {
  /** Number of the segment, counted since the job began. */
  readonly number: number;
  /** Rows of it that were taken. */
  readonly rows: number;
}

/** How far a reader came in the rows of one subtask: whole segments since it came, and rows of the next one. */
export interface TakenRows {
  readonly segments: number;
  readonly rows: number;
}

const topics: v.GenericSchema<unknown, JobTopic[]> = v.array(v.picklist(["status", "metrics", "log", "checkpoints"]));
const empty: v.GenericSchema<unknown, Record<string, never>> = v.strictObject({});
const ofJob = v.strictObject({ job: id<JobId>() });

/** `ClientConversation` with the shapes of its messages. */
export const clientConversation: ClientConversation = {
  hello: call(
    v.strictObject({ version: text() }),
    v.strictObject({ version: text(), pid: count, resumesWithinMs: v.exactOptional(count) }),
  ),
  submit: call(
    v.strictObject({
      // It names folders, too.
      job: v.exactOptional(v.pipe(id<JobId>(), v.check((given) => /^[0-9a-f]{32}$/.test(given), "not an id of a job"))),
      graph: jobGraph,
      code: text(128),
      attached: v.boolean(),
      from: v.exactOptional(v.strictObject({ savepoint: location, allowNonRestoredState: v.boolean() })),
    }),
    v.strictObject({ job: id<JobId>() }),
  ),
  jobs: call(empty, v.strictObject({ jobs: v.array(jobSummary) })),
  job: call(ofJob, jobDetails),
  cancel: call(ofJob, nothing),
  watchJob: call(v.strictObject({ job: id<JobId>(), topics }), nothing),
  unwatchJob: call(ofJob, nothing),
  metricsHistory: call(ofJob, v.strictObject({ reports: v.array(metricsReport) })),
  queryState: call(ofChannel, stateFound),
  profile: profileCall(v.strictObject({ job: id<JobId>(), vertex: id<VertexId>(), subtask: count, durationMs: profiledMs }), taskProfile),
  checkpoints: call(ofJob, checkpointOverview),
  triggerCheckpoint: slowCall(ofJob, v.strictObject({ checkpoint: count })),
  savepoint: slowCall(v.strictObject({ job: id<JobId>(), target: v.exactOptional(location) }), v.strictObject({ location })),
  stopWithSavepoint: slowCall(
    v.strictObject({ job: id<JobId>(), drain: v.boolean(), target: v.exactOptional(location) }),
    v.strictObject({ location }),
  ),
  disposeSavepoint: slowCall(v.strictObject({ location }), nothing),
  rescale: slowCall(v.strictObject({ job: id<JobId>(), parallelism: v.pipe(count, v.minValue(1)) }), nothing),
  overview: call(empty, clusterOverview),
  watchCluster: call(v.strictObject({ on: v.boolean() }), nothing),
  openResult: call(
    v.strictObject({
      ...ofChannel.entries,
      from: v.exactOptional(v.array(v.strictObject({ number: count, rows: count }))),
    }),
    v.strictObject({ subtasks: count, skip: v.array(count), from: v.array(count) }),
  ),
  closeResult: call(
    v.strictObject({ job: id<JobId>(), name: text(), taken: v.array(v.strictObject({ segments: count, rows: count })) }),
    nothing,
  ),
  grantResult: event(channelGrant),
  feedSegments: event(channelSegments),
  shutdownCluster: call(empty, nothing),
};

/** What a JobManager tells its clients unasked. */
export type ClientEvents = {
  readonly jobStatus: Event<JobDetails>;
  readonly jobMetrics: Event<MetricsReport>;
  readonly jobLog: Event<{ readonly lines: readonly LogLine[] }>;
  readonly jobCheckpoints: Event<CheckpointOverview>;
  readonly cluster: Event<ClusterOverview>;
  readonly resultSegments: Event<ChannelSegments>;
  readonly grantFeed: Event<FeedGrant>;
};

/** `ClientEvents` with the shapes of its messages. */
export const clientEvents: ClientEvents = {
  jobStatus: event(jobDetails),
  jobMetrics: event(metricsReport),
  jobLog: event(v.strictObject({ lines: v.array(logLine) })),
  jobCheckpoints: event(checkpointOverview),
  cluster: event(clusterOverview),
  resultSegments: event(channelSegments),
  grantFeed: event(feedGrant),
};
