import { describe, expect, test } from "vitest";
import { compileJob } from "../../../src/core/graph/chaining.ts";
import { type Plan, explain, planOf } from "../../../src/core/graph/explain.ts";
import type { JobDetails } from "../../../src/core/graph/job-status.ts";
import { type Partitioning, type StreamGraph, type StreamNode, streamGraph, streamNode } from "../../../src/core/graph/stream-graph.ts";
import { jobId, taskManagerId, vertexId } from "../../../src/core/types/ids.ts";

const HASH: Partitioning = { kind: "hash", key: () => 0 };
const edge = (from: StreamNode, partitioning?: Partitioning, input: 0 | 1 = 0, sideOutput?: string) => ({
  from,
  input,
  partitioning,
  sideOutput,
});

function ridesProgram(): StreamGraph {
  const rides = streamNode(1, { name: "Source: rides", spec: { kind: "source" } });
  const map = streamNode(2, { name: "map", spec: { kind: "map" }, inputs: [edge(rides)] });
  const window = streamNode(3, { name: "window(60 s)", spec: { kind: "window" }, inputs: [edge(map, HASH)] });
  const sink = streamNode(4, { name: "Sink: jsonLines", spec: { kind: "sink" }, inputs: [edge(window)] });
  const late = streamNode(5, { name: "Sink: late", spec: { kind: "sink" }, inputs: [edge(window, undefined, 0, "late")], parallelism: 1 });
  return streamGraph("rides per zone", [sink, late]);
}

const compiled = () => compileJob(ridesProgram(), { parallelism: 2, maxParallelism: 128, chaining: true, options: {} }).graph;

function details(): JobDetails {
  return {
    job: jobId("0123456789abcdef0123456789abcdef"),
    name: "rides per zone",
    state: "RUNNING",
    startedAtMs: 0,
    tasks: {},
    graph: compiled(),
    timestamps: {},
    executions: [
      { vertex: vertexId("v1"), subtask: 0, attempt: 1, state: "FAILED", taskManager: taskManagerId("tm-a"), slot: 0, timestamps: {} },
      { vertex: vertexId("v1"), subtask: 0, attempt: 2, state: "RUNNING", taskManager: taskManagerId("tm-b"), slot: 1, timestamps: {} },
      { vertex: vertexId("v1"), subtask: 1, attempt: 1, state: "SCHEDULED", timestamps: {} },
    ],
  };
}

describe("explain", () => {
  test("tells the program as an indented tree from its sources", () => {
    expect(explain(ridesProgram())).toBe(
      [
        'Program "rides per zone": 5 operators',
        "",
        "n1 Source: rides",
        "└──▶ n2 map",
        "   └── hash ─▶ n3 window(60 s)",
        "      ├──▶ n4 Sink: jsonLines",
        '      └── side output "late" ─▶ n5 Sink: late ×1',
      ].join("\n"),
    );
  });

  test("shows a chain with its operators inside and its partitioning on the way out", () => {
    expect(explain(compiled())).toBe(
      [
        'Job graph "rides per zone": 3 vertices, 2 slots needed',
        "",
        "v1 Source: rides -> map ×2",
        "│ n1 Source: rides",
        "│ n2 map",
        "└── hash ─▶ v2 window(60 s) -> Sink: jsonLines ×2",
        "   │ n3 window(60 s)",
        "   │ n4 Sink: jsonLines",
        '   └── side output "late", rebalance ─▶ v3 Sink: late ×1',
      ].join("\n"),
    );
  });

  test("shows where the latest attempt of each subtask runs", () => {
    const text = explain(details());
    expect(text).toContain('Execution graph "rides per zone": RUNNING, 2 subtasks');
    expect(text).toContain("│ v1/0 RUNNING on tm-b slot 1 (attempt 2)");
    expect(text).toContain("│ v1/1 SCHEDULED\n");
    expect(text).not.toContain("FAILED");
  });

  test("writes a vertex with two inputs once, under the last of them", () => {
    const left = streamNode(1, { name: "left", spec: { kind: "source" } });
    const right = streamNode(2, { name: "right", spec: { kind: "source" } });
    const join = streamNode(3, { name: "join", spec: { kind: "join" }, inputs: [edge(left, HASH), edge(right, HASH, 1)] });
    expect(explain(streamGraph("join", [join])).split("\n")).toEqual([
      'Program "join": 3 operators',
      "",
      "n1 left",
      "└── hash ─▶ n3 (below)",
      "",
      "n2 right",
      "└── hash, second input ─▶ n3 join",
    ]);
  });

  test("writes a loop's body although nothing outside completes its inputs", () => {
    const source = streamNode(1, { name: "source", spec: { kind: "source" } });
    const head = streamNode(2, { name: "iterate", spec: { kind: "iterate" }, inputs: [edge(source)] });
    const step = streamNode(3, { name: "step", spec: { kind: "map" }, inputs: [edge(head)] });
    head.inputs = [...head.inputs, { ...edge(step), feedback: true }];
    const text = explain(streamGraph("loop", [step]));
    expect(text).toContain("\nn2 iterate");
    expect(text).toContain("└──▶ n3 step");
  });

  test("a name cannot break a line or steer the terminal", () => {
    const evil = streamNode(1, { name: 'a\n\u001b[2J"b\\', spec: { kind: "source" } });
    const program = streamGraph("j\r\nob", [evil]);
    expect(explain(program)).toBe('Program "j ob": 1 operator\n\nn1 a [2J"b\\');
    expect(explain(program, "dot")).toContain('"n1" [label="n1 a [2J\\"b\\\\"]');
  });

  test("DOT puts each chain into a cluster and labels the arrows", () => {
    const dot = explain(compiled(), "dot");
    expect(dot).toContain('subgraph "cluster_v1"');
    expect(dot).toContain('"n1" -> "n2";');
    expect(dot).toContain('"n2" -> "n3" [label="hash" ltail="cluster_v1" lhead="cluster_v2"];');
    expect(dot.split("{").length).toBe(dot.split("}").length);
  });

  test("JSON is the plan, and its operator ids are those of the program", () => {
    const plan = JSON.parse(explain(compiled(), "json")) as Plan;
    expect(plan).toEqual(planOf(compiled()));
    expect(plan.boxes.flatMap((box) => box.operators.map((it) => it.id))).toEqual(ridesProgram().nodes.map((node) => node.id));
  });
});
