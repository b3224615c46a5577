/**
 * One job under random faults, decided by hand down to each message: tasks that start, fail and end late, answers that come twice or too
 * late, manifests of which nobody knows for a while, TaskManagers that go and come. What must never happen is checked after each step;
 * that the job goes on is checked when the faults are over.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserFunctionError, toWire } from "../../../src/core/types/errors.ts";
import type { JobId, TaskManagerId } from "../../../src/core/types/ids.ts";
import type { CheckpointTrigger } from "../../../src/cluster/protocol/checkpoint-messages.ts";
import type { ExecutionAddress, TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import type { Effect } from "../../../src/cluster/jobmanager/effect.ts";
import { ControlPlane, ackOf } from "./control-plane.ts";
import { edge, graphOf, vertex } from "./graphs.ts";

type Action =
  | { readonly kind: "starts" | "ends" | "fails" | "acknowledges" | "declines" | "again"; readonly pick: number }
  | { readonly kind: "stored"; readonly pick: number; readonly ok: boolean }
  | { readonly kind: "loses" | "joins" | "all acknowledge" | "all start" | "all end" }
  | { readonly kind: "rescales"; readonly to: number }
  | { readonly kind: "waits"; readonly ms: number };

const pick = fc.nat({ max: 1_000 });
const actions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("starts" as const), pick }) },
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("ends" as const), pick }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("fails" as const), pick }) },
  { weight: 14, arbitrary: fc.record({ kind: fc.constant("acknowledges" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("declines" as const), pick }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("again" as const), pick }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("stored" as const), pick, ok: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constantFrom<Action>({ kind: "loses" }, { kind: "joins" }) },
  { weight: 9, arbitrary: fc.constantFrom<Action>({ kind: "all acknowledge" }, { kind: "all start" }, { kind: "all end" }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rescales" as const), to: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("waits" as const), ms: fc.integer({ min: 1, max: 1_500 }) }) },
);

interface Live {
  readonly task: TaskDeployment;
  readonly at: TaskManagerId;
  runs: boolean;
  told: boolean;
}

class Faults {
  readonly plane = new ControlPlane({
    "execution.checkpointing.interval": "500 ms",
    "execution.checkpointing.timeout": "5 s",
    "execution.checkpointing.max-concurrent-checkpoints": 2,
    "execution.checkpointing.tolerable-failed-checkpoints": 1,
    "restart-strategy.exponential-delay.max-backoff": "200 ms",
  });
  readonly job: JobId;
  readonly live = new Map<string, Live>();
  readonly triggered: number[] = [];
  readonly storing: number[] = [];
  readonly stored = new Set<number>();
  readonly said: (() => void)[] = [];
  readonly #told = new Set<CheckpointTrigger>();
  #seen = 0;
  #joined = 0;
  #requests = 0;

  constructor() {
    this.plane.storing = "hangs";
    for (let count = 0; count < 3; count++) this.join();
    const vertices = [vertex("source", 2), vertex("count", 2), vertex("other", 1)];
    this.job = this.plane.submit(graphOf("job", vertices, [edge("source", "count")]));
    this.look();
  }

  join(): void {
    this.plane.join(`tm${this.#joined++}`, 2, { starts: false, obeys: false, acknowledges: false });
  }

  do(action: Action): void {
    const { plane, job } = this;
    const chosen = (from: readonly Live[], at: number): Live | undefined => from[at % Math.max(1, from.length)];
    const all = [...this.live.values()];
    const say = (what: () => void): void => {
      this.said.push(what);
      what();
    };
    const state = (it: Live, how: "RUNNING" | "FAILED" | "CANCELED"): void => {
      const error = how === "FAILED" ? { error: toWire(new UserFunctionError("boom")) } : {};
      say(() => plane.act((dispatcher) => dispatcher.taskState(it.at, { execution: it.task.execution, state: how, atMs: plane.nowMs, ...error })));
    };
    switch (action.kind) {
      case "starts": {
        const it = chosen(all.filter(({ runs }) => !runs), action.pick);
        if (it !== undefined) {
          it.runs = true;
          state(it, "RUNNING");
        }
        break;
      }
      case "ends": {
        const it = chosen(all.filter(({ told }) => told), action.pick);
        if (it !== undefined) {
          this.live.delete(keyOf(it.task.execution));
          state(it, "CANCELED");
        }
        break;
      }
      case "fails": {
        const it = chosen(all, action.pick);
        if (it !== undefined) {
          this.live.delete(keyOf(it.task.execution));
          state(it, "FAILED");
        }
        break;
      }
      case "acknowledges": {
        const [it, id] = [chosen(all, action.pick), this.triggered.at(-1 - (action.pick % 2))];
        if (it !== undefined && id !== undefined && it.runs) {
          say(() => plane.act((dispatcher) => dispatcher.acknowledgeCheckpoint(it.at, it.task.execution, ackOf(it.task, id))));
        }
        break;
      }
      case "all start":
        for (let count = all.length; count > 0; count--) this.do({ kind: "starts", pick: 0 });
        break;
      case "all end":
        for (let count = all.length; count > 0; count--) this.do({ kind: "ends", pick: 0 });
        break;
      case "all acknowledge":
        for (let at = 0; at < all.length; at++) for (const odd of [0, 1]) this.do({ kind: "acknowledges", pick: at + odd * all.length });
        break;
      case "declines": {
        const [it, id] = [chosen(all, action.pick), this.triggered.at(-1)];
        if (it !== undefined && id !== undefined) {
          plane.act((dispatcher) => dispatcher.declineCheckpoint(it.at, it.task.execution, id, new Error("no room")));
        }
        break;
      }
      case "again":
        this.said[action.pick % Math.max(1, this.said.length)]?.();
        break;
      case "stored": {
        const [id] = this.storing.splice(action.pick % Math.max(1, this.storing.length), 1);
        if (id === undefined) break;
        if (action.ok) this.stored.add(id);
        plane.act((dispatcher) => dispatcher.manifestStored(job, id, action.ok ? undefined : new Error("EIO")));
        break;
      }
      case "loses": {
        const [id] = plane.taskManagers.keys();
        if (id !== undefined) this.lose(id);
        break;
      }
      case "joins":
        if (plane.taskManagers.size < 4) this.join();
        break;
      case "rescales":
        try {
          plane.act((dispatcher) => dispatcher.rescale(job, action.to, ++this.#requests));
        } catch {
          // Not now.
        }
        break;
      case "waits":
        plane.pass(action.ms);
    }
    this.look();
  }

  lose(id: TaskManagerId): void {
    for (const [key, { at }] of this.live) if (at === id) this.live.delete(key);
    this.plane.lose(id);
  }

  /** What was decided since the last look, held against what may be. */
  look(): void {
    const { effects } = this.plane;
    for (; this.#seen < effects.length; this.#seen++) this.#check(effects[this.#seen]!);
    expect(["WAITING", "RUNNING", "RESTARTING"]).toContain(this.plane.details(this.job).state);
  }

  #check(effect: Effect): void {
    switch (effect.kind) {
      case "deploy":
        expect(this.plane.taskManagers.has(effect.taskManager), "nothing is deployed to a lost TaskManager").toBe(true);
        expect(this.storing, "nothing begins while it is uncertain which checkpoint is the last").toEqual([]);
        for (const task of effect.tasks) {
          const { vertex: of, subtask } = task.execution;
          const former = [...this.live.values()].find(({ task: { execution } }) => execution.vertex === of && execution.subtask === subtask);
          expect(former?.task.execution, "no two attempts of a task run").toBeUndefined();
          const latest = this.stored.size === 0 ? undefined : Math.max(...this.stored);
          expect(task.restore?.checkpoint, "a task begins with the latest checkpoint that exists").toBe(latest);
          this.live.set(keyOf(task.execution), { task, at: effect.taskManager, runs: false, told: false });
        }
        return;
      case "cancel":
        for (const execution of effect.executions) {
          const it = this.live.get(keyOf(execution));
          if (it !== undefined) it.told = true;
        }
        return;
      case "release":
        // Whatever still runs of the job there is ended.
        for (const [key, { at }] of this.live) if (at === effect.taskManager) this.live.delete(key);
        return;
      case "triggerCheckpoint":
        // Each TaskManager gets it.
        if (this.#told.has(effect.trigger)) return;
        expect(effect.trigger.checkpoint, "numbers rise").toBeGreaterThan(this.triggered.at(-1) ?? 0);
        this.triggered.push(effect.trigger.checkpoint);
        this.#told.add(effect.trigger);
        return;
      case "storeManifest":
        for (const { subtasks } of effect.manifest.vertices) {
          for (const { operators } of subtasks) expect(operators.length, "every task has told its part").toBeGreaterThan(0);
        }
        this.storing.push(effect.checkpoint);
        return;
      case "checkpointCompleted":
        expect(this.stored.has(effect.checkpoint), "tasks are told of checkpoints that exist").toBe(true);
        return;
      case "dismiss":
        this.lose(effect.taskManager);
        return;
      default:
    }
  }

  /** No more faults: everybody does what is asked. */
  calm(): void {
    for (let count = 0; count < 3; count++) this.join();
    const before = this.plane.dispatcher.checkpoints(this.job).completed;
    for (let round = 0; round < 200; round++) {
      while (this.storing.length > 0) this.do({ kind: "stored", pick: 0, ok: true });
      while ([...this.live.values()].some(({ told }) => told)) this.do({ kind: "ends", pick: 0 });
      while ([...this.live.values()].some(({ runs }) => !runs)) this.do({ kind: "starts", pick: 0 });
      for (let task = 0; task < 2 * this.live.size; task++) this.do({ kind: "acknowledges", pick: task });
      for (let task = 0; task < 2 * this.live.size; task += 2) this.do({ kind: "acknowledges", pick: Math.floor(task / 2) * 2 });
      this.do({ kind: "waits", ms: 100 });
      const { state } = this.plane.details(this.job);
      if (state === "RUNNING" && this.plane.dispatcher.checkpoints(this.job).completed > before + 2) return;
    }
    throw new Error(`the job does not go on: ${JSON.stringify(this.plane.details(this.job), undefined, 1).slice(0, 2_000)}`);
  }
}

const keyOf = ({ vertex: of, subtask, attempt }: ExecutionAddress): string => `${of}/${subtask}#${attempt}`;

describe("whatever goes wrong, and in whatever order", () => {
  test("no task runs twice, none begins from a checkpoint that is not the last, and the job goes on", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(fc.array(actions, { minLength: 20, maxLength: 250 }), (sequence) => {
        const faults = new Faults();
        for (const action of sequence) faults.do(action);
        faults.calm();
      }),
      { numRuns: Number(process.env["DREY_RUNS"] ?? 100) },
    );
  });
});
