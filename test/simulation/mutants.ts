/**
 * Mistakes that the protocol must not make, made on purpose: the simulation has to notice each. They are made around production code, in
 * what it is given: a storage that lies, a network that doubles, a wire that does not look at whose a message is.
 */
import type { CheckpointTrigger } from "../../src/core/runtime/checkpoint.ts";
import type { JobDetails } from "../../src/core/graph/job-status.ts";
import type { OperatorRestore } from "../../src/core/state/snapshot.ts";
import type { Leadership } from "../../src/cluster/jobmanager/leadership.ts";
import type { RestoreDeployment } from "../../src/cluster/protocol/checkpoint-messages.ts";
import type { ExecutionAddress } from "../../src/cluster/protocol/messages.ts";
import type { Peer } from "../../src/cluster/protocol/rpc.ts";
import type { Called } from "../../src/cluster/jobmanager/job-manager-endpoint.ts";
import type { CheckpointStorage } from "../../src/cluster/storage/checkpoint-storage.ts";
import { MANIFEST_NAME } from "../../src/cluster/storage/manifest.ts";
import type { Cluster } from "./cluster.ts";
import type { SimulatedHandlers } from "./wire.ts";

export const MUTANTS = [
  /** A checkpoint counts before its manifest is durable. */
  "commit early",
  /** A checkpoint counts although nobody knows whether its manifest was stored. */
  "commit on timeout",
  /** A manifest of which only a part was written counts as stored. */
  "torn manifest",
  /**
   * Nobody compares epochs, incarnations, sessions or attempts, and a leader does not ask whether it leads. One fence alone may go without
   * harm, since others stand behind it; so all of them go.
   */
  "no fencing",
  /**
   * A checkpoint is triggered twice under the same number, and a task takes the second trigger for a new one. Both defences go: tasks drop
   * triggers that are not higher than the last.
   */
  "duplicate trigger",
  /** A segment that was sent again is taken again. */
  "no dedupe",
  /** Barriers are not aligned. */
  "skip alignment",
  /** A subtask that is restored begins with one key group too few. */
  "wrong key groups",
  /** What was committed is committed again after a failure: the outside world does not look at the transaction's id. */
  "commit again",
  /** A task's end is told before what it handed over for a checkpoint (a mistake that this simulation found). */
  "end before acknowledgement",
  /** A leader that is overtaken while it stores a manifest lets the checkpoint count (another one). */
  "no second look at the lead",
] as const;
export type Mutant = (typeof MUTANTS)[number];

/** What a JobManager is given, with what a mutant makes of it. */
export class Given {
  readonly #cluster: Cluster;
  #justStored = false;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  storageAt(storageAt: (location: string) => CheckpointStorage): (location: string) => CheckpointStorage {
    return (location) => {
      const sound = storageAt(location);
      const create = (name: string, bytes: Uint8Array): Promise<boolean> =>
        name === MANIFEST_NAME ? this.#storeManifest(sound, bytes) : sound.create(name, bytes);
      return new Proxy(sound, { get: (target, key) => (key === "create" ? create : bound(target, key)) });
    };
  }

  /** What it asks whether it leads. */
  leadership(leadership: Leadership): Pick<Leadership, "holds"> {
    return {
      holds: async () => {
        const isSecondLook = this.#justStored;
        this.#justStored = false;
        const believes = this.#cluster.has("no fencing") || (isSecondLook && this.#cluster.has("no second look at the lead"));
        return believes || leadership.holds();
      },
    };
  }

  async #storeManifest(storage: CheckpointStorage, bytes: Uint8Array): Promise<boolean> {
    const { world } = this.#cluster;
    if (this.#cluster.has("commit early")) {
      world.after(world.between(50, 500), () => void storage.create(MANIFEST_NAME, bytes).catch(() => undefined));
      return true;
    }
    // No answer came, and nothing was stored.
    if (this.#cluster.has("commit on timeout") && world.chance(0.3)) return true;
    const isTorn = this.#cluster.has("torn manifest") && world.chance(0.3);
    const isStored = await storage.create(MANIFEST_NAME, isTorn ? bytes.subarray(0, 40) : bytes);
    this.#justStored = true;
    return isStored;
  }
}

/** What a JobManager answers: what is said of any attempt of a subtask is taken for its present one, whoever says it. */
export function unfenced(cluster: Cluster, handlers: SimulatedHandlers<Peer<Called>>): SimulatedHandlers<Peer<Called>> {
  if (!cluster.has("no fencing")) return handlers;
  const taskManagers = new Map<string, Peer<Called>>();
  let program: Peer<Called> | undefined;
  const told: Record<string, SimulatedHandlers<Peer<Called>>[string]> = { ...handlers };
  told["hello"] = (request, peer) => {
    program = peer;
    return handlers["hello"]?.(request, peer, []);
  };
  told["register"] = (request, peer) => {
    taskManagers.set(peer.id, peer);
    return handlers["register"]?.(request, peer, []);
  };
  for (const method of ["taskState", "acknowledgeCheckpoint", "declineCheckpoint", "requestCheckpoint"]) {
    told[method] = (request: { readonly execution: ExecutionAddress }, peer) => {
      const { execution } = request;
      if (program === undefined) return undefined;
      const details = handlers["job"]?.({ job: execution.job } as never, program, []) as JobDetails;
      const present = details.executions.find(({ vertex, subtask }) => vertex === execution.vertex && subtask === execution.subtask);
      const host = taskManagers.get(present?.taskManager ?? "") ?? peer;
      const attempt = present?.attempt ?? execution.attempt;
      return handlers[method]?.({ ...request, execution: { ...execution, attempt } } as never, host, []);
    };
  }
  return told;
}

/** Which of the executions of a TaskManager are meant. */
export const isMeant = (cluster: Cluster, one: ExecutionAddress, other: ExecutionAddress): boolean =>
  one.vertex === other.vertex && one.subtask === other.subtask && (one.attempt === other.attempt || cluster.has("no fencing"));

/** The triggers that a task gets for one. */
export function bent(cluster: Cluster, trigger: CheckpointTrigger): readonly CheckpointTrigger[] {
  if (cluster.has("skip alignment")) return [{ ...trigger, mode: "at-least-once", unaligned: false }];
  if (!cluster.has("duplicate trigger")) return [trigger];
  return [2 * trigger.checkpoint, 2 * trigger.checkpoint + 1].map((checkpoint) => ({ ...trigger, checkpoint }));
}

/** The number under which a task knows a checkpoint (and its twin). */
export const inside = (cluster: Cluster, checkpoint: number): number => (cluster.has("duplicate trigger") ? 2 * checkpoint + 1 : checkpoint);

/** The number under which all others know what a task calls so. */
export const outside = (cluster: Cluster, checkpoint: number): number => (cluster.has("duplicate trigger") ? checkpoint >> 1 : checkpoint);

/** Whether a segment that was moved stays to be moved again. */
export const dropsRepeat = (cluster: Cluster): boolean => cluster.has("no dedupe") && cluster.world.chance(0.002);

/** What a restored task reads. */
export function misread(cluster: Cluster, restore: RestoreDeployment): RestoreDeployment {
  if (!cluster.has("wrong key groups")) return restore;
  const operators = (restore.operators as readonly OperatorRestore[]).map((operator) => ({
    ...operator,
    sections: operator.sections.map((section) => (section.kind === "keyed" ? { ...section, blocks: section.blocks.slice(1) } : section)),
  }));
  return { ...restore, operators };
}

function bound(target: object, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key);
  return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
}
