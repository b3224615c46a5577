/** The door `drey/notebook`: pictures of jobs, charts and tables of their results, and one cluster per kernel. */
export { chart } from "./views/chart.ts";
export type { ChartAxis, ChartKind, ChartSeries, ChartSpec, ChartValue, RowChart } from "./views/chart-spec.ts";
export { display, liveDisplay } from "./display.ts";
export type { DisplayOutlet, LiveDisplay } from "./display.ts";
export { graph } from "./views/graph.ts";
export type { GraphOptions } from "./views/graph.ts";
export { jobPanel } from "./views/job.ts";
export type { JobPanelOptions } from "./views/job.ts";
export { live } from "./live.ts";
export type { LiveOptions, LivelyJob, WatchableJob } from "./live.ts";
export { liveTable, plot } from "./live-rows.ts";
export type { LivePlotOptions, LiveRows, LiveRowsOptions, LiveTableOptions } from "./live-rows.ts";
export { metricsChart } from "./views/metrics.ts";
export type { MetricsChartOptions } from "./views/metrics.ts";
export { Picture } from "./picture.ts";
export type { MimeBundle, PictureForms } from "./picture.ts";
export type { PlotlyFigure } from "./views/plotly.ts";
export { report } from "./report.ts";
export type { ReportOptions } from "./report.ts";
export type { RowSource, Subscribable } from "./rows.ts";
export { NotebookSession, notebookSession } from "./session.ts";
export { slots, slotsOfJob } from "./views/slots.ts";
export type { SlotContent, SlotOptions, SlotOverview, SlotTaskManager } from "./views/slots.ts";
export { table } from "./views/table.ts";
export type { TableOptions } from "./views/table.ts";

import "./stream-methods.ts";
