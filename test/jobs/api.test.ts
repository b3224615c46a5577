/** What a program may rely on when its jobs run on a cluster: what runs when, how results come, how rows travel. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ClusterClient,
  CaptureError,
  ConfigurationError,
  GraphError,
  JobCanceledError,
  JobFailedError,
  type JobSummary,
  LocalCluster,
  NotFoundError,
  type ProgramOptions,
  RecordError,
  UserFunctionError,
  environment,
  jsonLines,
  map,
  filter,
  keyBy,
  reduce,
} from "drey";
import { Observable, Subject, firstValueFrom, from, interval, lastValueFrom, range, take, toArray } from "rxjs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
const deadline = { timeout: 30_000, interval: 30 };

let cluster: LocalCluster;
let client: ClusterClient;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "metrics.interval": 200, "heartbeat.timeout": "60 s" } });
  client = await cluster.connect();
});
afterAll(async () => {
  await client.close();
  await cluster.stop();
});

let env: ReturnType<typeof environment>;
let before: ReadonlySet<string>;
beforeEach(async () => {
  before = new Set((await client.jobs()).map(({ job }) => job));
  env = environment({ cluster });
});
afterEach(async () => {
  await env.close();
  await vi.waitFor(async () => expect((await client.overview()).slotsFree).toBe(4), deadline);
});
const program = (options: ProgramOptions): typeof env => (env = environment({ cluster, ...options }));

/** The jobs of this test. */
const jobs = async (): Promise<readonly JobSummary[]> => (await client.jobs()).filter(({ job }) => !before.has(job));
const states = async (): Promise<string[]> => (await jobs()).map(({ state }) => state);
const statesBecome = (expected: readonly string[]): Promise<void> =>
  vi.waitFor(async () => expect(await states()).toEqual(expected), deadline);

/** Over all subtasks of operators that match, the latest value of a metric, once `enough`. */
async function metric(
  job: { metricsHistory(): ReturnType<Awaited<ReturnType<ClusterClient["attach"]>>["metricsHistory"]> },
  name: string,
): Promise<number> {
  const latest = new Map<string, number>();
  for (const { subtasks } of await job.metricsHistory()) {
    for (const { vertex, subtask, values } of subtasks) latest.set(`${vertex}/${subtask}`, values[name] ?? 0);
  }
  return [...latest.values()].reduce((sum, value) => sum + value, 0);
}

class Money {
  readonly amount: bigint;
  readonly currency: string;
  constructor(amount: bigint, currency: string) {
    this.amount = amount;
    this.currency = currency;
  }
  plus(other: Money): Money {
    return new Money(this.amount + other.amount, this.currency);
  }
  get text(): string {
    return `${this.amount} ${this.currency}`;
  }
}

class Account {
  readonly name: string;
  #balance = 0;
  constructor(name: string) {
    this.name = name;
  }
  deposit(amount: number): this {
    this.#balance += amount;
    return this;
  }
  get balance(): number {
    return this.#balance;
  }
}

