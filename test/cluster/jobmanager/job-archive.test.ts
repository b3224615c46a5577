import { describe, expect, test } from "vitest";
import { SegmentKind } from "../../../src/core/data/element.ts";
import { type JobId, newJobId } from "../../../src/core/types/ids.ts";
import { type JobState, isFinal } from "../../../src/core/graph/job-status.ts";
import { CheckpointError, ConflictError, CorruptCheckpointError } from "../../../src/core/types/errors.ts";
import { encodeManifest } from "../../../src/cluster/storage/manifest.ts";
import { MemoryStorage } from "../../../src/cluster/storage/memory-storage.ts";
import { type ArchivedJob, JobArchive } from "../../../src/cluster/jobmanager/job-archive.ts";
import { ControlPlane } from "./control-plane.ts";
import { CODE, CODE_DIGEST, pair, rows, segment } from "./graphs.ts";

let archives = 0;
const EVERY_SECOND = { "execution.checkpointing.interval": "1 s" } as const;
const state = (plane: ControlPlane, job: JobId): JobState => plane.details(job).state;

/** A storage whose files can't be read while this says so. */
function failing(location: string, fails: () => boolean): MemoryStorage {
  const storage = new MemoryStorage(location);
  const get = storage.get.bind(storage);
  storage.get = (name, range) => (fails() ? Promise.reject(new CheckpointError("no answer")) : get(name, range));
  return storage;
}

/** A cluster's shared storage, and control planes that lead one after the other. */
function shared() {
  const root = new MemoryStorage(`memory://archive-${archives++}`);
  const notes: string[] = [];
  const archive = new JobArchive(root, (text) => notes.push(text));
  const checkpoints = `${root.location}/checkpoints`;
  let epoch = 0;
  return {
    root,
    archive,
    notes,
    checkpoints,
    /** What a leader archived and stored so far, made durable. */
    async persist(plane: ControlPlane): Promise<void> {
      for (const effect of plane.effects.splice(0)) {
        if (effect.kind === "archiveJob") await archive.save(effect.record, CODE);
        if (effect.kind === "forgetJob") await archive.forget(effect.job);
      }
      for (const [folder, manifest] of plane.manifests) await new MemoryStorage(folder).put("_metadata", encodeManifest(manifest));
    },
    /** The next leader. */
    async lead(): Promise<ControlPlane> {
      epoch++;
      const plane = new ControlPlane(EVERY_SECOND, {}, { epoch, checkpointRoot: checkpoints });
      const recovered = await archive.recover(epoch);
      plane.act((dispatcher) => dispatcher.recover(recovered));
      return plane;
    },
  };
}

