/**
 * Every configuration option: its key (Flink's, where Flink has the option), type, default and meaning. The defaults are the only
 * place where a default value stands. Values come from a configuration file, environment variables and flags (see cluster/cli.ts),
 * and from `environment({ … })`; later ones win.
 */
import { type Duration, durationMs } from "./duration.ts";
import { ConfigurationError, describe } from "./errors.ts";

type OptionType = "integer" | "number" | "boolean" | "string" | "duration" | "bytes";
/** What an option's value is once read: durations are milliseconds, sizes bytes. */
export type OptionValue = string | number | boolean;

/** One option: its key (Flink's, where Flink has it), its type, default and bounds. */
export interface Option<Value extends OptionValue = OptionValue> {
  readonly key: string;
  readonly type: OptionType;
  readonly default: Value;
  readonly description: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly choices?: readonly string[];
}

type Extras = Pick<Option, "minimum" | "maximum" | "choices">;
const integer = (key: string, value: number, description: string, extras: Extras = { minimum: 0 }): Option<number> => ({
  key,
  type: "integer",
  default: value,
  description,
  ...extras,
});
const number = (key: string, value: number, description: string, extras: Extras = { minimum: 0 }): Option<number> => ({
  key,
  type: "number",
  default: value,
  description,
  ...extras,
});
const boolean = (key: string, value: boolean, description: string): Option<boolean> => ({
  key,
  type: "boolean",
  default: value,
  description,
});
const string = (key: string, value: string, description: string, extras: Extras = {}): Option<string> => ({
  key,
  type: "string",
  default: value,
  description,
  ...extras,
});
const duration = (key: string, ms: number, description: string): Option<number> => ({
  key,
  type: "duration",
  default: ms,
  description,
  minimum: 0,
});
const bytes = (key: string, size: number, description: string): Option<number> => ({
  key,
  type: "bytes",
  default: size,
  description,
  minimum: 0,
});

const MB = 1024 * 1024;

type Flag = "chaining" | "unalignedCheckpoints" | "incrementalCheckpoints" | "localRecovery";
type Text =
  | "resultRelease"
  | "keyFile"
  | "allowedKeys"
  | "jobManagerKey"
  | "taskManagerBindHost"
  | "jobManagerAddress"
  | "resultPolicy"
  | "restartStrategy"
  | "failoverStrategy"
  | "schedulerMode"
  | "checkpointingMode"
  | "checkpointDirectory"
  | "savepointDirectory"
  | "checkpointRetention"
  | "haType"
  | "haDirectory"
  | "tmpDirectory"
  | "haClusterId"
  | "stateBackend"
  | "localBackupDirectory"
  | "stateDirectory";
type Quantity =
  | "taskManagerSlots"
  | "taskManagerHeap"
  | "managedMemory"
  | "heapGuard"
  | "networkMemory"
  | "segmentBytes"
  | "buffersPerChannel"
  | "batchRows"
  | "registrationTimeout"
  | "cancellationTimeout"
  | "heartbeatInterval"
  | "heartbeatTimeout"
  | "slotRequestTimeout"
  | "parallelism"
  | "maxParallelism"
  | "autoWatermarkInterval"
  | "bufferTimeout"
  | "resultBytes"
  | "metricsInterval"
  | "metricsHistory"
  | "watchdogTimeout"
  | "clientTimeout"
  | "checkpointInterval"
  | "checkpointTimeout"
  | "checkpointMinPause"
  | "maxConcurrentCheckpoints"
  | "tolerableFailedCheckpoints"
  | "alignedCheckpointTimeout"
  | "retainedCheckpoints"
  | "fixedDelayAttempts"
  | "fixedDelay"
  | "failureRateMaxFailures"
  | "failureRateInterval"
  | "failureRateDelay"
  | "exponentialInitialBackoff"
  | "exponentialMaxBackoff"
  | "exponentialMultiplier"
  | "exponentialResetThreshold"
  | "exponentialJitter"
  | "exponentialAttempts"
  | "resourceStabilization"
  | "haLeaseTimeout"
  | "haRecoveryTimeout"
  | "stateCacheEntries";

