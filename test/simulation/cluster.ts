/** A simulated cluster: leaders, TaskManagers, what is between them, and the misfortune that befalls them. */
import { Configuration } from "../../src/core/types/options.ts";
import type { JobId } from "../../src/core/types/ids.ts";
import { MemoryStorage } from "../../src/cluster/storage/memory-storage.ts";
import type { CheckpointStorage } from "../../src/cluster/storage/checkpoint-storage.ts";
import { FaultyStorage, type StorageWeather } from "./faulty-storage.ts";
import { Links } from "./links.ts";
import type { Mutant } from "./mutants.ts";
import { Oracle } from "./oracle.ts";
import { SimulatedJobManager } from "./simulated-job-manager.ts";
import { SimulatedTaskManager } from "./simulated-task-manager.ts";
import { Wire } from "./wire.ts";
import { World } from "./world.ts";

/** What a run came to. */
export interface Report {
  readonly seed: number;
  /** Absent: all is well. */
  readonly failure?: string;
  readonly fingerprint: string;
  readonly trace: readonly string[];
  readonly faults: number;
  readonly virtualMs: number;
}

const TASK_MANAGERS = 3;
/** Misfortune from here on … */
const TROUBLE_FROM_MS = 400;
/** … for so long; then it is calm. */
const TROUBLE_MS = 3_500;
/** In the calm the job must end within. */
const CALM_MS = 60_000;

export class Cluster {
  readonly world: World;
  readonly wire: Wire;
  readonly links: Links;
  readonly oracle: Oracle;
  readonly root: string;
  leaderEpoch = 1;
  leader: SimulatedJobManager | undefined;
  readonly #seed: number;
  readonly #storageWeather: StorageWeather = { failures: 0, slowMs: 10 };
  readonly #mutant: Mutant | undefined;
  readonly #configuration: Configuration;
  #taskManagers: SimulatedTaskManager[] = [];
  #made = 0;
  #faults = 0;
  #job: JobId | undefined;

  constructor(seed: number, mutant?: Mutant) {
    this.#seed = seed;
    this.#mutant = mutant;
    this.root = `memory://simulation-${seed}-${mutant ?? "sound"}`;
    this.world = new World(seed);
    this.wire = new Wire(this.world, { losses: 0, repeats: 0, slowMs: 4 });
    this.links = new Links(this);
    const options = {
      "restart-strategy.type": "exponential-delay",
      "restart-strategy.exponential-delay.max-backoff": "500 ms",
      "slot.request.timeout": "100 s",
      "taskmanager.memory.segment-size": "2 kb",
      "pipeline.max-parallelism": 8,
      "execution.buffer-timeout.interval": "5 ms",
    };
    this.#configuration = Configuration.of(options);
    this.oracle = new Oracle({
      rows: 900,
      keys: 6,
      rowsPerSecond: 400,
      windowMs: 60,
      unaligned: this.world.chance(0.3),
      checkpointEveryMs: this.world.pick([60, 150, 300]) as number,
      options,
    });
  }

  has(mutant: Mutant): boolean {
    return this.#mutant === mutant;
  }