describe("a JobManager that follows another", () => {
  test("goes on with its jobs from their latest checkpoints, with higher attempts and numbers", async () => {
    const { persist, lead } = shared();
    const first = await lead();
    first.join("tm", 2);
    const job = first.submit(pair("job", 2, { results: ["out"] }));
    const ended = first.submit(pair("short", 1));
    first.act((dispatcher) => dispatcher.cancel(ended));
    first.pass(3_000);
    await persist(first);

    const second = await lead();
    expect(second.dispatcher.jobs().map((it) => [it.job, it.state])).toEqual([[job, "WAITING"]]);
    second.join("tm", 2);
    expect(state(second, job)).toBe("RUNNING");
    for (const { restore, execution } of second.tasksOf(job)) {
      expect(restore).toMatchObject({ checkpoint: 3 });
      expect(execution.attempt).toBeGreaterThan(first.tasksOf(job)[0]!.execution.attempt);
    }
    second.pass(1_000);
    expect(second.dispatcher.checkpoints(job).latest.at(-1)).toMatchObject({ id: 4, state: "COMPLETED" });
    await persist(second);
    const third = await lead();
    third.join("tm", 2);
    expect(third.tasksOf(job)[0]).toMatchObject({ restore: { checkpoint: 4 }, execution: { attempt: 200_000 } });
  });

  test("answers a client that asks again whether its job was accepted, and accepts it once", async () => {
    const { persist, lead } = shared();
    const first = await lead();
    const named = { job: newJobId(), graph: pair("job", 2), code: CODE_DIGEST, attached: false };
    const submitted = (plane: ControlPlane, client: string): JobId =>
      plane.act((dispatcher) => dispatcher.submit(client, named, CODE));
    expect(submitted(first, "client")).toBe(named.job);
    expect(submitted(first, "client")).toBe(named.job);
    expect(() => submitted(first, "another")).toThrow(ConflictError);
    await persist(first);

    const second = await lead();
    expect(submitted(second, "client")).toBe(named.job);
    expect(() => submitted(second, "another")).toThrow(ConflictError);
    expect(second.dispatcher.jobs().map(({ job }) => job)).toEqual([named.job]);
  });

  test("goes on with a job at the parallelism that it was rescaled to", async () => {
    const { persist, lead } = shared();
    const first = await lead();
    first.join("tm", 4);
    const job = first.submit(pair("job", 2));
    first.act((dispatcher) => dispatcher.rescale(job, 4, 1));
    first.pass(1_500);
    await persist(first);
    const second = await lead();
    second.join("tm", 4);
    expect(state(second, job)).toBe("RUNNING");
    expect(second.details(job).graph.vertices.map(({ parallelism }) => parallelism)).toEqual([4, 4]);
    second.act((dispatcher) => dispatcher.rescale(job, 1, 1));
    second.pass(500);
    expect(second.tasksOf(job)).toHaveLength(2);
  });

  test("gives readers the rows that the checkpoint covers and that nobody had taken", async () => {
    const { persist, lead } = shared();
    const first = await lead();
    const tm = first.join("tm", 1, { acknowledges: false });
    const job = first.submit(pair("job", 1, { results: ["out"] }));
    const { attempt } = first.tasksOf(job)[1]!.execution;
    first.pass(1_000);
    const barrier = segment(SegmentKind.barrier);
    new DataView(barrier.buffer).setFloat64(24, 1, true);
    const sent = [rows(3), rows(4), barrier, rows(5)];
    first.act((dispatcher) => dispatcher.resultSegments(tm, { job, name: "out", subtask: 0, attempt, sequence: 0 }, sent));
    first.acknowledge(job, 1);
    await persist(first);
    const second = await lead();
    second.join("tm", 1);
    expect(second.act((dispatcher) => dispatcher.openResult("reader", job, "out"))).toMatchObject({ subtasks: 1, skip: [0] });
    second.act((dispatcher) => dispatcher.grantResult("reader", { job, name: "out", subtask: 0, attempt: 0, granted: 8 }));
    expect(second.told("reader", "resultSegments").flatMap(({ attachments }) => attachments)).toEqual([rows(3), rows(4)]);
  });

  test("passes over a damaged checkpoint, and fails the job when none is left", async () => {
    const { persist, lead, checkpoints, notes } = shared();
    const first = await lead();
    first.join("tm", 1);
    const job = first.submit(pair("job", 1));
    first.pass(2_000);
    await persist(first);
    const folder = new MemoryStorage(`${checkpoints}/${job}`);
    await folder.put("chk-2/_metadata", (await folder.get("chk-2/_metadata"))!.subarray(0, 50));
    const second = await lead();
    expect(notes.join()).toMatch(/checkpoint 2 of job .* can't be read/);
    second.join("tm", 1);
    expect(second.tasksOf(job)[0]!.restore).toMatchObject({ checkpoint: 1 });
    await folder.put("chk-1/_metadata", new Uint8Array([1, 2, 3]));
    const third = await lead();
    third.join("tm", 1);
    expect(third.details(job)).toMatchObject({ state: "FAILED", failure: { name: CorruptCheckpointError.name } });
  });

  test("asks a storage that fails for a while again, and goes on from the latest checkpoint all the same", async () => {
    const { persist, lead, checkpoints, root, notes } = shared();
    const first = await lead();
    first.join("tm", 1);
    const job = first.submit(pair("job", 1));
    first.pass(2_000);
    await persist(first);
    const faulty = (failures: number): JobArchive =>
      new JobArchive(root, (text) => notes.push(text), (location) => failing(location, () => failures-- > 0), { after: (_, what) => (what(), () => {}) });
    const [recovered] = await faulty(3).recover(2);
    expect(recovered).toMatchObject({ job, lastId: 2 });
    expect(recovered!.completed.map(({ id }) => id)).toEqual([1, 2]);
    expect(notes.join()).toMatch(/can't be read, and is asked again: no answer/);
    // One that goes on failing is no reason to go on from an earlier one.
    await expect(faulty(1_000).recover(3)).rejects.toThrow(CheckpointError);
    expect(await new MemoryStorage(checkpoints).list()).not.toEqual([]);
  });

  test("passes over what an overtaken leader completed after it had begun", async () => {
    const { persist, lead, checkpoints, notes } = shared();
    const zombie = await lead();
    zombie.join("tm", 1);
    const job = zombie.submit(pair("job", 1));
    zombie.pass(2_000);
    await persist(zombie);
    const second = await lead();
    zombie.pass(1_000);
    await persist(zombie);
    expect(await new MemoryStorage(`${checkpoints}/${job}`).list("chk-3")).toHaveLength(1);
    expect(state(second, job)).toBe("WAITING");
    const third = await lead();
    third.join("tm", 1);
    expect(third.tasksOf(job)[0]!.restore).toMatchObject({ checkpoint: 2 });
    expect(notes.join()).toMatch(/checkpoint 3 of job .* is passed over/);
    // And does not use its number again.
    third.pass(1_000);
    expect(third.dispatcher.checkpoints(job).latest[0]).toMatchObject({ id: 4 });
  });

  test("waits for the client of an attached job as long as recovery may take, then cancels it", async () => {
    const { persist, lead } = shared();
    const first = await lead();
    first.join("tm", 2);
    const [stays, goes] = [first.submit(pair("stays", 1), { client: "a", attached: true }), first.submit(pair("goes", 1), { client: "b", attached: true })];
    await persist(first);
    const second = await lead();
    second.join("tm", 2);
    second.act((dispatcher) => dispatcher.clientConnected("a"));
    second.pass(9_000);
    expect([state(second, stays), state(second, goes)]).toEqual(["RUNNING", "RUNNING"]);
    second.pass(2_000);
    expect([state(second, stays), isFinal(state(second, goes))]).toEqual(["RUNNING", true]);
  });

  test("finds no jobs that have ended, and no code that nobody needs", async () => {
    const { persist, lead, root, archive } = shared();
    const first = await lead();
    first.join("tm", 2);
    const jobs = [first.submit(pair("one", 1)), first.submit(pair("two", 1))];
    await persist(first);
    expect((await root.list("code")).length).toBe(1);
    first.reportAll(jobs[0]!, "FINISHED");
    await persist(first);
    expect(await root.list("code")).toEqual([`code/${CODE_DIGEST}`]);
    first.act((dispatcher) => dispatcher.cancel(jobs[1]!));
    await persist(first);
    expect(await root.list("code")).toEqual([]);
    expect(await archive.recover(9)).toEqual([]);
  });

  test("goes on without a job whose file is damaged, and says so", async () => {
    const { persist, lead, root, notes } = shared();
    const first = await lead();
    const [sound, damaged] = [first.submit(pair("sound", 1)), first.submit(pair("damaged", 1))];
    await persist(first);
    await root.put(`jobs/${damaged}/job`, new Uint8Array(100));
    const second = await lead();
    expect(second.dispatcher.jobs().map((it) => it.job)).toEqual([sound]);
    expect(notes.join()).toMatch(new RegExp(`job ${damaged} can't be recovered`));
  });

  test("an archived job is the same when it is read back", async () => {
    const { archive } = shared();
    const job: ArchivedJob = {
      job: "j" as JobId, graph: pair("job", 2), code: CODE_DIGEST, owner: "me", checkpoints: "memory://nowhere/j", submittedAtMs: 5,
    };
    await archive.save(job, CODE);
    expect(await archive.recover(1)).toMatchObject([{ ...job, bytes: CODE, completed: [], lastId: 0, leaders: 1 }]);
    expect(await archive.recover(2)).toMatchObject([{ leaders: 2 }]);
  });
});
