/** Timers, interval joins and joins on windows, against a plain reading of what they mean; through failures, at other parallelisms. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Collector,
  type DataStream,
  KeyedProcessFunction,
  type ProcessContext,
  type TimerContext,
  localEnvironment,
  session,
  sideOutput,
  sliding,
  tumbling,
} from "../../src/core/index.ts";
import { type Event, drive } from "./drive.ts";
import { runs } from "./runs.ts";

const small = (max: number, min = 0): fc.Arbitrary<number> => fc.integer({ min, max });
const key = fc.constantFrom("a", "b", "c");

/** Watermarks and the clock rise by steps; at the end both pass everything. */
function happening<T>(record: fc.Arbitrary<{ readonly record: T; readonly at: number; readonly input?: 0 | 1 }>): fc.Arbitrary<Event<T>[]> {
  return fc
    .array(
      fc.oneof(
        { weight: 6, arbitrary: record },
        { weight: 2, arbitrary: fc.record({ watermark: small(15) }) },
        { weight: 2, arbitrary: fc.record({ clock: small(15, 1) }) },
        { weight: 1, arbitrary: fc.record({ restart: small(4, 1) }) },
      ),
      { maxLength: 50 },
    )
    .map((steps) => {
      let [watermark, clock] = [0, 0];
      const events = steps.map((step): Event<T> => {
        if ("watermark" in step) return { watermark: (watermark += step.watermark) };
        if ("clock" in step) return { clock: (clock += step.clock) };
        return step;
      });
      return [...events, { clock: clock + 1_000 }, { watermark: Infinity }];
    });
}

interface Command {
  readonly key: string;
  readonly do: "register" | "delete";
  readonly domain: "event" | "processing";
  readonly time: number;
  /** When the timer fires, another one is set so much later. */
  readonly again?: number;
}

class Timers extends KeyedProcessFunction<string, Command, string> {
  override processElement(command: Command, { timers }: ProcessContext<string>): void {
    if (command.domain === "event") {
      if (command.do === "register") timers.registerEventTimeTimer(command.time);
      else timers.deleteEventTimeTimer(command.time);
    } else if (command.do === "register") timers.registerProcessingTimeTimer(command.time);
    else timers.deleteProcessingTimeTimer(command.time);
  }

  override onTimer(timestamp: number, context: TimerContext<string>, out: Collector<string>): void {
    // A timer may set the next one, of the other clock too.
    if (timestamp % 5 === 0 && timestamp < 60) context.timers.registerEventTimeTimer(timestamp + 3);
    if (timestamp % 7 === 0 && timestamp < 60) context.timers.registerProcessingTimeTimer(timestamp + 4);
    out.collect(`${context.key} ${context.timeDomain} ${timestamp}`);
  }
}

/** Timers in one list. */
class NaiveTimers {
  #timers: { readonly key: string; readonly domain: string; readonly time: number }[] = [];

  happen(event: Event<Command>, watermark: number): string[] {
    if ("record" in event) {
      const { key: of, do: what, domain, time } = event.record;
      if (what === "register") this.#set(of, domain, time);
      else this.#timers = this.#timers.filter((it) => !(it.key === of && it.domain === domain && it.time === time));
      return [];
    }
    if ("clock" in event) return this.#advance("processing", event.clock);
    return this.#advance("event", "watermark" in event ? event.watermark : watermark);
  }

  #set(of: string, domain: string, time: number): void {
    if (!this.#timers.some((it) => it.key === of && it.domain === domain && it.time === time)) this.#timers.push({ key: of, domain, time });
  }

