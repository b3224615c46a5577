/**
 * What processes hold over time, as Linux tells: memory, open handles (files, sockets, pipes) and threads, sampled while faults happen; and
 * the criterion by which it is flat.
 *
 * A process that was killed took what it held with it, so a leak shows in the processes that live on. Of each role the one that lived
 * longest is judged, if it lived long enough. What a process holds goes up and down with the tasks that it runs, and jumps while threads
 * load code; a leak raises what is left when it runs least. So, after a time in which it grows to its size, the lowest tenth of the samples
 * of the last third of its life must not be above that of the first third by more than noise. What is not told, elsewhere than on Linux,
 * counts as flat.
 */
import { readFileSync, readdirSync, readlinkSync } from "node:fs";

export interface Sample {
  /** Since the watch began. */
  readonly second: number;
  readonly rssMb: number;
  readonly handles: number;
  readonly threads: number;
}

/** One process, from its first sample to its last. */
export interface Life {
  readonly role: string;
  readonly pid: number;
  readonly samples: readonly Sample[];
  /** What its handles were at last: how many of each kind. */
  readonly kinds: ReadonlyMap<string, number>;
}

/** How a life went on: the lowest tenths of its first and of its last third. */
export interface Trend {
  readonly role: string;
  readonly pid: number;
  readonly seconds: number;
  readonly first: Omit<Sample, "second">;
  readonly last: Omit<Sample, "second">;
  /** In words; empty: it is flat. */
  readonly growth: readonly string[];
}

/** A young process still loads code and fills its heap. */
const WARM_UP_SECONDS = 20;
/** Thirds of shorter lives tell nothing. */
const LONG_ENOUGH_SECONDS = 90;
/** Growth that is noise: V8 collects when it likes, and runs of few tasks may be rare in a short third. */
const NOISE = { rssMb: { share: 0.15, more: 16 }, handles: { share: 0.15, more: 8 }, threads: { share: 0.15, more: 4 } } as const;

/** Samples processes by role, once a second. Whoever makes it stops it. */
export class Footprint {
  readonly #roles: () => Readonly<Record<string, number | undefined>>;
  readonly #lives = new Map<string, Life & { readonly samples: Sample[]; kinds: ReadonlyMap<string, number> }>();
  readonly #fromMs = performance.now();
  readonly #timer: NodeJS.Timeout;

  /** @param roles tells which process has which role now. */
  constructor(roles: () => Readonly<Record<string, number | undefined>>) {
    this.#roles = roles;
    this.#timer = setInterval(() => this.#sample(), 1_000);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  get lives(): readonly Life[] {
    return [...this.#lives.values()];
  }

  #sample(): void {
    const second = Math.round((performance.now() - this.#fromMs) / 1_000);
    for (const [role, pid] of Object.entries(this.#roles())) {
      const held = pid === undefined ? undefined : holdings(pid);
      if (pid === undefined || held === undefined) continue;
      const name = `${role} ${pid}`;
      const life = this.#lives.get(name) ?? { role, pid, samples: [] as Sample[], kinds: new Map<string, number>() };
      this.#lives.set(name, life);
      life.samples.push({ second, ...held });
      life.kinds = kindsOfHandles(pid);
    }
  }
}

/** What a process holds now; undefined when it has ended or nobody tells. */
export function holdings(pid: number): Omit<Sample, "second"> | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return {
      rssMb: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024),
      handles: readdirSync(`/proc/${pid}/fd`).length,
      threads: Number(/Threads:\s+(\d+)/.exec(status)?.[1] ?? 0),
    };
  } catch {
    return undefined;
  }
}

function kindsOfHandles(pid: number): ReadonlyMap<string, number> {
  const kinds = new Map<string, number>();
  try {
    for (const handle of readdirSync(`/proc/${pid}/fd`)) {
      const kind = readlinkSync(`/proc/${pid}/fd/${handle}`).replace(/:\[\d+\]$/, "");
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
  } catch {
    // One was closed meanwhile; the next sample tells.
  }
  return kinds;
}

/** Of each role the trend of its longest life; roles whose processes all died young are left out. */
export function trends(lives: readonly Life[]): readonly Trend[] {
  const longest = new Map<string, Life>();
  for (const life of lives) if (lengthOf(life) > lengthOf(longest.get(life.role))) longest.set(life.role, life);
  return [...longest.values()].filter((life) => lengthOf(life) >= LONG_ENOUGH_SECONDS).map(trendOf);
}

function trendOf(life: Life): Trend {
  const grown = life.samples.filter(({ second }) => second - (life.samples[0] as Sample).second >= WARM_UP_SECONDS);
  const third = Math.ceil(grown.length / 3);
  const [first, last] = [floor(grown.slice(0, third)), floor(grown.slice(-third))];
  const growth = (["rssMb", "handles", "threads"] as const).flatMap((what) => {
    const { share, more } = NOISE[what];
    const kinds = what === "handles" ? ` (${[...life.kinds].map(([kind, times]) => `${times} ${kind}`).join(", ")})` : "";
    return last[what] > first[what] * (1 + share) + more ? [`${what} from ${first[what]} to ${last[what]}${kinds}`] : [];
  });
  return { role: life.role, pid: life.pid, seconds: lengthOf(life), first, last, growth };
}

function floor(samples: readonly Sample[]): Omit<Sample, "second"> {
  const low = (of: (sample: Sample) => number): number => samples.map(of).sort((a, b) => a - b)[Math.floor(samples.length / 10)] ?? 0;
  return { rssMb: low((it) => it.rssMb), handles: low((it) => it.handles), threads: low((it) => it.threads) };
}

const lengthOf = (life: Life | undefined): number =>
  life === undefined ? -1 : (life.samples.at(-1) as Sample).second - (life.samples[0] as Sample).second;
