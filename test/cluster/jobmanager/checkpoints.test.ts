import { describe, expect, test } from "vitest";
import { CheckpointError, ConfigurationError, CorruptCheckpointError, UserFunctionError, toWire } from "../../../src/core/types/errors.ts";
import type { JobId } from "../../../src/core/types/ids.ts";
import type { JobState } from "../../../src/core/graph/job-status.ts";
import type { CheckpointAck, RestoreDeployment } from "../../../src/cluster/protocol/checkpoint-messages.ts";
import type { TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import type { OperatorRestore } from "../../../src/core/state/snapshot.ts";
import { type CompletedCheckpoint, CompletedCheckpoints } from "../../../src/cluster/jobmanager/completed-checkpoints.ts";
import type { CheckpointManifest } from "../../../src/cluster/storage/manifest.ts";
import { ControlPlane, ackOf } from "./control-plane.ts";
import { edge, graphOf, pair, vertex } from "./graphs.ts";

const EVERY_SECOND = { "execution.checkpointing.interval": "1 s" } as const;
const state = (plane: ControlPlane, job: JobId): JobState => plane.details(job).state;
const thrown = toWire(new UserFunctionError("boom"));
const ids = (plane: ControlPlane, kind: "triggerCheckpoint" | "checkpointCompleted" | "checkpointAborted"): number[] => [
  ...new Set(plane.did(kind).map((effect) => (effect.kind === "triggerCheckpoint" ? effect.trigger.checkpoint : effect.checkpoint))),
];
const attempts = (plane: ControlPlane, job: JobId): Record<string, number> =>
  Object.fromEntries(plane.details(job).executions.map(({ vertex: id, subtask, attempt }) => [`${id}/${subtask}`, attempt]));
/** Key groups that a task restores. */
const groupsOf = (restore: RestoreDeployment | undefined): number[] =>
  (restore?.operators as readonly OperatorRestore[]).flatMap(({ sections }) =>
    sections.filter(({ kind }) => kind === "keyed").flatMap(({ blocks }) => blocks.map(({ offset }) => offset / 10)),
  );

describe("taking checkpoints", () => {
  test("a checkpoint is triggered at the sources when the interval is over, and complete when its manifest is durable", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 2, { acknowledges: false });
    const job = plane.submit(pair("job", 2));
    plane.pass(999);
    expect(ids(plane, "triggerCheckpoint")).toEqual([]);
    plane.pass(1);
    const [trigger] = plane.did("triggerCheckpoint");
    expect(trigger).toMatchObject({ taskManager: "tm", job, trigger: { checkpoint: 1, kind: "checkpoint", mode: "exactly-once" } });
    expect(trigger!.folder).toBe(`memory://checkpoints/${job}/chk-1`);
    expect(trigger!.executions.map((it) => `${it.vertex}/${it.subtask}`)).toEqual(["source/0", "source/1"]);
    plane.storing = "hangs";
    plane.acknowledge(job, 1);
    expect(plane.did("storeManifest")).toHaveLength(1);
    expect(plane.did("checkpointCompleted")).toEqual([]);
    plane.act((dispatcher) => dispatcher.manifestStored(job, 1));
    expect(plane.did("checkpointCompleted")).toMatchObject([{ taskManager: "tm", job, checkpoint: 1 }]);
    expect(plane.dispatcher.checkpoints(job)).toMatchObject({
      completed: 1, failed: 0, inProgress: 0, latest: [{ id: 1, state: "COMPLETED", bytes: 400, writtenBytes: 200, acknowledged: 4, expected: 4 }],
    });
  });

  test("a checkpoint that misses one answer is given up after its timeout, and one too many restarts the job", () => {
    const plane = new ControlPlane({
      ...EVERY_SECOND, "execution.checkpointing.timeout": "5 s", "execution.checkpointing.tolerable-failed-checkpoints": 1,
    });
    plane.join("tm", 1, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    plane.acknowledge(job, 1, (task) => task.vertex.name === "source");
    plane.pass(5_000);
    expect(plane.dispatcher.checkpoints(job).latest[0]).toMatchObject({
      id: 1, state: "FAILED", failure: "1 of 2 tasks (sink/0) did not acknowledge it within 5 s (execution.checkpointing.timeout)",
    });
    expect(ids(plane, "checkpointAborted")).toEqual([1]);
    expect(attempts(plane, job)).toEqual({ "source/0": 0, "sink/0": 0 });
    // Too late.
    plane.acknowledge(job, 1);
    expect(plane.did("storeManifest")).toEqual([]);
    plane.pass(5_000);
    expect(ids(plane, "checkpointAborted")).toEqual([1, 2]);
    plane.pass(1_000);
    expect(attempts(plane, job)).toEqual({ "source/0": 1, "sink/0": 1 });
    expect(state(plane, job)).toBe("RUNNING");
  });

  test("a task that declines, or a manifest that can't be stored, fails the checkpoint, and a completed one clears the count", () => {
    const plane = new ControlPlane({ ...EVERY_SECOND, "execution.checkpointing.tolerable-failed-checkpoints": 1 });
    const tm = plane.join("tm", 1, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    const sink = plane.tasksOf(job).at(-1)!.execution;
    plane.act((dispatcher) => dispatcher.declineCheckpoint(tm, sink, 1, new Error("no room")));
    plane.pass(1_000);
    plane.acknowledge(job, 2);
    plane.storing = new Error("EIO");
    plane.pass(1_000);
    plane.acknowledge(job, 3);
    expect(plane.dispatcher.checkpoints(job).latest.map(({ state: how, failure }) => [how, failure])).toEqual([
      ["FAILED", "sink/0 declined it: no room"],
      ["COMPLETED", undefined],
      ["FAILED", "its manifest could not be stored: EIO"],
    ]);
    expect(ids(plane, "checkpointCompleted")).toEqual([2]);
    expect(attempts(plane, job)["sink/0"]).toBe(0);
  });

  test("answers that come twice, late, from another attempt or another TaskManager count for nothing", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    const tm = plane.join("tm", 1, { acknowledges: false });
    const other = plane.join("other", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    const [source, sink] = plane.tasksOf(job);
    const before = plane.dispatcher.stale;
    plane.act((dispatcher) => {
      dispatcher.acknowledgeCheckpoint(tm, source!.execution, ackOf(source!, 1));
      dispatcher.acknowledgeCheckpoint(tm, source!.execution, ackOf(source!, 1));
      dispatcher.acknowledgeCheckpoint(other, sink!.execution, ackOf(sink!, 1));
      dispatcher.acknowledgeCheckpoint(tm, { ...sink!.execution, attempt: 1 }, ackOf(sink!, 1));
      dispatcher.acknowledgeCheckpoint(tm, sink!.execution, ackOf(sink!, 7));
    });
    expect(plane.did("storeManifest")).toEqual([]);
    expect(plane.dispatcher.stale - before).toBe(4);
    plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, sink!.execution, ackOf(sink!, 1)));
    expect(ids(plane, "checkpointCompleted")).toEqual([1]);
  });

  test("as many checkpoints are on their way as may be, with the pause between them that was asked for", () => {
    const plane = new ControlPlane({
      ...EVERY_SECOND, "execution.checkpointing.max-concurrent-checkpoints": 2, "execution.checkpointing.min-pause": "700 ms",
    });
    plane.join("tm", 1, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    plane.pass(3_500);
    expect(ids(plane, "triggerCheckpoint")).toEqual([1, 2]);
    plane.acknowledge(job, 1);
    plane.pass(699);
    expect(ids(plane, "triggerCheckpoint")).toEqual([1, 2]);
    plane.pass(1);
    expect(ids(plane, "triggerCheckpoint")).toEqual([1, 2, 3]);
    // A later one that is complete makes earlier ones needless.
    plane.acknowledge(job, 3);
    expect(ids(plane, "checkpointCompleted")).toEqual([1, 3]);
    expect(ids(plane, "checkpointAborted")).toEqual([2]);
    expect(state(plane, job)).toBe("RUNNING");
  });

  test("as many are kept as are to be retained, and none when the job has ended", () => {
    const plane = new ControlPlane({ ...EVERY_SECOND, "execution.checkpointing.num-retained": 2 });
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(4_000);
    expect([...plane.manifests.keys()].map((folder) => folder.split("/").at(-1))).toEqual(["chk-3", "chk-4"]);
    plane.reportAll(job, "FINISHED");
    expect(state(plane, job)).toBe("FINISHED");
    expect(plane.manifests.size).toBe(0);
  });

  test("what is being stored when the job ends goes, too", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    plane.storing = "hangs";
    plane.pass(1_000);
    plane.reportAll(job, "FINISHED");
    expect(state(plane, job)).toBe("FINISHED");
    expect(plane.did("discard")).toEqual([]);
    plane.act((dispatcher) => dispatcher.manifestStored(job, 2));
    expect(plane.did("discard").map(({ folders }) => folders)).toEqual([[`memory://checkpoints/${job}`]]);
  });

  test("externalised checkpoints outlive their job", () => {
    for (const [retention, end, stay] of [
      ["retain-on-cancellation", "cancel", true],
      ["delete-on-cancellation", "cancel", false],
      ["delete-on-cancellation", "fail", true],
      ["no-externalized-checkpoints", "fail", false],
    ] as const) {
      const plane = new ControlPlane({
        ...EVERY_SECOND, "execution.checkpointing.externalized-checkpoint-retention": retention, "restart-strategy.type": "none",
      });
      plane.join("tm", 1);
      const job = plane.submit(pair("job", 1));
      plane.pass(1_000);
      if (end === "cancel") plane.act((dispatcher) => dispatcher.cancel(job));
      else plane.report(job, "source", 0, "FAILED", thrown);
      expect([retention, end, plane.manifests.size > 0]).toEqual([retention, end, stay]);
    }
  });

  test("barriers start at the tasks whose producers have all ended, and a task that ends meanwhile counts", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 2, { acknowledges: false });
    const job = plane.submit(graphOf("job", [vertex("a", 2), vertex("b", 2), vertex("c", 1)], [edge("a", "b", "forward"), edge("b", "c")]));
    plane.report(job, "a", 0, "FINISHED");
    plane.pass(1_000);
    const starts = (): string[] => plane.did("triggerCheckpoint").at(-1)!.executions.map((it) => `${it.vertex}/${it.subtask}`);
    expect(starts()).toEqual(["a/1", "b/0"]);
    plane.report(job, "a", 1, "FINISHED");
    expect(starts()).toEqual(["b/1"]);
    plane.acknowledge(job, 1, (task) => task.vertex.name !== "a");
    const [a, b] = plane.did("storeManifest")[0]!.manifest.vertices;
    expect(a!.subtasks).toEqual([{ operators: [], bytes: 0, finished: true }, { operators: [], bytes: 0, finished: true }]);
    expect(b!.subtasks.map(({ finished }) => finished)).toEqual([undefined, undefined]);
  });

  test("a task that waits at its end gets a checkpoint at once, and what it stored there counts from then on", () => {
    const plane = new ControlPlane({ "execution.checkpointing.interval": "1 h" });
    const tm = plane.join("tm", 2, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    const [source, sink] = plane.tasksOf(job);
    plane.act((dispatcher) => dispatcher.requestCheckpoint(tm, source!.execution));
    expect(ids(plane, "triggerCheckpoint")).toEqual([1]);
    plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, source!.execution, ackOf(source!, 1, true)));
    plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, sink!.execution, ackOf(sink!, 1)));
    plane.report(job, "source", 0, "FINISHED");
    plane.pass(3_600_000);
    plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, sink!.execution, ackOf(sink!, 2)));
    const { vertices } = plane.did("storeManifest").at(-1)!.manifest;
    expect(vertices[0]!.subtasks[0]).toMatchObject({ finished: true, bytes: 100, operators: [{ operator: "source" }] });
  });

  test("what a task stored at its end is found from later checkpoints, and stays as long as one of them names it", () => {
    const plane = new ControlPlane({ "execution.checkpointing.interval": "1 s" });
    const tm = plane.join("tm", 2, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    const [source, sink] = plane.tasksOf(job);
    const acknowledge = (task: TaskDeployment, ack: CheckpointAck): void =>
      plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, task.execution, ack));
    plane.pass(1_000);
    acknowledge(source!, ackOf(source!, 1, true));
    acknowledge(sink!, ackOf(sink!, 1));
    plane.report(job, "source", 0, "FINISHED");
    for (const checkpoint of [2, 3, 4]) {
      plane.pass(1_000);
      acknowledge(sink!, ackOf(sink!, checkpoint));
      const { vertices } = plane.did("storeManifest").at(-1)!.manifest;
      const files = vertices.map(({ subtasks }) => subtasks[0]!.operators[0]!.sections[0]!.file);
      expect(files).toEqual(["../chk-1/source-0-0", "sink-0-0"]);
    }
    expect(plane.did("discard").flatMap(({ folders }) => folders.map((folder) => folder.split("/").at(-1)))).toEqual(["chk-2"]);
  });

  test("a savepoint gets a copy of what a task stored at its end, in its own folder, also to go back to when the job ends with it", () => {
    const plane = new ControlPlane({ "execution.checkpointing.interval": "1 s" });
    const tm = plane.join("tm", 2, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    const [source, sink] = plane.tasksOf(job);
    const acknowledge = (task: TaskDeployment, checkpoint: number, finished = false): void =>
      plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, task.execution, ackOf(task, checkpoint, finished)));
    plane.pass(1_000);
    acknowledge(source!, 1, true);
    acknowledge(sink!, 1);
    plane.report(job, "source", 0, "FINISHED");
    plane.act((dispatcher) => dispatcher.savepoint(job, "memory://elsewhere", 1));
    acknowledge(sink!, 2);
    plane.act((dispatcher) => dispatcher.stopWithSavepoint(job, false, "memory://elsewhere", 2));
    acknowledge(sink!, 3);
    const filesOf = (manifest: CheckpointManifest): readonly string[] => [
      ...new Set(manifest.vertices.flatMap(({ subtasks }) => subtasks.flatMap(({ operators }) => operators.flatMap(({ sections }) => sections.map(({ file }) => file))))),
    ];
    const stored = plane.did("storeManifest").map(({ manifest, copies }) => [manifest.kind, filesOf(manifest), copies?.from, copies?.files.map(({ file }) => file)]);
    const from = `memory://checkpoints/${job}`;
    expect(stored).toEqual([
      ["checkpoint", ["source-0-0", "sink-0-0"], undefined, undefined],
      ["savepoint", ["ended-0-0", "sink-0-0"], from, ["ended-0-0"]],
      ["savepoint", ["ended-0-0", "sink-0-0"], from, ["ended-0-0"]],
    ]);
    plane.report(job, "sink", 0, "FAILED", thrown);
    plane.pass(1_000);
    const { restore } = plane.tasksOf(job).find((task) => task.vertex.name === "source")!;
    expect(restore).toMatchObject({ checkpoint: 3, finished: true, operators: [{ sections: [{ blocks: expect.arrayContaining([expect.objectContaining({ file: "ended-0-0" })]) as unknown }, {}] }] });
  });

  test("what a task stored at its end is forgotten with the checkpoint that holds it, and when subtasks become others", () => {
    const plane = new ControlPlane({ ...EVERY_SECOND, "execution.checkpointing.num-retained": 3 });
    const tm = plane.join("tm", 4, { acknowledges: false });
    const job = plane.submit(graphOf("job", [vertex("a", 2), vertex("b", 1)], []));
    const acknowledge = (id: number, finished = false): void => {
      const tasks = plane.tasksOf(job).filter((task) => finished || !(task.vertex.name === "a" && task.execution.subtask === 0));
      for (const task of tasks) {
        const last = finished && task.vertex.name === "a" && task.execution.subtask === 0;
        plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(tm, task.execution, ackOf(task, id, last)));
      }
    };
    const stored = (): unknown => plane.did("storeManifest").at(-1)!.manifest.vertices[0]!.subtasks[0];
    plane.pass(1_000);
    plane.acknowledge(job, 1);
    plane.pass(1_000);
    acknowledge(2, true);
    plane.report(job, "a", 0, "FINISHED");
    plane.pass(1_000);
    acknowledge(3);
    expect(stored()).toMatchObject({ finished: true, operators: [{}] });
    for (const checkpoint of [3, 2]) {
      plane.report(job, "b", 0, "FAILED", toWire(new CorruptCheckpointError("torn", { details: { checkpoint } })));
      plane.pass(500);
    }
    plane.act((dispatcher) => dispatcher.taskState(tm, { execution: plane.tasksOf(job)[0]!.execution, state: "FINISHED", atMs: 0 }));
    expect(plane.tasksOf(job).at(-1)!.restore).toMatchObject({ checkpoint: 1 });
    plane.pass(1_000);
    acknowledge(4);
    expect(stored()).toEqual({ finished: true, operators: [], bytes: 0 });
  });

  test("a request for a checkpoint from before all tasks ran is not forgotten", () => {
    const plane = new ControlPlane({ "execution.checkpointing.interval": "1 h" });
    const tm = plane.join("tm", 2, { starts: false });
    const job = plane.submit(pair("job", 1));
    plane.report(job, "source", 0, "RUNNING");
    plane.act((dispatcher) => dispatcher.requestCheckpoint(tm, plane.tasksOf(job)[0]!.execution));
    expect(ids(plane, "triggerCheckpoint")).toEqual([]);
    plane.report(job, "sink", 0, "RUNNING");
    expect(ids(plane, "triggerCheckpoint")).toEqual([1]);
  });

  test("a place that is none is refused with the job, and leaves nothing of it behind", () => {
    const plane = new ControlPlane();
    for (const options of [
      { "execution.checkpointing.dir": "checkpoints" },
      { "execution.checkpointing.savepoint-dir": "ftp://host/savepoints" },
      { "execution.checkpointing.unaligned.enabled": true, "execution.checkpointing.mode": "at-least-once" },
    ]) {
      expect(() => plane.submit(pair("job", 1, { options }))).toThrow(ConfigurationError);
    }
    expect(plane.dispatcher.jobs()).toEqual([]);
    expect(plane.did("archiveJob")).toEqual([]);
  });

  test("whoever watches is told of checkpoints as they go", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.watchJob("watcher", job, ["checkpoints"]));
    plane.pass(2_100);
    const told = plane.told("watcher", "jobCheckpoints").map(({ message }) => [message.completed, message.latest.length]);
    expect(told[0]).toEqual([0, 0]);
    expect(told.at(-1)).toEqual([2, 2]);
  });
});

