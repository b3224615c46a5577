/** A cluster as one HTML file: its processes, who sits in which slot, its jobs and what each of them does. */
import { type JobDetails, isFinal } from "../core/graph/job-status.ts";
import { reportPage } from "./report-page.ts";
import { type ClusterCard, cluster } from "./views/cluster.ts";
import { graph } from "./views/graph.ts";
import { jobPanel } from "./views/job.ts";
import { duration, moment } from "./views/numbers.ts";
import { table } from "./views/table.ts";

export interface ClusterReportOptions {
  /** Default: `Cluster`, with its address. */
  readonly title?: string;
  readonly overview: ClusterCard;
  /** Jobs to be told of one by one; the others stand in the list only. */
  readonly jobs?: readonly JobDetails[];
  /** The moment of the report, milliseconds since the epoch, default `Date.now()`. */
  readonly nowMs?: number;
}

/** The report as HTML, to be written to a file. It holds no scripts. */
export function clusterReport({ overview, jobs = [], ...options }: ClusterReportOptions): string {
  const { nowMs = Date.now(), title = `Cluster at ${overview.address}` } = options;
  const { taskManagers, slotsTotal, slotsFree } = overview;
  const all = overview.jobs.map(({ job, name, state, startedAtMs, endedAtMs }) => ({
    job,
    name,
    state,
    started: `${moment(startedAtMs)} UTC`,
    took: duration((endedAtMs ?? nowMs) - startedAtMs),
  }));
  return reportPage({
    title,
    kind: "drey cluster report",
    id: `JobManager, pid ${overview.pid}, version ${overview.version}`,
    facts: [
      ["Up for", duration(nowMs - overview.startedAtMs)],
      ["TaskManagers", String(taskManagers.length)],
      ["Slots in use", `${slotsTotal - slotsFree} of ${slotsTotal}`],
      ["Jobs that run", String(overview.jobs.filter(({ state }) => !isFinal(state)).length)],
      ["Jobs that ended", String(overview.jobs.filter(({ state }) => isFinal(state)).length)],
    ],
    sections: [
      { heading: "Processes and slots", lead: PROCESSES, pictures: [cluster(overview, { nowMs })] },
      { heading: "Jobs", lead: "All that the JobManager knows of.", pictures: all.length === 0 ? [] : [table(all, { title: "Jobs" })] },
      ...jobs.map((details) => ({
        heading: details.name,
        lead: `Job ${details.job}: its states over time, and what runs where.`,
        pictures: [jobPanel(details, { nowMs, width: 1080 }), graph(details)],
      })),
    ],
    interactive: false,
    nowMs,
  });
}

const PROCESSES = "Each TaskManager is a process; its line says when it was last heard of. In the slots, the subtasks that sit there.";
