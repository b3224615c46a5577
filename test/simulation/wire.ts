/**
 * What lies between processes: messages that take their time, get lost, come twice, come out of order, and stop at a partition. Sessions and
 * liveness are as protocol/rpc.ts keeps them: who is silent for too long is given up, and what it still says is not heard.
 */
import type { World } from "./world.ts";

/** How bad the times are. */
export interface WireWeather {
  losses: number;
  repeats: number;
  slowMs: number;
}

/** A process that messages are for. */
export interface Addressee {
  readonly name: string;
  readonly isAlive: boolean;
  /** Stopped (SIGSTOP): what comes waits. */
  readonly isPaused: boolean;
  whenResumed(what: () => void): void;
}

export class Wire {
  readonly #world: World;
  readonly weather: WireWeather;
  /** Directions that let nothing through, as `from>to`. */
  readonly cuts = new Set<string>();

  constructor(world: World, weather: WireWeather) {
    this.#world = world;
    this.weather = weather;
  }

  /** @param heard called with the message's arrival, perhaps twice, perhaps never. */
  send(from: Addressee, to: Addressee, heard: () => void): void {
    const { losses, repeats, slowMs } = this.weather;
    for (let copies = 1 + Number(this.#world.chance(repeats)); copies > 0; copies--) {
      if (this.#world.chance(losses)) continue;
      this.#world.after(this.#world.between(0.1, slowMs), () => {
        if (this.cuts.has(`${from.name}>${to.name}`) || !to.isAlive) return;
        if (to.isPaused) to.whenResumed(heard);
        else heard();
      });
    }
  }
}