describe("going back to a checkpoint", () => {
  test("after a failure the tasks begin again from the latest checkpoint, as the next attempt, where they were", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 2);
    const job = plane.submit(pair("job", 2));
    plane.pass(2_500);
    plane.report(job, "sink", 1, "FAILED", thrown);
    expect(state(plane, job)).toBe("RESTARTING");
    plane.pass(100);
    expect(state(plane, job)).toBe("RUNNING");
    expect(attempts(plane, job)).toEqual({ "source/0": 1, "source/1": 1, "sink/0": 1, "sink/1": 1 });
    const tasks = plane.tasksOf(job);
    expect(tasks.map(({ execution, slot }) => [execution.subtask, slot])).toEqual([[0, 0], [1, 1], [0, 0], [1, 1]]);
    for (const { restore } of tasks) expect(restore).toMatchObject({ checkpoint: 2, folder: `memory://checkpoints/${job}/chk-2` });
    expect(groupsOf(tasks.find((it) => it.vertex.name === "sink" && it.execution.subtask === 1)!.restore)).toEqual(
      Array.from({ length: 64 }, (_, index) => 64 + index),
    );
    expect(plane.dispatcher.checkpoints(job)).toMatchObject({ restored: 1, restoredFrom: 2 });
    // And goes on to take checkpoints, with higher numbers.
    plane.pass(1_000);
    expect(ids(plane, "checkpointCompleted")).toEqual([1, 2, 3]);
  });

  test("only the failed region restarts, and the others go on", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 2);
    const job = plane.submit(graphOf("job", [vertex("a", 2), vertex("b", 2)], [edge("a", "b", "forward")]));
    plane.pass(1_000);
    plane.report(job, "b", 1, "FAILED", thrown);
    plane.pass(100);
    expect(attempts(plane, job)).toEqual({ "a/0": 0, "a/1": 1, "b/0": 0, "b/1": 1 });
    expect(state(plane, job)).toBe("RUNNING");
    expect(plane.did("cancel").flatMap(({ executions }) => executions.map(({ vertex: id, subtask }) => `${id}/${subtask}`))).toEqual(["a/1"]);
  });

  test("a lost TaskManager's tasks move to free slots, never back to it", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    const lost = plane.join("lost", 2);
    const job = plane.submit(pair("job", 2));
    plane.pass(1_000);
    plane.join("spare", 2);
    plane.lose(lost);
    plane.pass(100);
    expect(state(plane, job)).toBe("RUNNING");
    const { executions } = plane.details(job);
    expect(executions.map(({ taskManager, attempt }) => [taskManager, attempt])).toEqual(Array.from({ length: 4 }, () => ["spare", 1]));
  });

  test("without free slots the job waits for them, and goes on when they come", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    const [one, two] = [plane.join("one", 1), plane.join("two", 1)];
    const job = plane.submit(pair("job", 2));
    plane.pass(1_000);
    plane.lose(two);
    plane.pass(5_000);
    expect(plane.details(job)).toMatchObject({ state: "WAITING", waitingFor: "needs 1 slot, 0 are free of 1 on 1 TaskManager" });
    plane.join("three", 1);
    expect(state(plane, job)).toBe("RUNNING");
    const places = plane.details(job).executions.map(({ taskManager }) => taskManager);
    expect(places).toEqual([one, "three", one, "three"]);
    expect(plane.tasksOf(job).every(({ restore }) => restore?.checkpoint === 1)).toBe(true);
  });

  test("a failure and the loss of its TaskManager soon after are one restart", () => {
    const plane = new ControlPlane({ ...EVERY_SECOND, "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 1 });
    const lost = plane.join("lost", 1);
    plane.join("other", 1, { obeys: true });
    plane.join("spare", 2);
    const job = plane.submit(pair("job", 4));
    plane.pass(1_000);
    plane.report(job, "sink", 2, "FAILED", thrown);
    plane.lose(lost);
    plane.join("more", 1);
    plane.pass(1_000);
    expect(state(plane, job)).toBe("RUNNING");
    expect(new Set(Object.values(attempts(plane, job)))).toEqual(new Set([1]));
  });

  test("no task begins again before all of its region have ended, and one that never does takes its TaskManager along", () => {
    const plane = new ControlPlane({ ...EVERY_SECOND, "task.cancellation.timeout": "1 s" });
    const stuck = plane.join("stuck", 1, { obeys: false });
    plane.join("good", 1);
    const job = plane.submit(pair("job", 2));
    plane.pass(1_000);
    plane.report(job, "source", 1, "FAILED", thrown);
    plane.pass(9_000);
    expect(state(plane, job)).toBe("RESTARTING");
    expect(plane.did("deploy")).toHaveLength(2);
    plane.pass(5_000);
    expect(plane.did("dismiss")).toMatchObject([{ taskManager: stuck }]);
    plane.join("spare", 1);
    plane.lose(stuck);
    plane.pass(1_000);
    expect(state(plane, job)).toBe("RUNNING");
    expect(plane.details(job).executions.every(({ taskManager }) => taskManager !== stuck)).toBe(true);
  });

  test("while it is not known whether a manifest is durable, nothing begins again; then from that checkpoint", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    plane.storing = "hangs";
    plane.pass(1_000);
    plane.report(job, "sink", 0, "FAILED", thrown);
    plane.pass(10_000);
    expect(plane.details(job)).toMatchObject({
      state: "RESTARTING", waitingFor: "it is not known yet whether the last checkpoint was stored",
    });
    plane.act((dispatcher) => dispatcher.manifestStored(job, 2));
    plane.pass(100);
    expect(plane.tasksOf(job)[0]!.restore).toMatchObject({ checkpoint: 2 });
  });

  test("a checkpoint that a failure interrupts is given up, and its number is not used again", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    const [source, sink] = plane.tasksOf(job);
    plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(plane.taskManagers.keys().next().value!, source!.execution, ackOf(source!, 1)));
    plane.report(job, "sink", 0, "FAILED", thrown);
    expect(ids(plane, "checkpointAborted")).toEqual([1]);
    plane.pass(500);
    plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(plane.taskManagers.keys().next().value!, sink!.execution, ackOf(sink!, 1)));
    expect(plane.did("storeManifest")).toEqual([]);
    expect(plane.tasksOf(job)[0]!.restore).toBeUndefined();
    plane.pass(1_000);
    expect(ids(plane, "triggerCheckpoint")).toEqual([1, 2]);
  });

  test("a checkpoint that can't be read is passed over for the one before; when none is left the job fails", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(2_000);
    plane.report(job, "sink", 0, "FAILED", thrown);
    plane.pass(100);
    const unreadable = (checkpoint: number): ReturnType<typeof toWire> =>
      toWire(new CorruptCheckpointError("chk is torn", { details: { checkpoint } }));
    plane.report(job, "sink", 0, "FAILED", unreadable(2));
    plane.pass(500);
    expect(plane.tasksOf(job)[0]!.restore).toMatchObject({ checkpoint: 1 });
    plane.report(job, "source", 0, "FAILED", unreadable(1));
    plane.pass(500);
    expect(plane.details(job)).toMatchObject({
      state: "FAILED",
      failure: { name: "CorruptCheckpointError", message: expect.stringMatching(/has no other checkpoint that can be read/) },
    });
  });

  test("a failure that comes back whenever the job starts fails it at once", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.report(job, "sink", 0, "FAILED", toWire(new ConfigurationError("no such thing")));
    expect(state(plane, job)).toBe("FAILED");
  });

  test("restarts are bounded by the strategy, and the job says so", () => {
    const plane = new ControlPlane({
      ...EVERY_SECOND, "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 2, "restart-strategy.fixed-delay.delay": "3 s",
    });
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    for (let round = 0; round < 2; round++) {
      plane.report(job, "sink", 0, "FAILED", thrown);
      plane.pass(2_999);
      expect(state(plane, job)).toBe("RESTARTING");
      plane.pass(1);
      expect(state(plane, job)).toBe("RUNNING");
    }
    plane.report(job, "sink", 0, "FAILED", thrown);
    expect(plane.details(job)).toMatchObject({ state: "FAILED", failure: { message: expect.stringMatching(/boom.*The job restarted 2 times/) } });
  });

  test("a job without checkpoints fails at its first failure, unless it asks for a strategy; then it begins anew", () => {
    for (const [strategy, expected] of [["", "FAILED"], ["failure-rate", "RUNNING"]] as const) {
      const plane = new ControlPlane({ "restart-strategy.type": strategy });
      plane.join("tm", 1);
      const job = plane.submit(pair("job", 1));
      plane.report(job, "sink", 0, "FAILED", thrown);
      plane.pass(2_000);
      expect(state(plane, job)).toBe(expected);
      if (expected === "RUNNING") expect(plane.tasksOf(job)[0]!.restore).toBeUndefined();
    }
  });

  test("a job that restarts can be cancelled", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    const one = plane.join("one", 1);
    const job = plane.submit(pair("job", 1));
    plane.lose(one);
    plane.act((dispatcher) => dispatcher.cancel(job));
    plane.pass(100);
    expect(state(plane, job)).toBe("CANCELED");
  });
});

