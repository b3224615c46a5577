import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { localEnvironment, session, sliding, sum, tumbling } from "../../../src/core/index.ts";

interface Row { readonly key: string; readonly at: number; readonly value: number }

describe("batches", () => {
  test("results don't depend on how many rows travel together", async () => {
    const row = fc.record({ key: fc.constantFrom("a", "b", "c", "d"), at: fc.integer({ min: 0, max: 200 }), value: fc.integer({ min: -5, max: 5 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 120 }), fc.constantFrom(tumbling(10), sliding(20, 5), session(7)), fc.integer({ min: 0, max: 30 }), fc.boolean(),
        async (rows, window, delay, punctuated) => {
          const run = async (batchRows: number, bufferTimeout: number): Promise<string[]> => {
            const env = localEnvironment({ parallelism: 2, bufferTimeout, configuration: { "taskmanager.network.batch-rows": batchRows } });
            // Two exchanges; watermarks come from the records and from one subtask, so that what is late depends on the records alone.
            const stream = env.from(rows)
              .withTimestamps((it) => it.at, punctuated ? { punctuated: (_it: Row, at: number) => at - delay - 1 } : { outOfOrderness: 1_000 }).setParallelism(1)
              .keyBy((it) => it.key).window(window)
              .aggregate(sum((it) => it.value), (total, context) => ({ key: context.key, end: context.window.end, total }))
              .keyBy((it) => it.key < "c").window(tumbling(50)).aggregate(
                { createAccumulator: () => "", add: (it: { key: string; end: number; total: number }, all: string) => [...all.split(" "), `${it.key}${it.end}=${it.total}`].sort().join(" "), getResult: (all: string) => all },
                (all, context) => `${context.window.end}: ${all}`,
              );
            return (await stream.collect()).sort();
          };
          const large = await run(1_024, 100);
          expect(await run(1, 0)).toEqual(large);
          expect(await run(7, 100)).toEqual(large);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("a row larger than a segment crosses in pieces", async () => {
    const rows = [{ id: 1, text: "a".repeat(300_000) }, { id: 2, text: "é한".repeat(100_000) }, { id: 3, text: "" }];
    expect(await localEnvironment().from(rows).rebalance().map((it) => it).startNewChain().collect()).toEqual(rows);
  });
});

describe("explain({ code: true })", () => {
  test("prints the function that a task's operators became, with a line for each operator", () => {
    const env = localEnvironment();
    env.generate((i) => i).map((x) => x + 1).name("add one").filter((x) => x > 5).withTimestamps((x) => x).keyBy((x) => x % 3).window(tumbling(10)).count().print();
    const text = env.explain({ code: true });
    expect(text).toMatch(/function process\(values, timestamps, count\) \{\n {2}for \(let i = 0; i < count; i\+\+\) \{/);
    expect(text).toMatch(/\/\/ add one\n\s+const mapped\$1 = map\$1\(value\);\n\s+\/\/ filter\n\s+if \(predicate\$1\(mapped\$1\)\) \{/);
    expect(text).toContain("v2 window -> print");
  });

  test("does not run the program's functions", () => {
    const env = localEnvironment();
    let ran = false;
    env.from(() => {
      ran = true;
      return [1];
    }).print();
    env.explain({ code: true });
    expect(ran).toBe(false);
  });
});
