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
});
