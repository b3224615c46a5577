/** Local recovery on real processes, with checkpoints in an object store that counts what is read of it. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { LocalCluster, environment } from "drey";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ObjectStore } from "../cluster/storage/object-store.ts";

const folder = mkdtempSync(path.join(tmpdir(), "drey-test-local-recovery-"));
const store = new ObjectStore();
const environmentBefore = { ...process.env };
beforeAll(async () => {
  const endpoint = await store.start();
  Object.assign(process.env, {
    AWS_ENDPOINT_URL_S3: endpoint, AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret",
  });
});
afterAll(() => {
  process.env = environmentBefore;
  store.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("a job with local recovery", () => {
  test("tasks that begin again on their TaskManager fetch nothing; when it was lost, they fetch everything", { timeout: 180_000 }, async () => {
    const copies = path.join(folder, "copies");
    const fault = path.join(folder, "fault");
    await using cluster = await LocalCluster.start({
      taskManagers: 1, slots: 2,
      options: { "heartbeat.interval": "1 s", "heartbeat.timeout": "30 s", "execution.checkpointing.local-backup.dirs": copies },
    });
    const env = environment({
      cluster, parallelism: 2, printLogs: false,
      configuration: { "execution.checkpointing.dir": "s3://bucket/checkpoints", "execution.state-recovery.from-local": true },
    }).enableCheckpointing("500 ms");
    const counted = env
      .generate((n) => ({ key: n % 100, count: 1 }), { rowsPerSecond: 1_000 })
      .keyBy((row) => row.key)
      .reduce((a, b) => {
        const { existsSync: isThere, rmSync: remove } = process.getBuiltinModule("node:fs");
        if (isThere(fault)) {
          remove(fault, { force: true });
          throw new Error("the test says so");
        }
        return { key: a.key, count: a.count + b.count };
      });
    const job = await env.submit({ name: "local recovery", outputs: { counted } });
    const last = new Map<number, number>();
    const wrong: string[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      job.outputs.counted.subscribe({
        next: ({ key, count }) => {
          if (count !== (last.get(key) ?? 0) + 1) wrong.push(`${key}: ${count} after ${last.get(key)}`);
          last.set(key, count);
        },
        complete: resolve,
        error: reject,
      });
    });
    ended.catch(() => undefined);
    const fetched = (): string[] => store.reads.filter((key) => !key.endsWith("_metadata"));
    const reaches = (what: (now: { readonly completed: number; readonly restored: number }) => boolean): Promise<void> =>
      vi.waitFor(async () => expect(what(await job.checkpoints())).toBe(true), { timeout: 60_000, interval: 50 });
    await reaches(({ completed }) => completed >= 2);

    writeFileSync(fault, "");
    await reaches(({ restored }) => restored >= 1);
    const { completed: before, restored: restarts } = await job.checkpoints();
    await reaches(({ completed }) => completed > before);
    expect(fetched()).toEqual([]);

    await cluster.killTaskManager(0);
    await reaches(({ restored }) => restored > restarts);
    const { completed: then } = await job.checkpoints();
    await reaches(({ completed }) => completed > then);
    expect(new Set(fetched().map((key) => key.split("/").at(-1)?.split(".")[0]))).toEqual(new Set(["0-0", "0-1", "1-0", "1-1"]));

    await job.stopWithSavepoint({ folder: path.join(folder, "savepoint") });
    await ended;
    expect(wrong).toEqual([]);
    expect(last.size).toBe(100);
    await env.close();
    // The folder of the one that was killed was swept by the one in its place.
    const left = (): string[] => readdirSync(copies).flatMap((own) => readdirSync(path.join(copies, own)));
    await vi.waitFor(() => expect(left()).toEqual([]), { timeout: 30_000, interval: 50 });
    expect(readdirSync(copies)).toHaveLength(1);
  });
});
