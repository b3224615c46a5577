/**
 * What to start next, and where: which waiting job gets slots, which slot each of its shares gets, and what each TaskManager is sent.
 * Pure; the same facts always give the same answer.
 *
 * Fairness. Jobs are served in order of submission. A job gets all its slots at once or none, so two jobs never hold half of what each
 * needs. A later job that fits may overtake an earlier one that doesn't, because the earlier one could not use those slots now; but small
 * jobs that keep coming must not starve a large one: once a job that the cluster could hold has waited for `patienceMs`, nobody
 * overtakes it any more.
 *
 * Place. The whole job on one TaskManager if it fits, on the one with the most free slots: exchanges inside a process are rings, several
 * times cheaper than sockets. Else on as few TaskManagers as can hold it, in shares as even as their free slots allow. (Flink by default
 * fills slots in no promised order.)
 */
import { type JobEdge, type JobGraph, type JobVertex, targetsOf } from "../../core/graph/job-graph.ts";
import { InvariantError } from "../../core/types/errors.ts";
import { type JobId, type SubtaskId, type TaskManagerId, type VertexId, subtaskId } from "../../core/types/ids.ts";
import type { CheckpointDeployment, RestoreDeployment } from "../protocol/checkpoint-messages.ts";
import type { ChannelDeployment, EdgeDeployment, TaskDeployment } from "../protocol/messages.ts";
import type { ExecutionGraph } from "./execution-graph.ts";
import type { Placement, Slot } from "./slot-pool.ts";
import type { SlotShare } from "./slot-sharing.ts";

/** The free slots of one TaskManager, in ascending order. */
export interface FreeSlots {
  readonly taskManager: TaskManagerId;
  readonly slots: readonly number[];
}

/** A job that waits for slots. */
export interface Demand {
  readonly job: JobId;
  readonly shares: readonly SlotShare[];
  readonly waitedMs: number;
  /** How long later jobs may overtake it. */
  readonly patienceMs: number;
}

/**
 * The jobs that can start now, with their places.
 * @param demands in order of submission.
 * @param slotsTotal all slots of the cluster, free or not.
 */
export function assign(
  demands: readonly Demand[],
  free: readonly FreeSlots[],
  slotsTotal: number,
): ReadonlyMap<JobId, readonly Placement[]> {
  const started = new Map<JobId, readonly Placement[]>();
  let left = free;
  for (const { job, shares, waitedMs, patienceMs } of demands) {
    const placements = place(shares, left);
    if (placements !== undefined) {
      started.set(job, placements);
      left = without(left, placements);
    } else if (shares.length <= slotsTotal && waitedMs >= patienceMs) {
      break;
    }
  }
  return started;
}

/** A slot for every share, or undefined when there are too few. TaskManagers with equally many free slots are taken in the given order. */
export function place(shares: readonly SlotShare[], free: readonly FreeSlots[]): readonly Placement[] | undefined {
  const largestFirst = free.filter(({ slots }) => slots.length > 0).sort((a, b) => b.slots.length - a.slots.length);
  const chosen: FreeSlots[] = [];
  let room = 0;
  for (const slots of largestFirst) {
    if (room >= shares.length) break;
    chosen.push(slots);
    room += slots.slots.length;
  }
  if (room < shares.length) return undefined;
  const quotas = spread(
    shares.length,
    chosen.map(({ slots }) => slots.length),
  );
  const placements: Placement[] = [];
  for (const [index, { taskManager, slots }] of chosen.entries()) {
    for (const slot of slots.slice(0, quotas[index])) {
      placements.push({ share: shares[placements.length] as SlotShare, at: { taskManager, slot } });
    }
  }
  return placements;
}

/** Splits `count` as evenly as the capacities allow; they suffice. */
function spread(count: number, capacities: readonly number[]): readonly number[] {
  const quotas = capacities.map(() => 0);
  let left = count;
  while (left > 0) {
    for (const [index, capacity] of capacities.entries()) {
      if (left > 0 && (quotas[index] as number) < capacity) {
        quotas[index] = (quotas[index] as number) + 1;
        left--;
      }
    }
  }
  return quotas;
}

function without(free: readonly FreeSlots[], taken: readonly Placement[]): readonly FreeSlots[] {
  const used = new Set(taken.map(({ at }) => `${at.taskManager}/${at.slot}`));
  return free.map(({ taskManager, slots }) => ({ taskManager, slots: slots.filter((slot) => !used.has(`${taskManager}/${slot}`)) }));
}

