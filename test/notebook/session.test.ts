import { Environment, LocalCluster } from "drey";
import { notebookSession } from "drey/notebook";
import { afterAll, expect, test } from "vitest";

const alive = (pid: number | undefined): boolean => {
  try {
    process.kill(pid ?? 0, 0);
    return pid !== undefined;
  } catch {
    return false;
  }
};

afterAll(async () => (await notebookSession()).close());

test("a cell that is run again finds the cluster of the first run; another size replaces it", async () => {
  const first = await notebookSession({ taskManagers: 1, slots: 1 });
  const { jobManager } = first.cluster.processes;
  expect(first.cluster).toBeInstanceOf(LocalCluster);
  expect(await notebookSession({ slots: 1, taskManagers: 1 })).toBe(first);
  expect(await notebookSession()).toBe(first);
  expect((await first.slots()).text()).toContain("1 TaskManager, 0 of 1 slots in use");

  const [second, same] = await Promise.all([
    notebookSession({ taskManagers: 1, slots: 2 }),
    notebookSession({ taskManagers: 1, slots: 2 }),
  ]);
  expect(same).toBe(second);
  expect(second).not.toBe(first);
  expect(alive(jobManager)).toBe(false);

  const env = second.environment({ parallelism: 1 });
  expect(env).toBeInstanceOf(Environment);
  expect(
    await env
      .of(1, 2, 3)
      .map((n) => n * 2)
      .collect(),
  ).toEqual([2, 4, 6]);
  env.enableCheckpointing("100 ms");
  env
    .generate((n) => n, { rowsPerSecond: 1_000 })
    .keyBy((n) => n % 7)
    .reduce((one, other) => one + other)
    .sinkTo(() => undefined);
  const job = await env.submit("reported");
  await expect.poll(async () => (await job.checkpoints()).completed, { timeout: 30_000 }).toBeGreaterThan(0);
  // The checkpoint that is looked at may be replaced meanwhile.
  const html = (): Promise<string> => job.report({ title: "A report", interactive: false });
  await expect.poll(html, { timeout: 30_000 }).toContain("<h2>State</h2>");
  for (const text of ["<h1>A report</h1>", "<h2>Checkpoints</h2>", "reported: execution graph"]) expect(await html()).toContain(text);
  expect(await second.report()).toContain("<h2>reported</h2>");
  await job.cancel();
  await env.close();
  expect(second.cluster.isRunning).toBe(true);
});

test("a cluster that has died is replaced", async () => {
  const dead = await notebookSession({ taskManagers: 1, slots: 2 });
  await dead.cluster.stop();
  const next = await notebookSession();
  expect(next).not.toBe(dead);
  expect(next.cluster.isRunning).toBe(true);
});