/** All options, by a name for use in code. Durations are milliseconds, sizes bytes. */
export const options: Readonly<Record<Flag, Option<boolean>> & Record<Text, Option<string>> & Record<Quantity, Option<number>>> = {
  jobManagerAddress: string(
    "jobmanager.rpc.address",
    "",
    "Where the JobManager listens: tcp://host:port or ipc://path. Empty: a private ipc:// address. TaskManagers and clients may be given " +
      "those of several JobManagers, separated by commas; with high-availability.type they find the leader in shared storage by themselves.",
  ),
  taskManagerSlots: integer("taskmanager.numberOfTaskSlots", 2, "Slots of each TaskManager. (Flink: 1.)", { minimum: 1 }),
  taskManagerHeap: bytes("taskmanager.memory.task.heap.size", 512 * MB, "Heap limit of one slot; a task that outgrows it fails alone."),
  heapGuard: number(
    "taskmanager.memory.task.heap.guard",
    0.85,
    "Share of its heap limit at which a task is failed, before V8 would end the process.",
    { minimum: 0.1 },
  ),
  networkMemory: bytes("taskmanager.memory.network.size", 64 * MB, "Memory of one slot for segments on their way."),
  segmentBytes: bytes("taskmanager.memory.segment-size", 128 * 1024, "Size of one segment. (Flink: 32 kb.)"),
  buffersPerChannel: integer("taskmanager.network.memory.buffers-per-channel", 8, "Segments of one channel.", { minimum: 2 }),
  batchRows: integer(
    "taskmanager.network.batch-rows",
    512,
    "Rows that are gathered for one segment at the most. Results don't depend on it.",
    { minimum: 1, maximum: 4_096 },
  ),
  registrationTimeout: duration(
    "taskmanager.registration.timeout",
    60_000,
    "How long a TaskManager looks for its JobManager before it ends. (Flink: 5 min.)",
  ),
  cancellationTimeout: duration(
    "task.cancellation.timeout",
    3_000,
    "How long a cancelled task may go on before its thread is ended. (Flink: 3 min.)",
  ),
  heartbeatInterval: duration("heartbeat.interval", 1_000, "Time between heartbeats. (Flink: 10 s.)"),
  heartbeatTimeout: duration("heartbeat.timeout", 5_000, "Silence after which a peer counts as lost. (Flink: 50 s.)"),
  slotRequestTimeout: duration("slot.request.timeout", 300_000, "How long a job waits for slots before it fails."),
  parallelism: integer("parallelism.default", 1, "Parallelism of operators that set none.", { minimum: 1 }),
  maxParallelism: integer(
    "pipeline.max-parallelism",
    128,
    "Key groups of operators that set none: the bound of later rescaling. (Flink: derived.)",
    { minimum: 1 },
  ),
  chaining: boolean("pipeline.operator-chaining.enabled", true, "Run operators that can share a thread as one chain."),
  autoWatermarkInterval: duration("pipeline.auto-watermark-interval", 200, "Time between periodic watermarks; 0: none."),
  bufferTimeout: duration("execution.buffer-timeout.interval", 100, "How long rows wait for their segment to fill; 0: not at all."),
  resultBytes: bytes(
    "execution.results.buffer-size",
    16 * MB,
    "Rows of one result that are kept for a client that reads slowly or is away.",
  ),
  resultPolicy: string("execution.results.overflow", "block", "When that is full: block the job, drop-oldest rows, or fail the job.", {
    choices: ["block", "drop-oldest", "fail"],
  }),
  resultRelease: string(
    "execution.results.release",
    "with-checkpoint",
    "When a job with checkpoints gives rows to its reader: with the checkpoint that covers them, once each; or at once, and perhaps again.",
    { choices: ["with-checkpoint", "at-once"] },
  ),
  keyFile: string("security.key-file", "", "File with the key of this process; `drey keys` makes one. Needed beyond this machine."),
  allowedKeys: string("security.allowed-keys", "", "Public keys that a JobManager admits beside its own, with commas between them."),
  jobManagerKey: string("security.jobmanager-key", "", "Public key of the JobManager. Empty: the same key as that of this process."),
  taskManagerBindHost: string(
    "taskmanager.bind-host",
    "",
    "Address of this machine at which other TaskManagers reach this one. Empty: they are on this machine too.",
  ),
  metricsInterval: duration("metrics.interval", 1_000, "Time between two reports of metrics."),
  metricsHistory: integer("metrics.history", 600, "Reports kept per job on the JobManager.", { minimum: 1 }),
  watchdogTimeout: duration("task.watchdog.timeout", 0, "Fail a task whose thread makes no turn for so long; 0: never."),
  clientTimeout: duration("client.timeout", 10_000, "How long a client waits for one answer of the JobManager. (Flink: 60 s.)"),
  checkpointInterval: duration("execution.checkpointing.interval", 0, "Time between two checkpoints of a job; 0: no checkpoints."),
  checkpointingMode: string("execution.checkpointing.mode", "exactly-once", "Whether barriers are aligned, or rows may come twice.", {
    choices: ["exactly-once", "at-least-once"],
  }),
  checkpointTimeout: duration("execution.checkpointing.timeout", 600_000, "A checkpoint that takes longer is given up."),
  checkpointMinPause: duration("execution.checkpointing.min-pause", 0, "Least time between the end of a checkpoint and the next one."),
  maxConcurrentCheckpoints: integer("execution.checkpointing.max-concurrent-checkpoints", 1, "Checkpoints of a job on their way at once.", {
    minimum: 1,
  }),
  tolerableFailedCheckpoints: integer(
    "execution.checkpointing.tolerable-failed-checkpoints",
    0,
    "Checkpoints that may fail in a row; one more restarts the job.",
  ),
  unalignedCheckpoints: boolean("execution.checkpointing.unaligned.enabled", false, "Barriers overtake rows, which are stored instead."),
  alignedCheckpointTimeout: duration(
    "execution.checkpointing.aligned-checkpoint-timeout",
    0,
    "With unaligned checkpoints: how long a checkpoint tries to be aligned first.",
  ),
  checkpointDirectory: string(
    "execution.checkpointing.dir",
    "",
    "Where checkpoints are stored: a folder that all processes reach, or s3://bucket/path. Empty: a folder that ends with the JobManager.",
  ),
  savepointDirectory: string("execution.checkpointing.savepoint-dir", "", "Where savepoints are stored that name no place themselves."),
  checkpointRetention: string(
    "execution.checkpointing.externalized-checkpoint-retention",
    "no-externalized-checkpoints",
    "Which checkpoints stay when their job has ended: none, those of failed jobs, or those of canceled jobs too.",
    { choices: ["no-externalized-checkpoints", "delete-on-cancellation", "retain-on-cancellation"] },
  ),
  retainedCheckpoints: integer("execution.checkpointing.num-retained", 2, "Completed checkpoints that are kept. (Flink: 1.)", {
    minimum: 1,
  }),
  stateBackend: string("state.backend.type", "heap", "Where state under descriptors lies: in the heap, or on disk (lmdb). (Flink: hashmap.)", {
    choices: ["heap", "lmdb"],
  }),
  stateDirectory: string(
    "state.backend.lmdb.localdir",
    "",
    "Where TaskManagers keep state on disk while a job runs. Empty: the system's folder for temporary files.",
  ),
  stateCacheEntries: integer("state.backend.lmdb.cache.entries", 50_000, "Keys of each state on disk that a subtask keeps in memory.", {
    minimum: 1,
  }),
  incrementalCheckpoints: boolean(
    "execution.checkpointing.incremental",
    true,
    "Checkpoints of state on disk write only what changed since the last one. (Flink: false.)",
  ),
  localRecovery: boolean(
    "execution.state-recovery.from-local",
    false,
    "TaskManagers keep a copy of what they wrote for the last checkpoint, and restarted tasks read from it what is still there.",
  ),
  localBackupDirectory: string(
    "execution.checkpointing.local-backup.dirs",
    "",
    "Where TaskManagers keep these copies while they run. Empty: the system's folder for temporary files.",
  ),
  restartStrategy: string(
    "restart-strategy.type",
    "",
    "What happens after a failure. Empty: exponential-delay for a job with checkpoints, none for others.",
    { choices: ["", "none", "fixed-delay", "failure-rate", "exponential-delay"] },
  ),
  failoverStrategy: string("jobmanager.execution.failover-strategy", "region", "What restarts: the failed region, or the full job.", {
    choices: ["region", "full"],
  }),
  fixedDelayAttempts: integer("restart-strategy.fixed-delay.attempts", 1, "Restarts before the job fails."),
  fixedDelay: duration("restart-strategy.fixed-delay.delay", 1_000, "Time between a failure and the restart."),
  failureRateMaxFailures: integer("restart-strategy.failure-rate.max-failures-per-interval", 1, "More failures than these fail the job."),
  failureRateInterval: duration("restart-strategy.failure-rate.failure-rate-interval", 60_000, "The time in which failures are counted."),
  failureRateDelay: duration("restart-strategy.failure-rate.delay", 1_000, "Time between a failure and the restart."),
  exponentialInitialBackoff: duration(
    "restart-strategy.exponential-delay.initial-backoff",
    20,
    "Time between the first failure and the restart. (Flink: 1 s.)",
  ),
  exponentialMaxBackoff: duration("restart-strategy.exponential-delay.max-backoff", 60_000, "The longest time before a restart."),
  exponentialMultiplier: number(
    "restart-strategy.exponential-delay.backoff-multiplier",
    2,
    "How much longer each restart waits than the one before. (Flink: 1.5.)",
    { minimum: 1 },
  ),
  exponentialResetThreshold: duration(
    "restart-strategy.exponential-delay.reset-backoff-threshold",
    3_600_000,
    "After so long without failure the first backoff holds again.",
  ),
  exponentialJitter: number("restart-strategy.exponential-delay.jitter-factor", 0.1, "Part of the backoff that is left to chance.", {
    minimum: 0,
    maximum: 1,
  }),
  exponentialAttempts: integer(
    "restart-strategy.exponential-delay.attempts-before-reset-backoff",
    0,
    "Restarts, without the threshold between them, before the job fails; 0: any number.",
  ),
  schedulerMode: string("scheduler-mode", "", "reactive: a job takes all slots that there are, and is rescaled as they come and go.", {
    choices: ["", "reactive"],
  }),
  resourceStabilization: duration(
    "jobmanager.adaptive-scheduler.resource-stabilization-timeout",
    2_000,
    "How long more slots must have been there before a reactive job takes them. (Flink: 10 s.)",
  ),
  haType: string("high-availability.type", "none", "Whether JobManagers keep jobs in shared storage, for the next leader.", {
    choices: ["none", "filesystem"],
  }),
  managedMemory: bytes(
    "taskmanager.memory.managed.size",
    64 * MB,
    "Heap that one sorting, grouping or joining operator of a data set takes before it spills to disk.",
  ),
  tmpDirectory: string("io.tmp.dirs", "", "Where rows go that don't fit into memory. Empty: the system's folder for temporary files."),
  haDirectory: string("high-availability.storageDir", "", "Where: a folder that all JobManagers reach, or s3://bucket/path."),
  haClusterId: string("high-availability.cluster-id", "default", "Clusters that share the place have different ids."),
  haLeaseTimeout: duration(
    "high-availability.lease-timeout",
    3_000,
    "A leader that has not renewed its lease for so long may be replaced by a standby JobManager.",
  ),
  haRecoveryTimeout: duration(
    "high-availability.recovery-timeout",
    10_000,
    "How long a new leader waits for the TaskManagers of a running job before it restarts the job from its checkpoint.",
  ),
};