describe("a stream is cold", () => {
  it("so nothing runs before somebody subscribes, and two subscribers have two jobs", async () => {
    const stream = env.of(1, 2, 3).map((x) => x * 2);
    expect(await states()).toEqual([]);
    const [a, b] = await Promise.all([
      lastValueFrom(stream.toObservable().pipe(toArray())),
      lastValueFrom(stream.toObservable().pipe(toArray())),
    ]);
    expect([a, b]).toEqual([
      [2, 4, 6],
      [2, 4, 6],
    ]);
    await statesBecome(["FINISHED", "FINISHED"]);
  });

  it("and a subscription runs the stream's ancestors, never other sinks", async () => {
    const folder = mkdtempSync(join(tmpdir(), "drey-api-"));
    const source = env.of(1, 2, 3);
    source.map((x) => x + 1).sinkTo(jsonLines(join(folder, "out")));
    source
      .map((): number => {
        throw new Error("not asked for");
      })
      .sinkTo(() => undefined);
    expect(await source.filter((x) => x > 1).collect()).toEqual([2, 3]);
    expect(existsSync(join(folder, "out"))).toBe(false);
    rmSync(folder, { recursive: true });
  });

  it("and without a sink there is nothing to execute", async () => {
    env.of(1).map((x) => x);
    await expect(env.execute()).rejects.toThrow(GraphError);
    await expect(env.submit()).rejects.toThrow("no sink was declared. End a stream with sinkTo(…) or print()");
    expect(await states()).toEqual([]);
  });

  it("and several outputs are one job", async () => {
    const source = env.generate((i) => i, { count: 1_000 });
    const job = await env.submit({ name: "both", outputs: { even: source.filter((x) => x % 2 === 0), texts: source.map((x) => `#${x}`) } });
    const [even, texts] = await Promise.all([
      lastValueFrom(job.outputs.even.pipe(toArray())),
      lastValueFrom(job.outputs.texts.pipe(toArray())),
    ]);
    expect([even.length, even[499], texts.length, texts[999]]).toEqual([500, 998, 1_000, "#999"]);
    expect((await job.result()).details.state).toBe("FINISHED");
    expect((await jobs()).map(({ name, state }) => [name, state])).toEqual([["both", "FINISHED"]]);
  });

  it("and the methods and the pipeable operators make the same graph", async () => {
    const rows = Array.from({ length: 50 }, (_, i) => ({ k: i % 3, n: i }));
    const methods = env
      .from(rows)
      .map((row) => ({ ...row, n: row.n + 1 }))
      .filter((row) => row.n % 2 === 0)
      .keyBy((row) => row.k)
      .reduce((a, b) => ({ k: a.k, n: a.n + b.n }));
    const piped = env.from(rows).pipe(
      map((row) => ({ ...row, n: row.n + 1 })),
      filter((row) => row.n % 2 === 0),
      keyBy((row) => row.k),
      reduce((a, b) => ({ k: a.k, n: a.n + b.n })),
    );
    expect(await piped.collect()).toEqual(await methods.collect());
  });

  it("and neither streams nor handles are thenable", async () => {
    const stream = env.of(1);
    stream.sinkTo(() => undefined);
    const job = await env.submit("handle");
    for (const it of [env, stream, stream.keyBy((x) => x), job]) expect("then" in it).toBe(false);
    expect(await (async () => stream)()).toBe(stream);
    expect(await (async () => job)()).toBe(job);
    await job.result();
  });
});

describe("whoever has enough", () => {
  const endless = (): ReturnType<typeof env.generate<number>> => env.generate((i) => i);

  it("leaves the loop, and the job is cancelled", async () => {
    const rows: number[] = [];
    for await (const row of endless()) {
      rows.push(row);
      if (rows.length === 5) break;
    }
    expect(rows).toEqual([0, 1, 2, 3, 4]);
    await statesBecome(["CANCELED"]);
  });

  it("leaves the loop by an exception, which stays what it was, and the job is cancelled", async () => {
    const loop = async (): Promise<void> => {
      for await (const row of endless()) if (row === 3) throw new RangeError("mine");
    };
    await expect(loop()).rejects.toThrow(new RangeError("mine"));
    await statesBecome(["CANCELED"]);
  });

  it("takes some rows through RxJS, and the job is cancelled", async () => {
    expect(await lastValueFrom(from(endless()).pipe(take(3), toArray()))).toEqual([0, 1, 2]);
    expect(await firstValueFrom(endless().toObservable())).toBe(0);
    await statesBecome(["CANCELED", "CANCELED"]);
  });

  it("unsubscribes, even before the job was accepted, and the job is cancelled or never starts", async () => {
    let rows = 0;
    endless()
      .subscribe(() => rows++)
      .unsubscribe();
    const subscription = endless().subscribe(() => rows++);
    await vi.waitFor(() => expect(rows).toBeGreaterThan(0), deadline);
    subscription.unsubscribe();
    const seen = rows;
    await vi.waitFor(async () => expect(new Set(await states())).toEqual(new Set(["CANCELED"])), deadline);
    expect(rows).toBe(seen);
  });

  it("cancels the job, and who waits for its result is told so", async () => {
    endless().sinkTo(() => undefined);
    const job = await env.submit("to be cancelled");
    const result = expect(job.result()).rejects.toThrow(JobCanceledError);
    await job.cancel();
    await result;
    expect((await job.details()).state).toBe("CANCELED");
    await job.cancel();
  });
});

