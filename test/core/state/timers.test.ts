import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TimerQueue } from "../../../src/core/state/timers.ts";

describe("TimerQueue", () => {
  test("a key has one timer per time, however often it is registered", () => {
    const queue = new TimerQueue();
    for (let i = 0; i < 3; i++) queue.register(5, "a", "a");
    const fired: unknown[] = [];
    expect(queue.advance(5, (_, key) => fired.push(key))).toBe(1);
    expect([fired, queue.size, queue.nextTime]).toEqual([["a"], 0, Infinity]);
  });

  test("timers that a timer registers fire too when they are due, earlier ones included", () => {
    const queue = new TimerQueue();
    queue.register(10, "a", "a");
    const fired: string[] = [];
    queue.advance(20, (time, key) => {
      fired.push(`${key}@${time}`);
      if (key === "a") {
        queue.register(10, "b", "b");
        queue.register(3, "c", "c");
        queue.register(25, "d", "d");
      }
    });
    expect(fired).toEqual(["a@10", "b@10", "c@3"]);
    expect(queue.nextTime).toBe(25);
  });

  test("for any registrations and deletions, what is due fires once, in order of time", () => {
    const action = fc.record({ what: fc.constantFrom("register", "register", "delete", "advance"), time: fc.integer({ min: 0, max: 30 }), key: fc.integer({ min: 0, max: 4 }) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const queue = new TimerQueue();
        const model = new Set<string>();
        for (const { what, time, key } of actions) {
          if (what === "register") {
            queue.register(time, key, key);
            model.add(`${time}/${key}`);
          } else if (what === "delete") {
            queue.delete(time, key);
            model.delete(`${time}/${key}`);
          } else {
            const fired: string[] = [];
            queue.advance(time, (at, who) => fired.push(`${at}/${String(who)}`));
            const due = [...model].filter((it) => Number(it.split("/")[0]) <= time);
            expect([...fired].sort()).toEqual([...due].sort());
            const times = fired.map((it) => Number(it.split("/")[0]));
            expect(times).toEqual([...times].sort((a, b) => a - b));
            for (const it of due) model.delete(it);
          }
          expect(queue.size).toBe(model.size);
        }
      }),
    );
  });

  test("a frozen queue writes the timers that it had, whatever happens meanwhile", () => {
    const action = fc.record({ what: fc.constantFrom("register", "register", "delete", "advance", "scan", "freeze again"), time: fc.integer({ min: 0, max: 6 }), key: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 60 })) });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80, size: "max" }), fc.array(action, { maxLength: 80, size: "max" }), (before, during) => {
        const queue = new TimerQueue();
        const model = new Set<string>();
        let written = new Set<string>();
        let expected = new Set<string>();
        const write = (token: unknown, time: number): void => void written.add(`${token}@${time}`);
        const act = ({ what, time, key }: { what: string; time: number; key: number }): void => {
          if (what === "register") {
            queue.register(time, key, key);
            model.add(`${key}@${time}`);
          } else if (what === "delete") {
            queue.delete(time, key);
            model.delete(`${key}@${time}`);
          } else if (what === "advance" && time < 2) queue.advance(time, (at, of) => model.delete(`${of as number}@${at}`));
          else if (what === "scan") queue.scan(() => false);
          else if (what === "freeze again") {
            queue.thaw();
            [written, expected] = [new Set(), new Set(model)];
            queue.freeze(write);
          }
        };
        for (const it of before) act(it);
        act({ what: "freeze again", time: 0, key: 0 });
        for (const it of during) act(it);
        while (!queue.scan(() => true));
        expect(written).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });
});
