/**
 * What was reported about one job lately: metrics and log lines, each up to a bound, the oldest forgotten first. Kept on the JobManager so
 * that whoever looks later, or attaches again, sees what went before.
 */
import type { LogLine, MetricsReport } from "../../core/graph/job-status.ts";

/** Log lines kept of one job, and their characters. */
export const MAX_LOG_LINES = 1_000;
const MAX_LOG_CHARACTERS = 1_000_000;

/** The recent reports of one job. */
export class JobJournal {
  readonly #maxReports: number;
  #reports: MetricsReport[] = [];
  #lines: LogLine[] = [];
  #characters = 0;

  /** @param maxReports `metrics.history`. */
  constructor(maxReports: number) {
    this.#maxReports = maxReports;
  }

  /** Oldest first. */
  get reports(): readonly MetricsReport[] {
    return this.#reports;
  }

  /** Oldest first. */
  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  addReport(report: MetricsReport): void {
    this.#reports.push(report);
    // Cut a quarter at a time: shifting a long array at each report would cost more than it keeps.
    if (this.#reports.length > this.#maxReports * 1.25) this.#reports = this.#reports.slice(-this.#maxReports);
  }

  addLines(lines: readonly LogLine[]): void {
    for (const line of lines) this.#characters += line.text.length;
    this.#lines.push(...lines);
    if (this.#lines.length <= MAX_LOG_LINES * 1.25 && this.#characters <= MAX_LOG_CHARACTERS) return;
    let first = Math.max(0, this.#lines.length - MAX_LOG_LINES);
    for (let index = 0; index < first; index++) this.#characters -= (this.#lines[index] as LogLine).text.length;
    while (this.#characters > MAX_LOG_CHARACTERS && first < this.#lines.length)
      this.#characters -= (this.#lines[first++] as LogLine).text.length;
    this.#lines = this.#lines.slice(first);
  }
}