describe("savepoints", () => {
  const answers = (plane: ControlPlane): unknown[] => [
    ...plane.did("reply").map(({ request, value }) => [request, value]),
    ...plane.did("refuse").map(({ request, error }) => [request, error.message]),
  ];

  test("a savepoint goes where it was asked to, and no failure goes back to it", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    plane.act((dispatcher) => dispatcher.savepoint(job, "/mine", 42));
    const [[request, value]] = answers(plane) as [[number, { location: string }]];
    expect(request).toBe(42);
    expect(value.location).toMatch(new RegExp(`^/mine/savepoint-${job.slice(0, 6)}-2-`));
    // Its owner may remove it at any time: nothing is committed because of it.
    expect(ids(plane, "checkpointCompleted")).toEqual([1]);
    plane.report(job, "sink", 0, "FAILED", thrown);
    plane.pass(100);
    expect(plane.tasksOf(job)[0]!.restore).toMatchObject({ checkpoint: 1 });
  });

  test("a savepoint without a place is refused, as is one of a job that does not run", () => {
    const plane = new ControlPlane();
    const job = plane.submit(pair("job", 1));
    expect(() => plane.act((dispatcher) => dispatcher.savepoint(job, "/mine", 1))).toThrow(CheckpointError);
    plane.join("tm", 1);
    expect(() => plane.act((dispatcher) => dispatcher.savepoint(job, undefined, 1))).toThrow(/execution\.checkpointing\.savepoint-dir/);
  });

  test("a job that is stopped with a savepoint is answered when it has finished", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.stopWithSavepoint(job, true, "/mine", 1));
    expect(plane.did("triggerCheckpoint")[0]).toMatchObject({ trigger: { kind: "savepoint", stop: "drain" } });
    expect(ids(plane, "checkpointCompleted")).toEqual([1]);
    expect(answers(plane)).toEqual([]);
    plane.reportAll(job, "FINISHED");
    expect(answers(plane)).toMatchObject([[1, { location: expect.stringMatching(/^\/mine\//) }]]);
    expect([...plane.manifests.keys()]).toHaveLength(1);
  });

  test("a job that ends with a savepoint takes no other checkpoint, unless a task waits for one; one that goes on does again", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.stopWithSavepoint(job, false, "/mine", 1));
    plane.report(job, "source", 0, "FINISHED");
    plane.pass(5_000);
    expect(plane.did("triggerCheckpoint")).toHaveLength(1);
    expect(() => plane.act((dispatcher) => dispatcher.savepoint(job, "/mine", 2))).toThrow(/is being stopped with a savepoint already/);
    plane.report(job, "sink", 0, "FAILED", thrown);
    plane.pass(3_000);
    expect(plane.did("triggerCheckpoint").length).toBeGreaterThan(1);
  });

  test("a job that fails after its last savepoint was complete goes on from it, and whoever stopped it is told", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.pass(1_000);
    plane.act((dispatcher) => dispatcher.stopWithSavepoint(job, false, "/mine", 1));
    plane.report(job, "sink", 0, "FAILED", thrown);
    plane.pass(100);
    expect(plane.tasksOf(job)[0]!.restore).toMatchObject({ checkpoint: 2, folder: expect.stringMatching(/^\/mine\//) });
    expect(answers(plane)).toMatchObject([[1, expect.stringMatching(/runs again.*savepoint/)]]);
  });

  test("a savepoint that fails is refused with the reason, and the job goes on", () => {
    const plane = new ControlPlane({ "execution.checkpointing.timeout": "2 s" });
    plane.join("tm", 1, { acknowledges: false });
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.stopWithSavepoint(job, false, "/mine", 1));
    plane.pass(2_000);
    expect(answers(plane)).toMatchObject([[1, expect.stringMatching(/^savepoint 1 of job "job" failed: 2 of 2 tasks/)]]);
    expect(state(plane, job)).toBe("RUNNING");
    expect(ids(plane, "checkpointAborted")).toEqual([1]);
  });

  test("another run begins with it, at another parallelism, with all key groups and each item once", () => {
    const plane = new ControlPlane();
    plane.join("tm", 3);
    const job = plane.submit(pair("job", 2));
    plane.act((dispatcher) => dispatcher.stopWithSavepoint(job, false, "/mine", 1));
    plane.reportAll(job, "FINISHED");
    const [from] = plane.manifests.keys();
    const next = plane.submit(pair("job", 3), { from: from! });
    const sinks = plane.tasksOf(next).filter((task) => task.vertex.name === "sink");
    expect(sinks).toHaveLength(3);
    const groups = sinks.flatMap(({ restore }) => groupsOf(restore));
    expect(groups.sort((a, b) => a - b)).toEqual(Array.from({ length: 128 }, (_, group) => group));
    for (const { restore } of sinks) expect(restore).toMatchObject({ checkpoint: 1, folder: from });
    // A failure before its own first checkpoint goes back to the savepoint, which stays when the job has gone.
    plane.act((dispatcher) => dispatcher.cancel(next));
    expect(plane.manifests.has(from!)).toBe(true);
  });

  test("state without an operator, or of another kind of operator, or with other key groups, is an error that says what to do", () => {
    const plane = new ControlPlane();
    plane.join("tm", 2);
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.savepoint(job, "/mine", 1));
    const [from] = plane.manifests.keys();
    const only = graphOf("job", [vertex("source", 1)], []);
    expect(() => plane.submit(only, { from: from! })).toThrow(/it has no operator for the state of "sink" \(sink\).*allowNonRestoredState/);
    const sink = vertex("sink", 1);
    const changed = graphOf("job", [vertex("source", 1), { ...sink, operators: [{ ...sink.operators[0]!, kind: "window" }] }], []);
    expect(() => plane.submit(changed, { from: from! })).toThrow(/belongs to "sink" \(map\), but there it has "sink" \(window\).*uid/);
    const wider = graphOf("job", [vertex("source", 1), { ...sink, maxParallelism: 256 }], []);
    expect(() => plane.submit(wider, { from: from! })).toThrow(/maximal parallelism of 128, and now has 256/);
    const left = plane.submit(only, { from: from!, allowNonRestoredState: true });
    expect(state(plane, left)).toBe("RUNNING");
  });
});

