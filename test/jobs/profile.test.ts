/** Looking where a task spends its time, on real processes. */
import { LocalCluster, NotFoundError, environment } from "drey";
import { afterAll, beforeAll, expect, it } from "vitest";

let cluster: LocalCluster;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 1, slots: 2, options: { "heartbeat.timeout": "60 s" } });
}, 60_000);
afterAll(() => cluster.stop());

// A function that calls itself is not put into its caller by V8.
function fibonacci(n: number): number {
  if (n < 2) return n;
  return fibonacci(n - 1) + fibonacci(n - 2);
}

it("tells the functions of the job with their lines, and where it can't, why", { timeout: 120_000 }, async () => {
  const env = environment({ cluster, parallelism: 1, printLogs: false });
  env
    .generate((n) => n, { rowsPerSecond: 1_000_000 })
    .map((n) => fibonacci(20 + (n % 2)))
    .rebalance()
    .filter((n) => n < 0)
    .name("nothing passes")
    .sinkTo(() => undefined);
  const job = await env.submit("profiled");
  await expect.poll(async () => (await job.details()).executions.map(({ state }) => state), { timeout: 60_000 }).toEqual(["RUNNING", "RUNNING"]);
  const [source, filter] = (await job.details()).graph.vertices;

  const watching = job.profile({ vertex: source!.id, seconds: 2 });
  await expect(job.profile({ vertex: source!.name, seconds: 2 })).rejects.toMatchObject({ code: "DREY_CONFLICT" });
  const profile = await watching;
  expect(profile).toMatchObject({ job: job.id, vertex: source!.id, name: source!.name, subtask: 0 });
  expect(profile.durationMs).toBeGreaterThan(1_000);
  const { frames } = profile;
  const hot = frames.find(({ name }) => name === "fibonacci");
  expect(hot).toMatchObject({ kind: "user", place: expect.stringMatching(/profile\.test\.ts:13$/) });
  expect(frames.some(({ name, hottest }) => name === "fibonacci" && /^1[3456]: /.test(hottest ?? ""))).toBe(true);
  const total = frames.reduce((sum, { selfMs }) => sum + selfMs, 0);
  expect(frames.reduce((sum, { name, selfMs }) => (name === "fibonacci" ? sum + selfMs : sum), 0)).toBeGreaterThan(total / 4);
  // It was called from the chain: through the function of map, if V8 has not put that into the chain.
  const callers: string[] = [];
  for (let at = hot!.parent; at >= 0; at = frames[at]!.parent) callers.push(frames[at]!.name);
  expect(callers).toContain("the chain v1");
  expect(frames.some(({ kind }) => kind === "engine")).toBe(true);

  // A second time, and of a task that mostly waits: parked threads hear it, too.
  const waits = await job.profile({ vertex: "nothing passes", seconds: 0.5 }).catch((error: unknown) => error);
  expect(waits).toBeInstanceOf(NotFoundError);
  expect(String(waits)).toContain(`v2 (${filter!.name})`);
  const kinds = async (): Promise<string[]> => (await job.profile({ vertex: filter!.id, seconds: 0.5 })).frames.map(({ kind }) => kind);
  await expect.poll(kinds, { timeout: 60_000 }).toContain("waiting");

  await expect(job.profile({ vertex: source!.id, subtask: 7 })).rejects.toThrow(/it has no subtask v1\/7/);
  await expect(job.profile()).rejects.toThrow("profile() was not told which task; it has v1 (");
  await expect(job.profile({ vertex: "v1", seconds: 90 })).rejects.toThrow("give a number up to 60");
  const interrupted = expect(job.profile({ vertex: source!.id, seconds: 50 })).rejects.toThrow(NotFoundError);
  await job.cancel();
  await interrupted;
  await expect(job.profile({ vertex: source!.id })).rejects.toThrow(/job "profiled" \(CANCELED\) can't be profiled/);
  await env.close();
});
