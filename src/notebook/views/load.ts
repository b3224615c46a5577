/**
 * How busy subtasks are, out of metrics reports: shares of time, rates of records, watermarks. Pure; every view reads loads and no
 * view reads raw metrics.
 *
 * A report may carry rates (TaskManagers derive them) or only counters; then the rate is the difference to the report before, of the
 * same attempt. The first report of an attempt without rates gives no load.
 */
import type { MetricsReport } from "../../core/graph/job-status.ts";
import { metricRates } from "../../core/runtime/metrics.ts";

/** Shares of time, parts of 1 that add up to 1, and rates per second. */
export interface Load {
  readonly busy: number;
  readonly backPressured: number;
  readonly idle: number;
  readonly recordsInPerSecond: number;
  readonly recordsOutPerSecond: number;
}

/** One subtask at one moment. */
export interface LoadSample extends Load {
  readonly atMs: number;
  readonly taskManager: string;
  readonly slot: number;
  readonly job: string;
  readonly vertex: string;
  readonly subtask: number;
  readonly recordsIn: number;
  readonly recordsOut: number;
  /** Milliseconds since the epoch; absent before the first watermark and after the last. */
  readonly watermarkMs?: number;
}

/** Every report's subtasks in order of time. */
export function loadSamples(reports: readonly MetricsReport[]): LoadSample[] {
  const before = new Map<string, { atMs: number; values: Readonly<Record<string, number>> }>();
  const samples: LoadSample[] = [];
  for (const report of [...reports].sort((a, b) => a.atMs - b.atMs)) {
    for (const { job, vertex, subtask, attempt, slot, values } of report.subtasks) {
      const key = `${job}/${vertex}/${subtask}#${attempt}`;
      const last = before.get(key);
      before.set(key, { atMs: report.atMs, values });
      let rates = values;
      if (values["busyTimeMsPerSecond"] === undefined) {
        if (last === undefined || report.atMs <= last.atMs) continue;
        rates = metricRates(last.values, values, report.atMs - last.atMs);
      }
      const watermark = values["currentOutputWatermark"] ?? Number.NEGATIVE_INFINITY;
      samples.push({
        atMs: report.atMs,
        taskManager: report.taskManager,
        slot,
        job,
        vertex,
        subtask,
        ...shares(rates["busyTimeMsPerSecond"] ?? 0, rates["backPressuredTimeMsPerSecond"] ?? 0),
        recordsInPerSecond: rates["numRecordsInPerSecond"] ?? 0,
        recordsOutPerSecond: rates["numRecordsOutPerSecond"] ?? 0,
        recordsIn: values["numRecordsIn"] ?? 0,
        recordsOut: values["numRecordsOut"] ?? 0,
        // Sources that end send a watermark beyond all time.
        ...(Math.abs(watermark) < 8.64e15 ? { watermarkMs: watermark } : {}),
      });
    }
  }
  return samples;
}

function shares(busyMs: number, backPressuredMs: number): Pick<Load, "busy" | "backPressured" | "idle"> {
  const part = (ms: number): number => Math.min(1, Math.max(0, ms / 1_000));
  const backPressured = part(backPressuredMs);
  const busy = Math.min(part(busyMs), 1 - backPressured);
  return { busy, backPressured, idle: 1 - busy - backPressured };
}

/** Name of a subtask in `latestLoads`. */
export const subtaskName = (vertex: string, subtask: number): string => `${vertex}/${subtask}`;

/** The last sample of each subtask of one job (of the only one, where `job` is absent), by `subtaskName`. */
export function latestLoads(samples: readonly LoadSample[], job?: string): Map<string, LoadSample> {
  const latest = new Map<string, LoadSample>();
  for (const sample of samples) if (job === undefined || sample.job === job) latest.set(subtaskName(sample.vertex, sample.subtask), sample);
  return latest;
}

/** What a picture shows: the latest reading, or the mean of the whole run (of a job that has ended, the last reading says little). */
export type LoadMoment = "latest" | "run";

/** `latestLoads`, with shares and rates averaged over the whole run if so wanted. Counts stay the latest. */
export function loadsAt(moment: LoadMoment, samples: readonly LoadSample[], job?: string): Map<string, LoadSample> {
  const latest = latestLoads(samples, job);
  if (moment === "latest") return latest;
  return new Map(
    [...latest].map(([name, last]) => {
      const own = samples.filter((it) => it.job === last.job && it.vertex === last.vertex && it.subtask === last.subtask);
      const mean = meanLoad(own) as Load;
      return [
        name,
        {
          ...last,
          ...mean,
          recordsInPerSecond: mean.recordsInPerSecond / own.length,
          recordsOutPerSecond: mean.recordsOutPerSecond / own.length,
        },
      ];
    }),
  );
}

/** Shares averaged, rates summed; undefined for none. */
export function meanLoad(loads: readonly Load[]): Load | undefined {
  if (loads.length === 0) return undefined;
  const sum = (pick: (load: Load) => number): number => loads.reduce((total, load) => total + pick(load), 0);
  return {
    busy: sum((load) => load.busy) / loads.length,
    backPressured: sum((load) => load.backPressured) / loads.length,
    idle: sum((load) => load.idle) / loads.length,
    recordsInPerSecond: sum((load) => load.recordsInPerSecond),
    recordsOutPerSecond: sum((load) => load.recordsOutPerSecond),
  };
}