describe("rescaling", () => {
  test("a running job goes on at another parallelism from its next checkpoint, with all of its state", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 4);
    const job = plane.submit(pair("job", 2));
    plane.pass(1_000);
    plane.act((dispatcher) => dispatcher.rescale(job, 4, 9));
    plane.pass(100);
    expect(plane.did("reply")).toMatchObject([{ request: 9, value: undefined }]);
    expect(state(plane, job)).toBe("RUNNING");
    expect(plane.details(job).graph.vertices.map(({ parallelism }) => parallelism)).toEqual([4, 4]);
    const sinks = plane.tasksOf(job).filter((task) => task.vertex.name === "sink");
    expect(sinks.map(({ execution }) => execution.attempt)).toEqual([1, 1, 1, 1]);
    expect(sinks.flatMap(({ restore }) => groupsOf(restore)).sort((a, b) => a - b)).toEqual(Array.from({ length: 128 }, (_, group) => group));
    expect(sinks[0]!.restore).toMatchObject({ checkpoint: 2 });
    plane.act((dispatcher) => dispatcher.rescale(job, 1, 10));
    plane.pass(100);
    expect(plane.dispatcher.overview().slotsFree).toBe(3);
    expect(plane.tasksOf(job).map(({ execution }) => execution.attempt)).toEqual([2, 2]);
    plane.pass(1_000);
    expect(plane.dispatcher.checkpoints(job).latest.at(-1)).toMatchObject({ state: "COMPLETED", expected: 2 });
  });

  test("a job with unaligned checkpoints takes an aligned one for it, and so are those that come behind it", () => {
    const plane = new ControlPlane({
      ...EVERY_SECOND, "execution.checkpointing.unaligned.enabled": true, "execution.checkpointing.max-concurrent-checkpoints": 2,
    });
    plane.join("tm", 4, { acknowledges: false });
    const job = plane.submit(pair("job", 2));
    plane.act((dispatcher) => dispatcher.rescale(job, 4, 9));
    plane.pass(1_000);
    const unaligned = (): unknown[] => plane.did("triggerCheckpoint").map(({ trigger }) => [trigger.checkpoint, trigger.unaligned]);
    expect(unaligned()).toEqual([[1, false], [2, false]]);
  });

  test("vertices that can't be split stay as they are, and a parallelism that none can have is refused", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 4);
    const job = plane.submit(graphOf("job", [{ ...vertex("source", 1), parallelismLimit: 1 }, vertex("sink", 1)], [edge("source", "sink")]));
    plane.act((dispatcher) => dispatcher.rescale(job, 3, 1));
    plane.pass(100);
    expect(plane.details(job).graph.vertices.map(({ parallelism }) => parallelism)).toEqual([1, 3]);
    expect(() => plane.act((dispatcher) => dispatcher.rescale(job, 200, 2))).toThrow(/can't run at parallelism 200.*source: at most 1, sink: at most 128/);
  });

  test("a job whose checkpoint fails goes on as it was", () => {
    const plane = new ControlPlane({ "execution.checkpointing.timeout": "1 s", "execution.checkpointing.tolerable-failed-checkpoints": 3 });
    plane.join("tm", 4, { acknowledges: false });
    const job = plane.submit(pair("job", 2));
    plane.act((dispatcher) => dispatcher.rescale(job, 4, 9));
    plane.pass(1_500);
    expect(plane.did("refuse")).toMatchObject([{ request: 9 }]);
    expect(state(plane, job)).toBe("RUNNING");
    expect(attempts(plane, job)["sink/1"]).toBe(0);
  });

  test("a task that fails while the checkpoint for it is stored does not stop it", () => {
    const plane = new ControlPlane(EVERY_SECOND);
    plane.join("tm", 4);
    const job = plane.submit(graphOf("job", [vertex("a", 2), vertex("b", 2)], [edge("a", "b", "forward")]));
    plane.storing = "hangs";
    plane.act((dispatcher) => dispatcher.rescale(job, 4, 9));
    plane.report(job, "a", 0, "FAILED", thrown);
    plane.act((dispatcher) => dispatcher.manifestStored(job, 1));
    plane.pass(500);
    expect(plane.did("reply")).toMatchObject([{ request: 9 }]);
    expect(plane.details(job)).toMatchObject({ state: "RUNNING", tasks: { RUNNING: 8 } });
  });
});