describe("a job's end", () => {
  it("completes its observers once, after the last row", async () => {
    const told: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      env.of("a", "b").subscribe({ next: (row) => told.push(row), error: reject, complete: () => resolve(void told.push("complete")) });
    });
    expect(told).toEqual(["a", "b", "complete"]);
  });

  it("by failure is an error of its observers, its loop and its result, with what the function threw as the cause", async () => {
    const failing = env.of(1, 2, 0, 4).map((x) => {
      if (x === 0) throw new RangeError("division by zero");
      return 12 / x;
    });
    const observed = lastValueFrom(failing.toObservable()).catch((error: unknown) => error);
    const looped = failing.collect().catch((error: unknown) => error);
    failing.sinkTo(() => undefined);
    const executed = env.execute("failing").catch((error: unknown) => error);
    for (const error of (await Promise.all([observed, looped, executed])) as JobFailedError[]) {
      expect(error).toBeInstanceOf(JobFailedError);
      expect(error.cause).toBeInstanceOf(UserFunctionError);
      expect((error.cause as Error).cause).toMatchObject({ name: "RangeError", message: "division by zero" });
      expect(error.message).toMatch(/"map" .*RangeError: division by zero/);
    }
  });

  it("is seen by whoever comes later, and its rows by whoever subscribes to them later", async () => {
    const job = await env.submit({ outputs: { rows: env.of(1, 2, 3) } });
    await vi.waitFor(async () => expect(["RUNNING", "FINISHED"]).toContain((await job.details()).state), deadline);
    expect(await lastValueFrom(job.outputs.rows.pipe(toArray()))).toEqual([1, 2, 3]);
    expect((await job.result()).details.state).toBe("FINISHED");
    expect(await lastValueFrom(job.status$)).toMatchObject({ state: "FINISHED" });
    const other = await client.attach(job.id);
    expect((await other.result()).details.state).toBe("FINISHED");
    await expect(lastValueFrom(other.output("nothing"))).rejects.toThrow(NotFoundError);
  });
});

