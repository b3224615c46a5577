/** A stream is an Observable to RxJS: whatever RxJS does with one, it does with a stream, and with the same outcome. */
import {
  EMPTY, Observable, Subject, catchError, concat, concatMap, defer, delay, finalize, firstValueFrom, from, lastValueFrom, map as rxMap, merge, mergeMap, of,
  race, range, repeat, retry, scan, share, switchMap, take, tap, throwError, timer, toArray, zip,
} from "rxjs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type DataStream, JobFailedError, localEnvironment } from "../../../src/core/index.ts";

const env = (): ReturnType<typeof localEnvironment> => localEnvironment({ printLogs: false });
const deadline = { timeout: 30_000, interval: 5 };

/** Everything that an observer is told, with errors as the message of what the user threw. */
function told(rows$: Observable<unknown>): Promise<unknown[]> {
  return new Promise((resolve) => {
    const seen: unknown[] = [];
    rows$.subscribe({
      next: (row) => seen.push(row),
      error: (error: Error) => resolve([...seen, `error: ${rootOf(error).message}`]),
      complete: () => resolve([...seen, "complete"]),
    });
  });
}
const rootOf = (error: Error): Error => (error.cause instanceof Error ? rootOf(error.cause) : error);

/** The same rows from RxJS and from a job: 1, 2, 3; nothing; 1 and an error. */
const sources: Readonly<Record<string, { readonly rxjs: () => Observable<number>; readonly stream: () => DataStream<number> }>> = {
  "three rows": { rxjs: () => range(1, 3), stream: () => env().of(1, 2, 3) },
  "no rows": { rxjs: () => EMPTY, stream: () => env().from<number>([]) },
  "a row and an error": {
    rxjs: () => concat(of(1), timer(30).pipe(mergeMap(() => throwError(() => new RangeError("two"))))),
    // An error of a job may overtake rows that are on their way; these have the time to arrive.
    stream: () => env().from(async function* () {
      yield 1;
      await new Promise((resolve) => setTimeout(resolve, 30));
      throw new RangeError("two");
    }),
  },
};

const uses: Readonly<Record<string, (rows$: Observable<number>) => Observable<unknown>>> = {
  "as it is": (rows$) => rows$,
  "take(2)": (rows$) => rows$.pipe(take(2)),
  "take(1), then more": (rows$) => concat(rows$.pipe(take(1)), of("more")),
  "mapped and gathered": (rows$) => rows$.pipe(rxMap((row) => row * 10), toArray()),
  "scan": (rows$) => rows$.pipe(scan((sum, row) => sum + row, 0)),
  "repeated": (rows$) => rows$.pipe(repeat(2)),
  "retried once": (rows$) => rows$.pipe(retry(1)),
  "with a remedy": (rows$) => rows$.pipe(catchError(() => of("remedy"))),
  "one after the other": (rows$) => of("a", "b").pipe(concatMap((letter) => rows$.pipe(rxMap((row) => `${letter}${row}`)))),
  "zipped with itself": (rows$) => zip(rows$, rows$),
  "behind a delay": (rows$) => rows$.pipe(delay(5)),
};

describe.each(Object.entries(sources))("%s", (_title, { rxjs, stream }) => {
  test.each(Object.entries(uses))("%s: a stream tells what an Observable tells", async (_use, use) => {
    expect(await told(use(from(stream())))).toEqual(await told(use(rxjs())));
    expect(await told(use(stream().toObservable()))).toEqual(await told(use(rxjs())));
  });

  test("a function instead of an observer", async () => {
    const seen: number[] = [];
    const subscription = stream().subscribe({ next: (row) => seen.push(row), error: () => undefined });
    await vi.waitFor(() => expect(subscription.closed).toBe(true), deadline);
    const theirs: number[] = [];
    rxjs().subscribe({ next: (row) => theirs.push(row), error: () => undefined });
    expect(seen).toEqual(theirs);
  });
});

