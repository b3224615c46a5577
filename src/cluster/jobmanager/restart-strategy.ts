/**
 * Whether and when a job starts again after a failure. Strategies are Flink's, with its options and, where no comment there says otherwise,
 * its defaults. A strategy counts failures of its one job.
 */
import { type Configuration, options } from "../../core/types/options.ts";
import { formatDuration } from "../../core/types/duration.ts";

/** What follows from a failure. */
export type Recovery =
  | { readonly kind: "restart"; readonly afterMs: number }
  /** `reason` for people, as the end of a sentence that begins with the failure; undefined: the job has no restart strategy. */
  | { readonly kind: "failJob"; readonly reason: string | undefined };

/** Decides about the failures of one job, in the order in which they come. */
export interface RestartStrategy {
  /** @param nowMs elapsed clock. */
  failed(nowMs: number): Recovery;
}

const none: RestartStrategy = { failed: () => ({ kind: "failJob", reason: undefined }) };

/** So many restarts, always after the same delay. */
export function fixedDelay(attempts: number, delayMs: number): RestartStrategy {
  let restarts = 0;
  return {
    failed: () =>
      restarts++ < attempts
        ? { kind: "restart", afterMs: delayMs }
        : { kind: "failJob", reason: `restarted ${attempts} times (restart-strategy.fixed-delay.attempts)` },
  };
}

/** Any number of restarts, but no more than so many in any interval. */
export function failureRate(maxFailures: number, intervalMs: number, delayMs: number): RestartStrategy {
  let failures: number[] = [];
  return {
    failed(nowMs) {
      failures = [...failures.filter((atMs) => nowMs - atMs < intervalMs), nowMs];
      if (failures.length <= maxFailures) return { kind: "restart", afterMs: delayMs };
      return { kind: "failJob", reason: `failed ${failures.length} times within ${formatDuration(intervalMs)} (restart-strategy.failure-rate)` };
    },
  };
}

/** What an exponential delay is made of. */
export interface ExponentialDelay {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly multiplier: number;
  /** Without failure for so long it begins anew. */
  readonly resetMs: number;
  /** Share of the delay that is left to chance, to both sides. */
  readonly jitter: number;
  /** Restarts before the job fails; 0: any number. */
  readonly attempts: number;
  /** From 0 to 1, without 1. */
  readonly random: () => number;
}

/** Each restart waits longer than the one before. */
export function exponentialDelay({ initialMs, maxMs, multiplier, resetMs, jitter, attempts, random }: ExponentialDelay): RestartStrategy {
  let restarts = 0;
  let delayMs = initialMs;
  let lastMs = Number.NEGATIVE_INFINITY;
  return {
    failed(nowMs) {
      if (nowMs - lastMs >= resetMs) {
        restarts = 0;
        delayMs = initialMs;
      }
      if (attempts > 0 && restarts >= attempts) {
        return { kind: "failJob", reason: `restarted ${attempts} times (restart-strategy.exponential-delay.attempts-before-reset-backoff)` };
      }
      restarts++;
      const waitMs = Math.min(delayMs * (1 + jitter * (2 * random() - 1)), maxMs);
      delayMs = Math.min(delayMs * multiplier, maxMs);
      lastMs = nowMs + waitMs;
      return { kind: "restart", afterMs: waitMs };
    },
  };
}

/** The strategy that options ask for. @param random from 0 to 1, without 1. */
export function restartStrategy(configuration: Configuration, random: () => number): RestartStrategy {
  const chosen = configuration.get(options.restartStrategy);
  const strategy = chosen !== "" ? chosen : configuration.get(options.checkpointInterval) > 0 ? "exponential-delay" : "none";
  switch (strategy) {
    case "fixed-delay":
      return fixedDelay(configuration.get(options.fixedDelayAttempts), configuration.get(options.fixedDelay));
    case "failure-rate":
      return failureRate(
        configuration.get(options.failureRateMaxFailures),
        configuration.get(options.failureRateInterval),
        configuration.get(options.failureRateDelay),
      );
    case "exponential-delay":
      return exponentialDelay({
        initialMs: configuration.get(options.exponentialInitialBackoff),
        maxMs: configuration.get(options.exponentialMaxBackoff),
        multiplier: configuration.get(options.exponentialMultiplier),
        resetMs: configuration.get(options.exponentialResetThreshold),
        jitter: configuration.get(options.exponentialJitter),
        attempts: configuration.get(options.exponentialAttempts),
        random,
      });
    default:
      return none;
  }
}
