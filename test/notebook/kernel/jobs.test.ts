/** Cells and jobs: what is asked of the cluster without a program, and what an interrupt means for a job. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KernelSession, Message } from "../execute-notebook.ts";
import { errorOf, printed, startKernel, valueOf } from "./kernel.ts";
import { processesOf, runs } from "../../cluster/local/programs.ts";

let kernel: KernelSession;
beforeAll(async () => {
  kernel = await startKernel();
  await kernel.execute("%cluster start 1 2");
  await kernel.execute(
    'import { notebookSession } from "drey/notebook"; const session = await notebookSession(); const env = session.environment()',
  );
}, 120_000);
afterAll(() => kernel.end());

const isStream = (text: string) => (message: Message) => message.type === "stream" && String(message.content["text"]).includes(text);
const stateOf = async (name: string): Promise<string> =>
  String(valueOf(await kernel.execute(`(await session.client.jobs()).find((job) => job.name === ${JSON.stringify(name)})?.state`)));
const start = (name: string): string =>
  `const job = await env.submit({ name: "${name}", outputs: { n: env.generate((i) => i, { rowsPerSecond: 100 }) } });\n`;

test("%cluster shows who sits in which slot, %jobs the jobs, %cancel ends one by its name", async () => {
  await kernel.execute(start("by magic"));
  await expect.poll(() => stateOf("by magic"), { timeout: 30_000 }).toBe("'RUNNING'");
  expect(String(valueOf(await kernel.execute("%cluster")))).toContain("tm-0");
  expect(String(valueOf(await kernel.execute("%jobs")))).toContain("by magic");
  expect(errorOf(await kernel.execute("%cancel other"))?.evalue).toContain('no running job is "other"');
  expect(String(valueOf(await kernel.execute("%cancel by magic")))).toContain("is cancelled");
  await expect.poll(() => stateOf("by magic"), { timeout: 30_000 }).toBe("'CANCELED'");
}, 60_000);

test("an interrupt of a cell that waits for a job ends the waiting, names the job and lets it go on", async () => {
  const started = kernel.next(isStream("waiting"));
  const ran = kernel.execute(`${start("attached")}console.log("waiting");\nawait job.result();`);
  await started;
  const told = kernel.next(isStream("Interrupt again to cancel"));
  await kernel.ask("control", "interrupt_request");
  expect(errorOf(await ran)).toMatchObject({ ename: "Interrupted", evalue: expect.stringContaining("goes on") as string });
  expect(String((await told).content["text"])).toContain('"attached"');
  expect(await stateOf("attached")).toMatch(/RUNNING|CREATED|WAITING/);
}, 60_000);

test("a second interrupt cancels the job that the first one named", async () => {
  const started = kernel.next(isStream("waiting"));
  const ran = kernel.execute(`${start("twice")}console.log("waiting");\nawait new Promise(() => {})`);
  await started;
  const told = kernel.next(isStream("Interrupt again to cancel"));
  await kernel.ask("control", "interrupt_request");
  await ran;
  await told;
  const cancelling = kernel.next(isStream('Cancelling job "twice"'));
  await kernel.ask("control", "interrupt_request");
  await cancelling;
  await expect.poll(() => stateOf("twice"), { timeout: 30_000 }).toBe("'CANCELED'");
}, 60_000);

test.each([
  ["another environment of the same cluster", "environment({ cluster: session.cluster.address })"],
  ["this process", "localEnvironment()"],
])(
  "a job that runs in %s is named and cancelled, too; one that the cell does not wait for is neither",
  async (where, environment) => {
    const [aside, own] = [`aside ${where}`, `in ${where}`];
    await kernel.execute(`import { environment, localEnvironment } from "drey";\n${start(aside)}`);
    const code = `const there = ${environment};
      const theirs = await there.submit({ name: "${own}", outputs: { n: there.generate((i) => i, { rowsPerSecond: 100 }) } });
      console.log("waiting");\nawait theirs.result();`;
    const started = kernel.next(isStream("waiting"));
    const ran = kernel.execute(code);
    await started;
    const told = kernel.next(isStream("Interrupt again to cancel it"));
    await kernel.ask("control", "interrupt_request");
    expect(errorOf(await ran)?.evalue).toContain("goes on");
    const { text } = (await told).content;
    expect(text).toContain(`"${own}"`);
    expect(text).not.toContain(aside);
    const cancelling = kernel.next(isStream(`Cancelling job "${own}"`));
    await kernel.ask("control", "interrupt_request");
    await cancelling;
    const end = await kernel.execute("const how = await theirs.result().catch((error) => error.name); await there.close(); how");
    expect(valueOf(end)).toBe("'JobCanceledError'");
    expect(await stateOf(aside)).toMatch(/RUNNING|CREATED|WAITING/);
    await kernel.execute(`%cancel ${aside}`);
  },
  90_000,
);

test("%interrupts cancel makes one interrupt enough", async () => {
  expect(errorOf(await kernel.execute("%interrupts never"))?.evalue).toContain("wait and cancel");
  await kernel.execute("%interrupts cancel");
  const started = kernel.next(isStream("waiting"));
  const ran = kernel.execute(`${start("at once")}console.log("waiting");\nawait job.result();`);
  await started;
  const cancelling = kernel.next(isStream('Cancelling job "at once"'));
  await kernel.ask("control", "interrupt_request");
  expect(errorOf(await ran)?.evalue).toContain("what it waited for is cancelled");
  await cancelling;
  await expect.poll(() => stateOf("at once"), { timeout: 30_000 }).toBe("'CANCELED'");
  await kernel.execute("%interrupts wait");
}, 60_000);

test("an error of a function on the cluster is told with its cell and line", async () => {
  const ran = await kernel.execute(
    "const bad = env.of(1, 2).map((n) => {\n  if (n === 2) throw new RangeError('two');\n  return n;\n});\nawait bad.collect()",
  );
  const { execution_count } = ran;
  expect(errorOf(ran)?.traceback).toContain(`Cell [${execution_count}]:2`);
}, 60_000);

test("a kernel that is killed in the middle of a job takes its cluster with it, and leaves no process and no file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "drey-killed-"));
  const other = await startKernel(undefined, { TMPDIR: folder });
  const code =
    'import { notebookSession } from "drey/notebook"; const { processes } = (await notebookSession({ taskManagers: 1, slots: 1 })).cluster; console.log(processes.jobManager, ...processes.taskManagers)';
  const pids = printed(await other.execute(code))
    .trim()
    .split(" ")
    .map(Number);
  expect(pids).toHaveLength(2);
  await other.execute(`const here = (await notebookSession()).environment(); here.enableCheckpointing(100);\n${start("cut off").replace(/\benv\b/g, "here")}`);
  await other.execute("await job.checkpoint()");
  expect(readdirSync(folder)).not.toEqual([]);
  process.kill(other.pid, "SIGKILL");
  for (const pid of pids) await expect.poll(() => runs(pid), { timeout: 30_000 }).toBe(false);
  await expect.poll(() => [...processesOf(folder), ...readdirSync(folder)]).toEqual([]);
  await other.end();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);
