/**
 * The three graphs of a job as text, as DOT and as JSON: what the user wrote (StreamGraph), what is scheduled (JobGraph) and what
 * runs (ExecutionGraph, the executions of JobDetails). All three are first brought to one shape, a `Plan`: boxes and arrows, with
 * operators or executions inside the boxes. Whoever draws (the command line, the notebook) draws plans and nothing else.
 *
 * Names come from users and may hold anything; control characters never reach the output, and DOT is quoted here. A drawer for
 * another medium escapes for it.
 */
import type { JobGraph, JobOperator } from "./job-graph.ts";
import { slotsNeeded } from "./job-graph.ts";
import type { ExecutionInfo, JobDetails } from "./job-status.ts";
import type { StreamGraph } from "./stream-graph.ts";

/** Any of the three graphs. */
export type AnyGraph = StreamGraph | JobGraph | JobDetails;

/** An operator inside the box of a vertex. Its id is the id of its node in the StreamGraph. */
export type PlanOperator = Pick<JobOperator, "id" | "name" | "kind" | "chainedAfter">;

/** One subtask's latest execution inside the box of a vertex. */
export type PlanSubtask = Pick<ExecutionInfo, "subtask" | "attempt" | "state" | "taskManager" | "slot">;

/** A box of a plan: an operator of a StreamGraph, or a vertex. */
export interface PlanBox {
  /** The operator's or vertex's id. */
  readonly id: string;
  readonly name: string;
  /** Absent where the job's default will be taken. */
  readonly parallelism?: number;
  readonly slotSharingGroup?: string;
  /** Of a JobGraph and an ExecutionGraph: the chain. */
  readonly operators: readonly PlanOperator[];
  /** Of an ExecutionGraph: one entry per subtask that has an execution, in order of subtasks. */
  readonly subtasks: readonly PlanSubtask[];
}

/** An arrow of a plan. */
export interface PlanArrow {
  readonly from: string;
  readonly to: string;
  /** The partitioning (`hash`, `rebalance` …); absent where it is not decided yet. */
  readonly partitioning?: string;
  /** 1 for the second input of a two-input operator. */
  readonly input: 0 | 1;
  readonly sideOutput?: string;
}

/** A graph, ready to be drawn. Boxes are in topological order. */
export interface Plan {
  readonly kind: "stream" | "job" | "execution";
  readonly name: string;
  /** Facts about the whole: `4 slots needed`, the state of the job. */
  readonly notes: readonly string[];
  readonly boxes: readonly PlanBox[];
  readonly arrows: readonly PlanArrow[];
}

/** The forms that `explain` knows. */
export type ExplainFormat = "text" | "dot" | "json";

/**
 * A graph for people (`text`: an indented tree that starts at the sources), for Graphviz (`dot`) or for programs (`json`: the `Plan`).
 * The text ends without a newline.
 */
export function explain(graph: AnyGraph, format: ExplainFormat = "text"): string {
  const plan = planOf(graph);
  if (format === "dot") return toDot(plan);
  if (format === "json") return JSON.stringify(plan, null, 2);
  return toText(plan);
}

/** The graph as boxes and arrows. Of several attempts of one subtask the latest is kept. */
export function planOf(graph: AnyGraph): Plan {
  if ("nodes" in graph) return planOfProgram(graph);
  if ("executions" in graph) return planOfExecutions(graph);
  return planOfJob(graph);
}

function planOfProgram(graph: StreamGraph): Plan {
  return {
    kind: "stream",
    name: plain(graph.jobName),
    notes: [plural(graph.nodes.length, "operator")],
    boxes: graph.nodes.map((node) => ({
      id: plain(node.id),
      name: plain(node.name),
      ...(node.parallelism === undefined ? {} : { parallelism: node.parallelism }),
      ...(node.slotSharingGroup === undefined ? {} : { slotSharingGroup: plain(node.slotSharingGroup) }),
      operators: [],
      subtasks: [],
    })),
    arrows: graph.nodes.flatMap((node) =>
      node.inputs.map((edge) => ({
        from: plain(edge.from.id),
        to: plain(node.id),
        input: edge.input,
        ...(edge.partitioning === undefined ? {} : { partitioning: edge.partitioning.kind }),
        ...(edge.sideOutput === undefined ? {} : { sideOutput: plain(edge.sideOutput) }),
      })),
    ),
  };
}