describe("rows that the program brings", () => {
  it("come from an Observable, which is unsubscribed when the job is cancelled", async () => {
    expect(
      await env
        .fromObservable(range(0, 5_000))
        .map((x) => x * 2)
        .collect(),
    ).toEqual(Array.from({ length: 5_000 }, (_, i) => i * 2));
    let unsubscribed = false;
    const rows$ = new Observable<number>((subscriber) => {
      const ticks = interval(2).subscribe(subscriber);
      return () => {
        unsubscribed = true;
        ticks.unsubscribe();
      };
    });
    expect(await lastValueFrom(from(env.from(rows$)).pipe(take(3), toArray()))).toEqual([0, 1, 2]);
    await vi.waitFor(() => expect(unsubscribed).toBe(true), deadline);
  });

  it("from an Observable wait up to a bound, then fail the job with a sentence that says what helps", async () => {
    const busy = env.fromObservable(range(0, 50_000), { buffer: 10_000 }).map((x) => {
      for (const end = Date.now() + 20; Date.now() < end;);
      return x;
    });
    await expect(busy.collect()).rejects.toThrow(
      /The Observable is 10000 rows ahead of the job\. Give fromObservable\(\) a larger \{ buffer \}/,
    );
    await vi.waitFor(async () => expect(["FAILED", "CANCELED"]).toContain((await states())[0]), deadline);
  });

  it("from an Observable that fails fail the job with its error", async () => {
    const rows$ = new Subject<number>();
    const collected = env.fromObservable(rows$).collect();
    const outcome = expect(collected).rejects.toThrow(/the sensor is gone/);
    await vi.waitFor(() => expect(rows$.observed).toBe(true), deadline);
    rows$.next(1);
    rows$.error(new Error("the sensor is gone"));
    await outcome;
  });

  it("come from iterables, which are read as the job has room, and closed", async () => {
    let made = 0;
    let closed = false;
    const rows = function* (): Generator<{ n: number; text: string }> {
      try {
        for (;;) yield { n: made++, text: "x".repeat(1_000) };
      } finally {
        closed = true;
      }
    };
    const taken: number[] = [];
    for await (const { n } of env.from(rows()).map((row) => row)) {
      taken.push(n);
      if (taken.length === 3) {
        // Time for a feed that knows no bound to run away; then the distance is what it is.
        let seen = -1;
        await vi.waitFor(
          () => {
            const was = seen;
            seen = made;
            expect(seen).toBe(was);
          },
          { timeout: 20_000, interval: 300 },
        );
        break;
      }
    }
    expect(taken).toEqual([0, 1, 2]);
    // What lies in the job's buffers and in that of its results: 16 MB and a little.
    expect(made).toBeLessThan(40_000);
    await vi.waitFor(() => expect(closed).toBe(true), deadline);
  });

  it("come from async iterables one by one, as they are ready", async () => {
    const asked: number[] = [];
    const rows = async function* (): AsyncGenerator<number> {
      for (let i = 0; i < 5; i++) {
        asked.push(i);
        await new Promise((resolve) => setTimeout(resolve, 5));
        yield i;
      }
    };
    expect(
      await env
        .from(rows())
        .map((x) => x + 1)
        .collect(),
    ).toEqual([1, 2, 3, 4, 5]);
    expect(asked).toEqual([0, 1, 2, 3, 4]);
  });

  it("can't feed a detached job", async () => {
    env.from(new Set([1, 2])).sinkTo(() => undefined);
    await expect(env.submit({ detached: true })).rejects.toThrow(/brings rows from this program, so the job can't be detached/);
  });
});

describe("rows travel by value", () => {
  it("and keep their classes through exchanges and to the client", async () => {
    const parallel = program({ parallelism: 2, chaining: false });
    const totals = await parallel
      .from([new Money(2n, "EUR"), new Money(3n, "USD"), new Money(2n ** 70n, "EUR")])
      .map((money) => ({ money, same: money instanceof Money, text: money.text }))
      .keyBy((row) => row.money.currency)
      .reduce((a, b) => ({ ...b, money: a.money.plus(b.money) }))
      .collect();
    for (const { money, same } of totals) {
      expect(money).toBeInstanceOf(Money);
      expect(same).toBe(true);
    }
    expect(totals.map(({ money }) => money.text).sort()).toEqual(["1180591620717411303426 EUR", "2 EUR", "3 USD"]);
  });

  it("and an instance that would lose its #private state is an error that names the class", async () => {
    const failing = program({ chaining: false })
      .of("ann", "bob")
      .map((name) => new Account(name).deposit(5))
      .map((account) => account.balance);
    const error = (await failing.collect().catch((it: unknown) => it)) as JobFailedError;
    expect(error.message).toMatch(/Account.*#balance/);
    expect(error.cause).toBeInstanceOf(RecordError);
    // Before any exchange it is whole, and so is one that travels with the code.
    const savings = new Account("cy").deposit(7);
    expect(
      await program({})
        .of(1, 2)
        .map((x) => new Account("dee").deposit(x))
        .map((account) => account.balance + savings.balance)
        .collect(),
    ).toEqual([8, 9]);
  });

  it("and what can't travel is named with the way to it, before anything runs", async () => {
    const rows$ = new Subject<number>();
    const conn = { sock: rows$ };
    const failing = env.of(1).map(function usesConnection(x) {
      conn.sock.next(x);
      return x;
    });
    await expect(failing.collect()).rejects.toThrow(/^map\(usesConnection\) → conn/);
    await expect(failing.collect()).rejects.toThrow(CaptureError);
    expect(await states()).toEqual([]);
  });

  it("and keys are compared by structure", async () => {
    const keys = [
      0,
      -0,
      Number.NaN,
      Number("x"),
      1n,
      1n,
      1,
      "1",
      new Date(5),
      new Date(5),
      [1, "a"],
      [1, "a"],
      { a: 1, b: { c: null } },
      { b: { c: null }, a: 1 },
      "é",
      "é",
      true,
    ];
    const counted = await program({ parallelism: 4 })
      .from(keys.map((key, id) => ({ key, id })))
      .keyBy((row) => row.key)
      .reduce((a, b) => ({ key: a.key, id: a.id * 100 + b.id }))
      .map((row) => row.id)
      .collect();
    // 0 and -0, NaN and NaN, … each pair is one key; its second record is joined to its first.
    const joined = counted.filter((id) => id > 16).sort((a, b) => a - b);
    expect(joined).toEqual([1, 203, 405, 809, 1_011, 1_213, 1_415].filter((id) => id > 16));
    expect(counted).toContain(1);
    expect(counted).toHaveLength(keys.length);
  });

  it("also large ones", async () => {
    const text = "drey — ".repeat(700_000);
    const rows = await program({ chaining: false, parallelism: 2 })
      .of(1, 2, 3)
      .map((n) => ({ n, text }))
      .keyBy((row) => row.n)
      .reduce((_, row) => row)
      .collect();
    expect(rows.map(({ n }) => n).sort()).toEqual([1, 2, 3]);
    for (const row of rows) expect(row.text === text).toBe(true);
  });

  it("and many small ones come in their order", async () => {
    const rows = await program({ parallelism: 4 })
      .generate((i) => i, { count: 100_000 })
      .setParallelism(1)
      .keyBy(() => "all")
      .reduce((_, x) => x)
      .collect();
    expect(rows).toHaveLength(100_000);
    expect(rows.every((row, index) => row === index)).toBe(true);
  });
});

describe("results wait for a slow reader", () => {
  const rowBytes = 1_000;
  const endless = (resultOptions: Record<string, unknown>) =>
    program({ configuration: { "execution.results.buffer-size": "1 mb", ...resultOptions } }).generate((i) => ({
      i,
      text: `${i}`.padEnd(rowBytes),
    }));

  it("in a bounded buffer, and the job waits with them", async () => {
    const job = await env.submit({ outputs: { rows: endless({}) } }).catch(() => undefined);
    expect(job).toBeUndefined();
    const stream = endless({});
    const running = await env.submit({ outputs: { rows: stream } });
    let written = -1;
    await vi.waitFor(
      async () => {
        const was = written;
        written = await metric(running, "numRecordsOut");
        expect(written).toBeGreaterThan(1_000);
        expect(written).toBe(was);
      },
      { timeout: 20_000, interval: 500 },
    );
    // The buffer of the JobManager, and what lies on the way to it.
    expect(written * rowBytes).toBeLessThan(8 * 1024 * 1024);
    expect((await lastValueFrom(running.outputs.rows.pipe(take(20_000), toArray()))).map(({ i }) => i)).toEqual(
      Array.from({ length: 20_000 }, (_, i) => i),
    );
    await running.cancel();
  });

  it("or drop the oldest, if told so, and the job goes on", async () => {
    const stream = endless({ "execution.results.overflow": "drop-oldest" });
    const running = await env.submit({ outputs: { rows: stream } });
    await vi.waitFor(async () => expect(await metric(running, "numRecordsOut")).toBeGreaterThan(30_000), deadline);
    const rows = (await lastValueFrom(running.outputs.rows.pipe(take(100), toArray()))).map(({ i }) => i);
    expect(rows[0]).toBeGreaterThan(1_000);
    await running.cancel();
  });

  it("or fail the job, if told so", async () => {
    const stream = endless({ "execution.results.overflow": "fail" });
    const running = await env.submit({ outputs: { rows: stream } });
    await expect(running.result()).rejects.toThrow(/execution\.results\.(overflow|buffer-size)/);
  });
});

it("an environment that is closed says so", async () => {
  const closed = environment({ cluster });
  await closed.close();
  await expect(closed.of(1).collect()).rejects.toThrow(ConfigurationError);
});
