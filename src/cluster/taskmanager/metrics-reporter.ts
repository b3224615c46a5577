/**
 * Tells the JobManager once per interval how the TaskManager and its tasks are doing. The tasks count into shared memory, so a reading
 * costs them nothing and works while their threads are blocked; what is left to do here is to turn counters into rates.
 *
 * A report is an event: one that gets lost is replaced by the next. Nothing is queued. Lives on the TaskManager's main thread.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { IntervalHistogram } from "node:perf_hooks";
import type { MetricsReport, SubtaskMetrics } from "../../core/graph/job-status.ts";
import { metricRates, readTaskMetrics } from "../../core/runtime/metrics.ts";
import type { MetricInfo } from "../../core/runtime/metrics.ts";
import type { TaskManagerId } from "../../core/types/ids.ts";
import type { DataLinksStatistics } from "../exchange/zmq-channel.ts";
import { executionKey } from "./state-reports.ts";
import type { TaskThread } from "./task-thread.ts";

const metric = (name: string, kind: MetricInfo["kind"], unit: MetricInfo["unit"], description: string): MetricInfo => ({
  name,
  kind,
  unit,
  description,
});

/**
 * The metrics of a TaskManager's process, beside those of its subtasks.
 * @public for lists of all metrics.
 */
export const processMetrics: readonly MetricInfo[] = [
  metric("cpuTimeMs", "counter", "ms", "Processor time of all threads of the process."),
  metric("cpuLoad", "gauge", "share", "Processors in use since the last report: 1 is one processor."),
  metric("residentBytes", "gauge", "bytes", "Memory of the process, all threads included."),
  metric("heapUsedBytes", "gauge", "bytes", "Heap in use of the main thread and of all tasks."),
  metric("sharedBytes", "gauge", "bytes", "Network memory on loan to channels."),
  metric("networkBytes", "gauge", "bytes", "Network memory of all slots."),
  metric(
    "eventLoopDelayMs",
    "gauge",
    "ms",
    "How late the main thread's event loop came round, at the 99th percentile since the last report.",
  ),
  metric("threads", "gauge", "count", "Threads that run subtasks."),
  metric("spareThreads", "gauge", "count", "Threads that wait for one."),
  metric("dataConnections", "gauge", "count", "Connections to other TaskManagers: one per pair, however many channels use it."),
  metric("dataChannels", "gauge", "count", "Channels to and from other TaskManagers."),
  metric("dataBytesSent", "counter", "bytes", "Bytes sent to other TaskManagers."),
  metric("dataBytesReceived", "counter", "bytes", "Bytes received from other TaskManagers."),
  metric("dataSegmentsSent", "counter", "segments", "Segments sent to other TaskManagers."),
  metric("dataSegmentsReceived", "counter", "segments", "Segments received from other TaskManagers."),
  metric(
    "creditsAvailable",
    "gauge",
    "segments",
    "Segments that this process may send to others now; 0 with data waiting is back pressure.",
  ),
];

/** What the reporter looks at. */
export interface MetricsSource {
  readonly tasks: () => Iterable<TaskThread>;
  readonly links: () => DataLinksStatistics;
  readonly sharedBytes: () => number;
  readonly networkBytes: number;
  readonly spareThreads: () => number;
}

interface Reading {
  readonly atMs: number;
  readonly values: Readonly<Record<string, number>>;
}

/** Takes readings and makes reports of them. */
export class MetricsReporter {
  readonly #taskManager: TaskManagerId;
  readonly #source: MetricsSource;
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: 20 });
  #readings = new Map<string, Reading>();
  /** As last reported. */
  #process: Readonly<Record<string, number>> = {};
  #cpu = process.cpuUsage();
  #cpuAtMs: number = performance.now();

  constructor(taskManager: TaskManagerId, source: MetricsSource) {
    this.#taskManager = taskManager;
    this.#source = source;
    this.#delays.enable();
  }

  /** The state of things now, with rates since the report before. */
  report(): MetricsReport {
    const nowMs = performance.now();
    const readings = new Map<string, Reading>();
    const subtasks: SubtaskMetrics[] = [];
    let heapUsedBytes = process.memoryUsage().heapUsed;
    let threads = 0;
    for (const task of this.#source.tasks()) {
      const { metrics, reading } = this.#subtask(task, nowMs);
      readings.set(executionKey(task.deployment.execution), reading);
      if (task.live) {
        threads += 1;
        heapUsedBytes += metrics.values["heapUsed"] ?? 0;
      }
      subtasks.push(metrics);
    }
    this.#readings = readings;
    this.#process = { ...this.#processor(nowMs), residentBytes: process.memoryUsage.rss(), heapUsedBytes, threads, ...this.#network() };
    return { taskManager: this.#taskManager, atMs: Date.now(), subtasks, process: this.#process };
  }

  /** The last word about a subtask that has ended, so that its counters are told to the last record. */
  lastReport(task: TaskThread): MetricsReport {
    const subtask = this.#subtask(task, performance.now()).metrics;
    return { taskManager: this.#taskManager, atMs: Date.now(), subtasks: [subtask], process: this.#process };
  }

  /** Stops measuring. */
  stop(): void {
    this.#delays.disable();
  }

  #subtask({ deployment, thread }: TaskThread, nowMs: number): { readonly metrics: SubtaskMetrics; readonly reading: Reading } {
    const { execution, slot } = deployment;
    const values = readTaskMetrics(thread.metrics);
    const before = this.#readings.get(executionKey(execution));
    const rates = before === undefined || nowMs <= before.atMs ? {} : metricRates(before.values, values, nowMs - before.atMs);
    const { job, vertex, subtask, attempt } = execution;
    return { metrics: { job, vertex, subtask, attempt, slot, values: { ...values, ...rates } }, reading: { atMs: nowMs, values } };
  }

  #processor(nowMs: number): Record<string, number> {
    const used = process.cpuUsage();
    const spentMs = (used.user + used.system - this.#cpu.user - this.#cpu.system) / 1_000;
    const cpuLoad = nowMs > this.#cpuAtMs ? spentMs / (nowMs - this.#cpuAtMs) : 0;
    this.#cpu = used;
    this.#cpuAtMs = nowMs;
    const delayMs = this.#delays.percentile(99) / 1e6;
    this.#delays.reset();
    return { cpuTimeMs: (used.user + used.system) / 1_000, cpuLoad, eventLoopDelayMs: Number.isFinite(delayMs) ? delayMs : 0 };
  }

  #network(): Record<string, number> {
    const links = this.#source.links();
    let creditsAvailable = 0;
    for (const channel of links.channels) if (channel.direction === "output") creditsAvailable += channel.credits;
    return {
      sharedBytes: this.#source.sharedBytes(),
      networkBytes: this.#source.networkBytes,
      spareThreads: this.#source.spareThreads(),
      dataConnections: links.connections,
      dataChannels: links.channels.length,
      dataBytesSent: links.bytesSent,
      dataBytesReceived: links.bytesReceived,
      dataSegmentsSent: links.segmentsSent,
      dataSegmentsReceived: links.segmentsReceived,
      creditsAvailable,
    };
  }
}