function planOfJob(graph: JobGraph): Plan {
  return {
    kind: "job",
    name: plain(graph.name),
    notes: [plural(graph.vertices.length, "vertex", "vertices"), plural(slotsNeeded(graph), "slot") + " needed"],
    boxes: graph.vertices.map((vertex) => ({
      id: vertex.id,
      name: plain(vertex.name),
      parallelism: vertex.parallelism,
      slotSharingGroup: plain(vertex.slotSharingGroup),
      operators: vertex.operators.map((it) => ({ id: it.id, name: plain(it.name), kind: plain(it.kind), chainedAfter: it.chainedAfter })),
      subtasks: [],
    })),
    arrows: graph.edges.map((edge) => ({
      from: edge.source,
      to: edge.target,
      partitioning: edge.partitioning,
      input: edge.input,
      ...(edge.sideOutput === undefined ? {} : { sideOutput: plain(edge.sideOutput) }),
    })),
  };
}

function planOfExecutions(details: JobDetails): Plan {
  const job = planOfJob(details.graph);
  const latest = new Map<string, ExecutionInfo>();
  for (const execution of details.executions) {
    const subtask = `${execution.vertex}/${execution.subtask}`;
    if (execution.attempt >= (latest.get(subtask)?.attempt ?? 0)) latest.set(subtask, execution);
  }
  const executions = [...latest.values()].sort((a, b) => a.subtask - b.subtask);
  return {
    ...job,
    kind: "execution",
    name: plain(details.name),
    notes: [
      details.state,
      plural(executions.length, "subtask"),
      ...(details.waitingFor === undefined ? [] : [`waits: ${plain(details.waitingFor)}`]),
    ],
    boxes: job.boxes.map((box) => ({
      ...box,
      subtasks: executions
        .filter((it) => it.vertex === box.id)
        .map((it) => ({
          subtask: it.subtask,
          attempt: it.attempt,
          state: it.state,
          ...(it.taskManager === undefined ? {} : { taskManager: it.taskManager }),
          ...(it.slot === undefined ? {} : { slot: it.slot }),
        })),
    })),
  };
}

// ---------------------------------------------------------------------------------------------------------------- text

const TITLES = { stream: "Program", job: "Job graph", execution: "Execution graph" } as const;

function toText(plan: Plan): string {
  const lines = [`${TITLES[plan.kind]} "${plan.name}": ${plan.notes.join(", ")}`];
  const boxes = new Map(plan.boxes.map((box) => [box.id, box]));
  // A box with several inputs is written where its last input is, so that everything it needs stands above it.
  const inputsLeft = new Map<string, number>();
  for (const arrow of plan.arrows) inputsLeft.set(arrow.to, (inputsLeft.get(arrow.to) ?? 0) + 1);

  const written = new Set<PlanBox>();
  const write = (box: PlanBox, lead: string, indent: string): void => {
    written.add(box);
    const arrows = plan.arrows.filter((arrow) => arrow.from === box.id);
    lines.push(`${lead}${headline(box)}`);
    const bar = arrows.length > 0 ? "│ " : "  ";
    for (const line of inside(box)) lines.push(`${indent}${bar}${line}`);
    arrows.forEach((arrow, index) => {
      const last = index === arrows.length - 1;
      const left = (inputsLeft.get(arrow.to) as number) - 1;
      inputsLeft.set(arrow.to, left);
      const target = boxes.get(arrow.to) as PlanBox;
      const branch = `${indent}${last ? "└─" : "├─"}${label(arrow, "─")}▶ `;
      if (written.has(target)) lines.push(`${branch}${target.id} (above)`);
      else if (left > 0) lines.push(`${branch}${target.id} (below)`);
      else write(target, branch, `${indent}${last ? "   " : "│  "}`);
    });
  };
  const begin = (box: PlanBox): void => {
    lines.push("");
    write(box, "", "");
  };
  const sources = plan.boxes.filter((box) => !plan.arrows.some((arrow) => arrow.to === box.id));
  sources.forEach(begin);
  // A loop's head waits for its own feedback, so no arrow has expanded it.
  for (const box of plan.boxes) if (!written.has(box)) begin(box);
  return lines.join("\n");
}

