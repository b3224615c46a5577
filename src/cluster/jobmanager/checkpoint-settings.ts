/** What a job's options say about its checkpoints, read once. */
import { ConfigurationError } from "../../core/types/errors.ts";
import type { JobId } from "../../core/types/ids.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import type { CheckpointDeployment } from "../protocol/checkpoint-messages.ts";
import { storageAt } from "../storage/storages.ts";

/** Which checkpoints outlive their job. */
export type Retention = "no-externalized-checkpoints" | "delete-on-cancellation" | "retain-on-cancellation";

/** Settings of one job. Durations are milliseconds. */
export interface CheckpointSettings {
  /** 0: checkpoints are taken on request only. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly minPauseMs: number;
  readonly maxConcurrent: number;
  readonly tolerableFailures: number;
  readonly retained: number;
  /** Checkpoints build upon the files of earlier ones. */
  readonly incremental: boolean;
  readonly retention: Retention;
  readonly mode: "exactly-once" | "at-least-once";
  readonly unaligned: boolean;
  readonly alignedTimeoutMs: number;
  /** The job's own folder. */
  readonly folder: string;
  /** Undefined: each savepoint must name its place. */
  readonly savepointFolder: string | undefined;
}

/**
 * @param root where checkpoints lie if no option says so.
 * @throws ConfigurationError when the options contradict each other, or name a place that is none.
 */
export function checkpointSettings(configuration: Configuration, job: JobId, root: string): CheckpointSettings {
  const intervalMs = configuration.get(options.checkpointInterval);
  const mode = configuration.get(options.checkpointingMode) as CheckpointSettings["mode"];
  const maxConcurrent = configuration.get(options.maxConcurrentCheckpoints);
  const unaligned = configuration.get(options.unalignedCheckpoints);
  if (unaligned && mode === "at-least-once") {
    throw new ConfigurationError(
      `${options.unalignedCheckpoints.key} needs ${options.checkpointingMode.key} exactly-once: at-least-once aligns nothing anyway.`,
    );
  }
  if (unaligned && configuration.get(options.schedulerMode) === "reactive") {
    throw new ConfigurationError(
      `${options.schedulerMode.key} reactive needs aligned checkpoints, as others can't be restored at another parallelism; set ` +
        `${options.unalignedCheckpoints.key} to false.`,
    );
  }
  const place = configuration.get(options.checkpointDirectory);
  const savepoints = configuration.get(options.savepointDirectory);
  // What is no place is said when the job is submitted, not when its first checkpoint fails.
  for (const given of [place, savepoints]) if (given !== "") storageAt(given);
  return {
    intervalMs,
    timeoutMs: configuration.get(options.checkpointTimeout),
    minPauseMs: configuration.get(options.checkpointMinPause),
    maxConcurrent,
    tolerableFailures: configuration.get(options.tolerableFailedCheckpoints),
    retained: configuration.get(options.retainedCheckpoints),
    incremental: configuration.get(options.stateBackend) !== "heap" && configuration.get(options.incrementalCheckpoints),
    retention: configuration.get(options.checkpointRetention) as Retention,
    mode,
    unaligned,
    alignedTimeoutMs: configuration.get(options.alignedCheckpointTimeout),
    folder: under(place === "" ? root : place, job),
    savepointFolder: savepoints === "" ? undefined : savepoints,
  };
}

/** What the job's tasks need to know of it. */
export function checkpointDeployment(settings: CheckpointSettings): CheckpointDeployment {
  const { folder, mode, unaligned, alignedTimeoutMs, intervalMs } = settings;
  return { folder, mode, unaligned, alignedTimeoutMs, periodic: intervalMs > 0 };
}

/** A place under another. */
export const under = (place: string, name: string): string => `${place.replace(/\/+$/, "")}/${name}`;
