import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type DisplayOutlet, UPDATE_INTERVAL_MS, display, liveDisplay, pictureOf } from "../../src/notebook/display.ts";
import { Picture } from "../../src/notebook/picture.ts";
import { drawing } from "../../src/notebook/views/svg.ts";
import { nineExecutions, nineNodes, nineVertices, twoTaskManagers } from "./jobs.ts";

const KERNEL = Symbol.for("drey.display");
const globals = globalThis as { [KERNEL]?: DisplayOutlet };

interface Sent {
  readonly text: string | undefined;
  readonly types: readonly string[];
  readonly id: string | undefined;
  readonly update: boolean;
  readonly atMs: number;
}

/** A kernel that takes `busyMs` for each message (0: none). */
function kernel(busyMs = 0): Sent[] {
  const sent: Sent[] = [];
  let busy = false;
  globals[KERNEL] = {
    send(data, { id, update }) {
      if (busy) throw new Error("two messages at once");
      sent.push({ text: data["text/plain"], types: Object.keys(data), id, update, atMs: Date.now() });
      if (busyMs === 0) return undefined;
      busy = true;
      return new Promise((resolve) =>
        setTimeout(() => {
          busy = false;
          resolve();
        }, busyMs),
      );
    },
  };
  return sent;
}

const named = (text: string): Picture => new Picture({ title: text, text: () => text, svg: () => drawing(10, 10, text, "") });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  delete globals[KERNEL];
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("display", () => {
  test("in a plain process prints the text", () => {
    const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    display(named("a picture"));
    display(42);
    expect(written.mock.calls.map(([text]) => text)).toEqual(["a picture\n", "42\n"]);
  });

  test("in a kernel sends the bundle at once, before the next line of the cell runs", () => {
    const sent = kernel();
    display(named("a"));
    expect(sent).toMatchObject([{ text: "a", types: ["text/html", "image/svg+xml", "text/plain"], update: false, id: undefined }]);
  });

  test("never sends two messages at once, and keeps their order", async () => {
    const sent = kernel(5);
    for (const name of ["a", "b", "c"]) display(named(name));
    await vi.advanceTimersByTimeAsync(50);
    expect(sent.map((it) => it.text)).toEqual(["a", "b", "c"]);
  });

  test("an output that fails does not stop those behind it, and is told", async () => {
    const told = vi.spyOn(console, "error").mockReturnValue(undefined);
    const sent: string[] = [];
    globals[KERNEL] = {
      send: async (data) => {
        if (data["text/plain"] === "b") throw new Error("too large");
        sent.push(data["text/plain"] ?? "");
      },
    };
    for (const name of ["a", "b", "c"]) display(named(name));
    await vi.advanceTimersByTimeAsync(10);
    expect(sent).toEqual(["a", "c"]);
    expect(told).toHaveBeenCalledOnce();
  });

  test("a flood of outputs has a bound", async () => {
    const told = vi.spyOn(console, "error").mockReturnValue(undefined);
    kernel(1);
    for (let n = 0; n < 1_005; n++) display(n);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(told).toHaveBeenCalledTimes(5);
    expect(String(told.mock.calls[0]?.[1])).toContain("1000 outputs wait to be shown");
  });

  test("knows graphs, slots, rows and what shows itself", () => {
    expect([nineNodes(), nineVertices(), nineExecutions(), twoTaskManagers(), [{ a: 1 }]].map((it) => pictureOf(it)?.title)).toEqual([
      "rides per zone: stream graph",
      "rides per zone: job graph",
      "rides per zone: execution graph",
      "Slots of the cluster",
      "Table",
    ]);
    expect(pictureOf("text")).toBeUndefined();
    const sent = kernel();
    display({ [Symbol.for("Jupyter.display")]: () => ({ "text/plain": "own" }) });
    expect(sent[0]?.text).toBe("own");
  });
});

describe("a live display", () => {
  test("sends at most ten updates a second, always the newest, and ends with a static bundle", async () => {
    const sent = kernel();
    const place = liveDisplay();
    for (let n = 0; n < 100; n++) {
      place.update(named(`frame ${n}`));
      await vi.advanceTimersByTimeAsync(10);
    }
    const end = place.finish(named("the end"));
    await vi.advanceTimersByTimeAsync(200);
    await end;
    const frames = sent.slice(0, -1);
    expect(frames.length).toBeGreaterThan(8);
    expect(frames.length).toBeLessThan(13);
    expect(frames.every((it) => !it.types.includes("text/html"))).toBe(true);
    expect(sent.slice(1).every((it, index) => it.atMs - (sent[index]?.atMs ?? 0) >= UPDATE_INTERVAL_MS - 1)).toBe(true);
    expect(sent.map((it) => it.update)).toEqual([false, ...sent.slice(1).map(() => true)]);
    expect(new Set(sent.map((it) => it.id)).size).toBe(1);
    expect(sent.at(-1)).toMatchObject({ text: "the end", types: ["text/html", "image/svg+xml", "text/plain"] });
  });

  test("keeps its last picture when it ends without one, and is silent after that", async () => {
    const sent = kernel();
    const place = liveDisplay();
    place.update(named("a"));
    const end = place.finish();
    await vi.advanceTimersByTimeAsync(200);
    await end;
    place.update(named("b"));
    await place.finish(named("c"));
    await vi.advanceTimersByTimeAsync(500);
    expect(sent.map((it) => it.text)).toEqual(["a", "a"]);
  });

  test("a frame that fails is followed by another", async () => {
    let calls = 0;
    const texts: (string | undefined)[] = [];
    globals[KERNEL] = {
      send: (data) => {
        texts.push(data["text/plain"]);
        return calls++ === 0 ? Promise.reject(new Error("lost")) : undefined;
      },
    };
    const place = liveDisplay();
    place.update(named("a"));
    await vi.advanceTimersByTimeAsync(150);
    place.update(named("b"));
    const end = place.finish();
    await vi.advanceTimersByTimeAsync(200);
    await end;
    expect(texts[0]).toBe("a");
    expect(texts.at(-1)).toBe("b");
  });

  test("without a terminal prints only the last picture", async () => {
    const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const tty = process.stdout.isTTY;
    process.stdout.isTTY = false as true;
    try {
      const place = liveDisplay();
      place.update(named("a"));
      await vi.advanceTimersByTimeAsync(500);
      await place.finish(named("b"));
    } finally {
      process.stdout.isTTY = tty;
    }
    expect(written.mock.calls.map(([text]) => text)).toEqual(["b\n"]);
  });

  test("in a terminal redraws in place", async () => {
    const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const tty = process.stdout.isTTY;
    process.stdout.isTTY = true;
    try {
      const place = liveDisplay();
      place.update(named("a\nb"));
      place.update(named("c\nd"));
      await vi.advanceTimersByTimeAsync(UPDATE_INTERVAL_MS);
      await place.finish(named("e"));
    } finally {
      process.stdout.isTTY = tty;
    }
    expect(written.mock.calls.map(([text]) => text)).toEqual(["c\nd\n", "\u001b[2A\u001b[0Je\n"]);
  });
});
