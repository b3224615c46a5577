/**
 * What a leader shows of itself in shared storage, and how others read it: standby JobManagers whether it lives, TaskManagers and clients
 * where it is.
 *
 *     epochs/000000000007   made by exclusive create: who leads        leases/7   written again and again: that it lives, and where
 *
 * It trusts `jobmanager/leadership.ts` for the writing, and for one owner of each epoch.
 */
import { ConfigurationError } from "../../core/types/errors.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import type { CheckpointStorage } from "./checkpoint-storage.ts";
import { storageAt } from "./storages.ts";

/** The lease of an epoch. */
export interface Lease {
  /** As it was written; two that differ show that the leader lived in between. Empty: it was not written yet. */
  readonly text: string;
  /** The leader has given up the lead. */
  readonly released: boolean;
  /** Where the leader listens, once it does. */
  readonly address?: string;
}

const RELEASED = "released";

/** The place that the JobManagers of one cluster share. Undefined without `high-availability.type`. @throws ConfigurationError */
export function sharedStorage(configuration: Configuration): CheckpointStorage | undefined {
  if (configuration.get(options.haType) === "none") return undefined;
  const place = configuration.get(options.haDirectory);
  if (place !== "") return storageAt(`${place.replace(/\/+$/, "")}/${configuration.get(options.haClusterId)}`);
  throw new ConfigurationError(`${options.haType.key} needs ${options.haDirectory.key}: a folder that all JobManagers reach.`);
}

/** Reads where the leader listens, as far as it says; undefined without `high-availability.type`. @throws ConfigurationError */
export function leaderLookup(configuration: Configuration): (() => Promise<string | undefined>) | undefined {
  const storage = sharedStorage(configuration);
  if (storage === undefined) return undefined;
  return async () => (await readLease(storage, await highestEpoch(storage))).address;
}

/** The epoch of whoever leads; 0: nobody has led yet. @throws CheckpointError */
export async function highestEpoch(storage: CheckpointStorage): Promise<number> {
  const last = (await storage.list("epochs")).at(-1);
  return last === undefined ? 0 : Number(last.slice("epochs/".length));
}

/** @throws CheckpointError */
export async function readLease(storage: CheckpointStorage, epoch: number): Promise<Lease> {
  const bytes = await storage.get(`leases/${epoch}`);
  const text = bytes === undefined ? "" : new TextDecoder().decode(bytes);
  const [, address = ""] = text.split("\n");
  return { text, released: text === RELEASED, ...(address === "" ? {} : { address }) };
}

/** @param shows who leads, and another text each time. @param address where the leader listens. @throws CheckpointError */
export function writeLease(storage: CheckpointStorage, epoch: number, shows: string, address: string | undefined): Promise<void> {
  return storage.put(`leases/${epoch}`, new TextEncoder().encode(`${shows}\n${address ?? ""}`));
}

/** @throws CheckpointError */
export function releaseLease(storage: CheckpointStorage, epoch: number): Promise<void> {
  return storage.put(`leases/${epoch}`, new TextEncoder().encode(RELEASED));
}
