/**
 * Which of several JobManagers leads: the one that made the highest epoch. An epoch is a file in shared storage that exactly one can
 * create; its number is the fencing token that every message and every manifest carries. The leader shows that it lives by writing its
 * lease again and again; a standby that has seen the same lease for too long, by its own clock, makes the next epoch.
 *
 * Invariants: an epoch has one owner; a later leader has a higher one. A leader that was overtaken learns of it at its next look (`holds`),
 * which comes before everything that can't be undone. Clocks of different machines are never compared.
 * The lease says where the leader listens, too, for those who look for it (`storage/published-leader.ts`).
 */
import { highestEpoch, readLease, releaseLease, writeLease } from "../storage/published-leader.ts";
import type { CheckpointStorage } from "../storage/checkpoint-storage.ts";
import type { Clocks } from "./clocks.ts";
import { type Timers, systemTimers } from "./timers.ts";

export interface LeadershipOptions {
  /** Shared by all JobManagers of the cluster. */
  readonly storage: CheckpointStorage;
  /** Who this is, for people. */
  readonly name: string;
  readonly clocks: Clocks;
  /** `high-availability.lease-timeout`, milliseconds. */
  readonly leaseTimeoutMs: number;
  /** Takes lines for whoever runs the cluster. */
  readonly note: (text: string) => void;
  /** Default: those of this process. */
  readonly timers?: Timers;
}

/** Looks at the lease of another, and renewals of the own one, within a lease's timeout. */
const LOOKS_PER_LEASE = 4;
/** Former epochs that are kept, for people. */
const KEPT_EPOCHS = 16;

/** One JobManager's part in the election. */
export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #intervalMs: number;
  #epoch = 0;
  #beats = 0;
  #address: string | undefined;
  #leaderAddress: string | undefined;
  readonly #timers: Timers;
  #callOff: () => void = () => undefined;
  #over = false;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#intervalMs = Math.max(20, options.leaseTimeoutMs / LOOKS_PER_LEASE);
  }

  /** 0 before it leads. */
  get epoch(): number {
    return this.#epoch;
  }

  /** While another leads: where it listens, as far as is known. */
  get leaderAddress(): string | undefined {
    return this.#leaderAddress;
  }

  /**
   * Waits until this JobManager leads.
   * @param standsBy called once, when another does.
   * @returns its epoch. @throws the signal's reason; CheckpointError when the storage fails at the first
   * look (later failures are waited out).
   */
  async win(signal: AbortSignal, standsBy: () => void = () => undefined): Promise<number> {
    const { clocks, leaseTimeoutMs, name, note, storage } = this.#options;
    let seen = { epoch: -1, lease: "", sinceMs: 0 };
    let told = false;
    for (let look = 0; ; look++) {
      signal.throwIfAborted();
      try {
        const epoch = await this.#highest();
        const { text: lease, released, address } = await readLease(storage, epoch);
        this.#leaderAddress = address;
        if (seen.epoch !== epoch || seen.lease !== lease) seen = { epoch, lease, sinceMs: clocks.elapsedMs() };
        if (epoch === 0 || released || clocks.elapsedMs() - seen.sinceMs >= leaseTimeoutMs) {
          if (await storage.create(`epochs/${fileOf(epoch + 1)}`, new TextEncoder().encode(name))) {
            this.#epoch = epoch + 1;
            await this.#renew();
            await this.#forget(epoch + 1 - KEPT_EPOCHS);
            note(`${name} leads, in epoch ${epoch + 1}`);
            return epoch + 1;
          }
        } else if (!told) {
          told = true;
          note(`${name} stands by: there is a leader, in epoch ${epoch}`);
          standsBy();
        }
      } catch (error) {
        if (look === 0 || signal.aborted) throw error;
        note(`${name} can't look for the leader: ${(error as Error).message}`);
      }
      await this.#pause(signal);
    }
  }

  /** Renews the lease until `release` or `stop`. @param address where it listens. @param lost told once when another leads. */
  keep(address: string, lost: (reason: string) => void): void {
    this.#address = address;
    const beat = async (): Promise<void> => {
      let reason: string | undefined;
      try {
        if (await this.holds()) await this.#renew();
        else reason = `another JobManager leads, in epoch ${await this.#highest()}`;
      } catch (error) {
        // Others may take the lead meanwhile; whether they did is looked up before anything that counts.
        this.#options.note(`the lease could not be renewed: ${(error as Error).message}`);
      }
      if (this.#over) return;
      if (reason !== undefined) {
        this.#over = true;
        return lost(reason);
      }
      this.#callOff = this.#timers.after(this.#intervalMs, () => void beat());
    };
    // At once: others look for the address.
    this.#callOff = this.#timers.after(0, () => void beat());
  }

  /** Whether nobody has made a higher epoch. @throws CheckpointError when that can't be known. */
  async holds(): Promise<boolean> {
    return (await this.#highest()) === this.#epoch;
  }

  /** Lets a standby lead at once. */
  async release(): Promise<void> {
    this.stop();
    if (this.#epoch > 0) await releaseLease(this.#options.storage, this.#epoch);
  }

  /** Renews no more. */
  stop(): void {
    this.#over = true;
    this.#callOff();
  }

  #highest(): Promise<number> {
    return highestEpoch(this.#options.storage);
  }

  #renew(): Promise<void> {
    const { name, storage } = this.#options;
    return writeLease(storage, this.#epoch, `${name} ${++this.#beats}`, this.#address);
  }

  async #forget(upTo: number): Promise<void> {
    for (const name of await this.#options.storage.list("epochs")) {
      const epoch = Number(name.slice("epochs/".length));
      if (epoch > upTo) return;
      await this.#options.storage.delete(name);
      await this.#options.storage.delete(`leases/${epoch}`);
    }
  }

  #pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        callOff();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const callOff = this.#timers.after(this.#intervalMs, done);
      signal.addEventListener("abort", done);
    });
  }
}

/** Names sort as their numbers do. */
const fileOf = (epoch: number): string => String(epoch).padStart(12, "0");
