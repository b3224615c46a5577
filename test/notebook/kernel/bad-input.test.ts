/** What goes wrong around a cell, as its reader sees it: too much to show, markup in data, a cluster that is lost. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { KernelSession, Ran } from "../execute-notebook.ts";
import { errorOf, startKernel, valueOf } from "./kernel.ts";

// A compiler and a cluster on a machine that does much else take their time.
vi.setConfig({ testTimeout: 120_000 });

let kernel: KernelSession;
beforeAll(async () => {
  kernel = await startKernel();
}, 120_000);
afterAll(() => kernel.end());

const run = (code: string): Promise<Ran> => kernel.execute(code);
const start = async (): Promise<void> => {
  const cell = 'import { notebookSession } from "drey/notebook";\nconst session = await notebookSession({ taskManagers: 1, slots: 2 });';
  expect(errorOf(await run(`${cell}\nconst env = session.environment();`))).toBeUndefined();
};

test("of a hundred thousand rows some are shown, and the others are counted", async () => {
  const { outputs } = await run("Array.from({ length: 100_000 }, (_, n) => ({ n, text: 'x'.repeat(50) }))");
  const data = outputs[0]?.output_type === "execute_result" ? outputs[0].data : {};
  expect(data["text/html"]).toContain("and 99,950 more rows");
  expect(data["text/plain"]).toContain("more items");
  expect(JSON.stringify(data).length).toBeLessThan(100_000);
});

/** Every form of every output, as a page would take it: images opened, too. */
function markupOf({ outputs }: Ran): string {
  const forms = outputs.flatMap((it) =>
    "data" in it ? Object.entries(it.data).filter(([type]) => type !== "text/plain").map(([, form]) => String(form)) : [],
  );
  const images = forms.flatMap((form) => [...form.matchAll(/base64,([A-Za-z0-9+/=]+)"/g)].map(([, bytes]) => atob(bytes as string)));
  return [...forms, ...images].join("\n");
}

const EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script><b>'\\\"&";

test.each([
  ["rows and their columns", `[{ [evil]: evil, list: [evil], inner: { [evil]: evil } }]`],
  ["the title of a table", "table([{ a: evil }], { title: evil })"],
  ["titles, labels and series of a chart", "chart([{ x: evil, y: 1, by: evil }, { x: 'b', y: 2, by: 'c' }], { ...chartOf, kind: 'bar' })"],
  ["a line chart", "chart([{ x: 1, y: 1, by: evil }, { x: 2, y: 2, by: 'c' }], { ...chartOf, kind: 'line' })"],
  ["a heat map", "chart([{ x: evil, y: evil, by: 1 }, { x: 'a', y: 'b', by: 2 }], { ...chartOf, kind: 'heat', z: 'by' })"],
  ["the graph of a program", "graph(there.streamGraph({ name: evil, outputs: { [evil]: named } }))"],
  ["a live table", "await liveTable([{ [evil]: evil }], { title: evil }).done"],
])("markup in %s is text", async (_what, code) => {
  await run(
    `import { chart, display, graph, liveTable, table } from "drey/notebook"; import { localEnvironment } from "drey";
     const evil = "${EVIL}"; const chartOf = { title: evil, x: "x", y: "y", by: "by", xTitle: evil, yTitle: evil } as const;
     const there = localEnvironment(); const named = there.of(1).name(evil);`,
  );
  const ran = await run(code);
  expect(errorOf(ran)).toBeUndefined();
  const markup = markupOf(ran);
  expect(markup).toMatch(/img src=x|img%20src/);
  expect(markup).not.toMatch(/<img src=x|<script>alert|<b>/);
});

test("the failure of a job shows the user's line, and markup in it is text", async () => {
  await start();
  const ran = await run(
    `import { live } from "drey/notebook";
const failing = await env.submit({ name: "${EVIL}", outputs: { n: env.of(1).map((n): number => {
  throw new RangeError("${EVIL}");
}) } });
await live(failing);
await failing.result();`,
  );
  expect(errorOf(ran)?.traceback).toContain(`Cell [${ran.execution_count}]:3`);
  const markup = markupOf(ran);
  expect(markup).toMatch(/img src=x/);
  expect(markup).not.toMatch(/<img src=x|<script>alert|<b>/);
});

test("a cluster that is lost says so, and how to start another; the next one works", async () => {
  await start();
  const lost = await run(
    `const waited = await env.submit({ outputs: { n: env.generate((i) => i, { rowsPerSecond: 100 }) } });
process.kill(session.cluster.processes.jobManager!, "SIGKILL");
await waited.result();`,
  );
  expect(errorOf(lost)).toMatchObject({
    ename: "ConnectionError",
    evalue: expect.stringMatching(/is lost|no JobManager/) as string,
    traceback: expect.stringContaining("%cluster start") as string,
  });
  // The connection may be lost before the process is seen to have ended.
  await expect.poll(async () => errorOf(await run("%jobs"))?.evalue, { timeout: 60_000 }).toMatch(/cluster has ended; %cluster start/);
  expect(errorOf(await run("%cluster start 1 2"))).toBeUndefined();
  expect(valueOf(await run("await (await notebookSession()).environment().of(7).collect()"))).toBe("[ 7 ]");
});
