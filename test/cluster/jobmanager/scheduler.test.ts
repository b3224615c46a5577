import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newJobId, subtaskId, taskManagerId } from "../../../src/core/types/ids.ts";
import { ExecutionGraph } from "../../../src/cluster/jobmanager/execution-graph.ts";
import { type Demand, type FreeSlots, assign, deployments, place } from "../../../src/cluster/jobmanager/scheduler.ts";
import { shareSlots } from "../../../src/cluster/jobmanager/slot-sharing.ts";
import type { TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import { CODE_DIGEST, edge, graphOf, pair, vertex } from "./graphs.ts";

const free = (...counts: readonly number[]): FreeSlots[] =>
  counts.map((count, index) => ({ taskManager: taskManagerId(`tm${index}`), slots: Array.from({ length: count }, (_, slot) => slot) }));
const shares = (count: number) => shareSlots(graphOf("job", [vertex("a", count)], []));
const perTaskManager = (placements: ReturnType<typeof place>): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { at } of placements ?? []) counts[at.taskManager] = (counts[at.taskManager] ?? 0) + 1;
  return counts;
};

describe("placing a job", () => {
  test("a job that fits on one TaskManager stays on the one with the most free slots", () => {
    expect(perTaskManager(place(shares(2), free(2, 3, 3)))).toEqual({ tm1: 2 });
  });

  test("a larger job uses as few TaskManagers as can hold it, evenly", () => {
    expect(perTaskManager(place(shares(5), free(1, 4, 4)))).toEqual({ tm1: 3, tm2: 2 });
    expect(perTaskManager(place(shares(9), free(1, 4, 4)))).toEqual({ tm0: 1, tm1: 4, tm2: 4 });
  });

  test("a job that does not fit gets nothing", () => {
    expect(place(shares(3), free(1, 1))).toBeUndefined();
  });

  test("no slot is given twice, and the same facts give the same places", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 20 }),
        (counts, needed) => {
          const placements = place(shares(needed), free(...counts));
          expect(placements === undefined).toBe(counts.reduce((sum, count) => sum + count, 0) < needed);
          if (placements === undefined) return;
          expect(placements).toHaveLength(needed);
          expect(new Set(placements.map(({ at }) => `${at.taskManager}/${at.slot}`)).size).toBe(needed);
          expect(place(shares(needed), free(...counts))).toEqual(placements);
        },
      ),
    );
  });
});

describe("who gets slots", () => {
  const demand = (count: number, waitedMs = 0): Demand => ({ job: newJobId(), shares: shares(count), waitedMs, patienceMs: 1_000 });

  test("jobs are served in order of submission", () => {
    const [first, second] = [demand(2), demand(2)];
    expect([...assign([first, second], free(2), 2).keys()]).toEqual([first.job]);
  });

  test("a later job that fits overtakes one that does not", () => {
    const [large, small] = [demand(4), demand(1)];
    expect([...assign([large, small], free(2), 4).keys()]).toEqual([small.job]);
  });

  test("a job that has waited long is overtaken no more", () => {
    const [large, small] = [demand(4, 1_000), demand(1)];
    expect([...assign([large, small], free(2), 4).keys()]).toEqual([]);
  });

  test("a job that the cluster could never hold stops nobody", () => {
    const [huge, small] = [demand(5, 1_000), demand(1)];
    expect([...assign([huge, small], free(2), 4).keys()]).toEqual([small.job]);
  });

  test("two jobs at once get different slots", () => {
    const [one, other] = [demand(1), demand(1)];
    const started = assign([one, other], free(2), 2);
    const slots = [...started.values()].flat().map(({ at }) => at.slot);
    expect(slots.sort()).toEqual([0, 1]);
  });
});

describe("deployments", () => {
  function deploy(graph: Parameters<typeof shareSlots>[0], ...counts: number[]): ReadonlyMap<string, readonly TaskDeployment[]> {
    const job = newJobId();
    const executions = new ExecutionGraph(job, graph, 0);
    for (const { share, at } of place(shareSlots(graph), free(...counts))!) {
      for (const { vertex: id, subtask } of share.subtasks) executions.schedule(executions.at(id, subtask), at, 0);
    }
    return deployments({
      job,
      graph,
      code: CODE_DIGEST,
      executions,
      dataAddress: (taskManager) => `ipc:///${taskManager}`,
      subtasks: new Set(executions.executions.map(({ address }) => subtaskId(address.vertex, address.subtask))),
      checkpoints: { folder: "/checkpoints", mode: "exactly-once", unaligned: false, alignedTimeoutMs: 0, periodic: false },
      restoreOf: () => undefined,
    });
  }

  test("both ends of a channel know it under the same name, and nobody else does", () => {
    const kinds = fc.constantFrom("hash" as const, "rescale" as const, "broadcast" as const);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), kinds, (producers, consumers, kind) => {
        const tasks = [
          ...deploy(graphOf("job", [vertex("a", producers), vertex("b", consumers)], [edge("a", "b", kind)]), 2, 2, 2).values(),
        ].flat();
        const channelsOf = (side: "inputs" | "outputs") =>
          tasks.flatMap((task) =>
            task[side].flatMap(({ channels }) =>
              channels.map(({ channel, subtask }) => {
                const here = task.execution.subtask;
                return `${channel} ${side === "outputs" ? `${here}>${subtask}` : `${subtask}>${here}`}`;
              }),
            ),
          );
        const [outputs, inputs] = [channelsOf("outputs"), channelsOf("inputs")];
        expect(new Set(outputs).size).toBe(outputs.length);
        expect(outputs.sort()).toEqual(inputs.sort());
      }),
    );
  });

  test("a channel names its peer only when the other end is on another TaskManager", () => {
    const deployed = deploy(pair("job", 2), 1, 1);
    expect([...deployed.keys()]).toEqual(["tm0", "tm1"]);
    const [source] = deployed.get("tm0")!;
    expect(source!.outputs[0]!.channels).toEqual([
      { channel: expect.stringMatching(/\/source->sink\/0\/0#0$/), subtask: 0 },
      { channel: expect.stringMatching(/\/source->sink\/0\/1#0$/), subtask: 1, peer: { taskManager: "tm1", address: "ipc:///tm1" } },
    ]);
  });

  test("a forward edge links equal subtasks only", () => {
    const tasks = [...deploy(graphOf("job", [vertex("a", 3), vertex("b", 3)], [edge("a", "b", "forward")]), 3).values()].flat();
    const links = tasks.flatMap(({ execution, outputs }) =>
      outputs.flatMap(({ channels }) => channels.map(({ subtask }) => [execution.subtask, subtask])),
    );
    expect(links).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
  });

  test("a task knows its slot, its results, its feeds and its position in the code", () => {
    const tasks = [...deploy(pair("job", 1, { results: ["out"], feeds: ["in"] }), 1).values()].flat();
    expect(
      tasks.map(({ vertexIndex, slot, results, feeds }) => [
        vertexIndex,
        slot,
        results.map(({ name }) => name),
        feeds.map(({ name }) => name),
      ]),
    ).toEqual([
      [0, 0, [], ["in"]],
      [1, 0, ["out"], []],
    ]);
  });
});
