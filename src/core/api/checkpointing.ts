/** How a program asks for checkpoints: Flink's `CheckpointConfig` as one object, turned into options under Flink's keys. */
import { type Duration, durationMs } from "../types/duration.ts";
import { ConfigurationError, describe } from "../types/errors.ts";
import { Configuration, options } from "../types/options.ts";

/** Settings of checkpoints beside their interval. What is left out is as the options of the cluster say. */
export interface CheckpointingOptions {
  /** exactly-once (the default): each record counts once in state and results; at-least-once: perhaps twice, with less waiting. */
  readonly mode?: "exactly-once" | "at-least-once";
  /** A checkpoint that takes longer is given up. Default 10 min. */
  readonly timeout?: Duration;
  /** Least time between the end of a checkpoint and the next. Default 0. */
  readonly minPause?: Duration;
  /** Checkpoints on their way at once. Default 1. */
  readonly maxConcurrent?: number;
  /** Checkpoints that may fail in a row; one more restarts the job. Default 0. */
  readonly tolerableFailures?: number;
  /** Barriers overtake rows that wait, which are stored instead. Default false. */
  readonly unaligned?: boolean;
  /** With `unaligned`: how long a checkpoint tries to be aligned first. Default 0. */
  readonly alignedTimeout?: Duration;
  /** Where they are stored. Default: a folder that ends with the cluster. */
  readonly dir?: string;
  /** Checkpoints that stay when the job has ended: none (the default), those of failed jobs, or those of cancelled jobs too. */
  readonly retain?: "none" | "on-failure" | "on-cancellation";
  /** Completed checkpoints that are kept. Default 2. */
  readonly retained?: number;
}

const RETENTIONS = {
  none: "no-externalized-checkpoints",
  "on-failure": "delete-on-cancellation",
  "on-cancellation": "retain-on-cancellation",
} as const;

/** The options that `enableCheckpointing(interval, settings)` stands for. @throws ConfigurationError for values that do not fit. */
export function checkpointingConfiguration(interval: Duration, settings: CheckpointingOptions): Configuration {
  const where = "enableCheckpointing()";
  const intervalMs = durationMs(interval, where);
  if (!(intervalMs > 0)) throw new ConfigurationError(`${where} has the interval ${describe(interval)}; give a time longer than 0.`);
  const { mode, timeout, minPause, maxConcurrent, tolerableFailures, unaligned, alignedTimeout, dir, retain, retained } = settings;
  if (retain !== undefined && RETENTIONS[retain] === undefined) {
    throw new ConfigurationError(`${where} has { retain: ${describe(retain)} }; give one of ${Object.keys(RETENTIONS).join(", ")}.`);
  }
  return Configuration.of(
    {
      [options.checkpointInterval.key]: intervalMs,
      [options.checkpointingMode.key]: mode,
      [options.checkpointTimeout.key]: timeout,
      [options.checkpointMinPause.key]: minPause,
      [options.maxConcurrentCheckpoints.key]: maxConcurrent,
      [options.tolerableFailedCheckpoints.key]: tolerableFailures,
      [options.unalignedCheckpoints.key]: unaligned,
      [options.alignedCheckpointTimeout.key]: alignedTimeout,
      [options.checkpointDirectory.key]: dir,
      [options.checkpointRetention.key]: retain === undefined ? undefined : RETENTIONS[retain],
      [options.retainedCheckpoints.key]: retained,
    },
    where,
  );
}

/** A place of snapshots as the cluster takes it: a relative path is seen from this program's folder, a manifest stands for its folder. */
export function place(path: string, absolutePath: (path: string) => string): string {
  const folder = path.replace(/\/_metadata$/, "");
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(folder) ? folder : absolutePath(folder);
}
