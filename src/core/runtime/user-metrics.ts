/**
 * Metrics that user functions count into, beside the task's own in the same memory (metrics.ts): numbers, and the names that they got when
 * they were asked for. Whoever reads the memory, from any thread, finds both.
 *
 *     i32 count of names · i32 bytes of text · SLOTS × f64 · TEXT_BYTES of names, each behind a line break
 *
 * Invariant: a name stands complete before it is counted, and never changes. A reader may see a number that is a few records old.
 */
import type { Counter, Gauge, Histogram, Meter, MetricGroup } from "../operators/function.ts";
import { GraphError, describe } from "../types/errors.ts";

const SLOTS = 256;
const TEXT_BYTES = 16_384;

/** Bytes that the user's metrics of one subtask need; a multiple of 8. */
export const USER_METRICS_BYTES: number = 8 + SLOTS * 8 + TEXT_BYTES;

/** Values that a histogram looks back on. */
const SAMPLES = 512;
/** What is computed of many values is so old at most. */
const REFRESH_MS = 500;

interface Refreshed {
  refresh(nowMs: number): void;
}

/** The user's metrics of one subtask, written. Used by the task's thread. */
export class UserMetrics {
  readonly #header: Int32Array;
  readonly #values: Float64Array;
  readonly #text: Uint8Array;
  readonly #slots = new Map<string, number>();
  readonly #known = new Map<string, Counter | Gauge | Histogram | Meter>();
  readonly #refreshed: Refreshed[] = [];
  #nextRefreshMs = 0;

  /** @param offset where in the memory they begin: a multiple of 8. */
  constructor(memory: ArrayBufferLike, offset: number) {
    this.#header = new Int32Array(memory, offset, 2);
    this.#values = new Float64Array(memory, offset + 8, SLOTS);
    this.#text = new Uint8Array(memory, offset + 8 + SLOTS * 8, TEXT_BYTES);
  }

  /** The metrics of one operator: each is named `<operator>.<name>`. */
  group(operator: string): MetricGroup {
    return {
      counter: (name) => this.#metric(operator, name, "counter", (slot) => this.#counter(slot(""))),
      gauge: (name, read) => this.#metric(operator, name, "gauge", (slot) => this.#gauge(slot(""), read)),
      histogram: (name) => this.#metric(operator, name, "histogram", (slot) => this.#histogram(slot)),
      meter: (name) => this.#metric(operator, name, "meter", (slot) => this.#meter(slot(""), slot(".perSecond"))),
    };
  }

  /** Brings what is computed up to date; asked for every few milliseconds. */
  refresh(nowMs: number): void {
    if (nowMs < this.#nextRefreshMs) return;
    this.#nextRefreshMs = nowMs + REFRESH_MS;
    for (const it of this.#refreshed) it.refresh(nowMs);
  }

  #metric<M extends Counter | Gauge | Histogram | Meter>(
    operator: string, name: string, kind: string, make: (slot: (suffix: string) => number) => M,
  ): M {
    if (typeof name !== "string" || !/^[^\n]{1,100}$/.test(name)) {
      throw new GraphError(`"${operator}" names a metric ${describe(name)}; give a text of up to 100 characters.`);
    }
    const full = `${operator.replaceAll("\n", " ")}.${name}`;
    const known = this.#known.get(`${kind} ${full}`);
    if (known !== undefined) return known as M;
    const made = make((suffix) => this.#slot(full + suffix));
    this.#known.set(`${kind} ${full}`, made);
    return made;
  }

  #slot(name: string): number {
    if (this.#slots.has(name)) throw new GraphError(`The metric "${name}" is there already, as one of another kind.`);
    const bytes = new TextEncoder().encode(`\n${name}`);
    const [count, used] = [this.#header[0] as number, this.#header[1] as number];
    if (count === SLOTS || used + bytes.length > TEXT_BYTES) {
      throw new GraphError(`There is no room for the metric "${name}": a subtask has ${SLOTS} numbers and ${TEXT_BYTES} bytes of names.`);
    }
    this.#text.set(bytes, used);
    this.#header[1] = used + bytes.length;
    Atomics.store(this.#header, 0, count + 1);
    this.#slots.set(name, count);
    return count;
  }

  #counter(slot: number): Counter {
    const values = this.#values;
    return {
      inc: (by = 1) => void (values[slot] = (values[slot] as number) + by),
      dec: (by = 1) => void (values[slot] = (values[slot] as number) - by),
      get count() {
        return values[slot] as number;
      },
    };
  }

  #gauge(slot: number, read: (() => number) | undefined): Gauge {
    const values = this.#values;
    if (read !== undefined) this.#refreshed.push({ refresh: () => void (values[slot] = read()) });
    return { set: (value) => void (values[slot] = value) };
  }

  #meter(events: number, rate: number): Meter {
    const values = this.#values;
    let [before, beforeMs] = [0, 0];
    this.#refreshed.push({
      refresh: (nowMs) => {
        const marked = values[events] as number;
        if (beforeMs > 0) values[rate] = ((marked - before) * 1_000) / Math.max(1, nowMs - beforeMs);
        [before, beforeMs] = [marked, nowMs];
      },
    });
    return { mark: (by = 1) => void (values[events] = (values[events] as number) + by) };
  }

  #histogram(slot: (suffix: string) => number): Histogram {
    const values = this.#values;
    const [count, least, most, mean] = [slot(".count"), slot(".min"), slot(".max"), slot(".mean")];
    const quantiles = ([[".p50", 0.5], [".p95", 0.95], [".p99", 0.99]] as const).map(([name, share]) => [slot(name), share] as const);
    const samples = new Float64Array(SAMPLES);
    let told = 0;
    this.#refreshed.push({
      refresh: () => {
        const updates = values[count] as number;
        if (updates === told) return;
        told = updates;
        const sorted = samples.slice(0, Math.min(updates, SAMPLES)).sort();
        values[least] = sorted[0] as number;
        values[most] = sorted[sorted.length - 1] as number;
        values[mean] = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
        for (const [at, share] of quantiles) values[at] = sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
      },
    });
    return {
      update: (value) => {
        const updates = values[count] as number;
        samples[updates % SAMPLES] = value;
        values[count] = updates + 1;
      },
    };
  }
}

/** The user's metrics by name. Any thread. */
export function readUserMetrics(memory: ArrayBufferLike, offset: number): Record<string, number> {
  const header = new Int32Array(memory, offset, 2);
  const count = Atomics.load(header, 0);
  if (count === 0) return {};
  const values = new Float64Array(memory, offset + 8, SLOTS);
  // A copy: text in shared memory is not decoded.
  const text = new Uint8Array(memory, offset + 8 + SLOTS * 8, header[1]).slice();
  const names = new TextDecoder().decode(text).split("\n").slice(1, count + 1);
  return Object.fromEntries(names.map((name, slot) => [name, values[slot] as number]));
}
