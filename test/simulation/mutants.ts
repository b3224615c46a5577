/** Mistakes that the protocol must not make, made on purpose: the simulation has to notice each. */
import type { CheckpointTrigger } from "../../src/core/runtime/checkpoint.ts";
import type { Cluster } from "./cluster.ts";

export const MUTANTS = [
  /** A checkpoint counts before its manifest is durable. */
  "commit early",
  /** A checkpoint counts although nobody knows whether its manifest was stored. */
  "commit on timeout",
  /** What is said outside of its session is heard. */
  "no fencing",
  /** A segment that was sent again is taken again. */
  "no dedupe",
  /** Barriers are not aligned. */
  "skip alignment",
  /** After a restart, key groups go to the wrong subtasks. */
  "wrong key groups",
] as const;
export type Mutant = (typeof MUTANTS)[number];

/** The trigger that a task gets. */
export function bent(cluster: Cluster, trigger: CheckpointTrigger): CheckpointTrigger {
  return cluster.has("skip alignment") ? { ...trigger, mode: "at-least-once", unaligned: false } : trigger;
}

/** Whether a segment that was moved stays to be moved again. */
export const dropsRepeat = (cluster: Cluster): boolean => cluster.has("no dedupe") && cluster.world.chance(0.002);
