/**
 * One JobManager: gives the endpoint (job-manager-endpoint.ts), which decides and acts, its socket, clock, timers and storage, and takes
 * care of its beginning and its end.
 *
 * TaskManagers and clients connect to the same socket; who registers is a TaskManager, who says hello a client. It trusts the transport
 * (protocol/rpc.ts) for identities, order, liveness and fencing. Main thread only.
 */
import { rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { type Configuration, options } from "../../core/types/options.ts";
import { makeOwnFolder } from "../../core/types/own-folder.ts";
import type { ServerKeys } from "../protocol/keys.ts";
import { clientConversation, clientEvents, registrationConversation, taskManagerConversation } from "../protocol/messages.ts";
import { RpcServer } from "../protocol/rpc.ts";
import { VERSION } from "../protocol/version.ts";
import { storageAt } from "../storage/storages.ts";
import { type Clocks, systemClocks } from "./clocks.ts";
import type { JobArchive, RecoveredJob } from "./job-archive.ts";
import { type Called, JobManagerEndpoint, type Served } from "./job-manager-endpoint.ts";
import type { JobStoreBounds } from "./job-store.ts";
import type { Leadership } from "./leadership.ts";
import { systemTimers } from "./timers.ts";

export interface JobManagerOptions {
  /** `ipc://…` or `tcp://…`, as in protocol/addresses.ts. */
  readonly address: string;
  readonly configuration: Configuration;
  /** Without keys the address must be out of strangers' reach. */
  readonly keys?: ServerKeys;
  /** Greater than that of any JobManager that was at this address before; default: the time of day in milliseconds. */
  readonly epoch?: number;
  /** Takes lines for whoever runs the cluster; default: nobody does. */
  readonly note?: (text: string) => void;
  readonly clocks?: Clocks;
  /** Where there are several JobManagers, or one that is to go on where a former one ended. */
  readonly highAvailability?: HighAvailability;
  readonly bounds?: Partial<JobStoreBounds>;
}

/** What a JobManager that leads was given by those before it, and keeps for those after it. */
export interface HighAvailability {
  /** Won already; `epoch` is its epoch. The JobManager keeps and releases it. */
  readonly leadership: Leadership;
  readonly archive: JobArchive;
  readonly recovered: readonly RecoveredJob[];
  /** Where checkpoints lie if no option says so: shared, too. */
  readonly checkpointRoot: string;
}

/** How long a JobManager that ends waits for its jobs to end, beyond their own time for it. */
const FAREWELL_MS = 2_000;
/** A standby process may have to be started first. */
const LEADER_START_MS = 15_000;

/** A running JobManager. Whoever starts it closes it. */
export class JobManager {
  readonly #configuration: Configuration;
  readonly #note: (text: string) => void;
  readonly #endpoint: JobManagerEndpoint;
  readonly #server: RpcServer<Served, Called>;
  readonly #closed: Promise<void>;
  /** Where checkpoints lie that no option gives a place. It ends with this JobManager. */
  readonly #ownCheckpoints: string | undefined;
  readonly #highAvailability: HighAvailability | undefined;
  #overtaken = false;
  #whenClosed: () => void = () => undefined;
  #windingDown: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @throws ConfigurationError when the address, the keys or the heartbeats can't be. */
  constructor({
    address,
    configuration,
    keys,
    epoch = Date.now(),
    note = () => undefined,
    clocks = systemClocks,
    highAvailability,
    bounds,
  }: JobManagerOptions) {
    this.#configuration = configuration;
    this.#note = note;
    this.#highAvailability = highAvailability;
    this.#ownCheckpoints = highAvailability === undefined ? makeCheckpointFolder() : undefined;
    this.#closed = new Promise((resolve) => (this.#whenClosed = resolve));
    this.#endpoint = new JobManagerEndpoint({
      configuration,
      clocks,
      timers: systemTimers,
      storageAt,
      note,
      address: () => this.#server.address,
      epoch,
      checkpointRoot: highAvailability?.checkpointRoot ?? (this.#ownCheckpoints as string),
      version: VERSION,
      pid: process.pid,
      resumesWithinMs: this.#resumesWithinMs,
      shutDown: async (client) => {
        await this.#windDown(`client ${client} shut the cluster down`);
        // After the answer is on its way.
        setImmediate(() => void this.close());
      },
      ...(highAvailability === undefined ? {} : { shared: highAvailability }),
      ...(bounds === undefined ? {} : { bounds }),
    });
    this.#server = new RpcServer<Served, Called>({
      address,
      epoch,
      served: { ...registrationConversation, ...clientConversation },
      handlers: this.#endpoint.handlers,
      called: { ...taskManagerConversation, ...clientEvents },
      heartbeat: { intervalMs: configuration.get(options.heartbeatInterval), timeoutMs: configuration.get(options.heartbeatTimeout) },
      clock: () => clocks.elapsedMs(),
      onPeerLost: (peer, reason) => this.#endpoint.lost(peer, reason),
      onError: (error) =>
        note(`unexpected: ${error.stack ?? error.message}${error.cause instanceof Error ? `\n  caused by ${error.cause.stack}` : ""}`),
      ...(keys === undefined ? {} : { keys }),
    });
  }

  /**
   * Takes up the jobs of a former leader, and listens. Resolves with the address for TaskManagers and clients.
   * @throws ConfigurationError when it can't be had.
   */
  async start(): Promise<string> {
    const address = await this.#server.start();
    const { leadership, recovered } = this.#highAvailability ?? {};
    leadership?.keep(reachable(address), (reason) => {
      this.#note(`${reason}; this one ends, and leaves the jobs to it`);
      this.#overtaken = true;
      void this.abandon();
    });
    if (recovered !== undefined) this.#endpoint.recover(recovered);
    return address;
  }

  /** How long clients wait for the next leader, milliseconds; 0: there will be none. */
  get #resumesWithinMs(): number {
    if (this.#highAvailability === undefined) return 0;
    const configuration = this.#configuration;
    return configuration.get(options.haLeaseTimeout) + configuration.get(options.haRecoveryTimeout) + LEADER_START_MS;
  }

  /** It ended, or is about to, because another JobManager leads. */
  get wasOvertaken(): boolean {
    return this.#overtaken;
  }

  /** Ends at once and leaves its jobs as they are to the next leader. */
  abandon(): Promise<void> {
    this.#closing ??= this.#hangUp();
    return this.#closing;
  }

  /** Resolves when it was closed, by `close` or by a client. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /**
   * Cancels all jobs, waits for their end as long as cancellation may take, tells the TaskManagers to end, and frees the address.
   * Closing twice is harmless.
   * @param reason for people.
   */
  close(reason = "it was closed"): Promise<void> {
    this.#closing ??= this.#windDown(reason).then(() => this.#hangUp());
    return this.#closing;
  }

  // ------------------------------------------------------------------------------------------------------- its end

  #windDown(reason: string): Promise<void> {
    this.#windingDown ??= this.#endpoint.endJobs(reason, this.#configuration.get(options.cancellationTimeout) + FAREWELL_MS);
    return this.#windingDown;
  }

  async #hangUp(): Promise<void> {
    this.#endpoint.stop();
    await this.#server.close();
    await this.#highAvailability?.leadership.release().catch((error: Error) => this.#note(`could not give up the lead: ${error.message}`));
    if (this.#ownCheckpoints !== undefined) removeOwnFolder(this.#ownCheckpoints);
    this.#whenClosed();
  }
}

/** The address under which others reach one who listens at every interface. */
function reachable(address: string): string {
  return address.replace(/^tcp:\/\/(?:0\.0\.0\.0|\*|\[::\]):/, () => `tcp://${hostname()}:`);
}

/** Folders for checkpoints that end with their JobManager, also when its process has to exit before it could close. */
const ownFolders = new Set<string>();
const removeOwnFolders = (): void => {
  for (const folder of ownFolders) rmSync(folder, { recursive: true, force: true });
};

function makeCheckpointFolder(): string {
  const folder = makeOwnFolder("checkpoints", tmpdir());
  if (ownFolders.size === 0) process.on("exit", removeOwnFolders);
  ownFolders.add(folder);
  return folder;
}

function removeOwnFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  if (ownFolders.delete(folder) && ownFolders.size === 0) process.off("exit", removeOwnFolders);
}
