import { afterEach, expect, test, vi } from "vitest";
import type { JobDetails } from "../../src/core/graph/job-status.ts";
import type { JobListener } from "../../src/core/runtime/executor.ts";
import { live } from "../../src/notebook/live.ts";
import { JobHistory } from "../../src/notebook/views/job-history.ts";
import { START, minuteOfMetrics, nineCheckpoint, nineExecutions, overviewOf, restartedOnce } from "./jobs.ts";

const KERNEL = Symbol.for("drey.display");
const globals = globalThis as { [KERNEL]?: unknown };

function kernel(): { readonly data: Readonly<Record<string, string>>; readonly update: boolean }[] {
  const sent: { data: Record<string, string>; update: boolean }[] = [];
  globals[KERNEL] = { send: (data: Record<string, string>, { update }: { update: boolean }) => void sent.push({ data, update }) };
  return sent;
}

/** A job whose listener is called by the test. */
function job() {
  let listener: JobListener = {};
  const control = {
    listening: 0,
    details: async (): Promise<JobDetails> => nineExecutions(),
    metricsHistory: async () => minuteOfMetrics(3),
    watch(given: JobListener) {
      listener = given;
      control.listening++;
      return () => void control.listening--;
    },
  };
  return { control, tell: () => listener };
}

afterEach(() => {
  delete globals[KERNEL];
  vi.restoreAllMocks();
});

test("shows the job until its end and leaves a static picture with the last metrics", async () => {
  const sent = kernel();
  const { control, tell } = job();
  const watching = live(control);
  tell().status?.(nineExecutions());
  tell().metrics?.(minuteOfMetrics(1)[0] as never);
  tell().status?.(nineExecutions("", "FINISHED"));
  expect((await watching).state).toBe("FINISHED");
  expect(control.listening).toBe(0);
  expect(sent[0]?.data["text/plain"]).toContain("RUNNING");
  expect(sent.at(-1)?.data["text/plain"]).toMatch(/^✓ FINISHED/);
  expect(sent.at(-1)?.data["text/plain"]).toContain("records");
  expect(sent.at(-1)?.data["text/html"]).toContain('<img src="data:image/svg+xml;base64,');
});

test("a lost connection ends the panel where it is, and is thrown", async () => {
  const sent = kernel();
  const { control, tell } = job();
  const watching = live(control);
  tell().status?.(nineExecutions());
  tell().lost?.(new Error("the JobManager is gone"));
  await expect(watching).rejects.toThrow("the JobManager is gone");
  expect(control.listening).toBe(0);
  expect(sent.at(-1)?.data["text/plain"]).toContain("RUNNING");
});

test("a signal stops the watching, not the job", async () => {
  kernel();
  const { control, tell } = job();
  const stop = new AbortController();
  const watching = live(control, { signal: stop.signal });
  tell().status?.(nineExecutions());
  stop.abort();
  expect((await watching).state).toBe("RUNNING");
  expect(control.listening).toBe(0);
});

test("takes a handle, whose changes are Observables", async () => {
  const sent = kernel();
  let subscribed = 0;
  const listened = <T>(values: readonly T[]) => ({
    subscribe(observer: { next(value: T): void }) {
      subscribed++;
      values.forEach((value) => observer.next(value));
      return { unsubscribe: () => void subscribed-- };
    },
  });
  const handle = {
    details: async () => nineExecutions("", "FINISHED"),
    metricsHistory: async () => minuteOfMetrics(1),
    status$: listened([nineExecutions(), nineExecutions("", "FINISHED")]),
    metrics$: listened(minuteOfMetrics(1)),
    checkpoints$: listened([overviewOf([nineCheckpoint(1)])]),
    checkpoints: async () => overviewOf([nineCheckpoint(1), nineCheckpoint(2)]),
  };
  expect((await live(handle)).state).toBe("FINISHED");
  expect(subscribed).toBe(0);
  expect(sent.at(-1)?.data["text/plain"]).toContain("checkpoint 2 complete · took 300 ms");
});

test("keeps what the job went through, for the panel and for pictures afterwards", async () => {
  const sent = kernel();
  const { control, tell } = job();
  const history = new JobHistory();
  const watching = live(control, { history });
  const { before, now } = restartedOnce();
  tell().status?.(before);
  tell().checkpoints?.(overviewOf([nineCheckpoint(1)], { restored: 1, restoredFrom: 1 }));
  tell().status?.({ ...now, state: "FINISHED", endedAtMs: START + 62_000 });
  await watching;
  expect(history.failures.map(({ vertex, subtask }) => `${vertex}/${subtask}`)).toEqual(["v3/1"]);
  expect(sent.at(-1)?.data["text/plain"]).toContain("restarted once");
  expect(sent.at(-1)?.data["text/plain"]).toContain("restored once, last from 1");
});

test("where the page can, buttons cancel, take a savepoint and rescale; what comes of it is told beside them", async () => {
  const sent = kernel();
  const states: Record<string, unknown>[] = [];
  let page: (content: object) => void = () => undefined;
  const comms = {
    open(_: string, data: { state: Record<string, unknown> }, listener: { message(data: unknown): void }) {
      states.push(data.state);
      page = (content) => listener.message({ method: "custom", content });
      return {
        id: "1",
        send(message: { state: Record<string, unknown> }) {
          states.push(message.state);
          if ("svg" in message.state) page({ drey: "drawn" });
        },
        close: () => undefined,
      };
    },
  };
  Object.assign(globals[KERNEL] as object, { comms });
  const { control, tell } = job();
  const done: string[] = [];
  const handle = {
    ...control,
    cancel: async () => void done.push("cancel"),
    savepoint: async () => "/savepoints/7",
    rescale: async (parallelism: number) => {
      if (parallelism > 4) throw new Error(`no slots for ${parallelism}`);
      done.push(`rescale ${parallelism}`);
    },
  };
  const watching = live(handle);
  const latest = (key: string): unknown => states.findLast((state) => key in state)?.[key];
  page({ drey: "ready" });
  tell().status?.(nineExecutions());
  await expect.poll(() => latest("buttons"), { timeout: 20_000 }).toMatchObject([
    { label: "Cancel", confirm: "Cancel this job?", count: null },
    { label: "Savepoint", confirm: "", count: null },
    { label: "Rescale", count: { now: 2, least: 1, most: 128 } },
  ]);
  page({ drey: "pressed", button: 1 });
  await expect.poll(() => latest("told"), { timeout: 20_000 }).toBe("savepoint: /savepoints/7");
  page({ drey: "pressed", button: 2, count: 3 });
  await expect.poll(() => latest("told"), { timeout: 20_000 }).toBe("rescaled to 3");
  page({ drey: "pressed", button: 2, count: 5 });
  await expect.poll(() => latest("told"), { timeout: 20_000 }).toBe("✗ no slots for 5");
  page({ drey: "pressed", button: 0 });
  await expect.poll(() => done, { timeout: 20_000 }).toEqual(["rescale 3", "cancel"]);
  tell().status?.(nineExecutions("", "FINISHED"));
  await watching;
  expect(states.map(({ told }) => told)).toContain("Rescale …");
  expect(sent.at(-1)?.data["text/plain"]).toMatch(/^✓ FINISHED/);
});
