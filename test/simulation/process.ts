/**
 * A process in the simulation: it can be stopped for a while (SIGSTOP), and it can die between any two things that it does: before or after
 * an operation of its storage has come to effect, before or after a message is sent, and while it waits for anything. What it waited for
 * then never comes.
 */
import type { Clocks } from "../../src/cluster/jobmanager/clocks.ts";
import type { Timers } from "../../src/cluster/jobmanager/timers.ts";
import type { World } from "./world.ts";

/** Wall clocks show this at the beginning. */
export const EPOCH_MS = 1_700_000_000_000;
/** What had to wait for a stopped process comes within so many milliseconds when it goes on. */
const CATCH_UP_MS = 5;

export class SimulatedProcess {
  readonly name: string;
  readonly world: World;
  readonly clocks: Clocks;
  readonly timers: Timers = { after: (delayMs, what) => this.after(delayMs, what) };
  isAlive = true;
  #isPaused = false;
  #stepsLeft = Number.POSITIVE_INFINITY;
  #atStep: () => void = () => undefined;
  readonly #resumed: (() => void)[] = [];
  readonly #whenDead: (() => void)[] = [];

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.clocks = { wallMs: () => EPOCH_MS + world.nowMs, elapsedMs: () => world.nowMs };
  }

  note(text: string): void {
    this.world.note(`${this.name} ${text}`);
  }

  /** Something that happens in it: later if it is stopped, never if it is dead. */
  run(what: () => void): void {
    if (!this.isAlive) return;
    if (this.#isPaused) this.#resumed.push(what);
    else what();
  }

  /** @returns what calls it off. */
  after(delayMs: number, what: () => void): () => void {
    let wanted = true;
    this.world.after(delayMs, () => this.run(() => wanted && what()));
    return () => (wanted = false);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /** A point at which something may befall it. @returns whether it goes on. */
  step(): boolean {
    if (--this.#stepsLeft === 0) this.#atStep();
    return this.isAlive;
  }

  /** Something befalls it at its `steps`-th point from here, such as its death. */
  afterSteps(steps: number, what: () => void): void {
    this.#stepsLeft = steps;
    this.#atStep = what;
  }

  crash(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.note("is dead");
    for (const what of this.#whenDead) what();
  }

  whenDead(what: () => void): void {
    this.#whenDead.push(what);
  }

  pause(ms: number): void {
    if (!this.isAlive || this.#isPaused) return;
    this.#isPaused = true;
    this.world.after(ms, () => {
      this.#isPaused = false;
      for (const what of this.#resumed.splice(0)) this.after(this.world.between(0, CATCH_UP_MS), what);
    });
  }
}
