/**
 * A job as it is run: each vertex of the job graph `parallelism` times, each of these subtasks with the attempt that runs it now, that
 * attempt's state, place and end.
 *
 * Invariant: an execution only goes forward, along the order of its states, and never leaves a final one. A report that would do otherwise,
 * or that names another attempt, is late or repeated; it changes nothing and is told apart, so that the same report may come twice.
 */
import { type JobGraph, targetsOf } from "../../core/graph/job-graph.ts";
import { TASK_STATES, isTaskFinal, type ExecutionInfo, type TaskState } from "../../core/graph/job-status.ts";
import { GraphError, InvariantError, type WireError } from "../../core/types/errors.ts";
import { subtaskId, type JobId, type SubtaskId, type TaskManagerId, type VertexId } from "../../core/types/ids.ts";
import type { ExecutionAddress } from "../protocol/messages.ts";
import type { Slot } from "./slot-pool.ts";

/** How far a state is: reports only lead to a state that is further. The final states are equally far. */
const PROGRESS: Readonly<Record<TaskState, number>> = {
  CREATED: 0,
  SCHEDULED: 1,
  DEPLOYING: 2,
  INITIALIZING: 3,
  RUNNING: 4,
  CANCELING: 5,
  FINISHED: 6,
  CANCELED: 6,
  FAILED: 6,
};

/** One attempt to run one subtask. Changed by its ExecutionGraph only. */
export interface Execution {
  readonly address: ExecutionAddress;
  readonly state: TaskState;
  /** Where it runs; undefined until it has a slot. */
  readonly at: Slot | undefined;
  readonly error: WireError | undefined;
}

interface Running {
  readonly address: ExecutionAddress;
  state: TaskState;
  at: Slot | undefined;
  error: WireError | undefined;
  readonly timestamps: Record<string, number>;
}

/** All executions of one job. */
export class ExecutionGraph {
  readonly #executions = new Map<SubtaskId, Running>();
  readonly #counts: Record<TaskState, number> = Object.fromEntries(TASK_STATES.map((state) => [state, 0])) as Record<TaskState, number>;

  /** All executions begin as CREATED. @param attempt of all of them; higher than any that the job has had. */
  constructor(job: JobId, graph: JobGraph, atMs: number, attempt = 0) {
    for (const vertex of graph.vertices) {
      for (let subtask = 0; subtask < vertex.parallelism; subtask++) {
        this.#create({ job, vertex: vertex.id, subtask, attempt }, atMs);
      }
    }
  }

  /** In the order of the vertices and, within a vertex, of the subtasks. */
  get executions(): readonly Execution[] {
    return [...this.#executions.values()];
  }

  /** The present execution of a subtask; undefined when there is no such subtask or `attempt` is not the present one. */
  find(vertex: VertexId, subtask: number, attempt: number): Execution | undefined {
    const execution = this.#executions.get(subtaskId(vertex, subtask));
    return execution?.address.attempt === attempt ? execution : undefined;
  }

  /** The present execution of a subtask that exists. */
  at(vertex: VertexId, subtask: number): Execution {
    return this.#running(vertex, subtask);
  }

  /** Executions on a TaskManager that have not ended. */
  aliveOn(taskManager: TaskManagerId): readonly Execution[] {
    return this.alive.filter(({ at }) => at?.taskManager === taskManager);
  }

  /** Executions that have not ended. */
  get alive(): readonly Execution[] {
    return this.executions.filter(({ state }) => !isTaskFinal(state));
  }

  /** How many executions are in each state; states without any are left out. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.entries(this.#counts).filter(([, count]) => count > 0));
  }

  /** How many executions there are. */
  get size(): number {
    return this.#executions.size;
  }

  /** How many executions are in one of these states. */
  count(...states: readonly TaskState[]): number {
    return states.reduce((sum, state) => sum + this.#counts[state], 0);
  }

  /** The execution has a slot. */
  schedule(execution: Execution, at: Slot, atMs: number): void {
    this.#running(execution.address.vertex, execution.address.subtask).at = at;
    this.advance(execution, "SCHEDULED", atMs);
  }

  /** Goes to a further state. Returns false, and changes nothing, when the execution is as far already. */
  advance(execution: Execution, state: TaskState, atMs: number, error?: WireError): boolean {
    const running = this.#running(execution.address.vertex, execution.address.subtask);
    if (running !== execution || PROGRESS[state] <= PROGRESS[running.state]) return false;
    this.#counts[running.state]--;
    this.#counts[state]++;
    running.state = state;
    running.timestamps[state] = atMs;
    if (error !== undefined) running.error = error;
    return true;
  }

  /** A subtask whose execution has ended begins anew, as the next attempt. */
  restart({ address, state }: Execution, atMs: number): void {
    if (!isTaskFinal(state)) {
      throw new InvariantError(`subtask ${address.subtask} of vertex ${address.vertex} was to restart, but is ${state}.`);
    }
    this.#counts[state]--;
    this.#create({ ...address, attempt: address.attempt + 1 }, atMs);
  }

  /** The highest attempt of any subtask. */
  get lastAttempt(): number {
    return Math.max(...[...this.#executions.values()].map(({ address }) => address.attempt));
  }

  /** All executions, for people and tools. */
  infos(): readonly ExecutionInfo[] {
    return [...this.#executions.values()].map(({ address, state, at, timestamps, error }) => ({
      vertex: address.vertex,
      subtask: address.subtask,
      attempt: address.attempt,
      state,
      ...(at === undefined ? {} : { taskManager: at.taskManager, slot: at.slot }),
      timestamps: { ...timestamps },
      ...(error === undefined ? {} : { error }),
    }));
  }

  #create(address: ExecutionAddress, atMs: number): void {
    this.#executions.set(subtaskId(address.vertex, address.subtask), {
      address,
      state: "CREATED",
      at: undefined,
      error: undefined,
      timestamps: { CREATED: atMs },
    });
    this.#counts.CREATED++;
  }

  #running(vertex: VertexId, subtask: number): Running {
    const running = this.#executions.get(subtaskId(vertex, subtask));
    if (running === undefined) throw new InvariantError(`the execution graph has no subtask ${subtask} of vertex ${vertex}.`);
    return running;
  }
}