function headline(box: PlanBox): string {
  const parallelism = box.parallelism === undefined ? "" : ` ×${box.parallelism}`;
  const group = box.slotSharingGroup === undefined || box.slotSharingGroup === "default" ? "" : ` [slot group ${box.slotSharingGroup}]`;
  return `${box.id} ${box.name}${parallelism}${group}`;
}

/** What stands inside the box: subtasks with their places, or the chain if it has more than one operator. */
function inside(box: PlanBox): string[] {
  if (box.subtasks.length > 0) {
    const place = (it: PlanSubtask): string =>
      it.taskManager === undefined ? "" : ` on ${it.taskManager}${it.slot === undefined ? "" : ` slot ${it.slot}`}`;
    const attempt = (it: PlanSubtask): string => (it.attempt <= 1 ? "" : ` (attempt ${it.attempt})`);
    return box.subtasks.map((it) => `${box.id}/${it.subtask} ${it.state}${place(it)}${attempt(it)}`);
  }
  if (box.operators.length < 2) return [];
  return box.operators.map((operator, index) => {
    const after = operator.chainedAfter.map((at) => box.operators[at]?.id ?? "?").join(", ");
    // In a straight chain the order says it; only a branch needs words.
    const straight = index === 0 || (operator.chainedAfter.length === 1 && operator.chainedAfter[0] === index - 1);
    return `${operator.id} ${operator.name}${straight ? "" : ` (after ${after})`}`;
  });
}

function label(arrow: PlanArrow, line: string): string {
  const words = [
    ...(arrow.sideOutput === undefined ? [] : [`side output "${arrow.sideOutput}"`]),
    ...(arrow.partitioning === undefined ? [] : [arrow.partitioning]),
    ...(arrow.input === 1 ? ["second input"] : []),
  ];
  return words.length === 0 ? line : `${line} ${words.join(", ")} ${line}`;
}

// ----------------------------------------------------------------------------------------------------------------- DOT

function toDot(plan: Plan): string {
  const lines = [
    `digraph ${quote(plan.name)} {`,
    '  rankdir=LR; node [shape=box style="rounded,filled" fillcolor="#f6f8fa" color="#57606a" fontname="sans-serif" fontsize=11];',
    '  edge [fontname="sans-serif" fontsize=9 color="#57606a"];',
  ];
  for (const box of plan.boxes) {
    if (plan.kind !== "job" || box.operators.length < 2) {
      const rows = [headline(box), ...(plan.kind === "execution" ? inside(box) : [])];
      lines.push(`  ${quote(box.id)} [label=${quote(rows.join("\n"))}];`);
      continue;
    }
    // A chain is a cluster with its operators inside; arrows from outside end at its first operator and start at its last.
    lines.push(
      `  subgraph ${quote(`cluster_${box.id}`)} {`,
      `    label=${quote(`${box.id} ×${box.parallelism ?? ""}`)}; style=rounded; fontname="sans-serif"; fontsize=10;`,
    );
    for (const operator of box.operators) lines.push(`    ${quote(operator.id)} [label=${quote(operator.name)}];`);
    for (const operator of box.operators) {
      for (const at of operator.chainedAfter) lines.push(`    ${quote(box.operators[at]?.id ?? "")} -> ${quote(operator.id)};`);
    }
    lines.push("  }");
  }
  const boxes = new Map(plan.boxes.map((box) => [box.id, box]));
  const end = (id: string, which: "first" | "last"): { node: string; attribute: string } => {
    const box = boxes.get(id) as PlanBox;
    if (plan.kind !== "job" || box.operators.length < 2) return { node: id, attribute: "" };
    const operator = which === "first" ? box.operators[0] : box.operators.at(-1);
    return { node: operator?.id ?? id, attribute: ` ${which === "first" ? "lhead" : "ltail"}=${quote(`cluster_${id}`)}` };
  };
  if (plan.kind === "job") lines.push("  compound=true;");
  for (const arrow of plan.arrows) {
    const from = end(arrow.from, "last");
    const to = end(arrow.to, "first");
    lines.push(`  ${quote(from.node)} -> ${quote(to.node)} [label=${quote(label(arrow, "").trim())}${from.attribute}${to.attribute}];`);
  }
  return [...lines, "}"].join("\n");
}

const quote = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;

/** Without control characters, so that a name can neither break a line nor steer a terminal. */
const plain = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