  #advance(domain: string, until: number): string[] {
    const fired: string[] = [];
    for (;;) {
      const due = this.#timers.filter((it) => it.domain === domain && it.time <= until);
      if (due.length === 0) return fired;
      const next = due.reduce((a, b) => (b.time < a.time ? b : a));
      this.#timers = this.#timers.filter((it) => it !== next);
      if (next.time % 5 === 0 && next.time < 60) this.#set(next.key, "event", next.time + 3);
      if (next.time % 7 === 0 && next.time < 60) this.#set(next.key, "processing", next.time + 4);
      fired.push(`${next.key} ${domain} ${next.time}`);
    }
  }
}

test("timers fire once per key and time, in order of time, unless they were deleted", () => {
  const command = fc.record({
    record: fc.record({
      key, do: fc.constantFrom("register" as const, "register" as const, "delete" as const),
      domain: fc.constantFrom("event" as const, "processing" as const), time: small(60),
    }),
    at: small(60),
  });
  fc.assert(
    fc.property(happening<Command>(command), (events) => {
      const env = localEnvironment();
      const driven = drive<Command>(env, env.from<Command>([]).keyBy((it) => it.key).process(new Timers()));
      const naive = new NaiveTimers();
      let watermark = -Infinity;
      for (const [index, event] of events.entries()) {
        const expected = naive.happen(event, watermark);
        if ("watermark" in event) watermark = event.watermark;
        const emitted = driven.happen(event).map(({ value, timestamp }) => ({ text: value as string, timestamp }));
        expect([index, ...emitted.map(({ text }) => text).sort()]).toEqual([index, ...expected.sort()]);
        for (const of of ["a", "b", "c"]) {
          const times = emitted.filter(({ text }) => text.startsWith(of)).map(({ text }) => Number(text.split(" ")[2]));
          expect(times).toEqual([...times].sort((a, b) => a - b));
        }
        for (const { text, timestamp } of emitted) if (text.includes("event")) expect(timestamp).toBe(Number(text.split(" ")[2]));
      }
    }),
    runs(200),
  );
});

interface Side {
  readonly id: number;
  readonly key: string;
}

const sides = fc
  .array(fc.record({ key, at: small(60), input: fc.constantFrom(0 as const, 1 as const) }), { minLength: 1, maxLength: 1 })
  .map(([it]) => ({ record: { id: 0, key: it?.key ?? "a" }, at: it?.at ?? 0, input: it?.input ?? 0 }));
const numbered = (events: readonly Event<Side>[]): Event<Side>[] =>
  events.map((event, id) => ("record" in event ? { ...event, record: { ...event.record, id } } : event));

test("an interval join pairs what lies within its bounds, as long as neither was late", () => {
  fc.assert(
    fc.property(happening<Side>(sides), small(15, -15), small(20), fc.boolean(), fc.boolean(), (drawn, lower, width, openLow, openHigh) => {
      const events = numbered(drawn);
      const upper = lower + width;
      fc.pre(lower + Number(openLow) <= upper - Number(openHigh));
      const env = localEnvironment();
      const [lateLeft, lateRight] = [sideOutput<Side>("late left"), sideOutput<Side>("late right")];
      const one = (): DataStream<Side> => env.from<Side>([]).withTimestamps(() => 0);
      let join = one().keyBy((it) => it.key).intervalJoin(one().keyBy((it) => it.key)).between(lower, upper).lateLeftTo(lateLeft).lateRightTo(lateRight);
      if (openLow) join = join.lowerBoundExclusive();
      if (openHigh) join = join.upperBoundExclusive();
      const driven = drive<Side>(env, join.apply((a, b) => `${a.id}+${b.id}`));
      const kept: { readonly side: 0 | 1; readonly row: Side; readonly at: number }[] = [];
      let watermark = -Infinity;
      for (const [index, event] of events.entries()) {
        const expected: string[] = [];
        if ("watermark" in event) watermark = event.watermark;
        if ("record" in event) {
          const side = event.input ?? 0;
          if (event.at < watermark) expected.push(`late ${side === 0 ? "left" : "right"} ${event.record.id}`);
          else {
            for (const other of kept.filter((it) => it.side !== side && it.row.key === event.record.key)) {
              const [left, right] = side === 0 ? [event, other] : [other, event];
              const distance = right.at - left.at;
              const low = openLow ? distance > lower : distance >= lower;
              const high = openHigh ? distance < upper : distance <= upper;
              const [a, b] = side === 0 ? [event.record.id, other.row.id] : [other.row.id, event.record.id];
              if (low && high) expected.push(`${a}+${b} at ${Math.max(left.at, right.at)}`);
            }
            kept.push({ side, row: event.record, at: event.at });
          }
        }
        const emitted = driven.happen(event).map(({ value, timestamp, side }) =>
          side === undefined ? `${value as string} at ${timestamp}` : `${side} ${(value as Side).id}`,
        );
        expect([index, ...emitted.sort()]).toEqual([index, ...expected.sort()]);
      }
    }),
    runs(200),
  );
});

