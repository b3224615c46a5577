/** The program of a user in the simulation: it submits the job until that is accepted, watches it, and rescales it when told to. */
import { createHash } from "node:crypto";
import type { JobDetails, JobState } from "../../src/core/graph/job-status.ts";
import { NotFoundError } from "../../src/core/types/errors.ts";
import { jobId } from "../../src/core/types/ids.ts";
import type { Cluster } from "./cluster.ts";
import { SimulatedProcess } from "./process.ts";
import { SimulatedClient } from "./wire.ts";

/** The job's code stands in the simulation itself (oracle.ts). */
const CODE = new Uint8Array(1);
const DIGEST = createHash("sha256").update(CODE).digest("hex");
const JOB = jobId("0".repeat(32));

export class SimulatedProgram {
  /** The last that it heard. */
  state: JobState | "UNKNOWN" | "FORGOTTEN" = "UNKNOWN";
  readonly #cluster: Cluster;
  readonly #client: SimulatedClient;
  #isAccepted = false;
  #session = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#client = new SimulatedClient({
      process: new SimulatedProcess(cluster.world, "program"),
      wire: cluster.wire,
      dial: () => cluster.listening,
      handlers: {
        jobStatus: ({ state }: JobDetails) => {
          this.state = state;
        },
      },
      onConnected: () => void this.#begin(),
      onLost: () => this.#session++,
    });
  }

  /** Asks for another parallelism. It may be refused. */
  rescale(parallelism: number): void {
    this.#client
      .call("rescale", { job: JOB, parallelism }, { deadlineMs: 10_000 })
      .catch((error: Error) => this.#cluster.world.note(`not rescaled: ${error.message}`));
  }

  async #begin(): Promise<void> {
    const session = this.#session;
    try {
      await this.#client.call("hello", { version: "0" });
      if (!this.#isAccepted) {
        const { graph } = this.#cluster.oracle.compile();
        await this.#client.call("submit", { job: JOB, graph, code: DIGEST, attached: false }, { attachments: [CODE] });
        this.#isAccepted = true;
      }
      await this.#client.call("watchJob", { job: JOB, topics: ["status"] });
    } catch (error) {
      // The job has ended, and nobody told.
      if (error instanceof NotFoundError) this.state = "FORGOTTEN";
      else this.#client.process.after(100, () => void (session === this.#session && this.#begin()));
    }
  }
}
