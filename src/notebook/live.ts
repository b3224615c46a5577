/**
 * A running job in a cell or a terminal: its panel, redrawn as the job reports, and in the end its record as a static picture.
 */
import type { CheckpointOverview, JobDetails, MetricsReport } from "../core/graph/job-status.ts";
import { isFinal } from "../core/graph/job-status.ts";
import type { JobListener } from "../core/runtime/executor.ts";
import { liveDisplay } from "./display.ts";
import type { Picture } from "./picture.ts";
import { JobHistory } from "./views/job-history.ts";
import { jobPanel } from "./views/job.ts";
import type { LiveAction } from "./widget.ts";

/** A job that tells listeners: a JobControl. */
export interface WatchableJob {
  details(): Promise<JobDetails>;
  watch(listener: JobListener): () => void;
  metricsHistory(): Promise<readonly MetricsReport[]>;
  /** Absent: its checkpoints can't be asked for. */
  readonly snapshots?: { overview(): Promise<CheckpointOverview> };
}

/** A job whose changes are Observables: a JobHandle. */
export interface LivelyJob {
  details(): Promise<JobDetails>;
  readonly status$: Listened<JobDetails>;
  readonly metrics$: Listened<MetricsReport>;
  metricsHistory(): Promise<readonly MetricsReport[]>;
  /** Absent: its panel tells of no checkpoints. */
  readonly checkpoints$?: Listened<CheckpointOverview>;
  checkpoints?(): Promise<CheckpointOverview>;
}

interface Listened<T> {
  subscribe(observer: { next(value: T): void; error(error: unknown): void }): { unsubscribe(): void };
}

export interface LiveOptions {
  /** Stops watching; the job goes on, the panel stays as it is. */
  readonly signal?: AbortSignal;
  /** Gets what the job goes through, for pictures afterwards (`attempts`, `report`); default: one of its own. */
  readonly history?: JobHistory;
}

/** Metrics reports that a live panel keeps; it draws the latest only. */
const KEPT_REPORTS = 64;

/**
 * Shows the job's panel until the job has ended, and resolves with its last details. A job that fails resolves as well: its panel says
 * why.
 * @throws the connection's error when the job can't be watched any longer.
 */
export async function live(job: LivelyJob | WatchableJob, options: LiveOptions = {}): Promise<JobDetails> {
  const { signal } = options;
  let reports: MetricsReport[] = [];
  let details: JobDetails | undefined;
  const place = liveDisplay("cancel" in job ? actionsOf(job as ControllableJob, () => details) : []);
  let checkpoints: CheckpointOverview | undefined;
  const history = options.history ?? new JobHistory();
  const panel = (of: JobDetails): Picture =>
    jobPanel(of, { metrics: reports, history, ...(checkpoints === undefined ? {} : { checkpoints }) });
  const draw = (): void => {
    if (details !== undefined) place.update(panel(details));
  };
  // Time goes on between reports, and the panel shows it.
  const clock = setInterval(draw, 1_000);
  let unwatch: () => void = () => undefined;
  let stop: () => void = () => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      stop = resolve;
      signal?.addEventListener("abort", stop, { once: true });
      if (signal?.aborted === true) resolve();
      unwatch = watch(job, {
        status: (now) => {
          details = now;
          history.add(now);
          draw();
          if (isFinal(now.state)) resolve();
        },
        metrics: (report) => {
          reports = [...reports.slice(1 - KEPT_REPORTS), report];
          draw();
        },
        checkpoints: (now) => {
          checkpoints = now;
          draw();
        },
        lost: reject,
      });
    });
    details ??= await job.details();
    // The last reports may have come after the job's end was told, or before anybody watched.
    if (isFinal(details.state)) {
      reports = [...(await job.metricsHistory().catch(() => reports))];
      checkpoints = (await overviewOf(job).catch(() => undefined)) ?? checkpoints;
    }
    return details;
  } finally {
    clearInterval(clock);
    signal?.removeEventListener("abort", stop);
    unwatch();
    await place.finish(details === undefined ? undefined : panel(details));
  }
}

async function overviewOf(job: LivelyJob | WatchableJob): Promise<CheckpointOverview | undefined> {
  return "watch" in job ? job.snapshots?.overview() : job.checkpoints?.();
}

/** What a panel's buttons ask of a job: a JobHandle has it. */
interface ControllableJob {
  cancel(): Promise<void>;
  savepoint?(): Promise<string>;
  rescale?(parallelism: number): Promise<void>;
}

function actionsOf(job: ControllableJob, details: () => JobDetails | undefined): LiveAction[] {
  const cancel: LiveAction = {
    label: "Cancel",
    confirm: "Cancel this job?",
    run: async () => {
      await job.cancel();
      return "cancelled";
    },
  };
  const actions = [cancel];
  if (job.savepoint !== undefined) actions.push({ label: "Savepoint", run: async () => `savepoint: ${await job.savepoint?.()}` });
  if (job.rescale !== undefined) {
    actions.push({
      label: "Rescale",
      confirm: "Rescale this job? Its tasks stop for a moment, and go on with their state.",
      count() {
        const vertices = details()?.graph.vertices ?? [];
        return {
          now: Math.max(1, ...vertices.map(({ parallelism }) => parallelism)),
          least: 1,
          most: Math.max(1, ...vertices.map(({ maxParallelism }) => maxParallelism)),
        };
      },
      run: async (parallelism = 1) => {
        await job.rescale?.(parallelism);
        return `rescaled to ${parallelism}`;
      },
    });
  }
  return actions;
}

type FullListener = Required<Pick<JobListener, "status" | "metrics" | "checkpoints" | "lost">>;

function watch(job: LivelyJob | WatchableJob, listener: FullListener): () => void {
  if ("watch" in job) return job.watch(listener);
  const error = (reason: unknown): void => listener.lost(reason instanceof Error ? reason : new Error(String(reason)));
  const status = job.status$.subscribe({ next: listener.status, error });
  const metrics = job.metrics$.subscribe({ next: listener.metrics, error });
  const checkpoints = job.checkpoints$?.subscribe({ next: listener.checkpoints, error });
  return () => {
    checkpoints?.unsubscribe();
    status.unsubscribe();
    metrics.unsubscribe();
  };
}