describe("a subscription", () => {
  const endless = (): DataStream<number> => env().generate((i) => i);

  test("is a job of its own: leaving one does nothing to the other", async () => {
    const rows$ = endless().toObservable();
    let [first, second] = [0, 0];
    const a = rows$.subscribe(() => first++);
    const b = rows$.subscribe(() => second++);
    await vi.waitFor(() => expect(Math.min(first, second)).toBeGreaterThan(0), deadline);
    a.unsubscribe();
    const seen = second;
    const stopped = first;
    await vi.waitFor(() => expect(second).toBeGreaterThan(seen), deadline);
    expect(first).toBe(stopped);
    b.unsubscribe();
  });

  test("that is shared is one job", async () => {
    let opened = 0;
    const shared$ = defer(() => {
      opened++;
      return from(env().of(1, 2));
    }).pipe(share());
    expect(await lastValueFrom(merge(shared$, shared$).pipe(toArray()))).toEqual([1, 1, 2, 2]);
    expect(opened).toBe(1);
  });

  test("ends its job when RxJS has enough, whoever says so", async () => {
    const closed: string[] = [];
    const source = (name: string): Observable<string> =>
      from(env().from(new Observable<string>((subscriber) => {
        const timer = setInterval(() => subscriber.next(name), 1);
        return () => {
          clearInterval(timer);
          closed.push(name);
        };
      })));
    expect(await firstValueFrom(race(source("a"), source("b")))).toMatch(/[ab]/);
    await vi.waitFor(() => expect([...closed].sort()).toEqual(["a", "b"]), deadline);
    const outer$ = new Subject<string>();
    const seen: string[] = [];
    const subscription = outer$.pipe(switchMap(source)).subscribe((row) => seen.push(row));
    outer$.next("c");
    await vi.waitFor(() => expect(seen).toContain("c"), deadline);
    outer$.next("d");
    await vi.waitFor(() => expect(closed).toContain("c"), deadline);
    await vi.waitFor(() => expect(seen).toContain("d"), deadline);
    subscription.unsubscribe();
    await vi.waitFor(() => expect(closed).toContain("d"), deadline);
  });

  test("may be ended from within next, and nothing more is told", async () => {
    const seen: number[] = [];
    let finished = false;
    const subscription = endless().toObservable().pipe(finalize(() => (finished = true))).subscribe((row) => {
      seen.push(row);
      if (row === 2) subscription.unsubscribe();
    });
    await vi.waitFor(() => expect(finished).toBe(true), deadline);
    expect(seen).toEqual([0, 1, 2]);
  });

  test("can be flattened into others", async () => {
    const rows$ = range(1, 3).pipe(mergeMap((n) => env().of(n, n * 10), 1));
    expect(await lastValueFrom(rows$.pipe(toArray()))).toEqual([1, 10, 2, 20, 3, 30]);
  });
});

describe("errors that nobody takes", () => {
  const seen: unknown[] = [];
  let before: NodeJS.UncaughtExceptionListener[] = [];
  beforeEach(() => {
    before = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => seen.push(error));
  });
  afterEach(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of before) process.on("uncaughtException", listener);
    seen.length = 0;
  });

  test("of the job are reported as RxJS reports them, not swallowed", async () => {
    env().of(1).map((): number => {
      throw new RangeError("nobody listens");
    }).subscribe();
    await vi.waitFor(() => expect(seen).toHaveLength(1), deadline);
    expect(seen[0]).toBeInstanceOf(JobFailedError);
  });

  test("of the observer are reported, and the rows go on", async () => {
    const rows: number[] = [];
    let over = false;
    env().of(1, 2, 3).subscribe({
      next: (row) => {
        rows.push(row);
        if (row === 2) throw new RangeError("mine");
      },
      complete: () => (over = true),
    });
    await vi.waitFor(() => expect(over).toBe(true), deadline);
    expect(rows).toEqual([1, 2, 3]);
    await vi.waitFor(() => expect(seen).toEqual([new RangeError("mine")]), deadline);
  });
});

describe("rows of an Observable", () => {
  test("arrive whole and in order, synchronous or not, and its end is the stream's end", async () => {
    const rows = (): Observable<number> => concat(range(0, 500), range(500, 500).pipe(delay(3)));
    expect(await env().fromObservable(rows()).collect()).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
  });

  test("are waited for: those that the job has no room for are kept on this side, up to the bound", async () => {
    let ahead = 0;
    let passed = 0;
    const rows$ = range(0, 20_000).pipe(tap(() => ahead++));
    for await (const row of env().fromObservable(rows$, { buffer: 20_000 })) {
      expect(row).toBe(passed++);
      if (passed === 1) expect(ahead).toBe(20_000);
    }
    expect(passed).toBe(20_000);
  });

  test("end when the job does: the Observable is unsubscribed, once", async () => {
    let ended = 0;
    const rows$ = new Observable<number>((subscriber) => {
      const timer = setInterval(() => subscriber.next(1), 1);
      return () => {
        clearInterval(timer);
        ended++;
      };
    });
    expect(await lastValueFrom(from(env().fromObservable(rows$).map((x) => x + 1)).pipe(take(2), toArray()))).toEqual([2, 2]);
    await vi.waitFor(() => expect(ended).toBe(1), deadline);
    const failing = env().fromObservable(rows$).map((): number => {
      throw new RangeError("no");
    });
    await expect(failing.collect()).rejects.toThrow("no");
    await vi.waitFor(() => expect(ended).toBe(2), deadline);
  });

  test("are a subscription per job", async () => {
    let subscribed = 0;
    const stream = env().fromObservable(defer(() => {
      subscribed++;
      return of(subscribed);
    }));
    expect(subscribed).toBe(0);
    expect([await stream.collect(), await stream.collect()]).toEqual([[1], [2]]);
  });

  test("rows before an error arrive, then the error is the job's", async () => {
    const failing = env().fromObservable(concat(of(1, 2), timer(30).pipe(mergeMap(() => throwError(() => new RangeError("three"))))));
    expect(await told(failing.toObservable())).toEqual([1, 2, "error: three"]);
  });
});
