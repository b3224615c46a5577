/**
 * The job as it runs, in a terminal: redrawn in place, at most five times a second. Where the output is no terminal (a pipe, a log), one
 * line a second instead. The program tells what it learns; the screen decides when to draw.
 */
import { type JobDetails, type MetricsReport, isFinal } from "drey";
import { Picture, slots } from "drey/notebook";
import type { DayOfAirport } from "./job.ts";

const FRAME_MS = 200;
const LINE_MS = 1_000;
const LATEST_ROWS = 3;
const BAR = 30;
/** Reports that are looked at: the last of each TaskManager are among them. */
const KEPT_REPORTS = 16;

/** What is used of a terminal: `process.stdout` is one. */
export interface Terminal {
  readonly isTTY?: boolean;
  readonly rows?: number;
  write(text: string): unknown;
}

interface Reading {
  readonly read: number;
  readonly perSecond: number;
  readonly watermark: string;
}

export class Screen {
  readonly #title: string;
  readonly #expected: number;
  readonly #out: Terminal;
  readonly #timer: NodeJS.Timeout;
  #latest: DayOfAirport[] = [];
  #reports: MetricsReport[] = [];
  #details: JobDetails | undefined;
  #over = false;
  #results = 0;
  #late = 0;
  #drawnLines = 0;

  /** @param expected how many flights there are, for the bar. */
  constructor(title: string, expected: number, out: Terminal = process.stdout) {
    this.#title = title;
    this.#expected = expected;
    this.#out = out;
    this.#timer = setInterval(() => this.#draw(), this.#out.isTTY ? FRAME_MS : LINE_MS);
  }

  status(details: JobDetails): void {
    this.#details = details;
    // Ctrl-C: whoever was told has written below the picture.
    if (details.state === "CANCELLING" || details.state === "CANCELED") this.#over = true;
  }

  metrics(report: MetricsReport): void {
    this.#reports = [...this.#reports.slice(1 - KEPT_REPORTS), report];
  }

  result(row: DayOfAirport): void {
    this.#results++;
    this.#latest = [...this.#latest.slice(1 - LATEST_ROWS), row];
  }

  late(): void {
    this.#late++;
  }

  /** Draws for the last time and leaves the picture where it is. Ending twice is harmless. */
  end(): void {
    clearInterval(this.#timer);
    this.#draw();
    this.#over = true;
  }

  #draw(): void {
    if (this.#over) return;
    if (!this.#out.isTTY) {
      this.#out.write(`${this.#line()}\n`);
      return;
    }
    // What is taller than the screen can't be redrawn: the cursor stops at the first line.
    const lines = this.#frame().text(this.#out).split("\n").slice(0, (this.#out.rows ?? 24) - 1);
    const up = this.#drawnLines === 0 ? "" : `\u001b[${this.#drawnLines}A`;
    // Without line wrap (?7l) a narrow terminal cuts lines, so that their number stays known.
    this.#out.write(`\u001b[?7l\r${up}${lines.map((line) => `${line}\u001b[K\n`).join("")}\u001b[J\u001b[?7h`);
    this.#drawnLines = lines.length;
  }

  #line(): string {
    const { read, watermark } = this.#reading();
    const state = this.#details?.state ?? "STARTING";
    const rows = `${count(read)} flights in, ${count(this.#results)} rows out, ${this.#late} late`;
    return `${state.padEnd(8)}  ${seconds(this.#details)}  ${rows}, watermark ${watermark}`;
  }

  #frame(): Picture {
    const { read, perSecond, watermark } = this.#reading();
    const details = this.#details;
    const state = details?.state ?? "STARTING";
    const rate = perSecond === 0 ? "" : `, ${count(perSecond)}/s`;
    const overview = details === undefined ? "" : slots(details, { metrics: this.#reports }).text(this.#out);
    const filled = Math.round(Math.min(1, read / this.#expected) * BAR);
    return new Picture({
      title: this.#title,
      text: (pen) => [
        `${pen.strong(this.#title)}  ${pen.good(state)}  ${pen.dim(seconds(details))}`,
        "",
        `  in         ${pen.busy("━".repeat(filled))}${pen.dim("─".repeat(BAR - filled))}  ${count(read)} flights${rate}`,
        `  watermark  ${watermark}`,
        `  out        ${count(this.#results)} days of airports; ${this.#late} flights came too late`,
        "",
        ...overview.split("\n").filter((line) => line !== ""),
        "",
        ...this.#latest.map((row) => `  ${row.day}  ${row.origin}  ${minutes(row.averageDelay).padStart(11)}  ${pen.dim(row.airport)}`),
      ].join("\n"),
    });
  }

  /** Where the source stands, by its last report. */
  #reading(): Reading {
    const details = this.#details;
    // The last report is a little older than the end.
    if (details?.state === "FINISHED") return { read: this.#expected, perSecond: 0, watermark: "the end of time: all windows have fired" };
    const source = details?.graph.vertices.find((vertex) => vertex.name.includes("flights"))?.id;
    const values = this.#reports.flatMap((report) => report.subtasks).findLast((subtask) => subtask.vertex === source)?.values ?? {};
    const watermark = values["currentOutputWatermark"] ?? Number.NEGATIVE_INFINITY;
    return {
      read: values["numRecordsIn"] ?? 0,
      perSecond: details !== undefined && isFinal(details.state) ? 0 : (values["numRecordsInPerSecond"] ?? 0),
      watermark: Math.abs(watermark) < 8.64e15 ? new Date(watermark).toISOString().slice(0, 16).replace("T", " ") : "none yet",
    };
  }
}

const count = (value: number): string => Math.round(value).toLocaleString("en-US");
const minutes = (value: number): string => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)} min`;
const seconds = (details: JobDetails | undefined): string =>
  details === undefined ? "" : `${(((details.endedAtMs ?? Date.now()) - details.startedAtMs) / 1_000).toFixed(1)} s`;
