/**
 * What an attached run tells of its jobs, on stderr: one live line on a terminal, else a line per change of state. Rows and logs of the job
 * go to stdout by themselves, so that they can be piped.
 */
import { type JobDetails, type MetricsReport, isFinal } from "../../core/graph/job-status.ts";
import type { JobControl } from "../../core/runtime/executor.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { plainText } from "./table.ts";

/** What of process.stderr is used. */
export interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const CLEAR_LINE = "\r\u001b[2K";
/** A job that waits longer than this is worth a line. */
const WAITING_MS = 500;

/** Follows the jobs of one run. */
export class Progress {
  readonly #out: Terminal;
  readonly #shown = new Map<string, string>();
  readonly #records = new Map<string, Map<string, number>>();
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  #live = false;

  constructor(out: Terminal) {
    this.#out = out;
  }

  /** Follows a job to its end. @returns stops following. */
  follow(job: JobControl): () => void {
    this.#line(`Job has been submitted with JobID ${job.id}`);
    return job.watch({
      status: (details) => this.#status(details),
      ...(this.#out.isTTY === true ? { metrics: (report) => this.#metrics(job, report) } : {}),
    });
  }

  /** Has the live line taken away before anything else is written to `stream`, which shares the terminal. */
  guard(stream: { isTTY?: boolean; write: (...args: never[]) => boolean }): void {
    if (this.#out.isTTY !== true || stream.isTTY !== true) return;
    const write = stream.write.bind(stream);
    stream.write = (...args) => {
      this.clear();
      return write(...args);
    };
  }

  /** Takes the live line away, so that something else can be written. */
  clear(): void {
    if (this.#live) this.#out.write(CLEAR_LINE);
    this.#live = false;
  }

  #status(details: JobDetails): void {
    const { job, name, state, waitingFor } = details;
    const what = state === "WAITING" && waitingFor !== undefined ? `${state}: ${waitingFor}` : state;
    if (this.#shown.get(job) !== what) {
      this.#shown.set(job, what);
      clearTimeout(this.#waiting.get(job));
      this.#waiting.delete(job);
      const took = isFinal(state) ? ` after ${formatDuration((details.endedAtMs ?? details.startedAtMs) - details.startedAtMs)}` : "";
      // Why a job failed is told in full by whoever waits for it.
      const line = `Job "${plainText(name)}" is ${plainText(what)}${took}`;
      if (state === "CREATED" || state === "WAITING") this.#waiting.set(job, setTimeout(() => this.#line(line), WAITING_MS).unref());
      else this.#line(line);
    }
    if (isFinal(state)) return;
    const done = details.executions.filter((it) => it.state === "FINISHED").length;
    const running = details.executions.filter((it) => it.state === "RUNNING").length;
    const finished = done === 0 ? "" : `, ${done} finished`;
    this.#show(`${plainText(name)}: ${state}, ${running} of ${details.executions.length} tasks run${finished}${this.#recordsOf(job)}`);
  }

  #metrics(job: JobControl, report: MetricsReport): void {
    const counts = this.#records.get(job.id) ?? new Map<string, number>();
    this.#records.set(job.id, counts);
    for (const { job: of, vertex, subtask, values } of report.subtasks) {
      if (of === job.id) counts.set(`${vertex}/${subtask}`, values["numRecordsIn"] ?? 0);
    }
    this.#show(`${plainText(job.name)}: RUNNING${this.#recordsOf(job.id)}`);
  }

  #recordsOf(job: string): string {
    const counts = [...(this.#records.get(job)?.values() ?? [])];
    const most = counts.reduce((sum, count) => sum + count, 0);
    return most === 0 ? "" : `, ${most.toLocaleString("en")} records received`;
  }

  #line(text: string): void {
    this.clear();
    this.#out.write(`${text}\n`);
  }

  #show(text: string): void {
    if (this.#out.isTTY !== true) return;
    this.#out.write(`${CLEAR_LINE}${text.slice(0, (this.#out.columns ?? 80) - 1)}`);
    this.#live = true;
  }
}
