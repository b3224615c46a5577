/**
 * What windows mean, written down as plainly as possible and knowing nothing of the operators: every window is an object in one list, keeps
 * all its records, and is asked one by one. After Flink's documentation of window assigners, triggers, evictors and allowed lateness.
 */
import type { Event } from "./drive.ts";

export interface Row {
  readonly id: number;
  readonly key: string;
  readonly value: number;
}

export type NaiveAssigner =
  | { readonly kind: "tumbling"; readonly size: number; readonly offset: number }
  | { readonly kind: "sliding"; readonly size: number; readonly slide: number; readonly offset: number }
  | { readonly kind: "cumulative"; readonly steps: number; readonly step: number }
  | { readonly kind: "session"; readonly gap: number }
  | { readonly kind: "dynamicSession" }
  | { readonly kind: "global" };

export type NaiveTrigger =
  | { readonly kind: "usual" }
  | { readonly kind: "count"; readonly count: number }
  | { readonly kind: "continuousEventTime" | "continuousProcessingTime"; readonly interval: number }
  | { readonly kind: "delta"; readonly threshold: number };

export type NaiveEvictor = { readonly kind: "count" | "time" | "delta"; readonly limit: number; readonly after: boolean };

export interface NaiveSettings {
  readonly assigner: NaiveAssigner;
  readonly time: "event" | "processing";
  readonly trigger: NaiveTrigger;
  readonly purging: boolean;
  readonly lateness: number;
  readonly evictor: NaiveEvictor | undefined;
}

/** A window as it fires. */
export interface Firing {
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly ids: readonly number[];
}

interface NaiveWindow {
  readonly key: string;
  start: number;
  end: number;
  rows: { readonly row: Row; readonly at: number }[];
  /** Of the count trigger: records since it fired. Of the continuous ones: when it fires next. Of delta: the value that it measures from. */
  since: number;
  next: number | undefined;
  from: number | undefined;
}

/** The dynamic gap of a row's session. */
export const gapOf = (row: Row): number => 2 + Math.abs(row.value);

/** Windows, by hand. */
export class NaiveWindows {
  readonly #settings: NaiveSettings;
  #windows: NaiveWindow[] = [];
  #watermark = -Infinity;
  #clock = 0;
  /** Records that were too late for all their windows. */
  readonly late: number[] = [];

  constructor(settings: NaiveSettings) {
    this.#settings = settings;
  }

  /** Lets something happen. @returns the windows that fire. */
  happen(event: Event<Row>): Firing[] {
    const fired: Firing[] = [];
    if ("record" in event) this.#record(event.record, event.at, fired);
    else if ("watermark" in event) this.#advance("event", event.watermark, fired);
    // Operators are told the watermark again.
    else if ("restart" in event) this.#advance("event", this.#watermark, fired);
    else this.#advance("processing", event.clock, fired);
    return fired;
  }

