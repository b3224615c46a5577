/**
 * A job writes its own report: `await job.report()`. Importing `drey/notebook` adds this to JobHandle; programs that draw nothing don't
 * carry it.
 */
import { JobHandle } from "../core/api/job-handle.ts";
import type { CheckpointOverview, JobDetails, MetricsReport } from "../core/graph/job-status.ts";
import type { Picture } from "./picture.ts";
import { type ReportOptions, report } from "./report.ts";
import { keyGroups } from "./views/key-groups.ts";

declare module "../core/api/job-handle.ts" {
  interface JobHandle<Outputs extends Readonly<Record<string, unknown>>> {
    /**
     * What the job was and how it went, as an HTML file that needs nothing but itself: its panel, metrics, checkpoints, state, the graphs
     * and slots. Options add what it can't know, such as its program, charts of its results, profiles.
     */
    report(options?: JobReportOptions): Promise<string>;
  }
}

/** What a job's report shows besides what the job tells. */
export type JobReportOptions = Omit<ReportOptions, "details" | "metrics" | "checkpoints">;

/** What is asked of the job. */
interface ReportingJob {
  details(): Promise<JobDetails>;
  metricsHistory(): Promise<readonly MetricsReport[]>;
  checkpoints(): Promise<CheckpointOverview>;
}

async function ownReport(this: ReportingJob, options: JobReportOptions = {}): Promise<string> {
  const [details, metrics] = await Promise.all([this.details(), this.metricsHistory()]);
  // A job that runs where there are none has no section about them.
  const checkpoints = await this.checkpoints().catch(() => undefined);
  const state = options.state ?? (await stored(checkpoints));
  return report({ ...options, details, metrics, state, ...(checkpoints === undefined ? {} : { checkpoints }) });
}

/** The state of the latest checkpoint, if this program can read where it lies; the job may have removed it meanwhile. */
async function stored(checkpoints: CheckpointOverview | undefined): Promise<Picture[]> {
  const latest = checkpoints?.latest.findLast(({ state, location }) => state === "COMPLETED" && location !== undefined);
  if (latest === undefined) return [];
  return keyGroups(latest, { width: 1080 }).then(
    (picture) => [picture],
    () => [],
  );
}

Object.defineProperty(JobHandle.prototype, "report", { value: ownReport, configurable: true, writable: true });