  storageAt(location: string): CheckpointStorage {
    return new FaultyStorage(location, this.world, this.#storageWeather);
  }

  async run(): Promise<Report> {
    const { world } = this;
    // What production code times for itself (slices of work, metrics) goes by the same clock; each look at it takes a while, so that a
    // slice of a snapshot may end after any entry.
    const [now, dateNow] = [performance.now, Date.now];
    let spentMs = 0;
    performance.now = () => world.nowMs + (spentMs += world.between(0, 3));
    Date.now = () => 1_700_000_000_000 + world.nowMs;
    try {
      this.leader = new SimulatedJobManager(this, 1, this.#configuration);
      for (let i = 0; i < TASK_MANAGERS; i++) this.#addTaskManager();
      this.#job = this.leader.submit();
      for (let at = TROUBLE_FROM_MS; at < TROUBLE_FROM_MS + TROUBLE_MS; at += world.between(150, 900)) world.after(at, () => this.#misfortune());
      world.after(TROUBLE_FROM_MS + TROUBLE_MS, () => this.#calm());
      await world.run(TROUBLE_FROM_MS + TROUBLE_MS + CALM_MS, () => this.oracle.violations.length > 0 || this.#ended);
      return this.#report();
    } catch (error) {
      return this.#report(`the simulation broke: ${(error as Error).stack}`);
    } finally {
      [performance.now, Date.now] = [now, dateNow];
      await new MemoryStorage(this.root).delete("");
    }
  }

  get #state(): string {
    try {
      return this.#job === undefined || this.leader?.isAlive !== true ? "UNKNOWN" : this.leader.dispatcher.job(this.#job).state;
    } catch {
      return "UNKNOWN";
    }
  }

  get #ended(): boolean {
    return ["FINISHED", "FAILED", "CANCELED"].includes(this.#state);
  }

  #report(broken?: string): Report {
    const state = this.#state;
    const failure =
      broken ??
      this.oracle.violations[0] ??
      (state !== "FINISHED" ? `the job is ${state} in the end, with ${this.oracle.progress}` : undefined) ??
      (this.oracle.isComplete ? undefined : `the job is FINISHED with ${this.oracle.progress}`);
    return {
      seed: this.#seed,
      ...(failure === undefined ? {} : { failure }),
      fingerprint: this.world.fingerprint(),
      trace: this.world.trace,
      faults: this.#faults,
      virtualMs: this.world.nowMs,
    };
  }

  #addTaskManager(): void {
    this.#taskManagers.push(new SimulatedTaskManager(this, `tm${this.#made++}`));
  }

  // -------------------------------------------------------------------------------------------------------- misfortune

  #misfortune(): void {
    const { world, wire } = this;
    const kinds = [
      "crash", "pause", "cut", "one-way cut", "link", "storage", "storage and leader", "throw", "leader", "sleeping leader", "weather", "rescale",
    ] as const;
    const kind = world.pick(kinds) as (typeof kinds)[number];
    const victim = world.pick(this.#taskManagers.filter((it) => it.isAlive));
    this.#faults++;
    world.note(`FAULT ${kind} ${victim?.name ?? ""}`);
    switch (kind) {
      case "crash":
        victim?.crash();
        world.after(world.between(50, 800), () => this.#addTaskManager());
        return;
      case "pause":
        return victim?.pause(world.between(50, 3_000));
      case "cut":
      case "one-way cut": {
        const leader = this.leader?.name ?? "";
        const cuts = [`${victim?.name}>${leader}`, ...(kind === "cut" ? [`${leader}>${victim?.name}`] : [])];
        for (const cut of cuts) wire.cuts.add(cut);
        return world.after(world.between(100, 2_500), () => cuts.forEach((cut) => wire.cuts.delete(cut)));
      }
      case "link": {
        const other = world.pick(this.#taskManagers.filter((it) => it.isAlive && it !== victim));
        if (victim !== undefined && other !== undefined) this.links.cut(victim, other);
        return;
      }
      case "storage":
        this.#storageWeather.failures = world.between(0.05, 0.6);
        this.#storageWeather.slowMs = world.between(5, 400);
        return world.after(world.between(100, 900), () => this.#fairStorage());
      case "storage and leader":
        // What is not certain to be stored is asked for soon.
        this.#storageWeather.failures = 0.7;
        world.after(world.between(100, 400), () => {
          this.leader?.crash();
          this.#fairStorage();
          this.#elect();
        });
        return;
      case "throw":
        this.oracle.throwOnce = true;
        return;
      case "leader":
        this.leader?.crash();
        return this.#elect();
      case "sleeping leader":
        // It does not know that it was overtaken.
        this.leader?.pause(world.between(500, 3_000));
        return this.#elect();
      case "weather":
        Object.assign(wire.weather, { losses: world.between(0, 0.2), repeats: world.between(0, 0.3), slowMs: world.between(1, 120) });
        return world.after(world.between(200, 1_500), () => void Object.assign(wire.weather, { losses: 0, repeats: 0, slowMs: 4 }));
      case "rescale": {
        const parallelism = world.pick([1, 2, 3]) as number;
        try {
          this.leader?.decide(() => this.leader?.dispatcher.rescale(this.#job as JobId, parallelism, 0));
        } catch (error) {
          world.note(`not rescaled: ${(error as Error).message}`);
        }
        return;
      }
    }
  }

  /** Another JobManager takes the lead: the epoch in shared storage rises first. */
  #elect(): void {
    const { world } = this;
    world.after(world.between(100, 1_200), async () => {
      const former = this.leader;
      const epoch = ++this.leaderEpoch;
      const next = new SimulatedJobManager(this, epoch, this.#configuration);
      await next.recover();
      this.leader = next;
      world.note(`${next.name} leads`);
      // An overtaken leader ends when it notices.
      if (former !== undefined) world.after(world.between(0, 2_000), () => former.crash());
    });
  }

  #fairStorage(): void {
    this.#storageWeather.failures = 0;
    this.#storageWeather.slowMs = 10;
  }

  #calm(): void {
    this.world.note("CALM");
    this.wire.cuts.clear();
    Object.assign(this.wire.weather, { losses: 0, repeats: 0, slowMs: 4 });
    this.#fairStorage();
  }
}

/** One run of a seed. */
export const simulate = (seed: number, mutant?: Mutant): Promise<Report> => new Cluster(seed, mutant).run();