/** What of a job goes into its deployments. */
export interface Deployable {
  readonly job: JobId;
  readonly graph: JobGraph;
  readonly code: string;
  readonly executions: ExecutionGraph;
  /** Where each TaskManager takes records from others. */
  readonly dataAddress: (taskManager: TaskManagerId) => string;
  /** The subtasks to deploy; all that they exchange records with are among them. */
  readonly subtasks: ReadonlySet<SubtaskId>;
  readonly checkpoints: CheckpointDeployment;
  /** What a subtask begins with; undefined: with nothing. */
  readonly restoreOf: (vertex: JobVertex, subtask: number) => RestoreDeployment | undefined;
}

/**
 * What to send to each TaskManager: all its tasks of the job that are to begin, at once. Each of their executions has a slot.
 * Producers and consumers may start in any order: nothing flows before the consumer has granted credit.
 */
export function deployments({
  job,
  graph,
  code,
  executions,
  dataAddress,
  subtasks,
  checkpoints,
  restoreOf,
}: Deployable): ReadonlyMap<TaskManagerId, readonly TaskDeployment[]> {
  const slotOf = (vertex: VertexId, subtask: number): Slot => {
    const { at } = executions.at(vertex, subtask);
    if (at === undefined) {
      throw new InvariantError(`subtask ${subtask} of vertex ${vertex} of job ${job} is to be deployed, but has no slot.`);
    }
    return at;
  };
  const wiring = graph.edges.map((edge) => ({ edge, links: linksOf(edge, graph) }));

  const channels = (edge: JobEdge, here: Slot, links: readonly Link[], farEnd: "source" | "target"): EdgeDeployment => ({
    edge: edge.id,
    input: edge.input,
    channels: links.map(({ from, to }): ChannelDeployment => {
      const subtask = farEnd === "source" ? from : to;
      const there = slotOf(edge[farEnd], subtask);
      const { attempt } = executions.at(edge.target, to).address;
      const channel = `${job}/${edge.id}/${from}/${to}#${attempt}`;
      if (there.taskManager === here.taskManager) return { channel, subtask };
      return { channel, subtask, peer: { taskManager: there.taskManager, address: dataAddress(there.taskManager) } };
    }),
  });

  const tasks = new Map<TaskManagerId, TaskDeployment[]>();
  for (const [vertexIndex, vertex] of graph.vertices.entries()) {
    const inputs = wiring.filter(({ edge }) => edge.target === vertex.id);
    const outputs = wiring.filter(({ edge }) => edge.source === vertex.id);
    for (let subtask = 0; subtask < vertex.parallelism; subtask++) {
      if (!subtasks.has(subtaskId(vertex.id, subtask))) continue;
      const here = slotOf(vertex.id, subtask);
      const restore = restoreOf(vertex, subtask);
      const task: TaskDeployment = {
        execution: executions.at(vertex.id, subtask).address,
        jobName: graph.name,
        vertex,
        vertexIndex,
        slot: here.slot,
        code,
        inputs: inputs.map(({ edge, links }) => channels(edge, here, links.byTarget[subtask] as Link[], "source")),
        outputs: outputs.map(({ edge, links }) => channels(edge, here, links.bySource[subtask] as Link[], "target")),
        results: graph.results.filter((result) => result.vertex === vertex.id),
        feeds: graph.feeds.filter((feed) => feed.vertex === vertex.id),
        options: graph.options,
        checkpoints,
        ...(restore === undefined ? {} : { restore }),
      };
      const others = tasks.get(here.taskManager);
      if (others === undefined) tasks.set(here.taskManager, [task]);
      else others.push(task);
    }
  }
  return tasks;
}

interface Link {
  readonly from: number;
  readonly to: number;
}

/** Who is linked with whom over an edge, seen from both ends, each in ascending order of the other end. */
function linksOf(edge: JobEdge, graph: JobGraph): { readonly bySource: readonly Link[][]; readonly byTarget: readonly Link[][] } {
  const parallelismOf = (id: VertexId): number =>
    (graph.vertices.find((vertex) => vertex.id === id) as { parallelism: number }).parallelism;
  const [producers, consumers] = [parallelismOf(edge.source), parallelismOf(edge.target)];
  const bySource = Array.from({ length: producers }, (_, from) => targetsOf(edge, from, producers, consumers).map((to) => ({ from, to })));
  const byTarget: Link[][] = Array.from({ length: consumers }, () => []);
  for (const link of bySource.flat()) (byTarget[link.to] as Link[]).push(link);
  return { bySource, byTarget };
}
