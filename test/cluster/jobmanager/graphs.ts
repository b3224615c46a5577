/** Small job graphs and segments, as data: nothing of them is run. */
import { createHash } from "node:crypto";
import type { JobEdge, JobGraph, JobVertex } from "../../../src/core/graph/job-graph.ts";
import { SEGMENT_HEADER_BYTES, SegmentKind, segmentMemory, writeSegmentHeader } from "../../../src/core/data/element.ts";
import type { PartitioningKind } from "../../../src/core/graph/stream-graph.ts";
import { edgeId, operatorId, vertexId } from "../../../src/core/types/ids.ts";

export function vertex(name: string, parallelism: number, group = "default"): JobVertex {
  return {
    id: vertexId(name),
    name,
    operators: [{ id: operatorId(name), name, kind: "map", chainedAfter: [] }],
    parallelism,
    maxParallelism: 128,
    slotSharingGroup: group,
    asynchronous: false,
  };
}

export function edge(source: string, target: string, partitioning: PartitioningKind = "hash"): JobEdge {
  return { id: edgeId(`${source}->${target}`), source: vertexId(source), target: vertexId(target), input: 0, partitioning };
}

export interface Ends {
  readonly results?: readonly string[];
  readonly feeds?: readonly string[];
  readonly options?: JobGraph["options"];
}

/** Results leave the last vertex, feeds enter the first. */
export function graphOf(
  name: string,
  vertices: readonly JobVertex[],
  edges: readonly JobEdge[],
  { results = [], feeds = [], options = {} }: Ends = {},
): JobGraph {
  return {
    name,
    vertices,
    edges,
    options,
    results: results.map((result) => ({ name: result, vertex: vertices.at(-1)!.id, edge: edgeId(`result ${result}`) })),
    feeds: feeds.map((feed) => ({ name: feed, vertex: vertices[0]!.id, edge: edgeId(`feed ${feed}`) })),
  };
}

/** source ─hash→ sink, both with this parallelism. */
export const pair = (name: string, parallelism: number, ends: Ends = {}): JobGraph =>
  graphOf(
    name,
    [vertex("source", ends.feeds === undefined ? parallelism : 1), vertex("sink", parallelism)],
    [edge("source", "sink")],
    ends,
  );

export const CODE: Uint8Array = new TextEncoder().encode("the code");
export const CODE_DIGEST: string = createHash("sha256").update(CODE).digest("hex");

/** A segment of `bytes` in all. */
export function segment(kind: SegmentKind, { rows = 0, bytes = SEGMENT_HEADER_BYTES, flags = 0, payload = 0 } = {}): Uint8Array {
  const memory = segmentMemory(new ArrayBuffer(Math.ceil(bytes / 8) * 8));
  writeSegmentHeader(memory, 0, kind, rows, bytes - SEGMENT_HEADER_BYTES, 0, flags);
  if (bytes > SEGMENT_HEADER_BYTES) memory.bytes[SEGMENT_HEADER_BYTES] = payload;
  return memory.bytes.slice(0, bytes);
}

export const END: Uint8Array = segment(SegmentKind.end);
export const rows = (count: number, bytes = 100, payload = 0): Uint8Array => segment(SegmentKind.rows, { rows: count, bytes, payload });