describe("a reactive job", () => {
  const REACTIVE = { ...EVERY_SECOND, "scheduler-mode": "reactive" } as const;
  const parallelism = (plane: ControlPlane, job: JobId): number[] => plane.details(job).graph.vertices.map((it) => it.parallelism);

  test("runs on the slots that there are, takes more when they have been there for a while, and fewer when some are lost", () => {
    const plane = new ControlPlane(REACTIVE);
    const one = plane.join("one", 2);
    const job = plane.submit(pair("job", 4));
    expect([state(plane, job), ...parallelism(plane, job)]).toEqual(["RUNNING", 2, 2]);
    plane.pass(1_500);
    plane.join("two", 1);
    plane.pass(1_000);
    const three = plane.join("three", 2);
    expect(parallelism(plane, job)).toEqual([2, 2]);
    plane.pass(1_500);
    expect([state(plane, job), ...parallelism(plane, job)]).toEqual(["RUNNING", 5, 5]);
    const restored = plane.tasksOf(job).filter((task) => task.vertex.name === "sink");
    expect(restored.flatMap(({ restore }) => groupsOf(restore)).sort((a, b) => a - b)).toEqual(Array.from({ length: 128 }, (_, group) => group));
    plane.pass(2_000);
    plane.lose(three);
    plane.pass(200);
    expect([state(plane, job), ...parallelism(plane, job)]).toEqual(["RUNNING", 3, 3]);
    plane.lose(one);
    plane.pass(200);
    expect([state(plane, job), ...parallelism(plane, job)]).toEqual(["RUNNING", 1, 1]);
    expect(plane.details(job).executions.map(({ taskManager }) => taskManager)).toEqual(["two", "two"]);
  });

  test("waits while there are no slots at all", () => {
    const plane = new ControlPlane(REACTIVE);
    const one = plane.join("one", 2);
    const job = plane.submit(pair("job", 1));
    plane.lose(one);
    plane.pass(5_000);
    expect(state(plane, job)).toBe("WAITING");
    plane.join("two", 3);
    expect([state(plane, job), ...parallelism(plane, job)]).toEqual(["RUNNING", 3, 3]);
  });

  test("needs aligned checkpoints", () => {
    const plane = new ControlPlane({ ...REACTIVE, "execution.checkpointing.unaligned.enabled": true });
    expect(() => plane.submit(pair("job", 1))).toThrow(/needs aligned checkpoints/);
  });
});

