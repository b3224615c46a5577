/**
 * The world of a simulation: one clock, one source of chance, one queue of things to come. Everything that happens is an event in it, so a
 * seed determines all of a run, and the trace of two runs of a seed is the same.
 */
import { createHash } from "node:crypto";

/** Promises that wait on promises have settled after so many turns; the rest waits for the next event, in every run alike. */
const TURNS = 24;

interface Coming {
  readonly atMs: number;
  readonly order: number;
  readonly what: () => void | Promise<void>;
}

export class World {
  nowMs = 0;
  readonly trace: string[] = [];
  #queue: Coming[] = [];
  #order = 0;
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 0x9e3779b9) >>> 0;
  }

  /** From 0 to 1, without 1 (mulberry32). */
  readonly random = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.random() * items.length)];
  }

  /** Lets something happen later. */
  after(delayMs: number, what: () => void | Promise<void>): void {
    const coming: Coming = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, what };
    // A binary heap by time, then by order.
    const heap = this.#queue;
    heap.push(coming);
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at] as Coming, heap[parent] as Coming)) break;
      [heap[at], heap[parent]] = [heap[parent] as Coming, heap[at] as Coming];
      at = parent;
    }
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  note(text: string): void {
    this.trace.push(`${this.nowMs.toFixed(3)} ${text}`);
  }

  /** What happened, as one number. */
  fingerprint(): string {
    return createHash("sha256").update(this.trace.join("\n")).digest("hex");
  }

  /** Lets time pass until `done` or until a moment. */
  async run(untilMs: number, done: () => boolean): Promise<void> {
    while (!done()) {
      const next = this.#queue[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#drop();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      await next.what();
      for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
    }
  }

  #drop(): void {
    const heap = this.#queue;
    const last = heap.pop() as Coming;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= heap.length) return;
      if (child + 1 < heap.length && before(heap[child + 1] as Coming, heap[child] as Coming)) child++;
      if (!before(heap[child] as Coming, heap[at] as Coming)) return;
      [heap[at], heap[child]] = [heap[child] as Coming, heap[at] as Coming];
      at = child;
    }
  }
}

const before = (a: Coming, b: Coming): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
