import { afterEach, expect, test } from "vitest";
import { Subject, concat, of, throwError } from "rxjs";
import { localEnvironment } from "../../src/core/index.ts";
import { liveTable, plot } from "../../src/notebook/live-rows.ts";
import "../../src/notebook/stream-methods.ts";

const KERNEL = Symbol.for("drey.display");
const globals = globalThis as { [KERNEL]?: unknown };

function kernel(): { readonly data: Readonly<Record<string, string>>; readonly update: boolean }[] {
  const sent: { data: Record<string, string>; update: boolean }[] = [];
  globals[KERNEL] = { send: (data: Record<string, string>, { update }: { update: boolean }) => void sent.push({ data, update }) };
  return sent;
}

afterEach(() => {
  delete globals[KERNEL];
});

const numbers = (count: number): { n: number; even: boolean }[] => Array.from({ length: count }, (_, n) => ({ n, even: n % 2 === 0 }));
const textOf = (sent: ReturnType<typeof kernel>): string => sent.at(-1)?.data["text/plain"] ?? "";

test("a table keeps the newest rows and says how many there were", async () => {
  const sent = kernel();
  expect(await liveTable(numbers(1_000), { last: 3 }).done).toBe(1_000);
  expect(textOf(sent)).toContain("3 of 1,000 rows");
  expect(textOf(sent)).toMatch(/997[^]*998[^]*999/);
  expect(textOf(sent)).not.toContain("996");
});

test("in mode update a row replaces the one with its key, in its place", async () => {
  const sent = kernel();
  const rows = [{ zone: "a", rides: 1 }, { zone: "b", rides: 7 }, { zone: "a", rides: 2 }];
  await liveTable(rows, { key: "zone" }).done;
  expect(textOf(sent).split("\n").slice(-2).map((line) => line.trim())).toEqual([expect.stringMatching(/^a +2$/), expect.stringMatching(/^b +7$/)]);
});

test("mode latest shows the newest row alone; update without a key is refused", async () => {
  const sent = kernel();
  await liveTable(numbers(5), { mode: "latest" }).done;
  expect(textOf(sent)).toContain("4");
  expect(textOf(sent)).not.toContain("3");
  expect(() => liveTable([], { mode: "update" })).toThrow("needs a key");
});

test("stopping a view unsubscribes from its source and leaves the picture", async () => {
  const sent = kernel();
  const source = new Subject<{ n: number }>();
  const view = liveTable(source);
  source.next({ n: 42 });
  expect(source.observed).toBe(true);
  await view.stop();
  expect(source.observed).toBe(false);
  expect(await view.done).toBe(1);
  expect(textOf(sent)).toContain("42");
});

test("an endless async iterable is left after `take` rows", async () => {
  kernel();
  let left = false;
  async function* endless(): AsyncGenerator<{ n: number }> {
    try {
      for (let n = 0; ; n++) yield { n };
    } finally {
      left = true;
    }
  }
  expect(await liveTable(endless(), { take: 10 }).done).toBe(10);
  expect(left).toBe(true);
});

test("the source's error is the view's, and what had come stays", async () => {
  const sent = kernel();
  const source = concat(of({ n: 7 }), throwError(() => new Error("the wire broke")));
  await expect(liveTable(source).done).rejects.toThrow("the wire broke");
  expect(textOf(sent)).toContain("7");
});

test("a burst of rows makes few frames", async () => {
  const sent = kernel();
  await plot(numbers(20_000), { x: "n", y: "n", last: 100 }).done;
  expect(sent.length).toBeLessThan(500);
  expect(sent.at(-1)?.data["text/html"]).toContain("<img");
});

test("a stream plots itself, with a series for each colour", async () => {
  const sent = kernel();
  const stream = localEnvironment().from(numbers(20));
  expect(await stream.plot({ x: "n", y: "n", color: "even", kind: "scatter" }).done).toBe(20);
  expect(sent.at(-1)?.data["image/svg+xml"]).toContain("false");
});

test("a stream at the end of a cell shows its first rows", async () => {
  const sent = kernel();
  const stream = localEnvironment().from(numbers(500));
  const shown = await (stream as never as Record<symbol, () => Promise<Record<string, string>>>)[Symbol.for("Jupyter.display")]?.call(stream);
  expect(shown?.["text/plain"]).toBe("a stream; its first 20 rows");
  expect(textOf(sent)).toContain("19");
  expect(textOf(sent)).not.toMatch(/^20 /m);
});
