/** A loop on a cluster: full rings don't stop it, it ends when it is empty, and a failure neither loses nor doubles a record in it. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { LocalCluster, environment, jsonLines } from "drey";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let cluster: LocalCluster;
let folder = "";
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "drey-loops-"));
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.timeout": "60 s" } });
});
afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("a loop in which records multiply gives all of them", async () => {
  const env = environment({ cluster, parallelism: 2 });
  const leaves = env.of({ depth: 0, ballast: "x".repeat(500) }).iterate((loop) => {
    const split = loop.rebalance().flatMap((it) => [{ ...it, depth: it.depth + 1 }, { ...it, depth: it.depth + 1 }]);
    return { feedback: split.filter((it) => it.depth < 13), output: split.filter((it) => it.depth === 13) };
  });
  expect(await leaves.map((it) => it.ballast.length).collect()).toEqual(new Array(2 ** 13).fill(500));
  await env.close();
});

test("a failure in a loop neither loses nor doubles a record", async () => {
  const [marker, out] = [path.join(folder, "failed"), path.join(folder, "out")];
  const env = environment({
    cluster, parallelism: 2,
    configuration: { "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": "50 ms" },
  });
  env.enableCheckpointing("100 ms");
  env
    .generate((id) => ({ id, left: id % 50 }), { count: 2_000, rowsPerSecond: 2_000 })
    .iterate((loop) => {
      const stepped = loop.rebalance().map((row) => {
        if (row.id === 1_199 && !existsSync(marker)) {
          writeFileSync(marker, "");
          throw new Error("once");
        }
        return { ...row, left: row.left - 1 };
      });
      return { feedback: stepped.filter(({ left }) => left > 0), output: stepped.filter(({ left }) => left <= 0) };
    })
    .sinkTo(jsonLines(out));
  await env.execute("loop");
  await env.close();
  expect(existsSync(marker)).toBe(true);
  const ids = readdirSync(out).flatMap((name) =>
    readFileSync(path.join(out, name), "utf8").split("\n").filter(Boolean).map((line) => (JSON.parse(line) as { id: number }).id),
  );
  expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: 2_000 }, (_, id) => id));
});
