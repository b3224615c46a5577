import { describe, expect, test } from "vitest";
import { AsyncFunction, DeadlineError, type RuntimeContext, localEnvironment, mapAsync } from "../../../src/core/index.ts";

const env = (parallelism = 1): ReturnType<typeof localEnvironment> => localEnvironment({ parallelism, printLogs: false });
const after = <T>(ms: number, value: T): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(value), ms));

describe("mapAsync", () => {
  test("keeps the order of the records, however long each answer takes", async () => {
    const rows = Array.from({ length: 50 }, (_, index) => index);
    expect(await env().from(rows).mapAsync((x) => after((x * 7) % 11, x * 2)).collect()).toEqual(rows.map((x) => x * 2));
  });

  test("unordered, quick answers overtake slow ones", async () => {
    const rows = await env().of(60, 0, 30).mapAsync((ms) => after(ms, ms), { ordered: false }).collect();
    expect(rows).toEqual([0, 30, 60]);
  });

  test("no result crosses a watermark, in either mode", async () => {
    for (const ordered of [true, false]) {
      const seen = await env()
        .of({ at: 10, ms: 40 }, { at: 20, ms: 0 }, { at: 30, ms: 20 }, { at: 31, ms: 0 })
        .withTimestamps((row) => row.at, { punctuated: (row, at) => (row.at % 10 === 0 ? at : undefined) })
        .mapAsync((row) => after(row.ms, row.at), { ordered })
        .process<string>((at, context, out) => out.collect(`${at} after ${context.timers.currentWatermark()}`))
        .collect();
      expect(seen.map((text) => text.replace("-Infinity", "none"))).toEqual(["10 after none", "20 after 10", "30 after 20", "31 after 30"]);
    }
  });

  test("has no more records under way than its capacity", async () => {
    const under = { way: 0, most: 0 };
    const rows = await env()
      .from(Array.from({ length: 40 }, (_, index) => index))
      .mapAsync(async (x) => {
        under.most = Math.max(under.most, ++under.way);
        await after(2, x);
        under.way--;
        return x;
      }, { capacity: 4 })
      .collect();
    expect(rows).toHaveLength(40);
    expect(under.most).toBe(4);
  });

  test("a record whose time is up fails the job, or has the result that stands for it", async () => {
    await expect(env().of(1).mapAsync(() => new Promise<number>(() => undefined), { timeout: 20 }).collect()).rejects.toThrow(
      /"mapAsync" had no answer for 1 within 20 ms \(tries: 1\); give it more time/,
    );
    await expect(env().of(1).mapAsync(() => new Promise<number>(() => undefined), { timeout: 20 }).collect()).rejects.toMatchObject({
      cause: expect.any(DeadlineError) as unknown,
    });
    const aborted: boolean[] = [];
    const rows = await env()
      .of(1, 2)
      .mapAsync((x, { signal }) => {
        if (x === 1) signal.addEventListener("abort", () => aborted.push(true));
        return x === 1 ? new Promise<string>(() => undefined) : after(0, "two");
      }, { timeout: 30, onTimeout: (x) => `none for ${x}` })
      .collect();
    expect(rows).toEqual(["none for 1", "two"]);
    expect(aborted).toEqual([true]);
  });

  test("tries again as often as it may, and tells how often it tried", async () => {
    const tries: number[] = [];
    const rows = await env().of("x").mapAsync(async (x, { attempt }) => {
      tries.push(attempt);
      if (attempt < 3) throw new Error("busy");
      return x;
    }, { retry: { attempts: 3, delay: 5, multiplier: 2 } }).collect();
    expect([rows, tries]).toEqual([["x"], [1, 2, 3]]);
    const failing = env().of("x").mapAsync(async () => {
      throw new RangeError("gone");
    }, { retry: { attempts: 2, delay: 1 } });
    await expect(failing.collect()).rejects.toThrow(/"mapAsync" threw RangeError: gone after 2 tries/);
    const hopeless = env().of("x").mapAsync(async (_x, { attempt }) => {
      throw new RangeError(`gone ${attempt}`);
    }, { retry: { attempts: 5, delay: 1, onError: (error) => !(error instanceof RangeError) } });
    await expect(hopeless.collect()).rejects.toThrow(/gone 1/);
    const results = await env().of(0).mapAsync(async (_x, { attempt }) => attempt, { retry: { attempts: 9, delay: 1, onResult: (n) => n < 4 } }).collect();
    expect(results).toEqual([4]);
  });

  test("a function that throws at once, or returns no promise, is as good as one that does", async () => {
    await expect(env().of(1).mapAsync((): number => {
      throw new Error("at once");
    }).collect()).rejects.toThrow(/at once/);
    expect(await env().of(1).pipe(mapAsync((x) => x + 1)).collect()).toEqual([2]);
  });

  test("a function object opens what it needs before the first record, and closes it in any case", async () => {
    const steps: string[] = [];
    class LookUp extends AsyncFunction<number, string> {
      subtask = -1;
      override async open({ subtask }: RuntimeContext): Promise<void> {
        this.subtask = await after(5, subtask);
        steps.push("open");
      }
      override async invoke(value: number): Promise<string> {
        if (value === 3) throw new Error("three");
        return `${value} in ${this.subtask}`;
      }
      override close(): void {
        steps.push("close");
      }
    }
    expect(await env().of(1, 2).mapAsync(new LookUp()).collect()).toEqual(["1 in 0", "2 in 0"]);
    await expect(env().of(3).mapAsync(new LookUp()).collect()).rejects.toThrow(/"LookUp" threw Error: three/);
    expect(steps).toEqual(["open", "close", "open", "close"]);
  });

  test("an error behind it names the operator that threw", async () => {
    const stream = env().of(1).mapAsync(async (x) => x).map((): number => {
      throw new Error("behind");
    }).name("broken");
    await expect(stream.collect()).rejects.toThrow(/"broken" .* threw Error: behind/);
  });

  test("options that cannot be are told when the program is written", () => {
    expect(() => env().of(1).mapAsync(async (x) => x, { capacity: 0 })).toThrow(/capacity }\) is 0; give an integer ≥ 1/);
    expect(() => env().of(1).mapAsync(async (x) => x, { retry: { attempts: 0 } })).toThrow(/attempts } }\) is 0; give an integer ≥ 1/);
  });
});