const byKey: ReadonlyMap<string, Option> = new Map(Object.values<Option>(options).map((option): [string, Option] => [option.key, option]));

/** Every option, sorted by key. */
export const allOptions: readonly Option[] = [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));

/**
 * A set of option values. Immutable.
 */
export class Configuration {
  readonly #values: ReadonlyMap<string, OptionValue>;

  private constructor(values: ReadonlyMap<string, OptionValue>) {
    this.#values = values;
  }

  static readonly empty: Configuration = new Configuration(new Map());

  /**
   * Reads raw values (texts from files, or numbers and booleans from code) under their full keys.
   * @param where names the source in errors, e.g. a file's path or `environment()`.
   * @throws ConfigurationError for unknown keys (with the nearest known one) and values that do not fit.
   */
  static of(raw: Readonly<Record<string, unknown>>, where = "environment()"): Configuration {
    const values = new Map<string, OptionValue>();
    for (const [key, value] of Object.entries(raw)) {
      if (value === undefined) continue;
      const option = byKey.get(key);
      if (option === undefined) throw new ConfigurationError(`${where}: unknown option ${describe(key)}.${nearest(key)}`);
      values.set(key, readOption(option, value, where));
    }
    return new Configuration(values);
  }

  /** This configuration with `other`'s values on top. */
  with(other: Configuration): Configuration {
    return new Configuration(new Map([...this.#values, ...other.#values]));
  }

  get<Value extends OptionValue>(option: Option<Value>): Value {
    return (this.#values.get(option.key) as Value | undefined) ?? option.default;
  }

  has(option: Option): boolean {
    return this.#values.has(option.key);
  }

  /** The values that were set, as plain data for messages; `Configuration.of` reads it back. */
  toRecord(): Record<string, OptionValue> {
    return Object.fromEntries(this.#values);
  }
}

/** Reads one value of an option. @throws ConfigurationError naming the option, the value and what is allowed. */
export function readOption(option: Option, value: unknown, where: string): OptionValue {
  const bad = (expected: string): ConfigurationError =>
    new ConfigurationError(`${where}: ${option.key} is ${describe(value)}; expected ${expected}.`);
  switch (option.type) {
    case "boolean": {
      if (value === true || value === "true") return true;
      if (value === false || value === "false") return false;
      throw bad("true or false");
    }
    case "string": {
      const text = String(value);
      if (option.choices !== undefined && !option.choices.includes(text)) throw bad(`one of ${option.choices.join(", ")}`);
      return text;
    }
    case "duration": {
      try {
        return durationMs(value as Duration);
      } catch {
        throw bad('a duration such as "10 s" or a number of milliseconds');
      }
    }
    case "bytes": {
      const size = typeof value === "number" ? value : parseBytes(String(value));
      if (!Number.isFinite(size) || size < 0) throw bad('a size such as "64 mb" or a number of bytes');
      return Math.floor(size);
    }
    case "integer":
    case "number": {
      const result = typeof value === "number" ? value : String(value).trim() === "" ? Number.NaN : Number(value);
      const kind = option.type === "integer" ? "an integer" : "a number";
      if (
        !Number.isFinite(result) ||
        (option.type === "integer" && !Number.isInteger(result)) ||
        result < (option.minimum ?? 0) ||
        result > (option.maximum ?? Number.POSITIVE_INFINITY)
      ) {
        throw bad(
          option.maximum === undefined ? `${kind} ≥ ${option.minimum ?? 0}` : `${kind} from ${option.minimum ?? 0} to ${option.maximum}`,
        );
      }
      return result;
    }
  }
}

const SIZES: Readonly<Record<string, number>> = { "": 1, b: 1, bytes: 1, k: 1024, kb: 1024, m: MB, mb: MB, g: 1024 * MB, gb: 1024 * MB };

function parseBytes(text: string): number {
  const parts = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  return parts === null ? Number.NaN : Number(parts[1]) * (SIZES[(parts[2] as string).toLowerCase()] ?? Number.NaN);
}

function nearest(key: string): string {
  const wanted = key.toLowerCase();
  const hit = allOptions.find(
    (option) => option.key.toLowerCase() === wanted || option.key.endsWith(`.${wanted}`) || distance(option.key, wanted) <= 3,
  );
  return hit === undefined ? " `drey --options` lists them." : ` Did you mean ${hit.key}?`;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min((next[j - 1] as number) + 1, (row[j] as number) + 1, (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