/** The most subtasks of one job: what one JobManager can keep in view, and what fits into messages. */
export const MAX_SUBTASKS = 10_000;
/** The most channels of one job. */
export const MAX_CHANNELS = 100_000;

/**
 * Checks what expansion relies on. Clients build graphs with `chaining.ts`, which keeps all of this; the check is for the others.
 * @throws GraphError naming the vertex, edge, result or feed.
 */
export function requireSound(graph: JobGraph): void {
  const wrong = (what: string): GraphError => new GraphError(`the graph of job ${JSON.stringify(graph.name)} can't run: ${what}.`);
  if (graph.vertices.length === 0) throw wrong("it has no vertices");
  const seen = new Map<VertexId, number>();
  let subtasks = 0;
  for (const { id, name, parallelism, maxParallelism } of graph.vertices) {
    if (seen.has(id)) throw wrong(`two vertices are called ${id}`);
    if (parallelism > maxParallelism) throw wrong(`${name} has parallelism ${parallelism}, but a maximal parallelism of ${maxParallelism}`);
    seen.set(id, parallelism);
    subtasks += parallelism;
  }
  if (subtasks > MAX_SUBTASKS) throw wrong(`it has ${subtasks} subtasks, the limit is ${MAX_SUBTASKS}; lower its parallelism`);
  const position = new Map(graph.vertices.map(({ id }, index) => [id, index]));
  const edges = new Set<string>();
  let channels = 0;
  for (const edge of graph.edges) {
    const { id, source, target, partitioning } = edge;
    const [producers, consumers] = [seen.get(source), seen.get(target)];
    if (edges.has(id)) throw wrong(`two edges are called ${id}`);
    if (producers === undefined || consumers === undefined) throw wrong(`edge ${id} leads to a vertex that is not there`);
    if (edge.feedback !== true && (position.get(source) as number) >= (position.get(target) as number)) {
      throw wrong(`edge ${id} leads backwards; vertices must be in topological order`);
    }
    if (partitioning === "forward" && producers !== consumers) {
      throw wrong(`edge ${id} is forward, but links ${producers} with ${consumers} subtasks`);
    }
    for (let from = 0; from < producers; from++) channels += targetsOf(edge, from, producers, consumers).length;
    if (channels > MAX_CHANNELS) throw wrong(`it has more than ${MAX_CHANNELS} channels; lower its parallelism`);
    edges.add(id);
  }
  for (const [kind, ends] of [
    ["result", graph.results],
    ["feed", graph.feeds],
  ] as const) {
    const names = new Set<string>();
    for (const { name, vertex, edge } of ends) {
      if (names.has(name)) throw wrong(`two ${kind}s are called ${JSON.stringify(name)}`);
      if (edges.has(edge)) throw wrong(`${kind} ${JSON.stringify(name)} has the edge id ${edge}, which is taken`);
      const parallelism = seen.get(vertex);
      if (parallelism === undefined) throw wrong(`${kind} ${JSON.stringify(name)} belongs to vertex ${vertex}, which is not there`);
      if (kind === "feed" && parallelism !== 1) {
        throw wrong(`feed ${JSON.stringify(name)} enters a vertex of parallelism ${parallelism}; it must be 1`);
      }
      names.add(name);
      edges.add(edge);
    }
  }
}