describe("joins on windows, in a job", () => {
  test.each(["inner", "left", "right", "full"] as const)("%s: pairs per key and window, and who has no partner", async (kind) => {
    const row = fc.record({ key, at: small(60) });
    const window = fc.oneof(
      fc.record({ kind: fc.constant("tumbling" as const), size: small(20, 1) }),
      fc.record({ kind: fc.constant("sliding" as const), size: small(20, 2) }),
      fc.record({ kind: fc.constant("session" as const), size: small(10, 1) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), fc.array(row, { maxLength: 20 }), window, small(4, 1), async (a, b, of, parallelism) => {
        const all = [...a.map((it, id) => ({ ...it, id: `l${id}`, left: true })), ...b.map((it, id) => ({ ...it, id: `r${id}`, left: false }))];
        // The windows of a key and who is in them, by hand.
        const inWindow: (typeof all)[] = [];
        for (const of_ of ["a", "b", "c"]) {
          const own = all.filter((it) => it.key === of_).sort((x, y) => x.at - y.at);
          if (of.kind === "session") {
            let last = -Infinity;
            for (const it of own) {
              if (it.at > last + of.size) inWindow.push([]);
              (inWindow.at(-1) as typeof all).push(it);
              last = it.at;
            }
          } else {
            const slide = of.kind === "tumbling" ? of.size : Math.ceil(of.size / 2);
            for (let start = -of.size * 2; start <= 60; start++) {
              if (((start % slide) + slide) % slide !== 0) continue;
              inWindow.push(own.filter((it) => start <= it.at && it.at < start + of.size));
            }
          }
        }
        const expected = inWindow.flatMap((members) => {
          const [lefts, rights] = [members.filter((it) => it.left), members.filter((it) => !it.left)];
          if (rights.length === 0) return kind === "left" || kind === "full" ? lefts.map((it) => `${it.id}-`) : [];
          if (lefts.length === 0) return kind === "right" || kind === "full" ? rights.map((it) => `-${it.id}`) : [];
          return lefts.flatMap((left) => rights.map((right) => `${left.id}${right.id}`));
        });
        const env = localEnvironment({ parallelism });
        const streamOf = (left: boolean): DataStream<{ key: string; at: number; id: string }> =>
          env.from(all.filter((it) => it.left === left)).withTimestamps((it) => it.at, { outOfOrderness: 100 });
        const method = kind === "inner" ? "join" : (`${kind}Join` as const);
        const windows = of.kind === "tumbling" ? tumbling(of.size) : of.kind === "sliding" ? sliding(of.size, Math.ceil(of.size / 2)) : session(of.size);
        const joined = streamOf(true)[method](streamOf(false)).where((it) => it.key).equalTo((it) => it.key).window(windows)
          .apply((left: { id: string } | undefined, right: { id: string } | undefined) => `${left?.id ?? "-"}${right?.id ?? "-"}`);
        expect((await joined.collect()).sort()).toEqual(expected.sort());
      }),
      runs(8, 20),
    );
  });
});