describe("completed checkpoints", () => {
  /** A checkpoint with one file, in the folder of another checkpoint perhaps. */
  const checkpoint = (id: number, file = "0-0.0"): CompletedCheckpoint => ({
    id,
    folder: `/job/chk-${id}`,
    owned: true,
    manifest: {
      job: "job", jobName: "job", checkpoint: id, kind: "checkpoint", timestampMs: 0, epoch: 1,
      vertices: [
        {
          id: "v", name: "v", parallelism: 1, maxParallelism: 128, operators: [],
          subtasks: [{ bytes: 0, operators: [{ operator: "o", sections: [{ name: "s", kind: "keyed", file }] }] }],
        },
      ],
    },
  });
  const added = (store: CompletedCheckpoints, ...checkpoints: readonly CompletedCheckpoint[]): number[][] =>
    checkpoints.map((each) => store.add(each).map(({ id }) => id));

  test("one that later ones build upon stays until none of those that are kept does", () => {
    const store = new CompletedCheckpoints(1);
    expect(added(store, checkpoint(1), checkpoint(2, "../chk-1/0-0.0"), checkpoint(3, "../chk-1/0-0.0"), checkpoint(4))).toEqual([[], [], [2], [1, 3]]);
  });

  test("one stays as long as rows that were on their way are named in it", () => {
    const store = new CompletedCheckpoints(1);
    const { manifest, ...second } = checkpoint(2);
    const vertices = manifest.vertices.map((it) => ({ ...it, subtasks: it.subtasks.map((part) => ({ ...part, channels: [{ file: "../chk-1/0-0.0" }] })) }));
    expect(added(store, checkpoint(1), { ...second, manifest: { ...manifest, vertices } }, checkpoint(3))).toEqual([[], [], [1, 2]]);
  });

  test("one stays as long as a task may build upon it that has not heard of its successor", () => {
    const store = new CompletedCheckpoints(1, 1);
    expect(added(store, checkpoint(1), checkpoint(2), checkpoint(3, "../chk-1/0-0.0"), checkpoint(4))).toEqual([[], [], [], [1, 2]]);
  });

  test("numbers only rise", () => {
    const store = new CompletedCheckpoints(3);
    expect(added(store, checkpoint(2), checkpoint(1), checkpoint(2))).toEqual([[], [], []]);
    expect(store.all.map(({ id }) => id)).toEqual([2]);
  });

  test("one that can't be read takes no place of a sound one", () => {
    const store = new CompletedCheckpoints(2);
    added(store, checkpoint(1), checkpoint(2));
    store.drop(2);
    expect(added(store, checkpoint(3))).toEqual([[]]);
    expect(store.all.map(({ id }) => id)).toEqual([1, 3]);
  });
});