  #record(row: Row, at: number, fired: Firing[]): void {
    const { assigner, time, lateness } = this.#settings;
    const eventTime = time === "event" && assigner.kind !== "global";
    const bounds = windowsOf(assigner, time === "event" ? at : this.#clock, row);
    const tooLate = (end: number): boolean => eventTime && end - 1 + lateness <= this.#watermark;
    let taken = false;
    for (const [start, end] of bounds) {
      const window = assigner.kind === "session" || assigner.kind === "dynamicSession"
        ? this.#session(row.key, start, end, tooLate(end))
        : (this.#windows.find((it) => it.key === row.key && it.start === start && it.end === end) ??
          (tooLate(end) ? undefined : this.#open(row.key, start, end)));
      if (window === undefined) continue;
      taken = true;
      window.rows.push({ row, at });
      // What comes into a window whose end has passed fires at once, not again at an end.
      const byEvents = time === "event" || this.#settings.trigger.kind === "continuousEventTime";
      if (byEvents && window.end - 1 <= this.#watermark) this.#past.add(window);
      if (this.#triggeredBy(window, row, at)) this.#fire(window, fired);
    }
    if (!taken && eventTime) this.late.push(row.id);
  }

  #open(key: string, start: number, end: number): NaiveWindow {
    const window = { key, start, end, rows: [], since: 0, next: undefined, from: undefined };
    this.#windows.push(window);
    return window;
  }

  /** The session that a new record's own window belongs to, after all that touch have become one. */
  #session(key: string, start: number, end: number, late: boolean): NaiveWindow | undefined {
    const touching = this.#windows.filter((it) => it.key === key && it.start <= end && start <= it.end);
    if (touching.length === 0) return late ? undefined : this.#open(key, start, end);
    this.#windows = this.#windows.filter((it) => !touching.includes(it));
    const nexts = touching.flatMap((it) => (it.next === undefined ? [] : [it.next]));
    const window: NaiveWindow = {
      key,
      start: Math.min(start, ...touching.map((it) => it.start)),
      end: Math.max(end, ...touching.map((it) => it.end)),
      rows: touching.flatMap((it) => it.rows),
      since: touching.reduce((sum, it) => sum + it.since, 0),
      next: nexts.length === 0 ? undefined : Math.min(...nexts),
      from: undefined,
    };
    this.#windows.push(window);
    return window;
  }

  #triggeredBy(window: NaiveWindow, row: Row, at: number): boolean {
    const { trigger, time, assigner } = this.#settings;
    const last = window.end - 1;
    switch (trigger.kind) {
      case "usual":
        return assigner.kind !== "global" && time === "event" && last <= this.#watermark;
      case "count":
        window.since++;
        if (window.since < trigger.count) return false;
        window.since = 0;
        return true;
      case "continuousEventTime":
        if (last <= this.#watermark) return true;
        window.next ??= Math.min(Math.floor(at / trigger.interval) * trigger.interval + trigger.interval, last);
        return false;
      case "continuousProcessingTime":
        window.next ??= nextTurn(Math.floor(this.#clock / trigger.interval) * trigger.interval, trigger.interval, last);
        return false;
      case "delta": {
        const from = window.from;
        if (from !== undefined && Math.abs(row.value - from) <= trigger.threshold) return false;
        window.from = row.value;
        return from !== undefined;
      }
    }
  }

  /** Time goes on, moment by moment. */
  #advance(domain: "event" | "processing", until: number, fired: Firing[]): void {
    if (domain === "event") this.#watermark = until;
    else this.#clock = until;
    for (;;) {
      const due = this.#windows.flatMap((window) => this.#moments(window, domain)).filter((moment) => moment <= until);
      if (due.length === 0) return;
      const now = Math.min(...due);
      for (const window of this.#windows.filter((it) => this.#moments(it, domain).includes(now))) this.#moment(window, domain, now, fired);
    }
  }

  /** When something is to happen to a window. */
  #moments(window: NaiveWindow, domain: "event" | "processing"): number[] {
    const { trigger, time, lateness, assigner } = this.#settings;
    const moments: number[] = [];
    const own = assigner.kind !== "global" && time === domain;
    if (own) moments.push(window.end - 1 + (time === "event" ? lateness : 0));
    const atEnd = trigger.kind === "usual" ? own : trigger.kind === "continuousEventTime" && domain === "event";
    if (atEnd && !this.#past.has(window)) moments.push(window.end - 1);
    if (domain === (trigger.kind === "continuousEventTime" ? "event" : "processing") && window.next !== undefined) moments.push(window.next);
    return moments;
  }

  readonly #past = new (class {
    readonly #ends = new WeakMap<NaiveWindow, number>();
    /** The end of this window has had its moment. */
    has(window: NaiveWindow): boolean {
      return this.#ends.get(window) === window.end;
    }
    add(window: NaiveWindow): void {
      this.#ends.set(window, window.end);
    }
  })();

  #moment(window: NaiveWindow, domain: "event" | "processing", now: number, fired: Firing[]): void {
    const { trigger, time, lateness, assigner } = this.#settings;
    const atEnd = now === window.end - 1;
    let fires = false;
    if (trigger.kind === "usual") fires = atEnd && domain === time && !this.#past.has(window);
    if (trigger.kind === "continuousEventTime" && domain === "event") {
      if (atEnd) fires = !this.#past.has(window);
      else if (window.next === now) fires = true;
      const endless = window.end === this.#watermark;
      if (window.next === now) window.next = atEnd || endless ? undefined : Math.min(now + trigger.interval, window.end - 1);
    }
    if (trigger.kind === "continuousProcessingTime" && domain === "processing" && window.next === now) {
      window.next = nextTurn(now, trigger.interval, window.end - 1);
      fires = true;
    }
    if (atEnd && (domain === time || trigger.kind === "continuousEventTime")) this.#past.add(window);
    if (fires) this.#fire(window, fired);
    const over = assigner.kind !== "global" && domain === time && now === window.end - 1 + (time === "event" ? lateness : 0);
    if (over) this.#windows = this.#windows.filter((it) => it !== window);
  }

  #fire(window: NaiveWindow, fired: Firing[]): void {
    if (window.rows.length === 0) return;
    const { evictor, purging } = this.#settings;
    if (evictor?.after === false) window.rows = evicted(evictor, window.rows);
    fired.push({ key: window.key, start: window.start, end: window.end, ids: window.rows.map(({ row }) => row.id).sort((a, b) => a - b) });
    if (evictor?.after === true) window.rows = evicted(evictor, window.rows);
    if (purging) window.rows = [];
  }
}

/** The wall clock's next turn, but not after the end of a window whose end is still to come. */
const nextTurn = (from: number, interval: number, last: number): number => (last > from ? Math.min(from + interval, last) : from + interval);

function windowsOf(assigner: NaiveAssigner, at: number, row: Row): (readonly [start: number, end: number])[] {
  switch (assigner.kind) {
    case "tumbling":
    case "sliding": {
      const slide = assigner.kind === "tumbling" ? assigner.size : assigner.slide;
      const found: (readonly [number, number])[] = [];
      for (let start = at - assigner.size + 1; start <= at; start++) {
        if ((((start - assigner.offset) % slide) + slide) % slide === 0) found.push([start, start + assigner.size]);
      }
      return found;
    }
    case "cumulative": {
      const size = assigner.step * assigner.steps;
      const start = Math.floor(at / size) * size;
      return Array.from({ length: assigner.steps }, (_, index) => [start, start + (index + 1) * assigner.step] as const).filter(([, end]) => at < end);
    }
    case "session":
      return [[at, at + assigner.gap]];
    case "dynamicSession":
      return [[at, at + gapOf(row)]];
    case "global":
      return [[-Infinity, Infinity]];
  }
}

function evicted(evictor: NaiveEvictor, rows: NaiveWindow["rows"]): NaiveWindow["rows"] {
  switch (evictor.kind) {
    case "count":
      return evictor.limit === 0 ? [] : rows.slice(-evictor.limit);
    case "time": {
      const newest = Math.max(...rows.map(({ at }) => at));
      return rows.filter(({ at }) => at > newest - evictor.limit);
    }
    case "delta": {
      const last = rows.at(-1)?.row.value ?? 0;
      return rows.filter(({ row }) => Math.abs(row.value - last) < evictor.limit);
    }
  }
}
