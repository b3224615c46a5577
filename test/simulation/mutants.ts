/** Mistakes that the protocol must not make, made on purpose: the simulation has to notice each. */
import type { CheckpointTrigger } from "../../src/core/runtime/checkpoint.ts";
import type { OperatorRestore } from "../../src/core/state/snapshot.ts";
import type { RestoreDeployment } from "../../src/cluster/protocol/checkpoint-messages.ts";
import type { Cluster } from "./cluster.ts";

export const MUTANTS = [
  /** A checkpoint counts before its manifest is durable. */
  "commit early",
  /** A checkpoint counts although nobody knows whether its manifest was stored. */
  "commit on timeout",
  /** A manifest of which only a part was written counts as stored. */
  "torn manifest",
  /** A segment that was sent again is taken again. */
  "no dedupe",
  /** Barriers are not aligned. */
  "skip alignment",
  /** A subtask that is restored begins with one key group too few. */
  "wrong key groups",
] as const;
/** Mistakes that few seeds show. */
export const RARE_MUTANTS = [
  /** A task's end is told before what it handed over for a checkpoint (a mistake that this simulation found). */
  "end before acknowledgement",
  /** A leader that is overtaken while it stores a manifest lets the checkpoint count (another one). */
  "no second look at the lead",
] as const;
export type Mutant = (typeof MUTANTS)[number] | (typeof RARE_MUTANTS)[number];

/** The trigger that a task gets. */
export function bent(cluster: Cluster, trigger: CheckpointTrigger): CheckpointTrigger {
  return cluster.has("skip alignment") ? { ...trigger, mode: "at-least-once", unaligned: false } : trigger;
}

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
