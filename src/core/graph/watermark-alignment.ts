/**
 * Sources of one group wait for each other: none reads on while its watermark is farther ahead of the slowest than the group allows, so
 * that whoever joins them need not keep what a fast one brings early (Flink: watermark alignment).
 *
 * Pure: takes what subtasks say of their watermarks, now and then, and says how far each vertex may go. What it knows is as old as the
 * last report, so a source can overshoot by what it reads meanwhile.
 */
import type { SubtaskMetrics } from "./job-status.ts";
import type { JobGraph } from "./job-graph.ts";
import type { VertexId } from "../types/ids.ts";

/** What a vertex is told: its sources may read as long as their watermark is not above this. */
export interface WatermarkLimit {
  readonly vertex: VertexId;
  /** Milliseconds since 1970; Infinity: no limit; -Infinity: somebody has not begun. */
  readonly limit: number;
}

/** The alignment of one job. */
export class WatermarkAlignment {
  readonly #vertices: JobGraph["vertices"];
  /** Watermark by subtask; Infinity for one that is idle or has ended. */
  readonly #watermarks = new Map<string, number>();
  #limits = new Map<VertexId, number>();

  constructor(graph: JobGraph) {
    this.#vertices = graph.vertices.filter(({ alignment }) => alignment !== undefined);
  }

  /** Whether any source of the job is to wait. */
  get needed(): boolean {
    return this.#vertices.length > 0;
  }

  /** Takes reports. @returns the limits that are other than before. */
  reported(subtasks: Iterable<Pick<SubtaskMetrics, "vertex" | "subtask" | "values">>): readonly WatermarkLimit[] {
    for (const { vertex, subtask, values } of subtasks) {
      if (!this.#vertices.some(({ id }) => id === vertex)) continue;
      const idle = values["watermarksIdle"] === 1;
      this.#watermarks.set(`${vertex}/${subtask}`, idle ? Infinity : (values["currentOutputWatermark"] ?? Number.NEGATIVE_INFINITY));
    }
    const slowest = new Map<string, number>();
    for (const { id, parallelism, alignment } of this.#vertices) {
      const group = (alignment as NonNullable<typeof alignment>).group;
      for (let subtask = 0; subtask < parallelism; subtask++) {
        const watermark = this.#watermarks.get(`${id}/${subtask}`);
        if (watermark !== undefined) slowest.set(group, Math.min(slowest.get(group) ?? Number.POSITIVE_INFINITY, watermark));
      }
    }
    const changed: WatermarkLimit[] = [];
    for (const { id, alignment } of this.#vertices) {
      const { group, maxDriftMs } = alignment as NonNullable<typeof alignment>;
      const limit = (slowest.get(group) ?? Number.POSITIVE_INFINITY) + maxDriftMs;
      if (this.#limits.get(id) === limit) continue;
      this.#limits.set(id, limit);
      changed.push({ vertex: id, limit });
    }
    return changed;
  }
}
