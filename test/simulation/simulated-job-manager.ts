/**
 * A JobManager in the simulation: production code but for its socket and its process. It stands by until it leads, takes up what the
 * leaders before it left, and serves until it dies or learns that another leads.
 */
import { JobArchive } from "../../src/cluster/jobmanager/job-archive.ts";
import { type Called, JobManagerEndpoint } from "../../src/cluster/jobmanager/job-manager-endpoint.ts";
import { Leadership } from "../../src/cluster/jobmanager/leadership.ts";
import type { Peer } from "../../src/cluster/protocol/rpc.ts";
import type { Cluster } from "./cluster.ts";
import { Given, unfenced } from "./mutants.ts";
import { SimulatedProcess } from "./process.ts";
import { SimulatedServer, type SimulatedHandlers } from "./wire.ts";

const LEASE_TIMEOUT_MS = 500;

export class SimulatedJobManager {
  readonly process: SimulatedProcess;
  server: SimulatedServer | undefined;
  readonly #cluster: Cluster;

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.process = new SimulatedProcess(cluster.world, name);
    void this.#live().catch((error: Error) => {
      this.process.note(`ends: ${error.message}`);
      this.process.crash();
    });
  }

  /** As main.ts and job-manager.ts have it. */
  async #live(): Promise<void> {
    const { process } = this;
    const { root, configuration, wire, world } = this.#cluster;
    const note = (text: string): void => process.note(text);
    const given = new Given(this.#cluster);
    const storageAt = given.storageAt((location) => this.#cluster.storageAt(location, process));
    const shared = storageAt(`${root}/ha`);
    const { clocks, timers, name } = process;
    const leadership = new Leadership({ storage: shared, name, clocks, timers, leaseTimeoutMs: LEASE_TIMEOUT_MS, note });
    const epoch = await leadership.win(new AbortController().signal);
    const archive = new JobArchive(shared, note, storageAt, timers);
    const recovered = await archive.recover(epoch);
    const endpoint = new JobManagerEndpoint({
      configuration,
      clocks,
      timers,
      storageAt,
      note,
      address: () => name,
      epoch,
      checkpointRoot: `${root}/checkpoints`,
      version: "0",
      pid: 1,
      random: world.random,
      shared: { leadership: given.leadership(leadership), archive },
      resumesWithinMs: 0,
      shutDown: () => Promise.resolve(),
    });
    leadership.keep("tcp://simulated:1", (reason) => {
      note(reason);
      process.crash();
    });
    endpoint.recover(recovered);
    const handlers = endpoint.handlers as SimulatedHandlers<Peer<Called>>;
    this.server = new SimulatedServer({
      process,
      wire,
      epoch,
      handlers: unfenced(this.#cluster, handlers),
      onPeerLost: (peer, reason) => endpoint.lost(peer, reason),
    });
    this.#cluster.leads(this);
  }
}
