/** A simulated cluster: JobManagers, TaskManagers, a program, what is between them, and the misfortune that befalls them. */
import { Configuration } from "../../src/core/types/options.ts";
import { MemoryStorage } from "../../src/cluster/storage/memory-storage.ts";
import type { CheckpointStorage } from "../../src/cluster/storage/checkpoint-storage.ts";
import { FaultyStorage, type StorageWeather } from "./faulty-storage.ts";
import { Links } from "./links.ts";
import type { Mutant } from "./mutants.ts";
import { Oracle } from "./oracle.ts";
import { EPOCH_MS, type SimulatedProcess } from "./process.ts";
import { SimulatedJobManager } from "./simulated-job-manager.ts";
import { SimulatedProgram } from "./simulated-program.ts";
import { SimulatedTaskManager } from "./simulated-task-manager.ts";
import { type SimulatedServer, Wire } from "./wire.ts";
import { World } from "./world.ts";

/** What a run came to. */
export interface Report {
  readonly seed: number;
  /** Absent: all is well. */
  readonly failure?: string;
  readonly fingerprint: string;
  readonly trace: readonly string[];
  readonly faults: number;
  /** Stale messages that came and were not heard. */
  readonly refused: number;
  readonly virtualMs: number;
}

const TASK_MANAGERS = 3;
/** One leads, the others stand by. */
const JOB_MANAGERS = 2;
/** Misfortune from here on … */
const TROUBLE_FROM_MS = 400;
/** … for so long; then it is calm. */
const TROUBLE_MS = 3_500;
/** In the calm the job must end within. */
const CALM_MS = 60_000;
/** What befalls a process befalls it at one of its next steps. */
const MAX_STEPS = 12;

/** Instead of misfortune by chance: one process dies at its so many-th step, and all else goes well. */
export interface Fate {
  readonly who: "the leader" | "a TaskManager";
  readonly step: number;
}

export class Cluster {
  readonly world: World;
  readonly wire: Wire;
  readonly links: Links;
  readonly oracle: Oracle;
  readonly root: string;
  readonly configuration: Configuration;
  /** Who listens at the address of the JobManager. */
  listening: SimulatedServer | undefined;
  readonly #seed: number;
  readonly #storageWeather: StorageWeather = { failures: 0, slowMs: 10 };
  readonly #mutant: Mutant | undefined;
  readonly #fate: Fate | undefined;
  readonly #taskManagers: SimulatedTaskManager[] = [];
  #leader: SimulatedProcess | undefined;
  #program: SimulatedProgram | undefined;
  #made = 0;
  #faults = 0;

  constructor(seed: number, { mutant, fate }: { readonly mutant?: Mutant; readonly fate?: Fate } = {}) {
    this.#seed = seed;
    this.#mutant = mutant;
    this.#fate = fate;
    this.root = `memory://simulation-${seed}-${mutant ?? "sound"}`;
    this.world = new World(seed);
    const isRough = this.world.chance(0.3);
    this.wire = new Wire(this.world, { losses: 0, slowMs: 4 }, { isRough, isFenced: mutant !== "no fencing" });
    this.links = new Links(this);
    const options = {
      "restart-strategy.type": "exponential-delay",
      "restart-strategy.exponential-delay.max-backoff": "500 ms",
      "slot.request.timeout": "100 s",
      "taskmanager.memory.segment-size": "2 kb",
      "pipeline.max-parallelism": 8,
      "execution.buffer-timeout.interval": "5 ms",
    };
    this.configuration = Configuration.of(options);
    this.oracle = new Oracle({
      rows: 900,
      keys: 6,
      rowsPerSecond: 400,
      windowMs: 60,
      unaligned: this.world.chance(0.3),
      checkpointEveryMs: this.world.pick([60, 150, 300]) as number,
      remembersCommits: mutant !== "commit again",
      options,
    });
  }

  has(mutant: Mutant): boolean {
    return this.#mutant === mutant;
  }

