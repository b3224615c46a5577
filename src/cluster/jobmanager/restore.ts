/**
 * How the state in a checkpoint or savepoint comes back into a job: operator by operator, matched by uid (or operator id), to whatever
 * vertex the operator now belongs to and at whatever parallelism that runs. Pure; only metadata is looked at.
 *
 * Invariant: state is neither lost nor given to another operator unnoticed. State that finds no operator is an error unless the user allows
 * it; so is an operator whose state was made by another kind of operator.
 */
import type { JobGraph, JobOperator, JobVertex } from "../../core/graph/job-graph.ts";
import { type OperatorSnapshot, redistribute } from "../../core/state/snapshot.ts";
import { CheckpointError } from "../../core/types/errors.ts";
import type { RestoreDeployment } from "../protocol/checkpoint-messages.ts";
import { ANY_KIND, type CheckpointManifest, type ManifestOperator, type ManifestVertex } from "../storage/manifest.ts";
import type { CompletedCheckpoint } from "./completed-checkpoints.ts";

/** What an operator's state is matched by. */
export const stateIdOf = ({ uid, id }: JobOperator): string => uid ?? id;

/**
 * Checks that a job can begin with what a manifest holds.
 * @param allowNonRestoredState whether state may be left behind that finds no operator.
 * @throws CheckpointError saying which operator does not fit, and what to do.
 */
export function requireRestorable(manifest: CheckpointManifest, graph: JobGraph, allowNonRestoredState: boolean): void {
  const job = `job ${JSON.stringify(graph.name)}`;
  const source = `${manifest.kind} ${manifest.checkpoint} of job ${JSON.stringify(manifest.jobName)}`;
  const now = new Map<string, { readonly vertex: JobVertex; readonly operator: JobOperator }>();
  for (const vertex of graph.vertices) for (const operator of vertex.operators) now.set(stateIdOf(operator), { vertex, operator });
  const left: string[] = [];
  for (const vertex of manifest.vertices) {
    for (const old of vertex.operators) {
      const has = kindsOfState(vertex, old);
      if (has.size === 0) continue;
      const found = now.get(old.operator);
      if (found === undefined) {
        left.push(`${JSON.stringify(old.name)} (${old.operator})`);
        continue;
      }
      if (old.kind !== ANY_KIND && found.operator.kind !== old.kind) {
        throw new CheckpointError(
          `${job} can't go on from ${source}: the state of ${old.operator} belongs to ${JSON.stringify(old.name)} (${old.kind}), but there it ` +
            `has ${JSON.stringify(found.operator.name)} (${found.operator.kind}). Give operators with state a uid, so that they are found ` +
            "again when the program changes.",
        );
      }
      if ((has.has("keyed") || has.has("timers")) && found.vertex.maxParallelism !== vertex.maxParallelism) {
        throw new CheckpointError(
          `${job} can't go on from ${source}: ${JSON.stringify(old.name)} had a maximal parallelism of ${vertex.maxParallelism}, and now has ` +
            `${found.vertex.maxParallelism}, but state by key is divided by it once and for all. Set pipeline.max-parallelism, or the operator's ` +
            `setMaxParallelism(), to ${vertex.maxParallelism}.`,
        );
      }
    }
  }
  if (left.length > 0 && !allowNonRestoredState) {
    throw new CheckpointError(
      `${job} can't go on from ${source}: it has no operator for the state of ${left.join(", ")}. Give the operators that they became the ` +
        "same uids, or allow that this state is left behind (allowNonRestoredState).",
    );
  }
}

/** Kinds of state that an operator had in any subtask. */
function kindsOfState({ subtasks }: ManifestVertex, { operator }: ManifestOperator): ReadonlySet<string> {
  const kinds = new Set<string>();
  for (const { operators } of subtasks) {
    for (const state of operators) {
      if (state.operator !== operator) continue;
      for (const { kind, blocks } of (state as OperatorSnapshot).sections) if (blocks.length > 0) kinds.add(kind);
    }
  }
  return kinds;
}

/** Tells what subtasks of a job begin with. */
export class Restore {
  readonly #checkpoint: CompletedCheckpoint;
  readonly #byOperator = new Map<string, ManifestVertex>();
  readonly #byVertex: ReadonlyMap<string, ManifestVertex>;
  readonly #sameShape: boolean;

  /**
   * @param graph the job as it is to run.
   * @throws CheckpointError when rows on their way were stored, and the parallelism is another one.
   */
  constructor(checkpoint: CompletedCheckpoint, graph: JobGraph) {
    this.#checkpoint = checkpoint;
    const { vertices } = checkpoint.manifest;
    for (const vertex of vertices) for (const { operator } of vertex.operators) this.#byOperator.set(operator, vertex);
    this.#byVertex = new Map(vertices.map((vertex) => [vertex.id, vertex]));
    this.#sameShape = graph.vertices.every(({ id, parallelism, operators }) => {
      const old = this.#byVertex.get(id);
      return (
        old?.parallelism === parallelism &&
        old.operators.length === operators.length &&
        operators.every((operator, index) => stateIdOf(operator) === old.operators[index]?.operator)
      );
    });
    if (this.#sameShape) return;
    if (vertices.some(({ subtasks }) => subtasks.some(({ channels }) => Array.isArray(channels) && channels.length > 0))) {
      throw new CheckpointError(
        `job ${JSON.stringify(graph.name)} can't go on from checkpoint ${checkpoint.id} at another parallelism or as another program: the ` +
          "checkpoint is unaligned, and holds rows that were on their way. Take a savepoint, which is always aligned.",
      );
    }
  }

  /** What a subtask begins with. */
  of(vertex: JobVertex, subtask: number): RestoreDeployment {
    const { id: checkpoint, folder } = this.#checkpoint;
    const operators = vertex.operators.flatMap((operator) => {
      const stateId = stateIdOf(operator);
      const old = this.#byOperator.get(stateId);
      if (old === undefined) return [];
      const states = old.subtasks.map((before) => before.operators.find((state) => state.operator === stateId));
      return redistribute(states as (OperatorSnapshot | undefined)[], subtask, vertex.parallelism, vertex.maxParallelism) ?? [];
    });
    const [head] = vertex.operators;
    const before = head === undefined ? undefined : this.#byOperator.get(stateIdOf(head));
    const same = this.#sameShape ? this.#byVertex.get(vertex.id)?.subtasks[subtask] : undefined;
    const finished = same === undefined ? before?.subtasks.every((old) => old.finished === true) === true : same.finished === true;
    const channels = same?.channels;
    return { checkpoint, folder, operators, ...(channels === undefined ? {} : { channels }), ...(finished ? { finished } : {}) };
  }
}
