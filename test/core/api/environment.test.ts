import { Subject, from, interval, map as rxMap, range, take, toArray, lastValueFrom } from "rxjs";
import { describe, expect, test } from "vitest";
import { GraphError, filter, keyBy, localEnvironment, map, reduce, window, aggregate, count, tumbling, withTimestamps } from "../../../src/core/index.ts";

const env = (parallelism = 1): ReturnType<typeof localEnvironment> => localEnvironment({ parallelism, printLogs: false });

describe("streams are cold", () => {
  test("a subscription runs the stream's ancestors and no other sink", async () => {
    const program = env();
    let written = 0;
    const source = program.of(1, 2, 3);
    source.sinkTo(() => {
      written++;
    });
    expect(await source.map((x) => x * 2).collect()).toEqual([2, 4, 6]);
    expect(written).toBe(0);
    await program.execute();
    expect(written).toBe(3);
  });

  test("two subscribers are two jobs", async () => {
    let opened = 0;
    const stream = env().from(() => {
      opened++;
      return [1];
    });
    await Promise.all([stream.collect(), stream.collect()]);
    expect(opened).toBe(2);
  });

  test("execute without a sink says what to write", async () => {
    const program = env();
    program.of(1).map((x) => x);
    await expect(program.execute()).rejects.toThrow(/no sink was declared\. End a stream with sinkTo/);
  });

  test("several outputs are one job", async () => {
    let opened = 0;
    const program = env();
    const source = program.from(() => {
      opened++;
      return [1, 2];
    });
    const job = await program.submit({ outputs: { whole: source, doubled: source.map((x) => x * 2) } });
    const [whole, doubled] = await Promise.all([lastValueFrom(job.outputs.whole.pipe(toArray())), lastValueFrom(job.outputs.doubled.pipe(toArray()))]);
    expect([whole, doubled, opened]).toEqual([[1, 2], [2, 4], 1]);
    expect((await job.result()).details.state).toBe("FINISHED");
  });

  test("streams and handles are never thenable", async () => {
    const program = env();
    const stream = program.of(1);
    stream.print();
    const job = await program.submit();
    expect("then" in stream || "then" in job).toBe(false);
    await job.result();
  });
});

describe("rows as RxJS and as iteration", () => {
  test("rxjs takes a stream for an Observable", async () => {
    expect(await lastValueFrom(from(env().of(1, 2, 3)).pipe(rxMap((x) => x + 1), toArray()))).toEqual([2, 3, 4]);
  });

  test("a failure is the observer's error, with the operator's name and the cause", async () => {
    const stream = env().of(1).map((): number => {
      throw new TypeError("boo");
    }).name("bad map");
    const error = await new Promise<Error>((resolve) => stream.subscribe({ error: resolve }));
    expect(error.message).toMatch(/"bad map" \(subtask 1 of 1\) threw TypeError: boo/);
    expect((error.cause as Error).cause).toBeInstanceOf(TypeError);
  });

  test("unsubscribing cancels the job, and so does leaving a loop", async () => {
    const program = env();
    let closed = 0;
    const endless = program.from(() => ({
      *[Symbol.iterator]() {
        try {
          for (let i = 0; ; i++) yield i;
        } finally {
          closed++;
        }
      },
    }));
    expect(await lastValueFrom(endless.toObservable().pipe(take(3), toArray()))).toEqual([0, 1, 2]);
    for await (const row of endless) if (row === 10) break;
    await expect.poll(() => closed).toBe(2);
  });
});

describe("sources of the program's own rows", () => {
  test("an Observable is read to its end", async () => {
    expect(await env().fromObservable(range(1, 5)).map((x) => x * 10).collect()).toEqual([10, 20, 30, 40, 50]);
    expect(await env().from(interval(1).pipe(take(3))).collect()).toEqual([0, 1, 2]);
  });

  test("an Observable's error is the job's failure", async () => {
    const subject = new Subject<number>();
    const rows = env().fromObservable(subject).collect();
    await expect.poll(() => subject.observed).toBe(true);
    subject.next(1);
    subject.error(new Error("the sensor broke"));
    await expect(rows).rejects.toThrow(/the sensor broke/);
  });

  test("an Observable that runs ahead further than its buffer fails the job with a cure", async () => {
    await expect(env().fromObservable(range(0, 100_000), { buffer: 1_000 }).collect()).rejects.toThrow(/1000 rows ahead of the job/);
  });

  test("an iterable is pulled only as the job has room", async () => {
    let pulled = 0;
    const rows = {
      *[Symbol.iterator]() {
        for (;;) yield pulled++;
      },
    };
    for await (const row of env().from(rows)) if (row === 100) break;
    expect(pulled).toBeLessThan(50_000);
  });

  test("rows are made at the given rate", async () => {
    const started = performance.now();
    expect((await env(2).generate((i) => i, { count: 100, rowsPerSecond: 400 }).collect()).length).toBe(100);
    expect(performance.now() - started).toBeGreaterThan(220);
  });

  test.each([
    ["from", (program: ReturnType<typeof env>) => program.from(5 as never), /from\(\) got 5/],
    ["generate", (program: ReturnType<typeof env>) => program.generate(5 as never), /generate\(\) got 5; it takes a function/],
    ["a rate", (program: ReturnType<typeof env>) => program.generate((i) => i, { rowsPerSecond: 0 }), /rowsPerSecond: 0/],
    ["a rate of an array", (program: ReturnType<typeof env>) => program.from([1], { rowsPerSecond: 5 }), /needs a function/],
    ["map", (program: ReturnType<typeof env>) => program.of(1).map("f" as never), /map\(\) got "f"; it takes a function/],
    ["window", (program: ReturnType<typeof env>) => program.of(1).withTimestamps((x) => x).keyBy((x) => x).window(5 as never), /window\(\) got 5/],
    ["union", (program: ReturnType<typeof env>) => program.of(1).union(env().of(2)), /two environments/],
  ])("%s with a wrong argument says what it takes", (_name, wrong, message) => {
    expect(() => wrong(env())).toThrow(GraphError);
    expect(() => wrong(env())).toThrow(message);
  });

  test("a feed can't be detached, nor can a job of this thread", async () => {
    const program = env();
    program.of(1).print();
    await expect(program.submit({ detached: true })).rejects.toThrow(/can't be detached; start a cluster/);
  });
});

test("pipe builds the same graph as the methods", () => {
  const fluent = env(2);
  fluent.generate((i) => i).filter((x) => x > 1).map((x) => ({ x })).withTimestamps((it) => it.x).keyBy((it) => it.x).window(tumbling(10)).aggregate(count()).keyBy((n) => n).reduce((a, b) => a + b).print();
  const piped = env(2);
  piped.generate((i) => i).pipe(
    filter((x) => x > 1), map((x) => ({ x })), withTimestamps((it) => it.x), keyBy((it) => it.x), window(tumbling(10)), aggregate(count()), keyBy((n) => n), reduce((a, b) => a + b),
  ).print();
  expect(piped.compile().graph).toEqual(fluent.compile().graph);
});