  storageAt(location: string, process: SimulatedProcess): CheckpointStorage {
    return new FaultyStorage(location, process, this.#storageWeather);
  }

  /** It leads from now on, as far as it knows. */
  leads(jobManager: SimulatedJobManager): void {
    this.#leader = jobManager.process;
    this.listening = jobManager.server;
  }

  async run(): Promise<Report> {
    const { world } = this;
    // What production code times for itself (slices of work, metrics) goes by the same clock; each look at it takes a while, so that a
    // slice of a snapshot may end after any entry.
    const [now, dateNow] = [performance.now, Date.now];
    let spentMs = 0;
    performance.now = () => world.nowMs + (spentMs += world.between(0, 3));
    Date.now = () => EPOCH_MS + world.nowMs;
    try {
      for (let i = 0; i < JOB_MANAGERS; i++) this.#addJobManager();
      for (let i = 0; i < TASK_MANAGERS; i++) this.#addTaskManager();
      const program = (this.#program = new SimulatedProgram(this));
      if (this.#fate !== undefined) this.#decree(this.#fate);
      else this.#trouble();
      const isOver = (): boolean => this.oracle.violations.length > 0 || ENDS.has(program.state);
      await world.run(TROUBLE_FROM_MS + TROUBLE_MS + CALM_MS, isOver);
      return this.#report();
    } catch (error) {
      return this.#report(`the simulation broke: ${(error as Error).stack}`);
    } finally {
      [performance.now, Date.now] = [now, dateNow];
      await new MemoryStorage(this.root).delete("");
    }
  }

  #report(broken?: string): Report {
    const state = this.#program?.state ?? "UNKNOWN";
    const isFinished = state === "FINISHED" || state === "FORGOTTEN";
    const failure =
      broken ??
      this.oracle.violations[0] ??
      (isFinished ? undefined : `the job is ${state} in the end, with ${this.oracle.progress}`) ??
      (this.oracle.isComplete ? undefined : `the job is ${state} with ${this.oracle.progress}`);
    return {
      seed: this.#seed,
      ...(failure === undefined ? {} : { failure }),
      fingerprint: this.world.fingerprint(),
      trace: this.world.trace,
      faults: this.#faults,
      refused: this.wire.refused,
      virtualMs: this.world.nowMs,
    };
  }

  /** Whoever dies is replaced after a while. */
  #addJobManager(): void {
    const { process } = new SimulatedJobManager(this, `jm${this.#made++}`);
    process.whenDead(() => this.world.after(this.world.between(50, 800), () => this.#addJobManager()));
  }

  #addTaskManager(): void {
    const taskManager = new SimulatedTaskManager(this, `tm${this.#made++}`);
    this.#taskManagers.push(taskManager);
    taskManager.process.whenDead(() => {
      this.#taskManagers.splice(this.#taskManagers.indexOf(taskManager), 1);
      this.world.after(this.world.between(50, 800), () => this.#addTaskManager());
    });
  }

  // -------------------------------------------------------------------------------------------------------- misfortune

  #decree({ who, step }: Fate): void {
    this.world.after(TROUBLE_FROM_MS, () => {
      const victim = who === "the leader" ? this.#leader : this.#taskManagers[0]?.process;
      this.#faults++;
      victim?.afterSteps(step, () => victim.crash());
    });
  }

  #trouble(): void {
    const { world } = this;
    const endMs = TROUBLE_FROM_MS + TROUBLE_MS;
    for (let at = TROUBLE_FROM_MS; at < endMs; at += world.between(150, 900)) world.after(at, () => this.#misfortune());
    world.after(endMs, () => this.#calm());
  }

  #misfortune(): void {
    const { world, wire } = this;
    const kinds = [
      "crash", "pause", "cut", "one-way cut", "link", "storage", "storage and leader", "throw", "leader", "sleeping leader", "weather", "rescale",
    ] as const;
    const kind = world.pick(kinds) as (typeof kinds)[number];
    const victim = world.pick(this.#taskManagers);
    const leader = this.#leader;
    // In the middle of what it does.
    const soon = (process: SimulatedProcess | undefined, befall: (process: SimulatedProcess) => void): void =>
      process?.afterSteps(Math.ceil(world.between(0, MAX_STEPS)), () => befall(process));
    this.#faults++;
    world.note(`FAULT ${kind} ${kind.includes("leader") ? (leader?.name ?? "") : (victim?.process.name ?? "")}`);
    switch (kind) {
      case "crash":
        return soon(victim?.process, (process) => process.crash());
      case "pause":
        return soon(victim?.process, (process) => process.pause(world.between(50, 3_000)));
      case "cut":
      case "one-way cut": {
        const ends = [victim?.process.name, leader?.name];
        if (kind === "one-way cut" && world.chance(0.5)) ends.reverse();
        const cuts = [ends.join(">"), ...(kind === "cut" ? [ends.reverse().join(">")] : [])];
        for (const cut of cuts) wire.cuts.add(cut);
        return world.after(world.between(100, 2_500), () => cuts.forEach((cut) => wire.cuts.delete(cut)));
      }
      case "link": {
        const other = world.pick(this.#taskManagers.filter((it) => it !== victim));
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
        return world.after(world.between(100, 400), () => {
          this.#leader?.crash();
          this.#fairStorage();
        });
      case "throw":
        this.oracle.throwOnce = true;
        return;
      case "leader":
        return soon(leader, (process) => process.crash());
      case "sleeping leader":
        // It does not know that it was overtaken.
        return soon(leader, (process) => process.pause(world.between(500, world.chance(0.5) ? 1_200 : 3_000)));
      case "weather":
        Object.assign(wire.weather, { losses: world.between(0, 0.1), slowMs: world.between(1, 120) });
        return world.after(world.between(200, 1_500), () => void Object.assign(wire.weather, FAIR));
      case "rescale":
        return this.#program?.rescale(world.pick([1, 2, 3]) as number);
    }
  }

  #fairStorage(): void {
    this.#storageWeather.failures = 0;
    this.#storageWeather.slowMs = 10;
  }

  #calm(): void {
    this.world.note("CALM");
    this.wire.cuts.clear();
    Object.assign(this.wire.weather, FAIR);
    this.#fairStorage();
  }
}

const FAIR = { losses: 0, slowMs: 4 };
const ENDS: ReadonlySet<string> = new Set(["FINISHED", "FAILED", "CANCELED", "FORGOTTEN"]);

/** One run of a seed. */
export const simulate = (seed: number, options?: { readonly mutant?: Mutant; readonly fate?: Fate }): Promise<Report> =>
  new Cluster(seed, options).run();
