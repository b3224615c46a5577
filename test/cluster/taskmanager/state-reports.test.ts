import { describe, expect, test } from "vitest";
import { StateReports } from "../../../src/cluster/taskmanager/state-reports.ts";
import type { TaskStateChange } from "../../../src/cluster/protocol/messages.ts";
import { ConnectionError, NotFoundError, ProtocolError, toWire } from "../../../src/core/types/errors.ts";
import type { JobId, VertexId } from "../../../src/core/types/ids.ts";

const change = (subtask: number, state: TaskStateChange["state"], error?: Error): TaskStateChange => ({
  execution: { job: "j" as JobId, vertex: "v0" as VertexId, subtask, attempt: 0 },
  state,
  atMs: 0,
  ...(error === undefined ? {} : { error: toWire(error) }),
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Reports to a JobManager that answers each report with what `answers` gives next; undefined: it acknowledges. */
function reports(answers: (Error | undefined)[] = []) {
  const told: TaskStateChange[] = [];
  const pauses: number[] = [];
  const givenUp: string[] = [];
  const states = new StateReports({
    send: (what) => {
      told.push(what);
      const answer = answers.shift();
      return answer === undefined ? Promise.resolve() : Promise.reject(answer);
    },
    pause: (ms) => {
      pauses.push(ms);
      return Promise.resolve();
    },
    onGivenUp: ({ state }, error) => givenUp.push(`${state}: ${error.message}`),
  });
  return { states, told, pauses, givenUp };
}

describe("states of an execution", () => {
  test("are told one after the other, and those of another execution meanwhile", async () => {
    const { states, told } = reports();
    states.report(change(0, "DEPLOYING"));
    states.report(change(0, "RUNNING"));
    states.report(change(1, "DEPLOYING"));
    expect(told.map(({ execution, state }) => [execution.subtask, state])).toEqual([
      [0, "DEPLOYING"],
      [1, "DEPLOYING"],
    ]);
    await turn();
    expect(told.slice(2).map(({ execution, state }) => [execution.subtask, state])).toEqual([[0, "RUNNING"]]);
    expect(states.pending).toBe(0);
  });

  test("are told again, ever more patiently, until they are acknowledged", async () => {
    const gone = new ConnectionError("gone");
    const { states, told, pauses } = reports([gone, gone, gone]);
    states.report(change(0, "FINISHED"));
    await turn();
    expect(told.map(({ state }) => state)).toEqual(["FINISHED", "FINISHED", "FINISHED", "FINISHED"]);
    expect(pauses).toEqual([100, 200, 400]);
  });

  test("that the JobManager refuses are given up, and the next is told", async () => {
    const { states, told, givenUp } = reports([new NotFoundError("unknown job")]);
    states.report(change(0, "RUNNING"));
    states.report(change(0, "FINISHED"));
    await turn();
    expect(givenUp).toEqual(["RUNNING: unknown job"]);
    expect(told.map(({ state }) => state)).toEqual(["RUNNING", "FINISHED"]);
  });

  test("are given up after half a minute of silence", async () => {
    const { states, told, givenUp } = reports(Array.from({ length: 40 }, () => new ConnectionError("gone")));
    states.report(change(0, "RUNNING"));
    await turn();
    expect(told).toHaveLength(30);
    expect(givenUp).toEqual(["RUNNING: gone"]);
  });

  test("arrive even if their error can't travel: without what is in its way", async () => {
    const { states, told } = reports([new ProtocolError("can't be packed")]);
    states.report(change(0, "FAILED", new Error("x".repeat(10_000), { cause: new Error("deep") })));
    await turn();
    expect(told).toHaveLength(2);
    expect(told[1]?.error).toEqual({ name: "Error", code: "", domain: "user", message: "x".repeat(4_000) });
  });

  test("are forgotten with the session that they belong to", async () => {
    const { states, told } = reports();
    states.report(change(0, "DEPLOYING"));
    states.report(change(0, "RUNNING"));
    states.forget();
    await turn();
    expect(told.map(({ state }) => state)).toEqual(["DEPLOYING"]);
    states.report(change(0, "FAILED"));
    await turn();
    expect(told.map(({ state }) => state)).toEqual(["DEPLOYING", "FAILED"]);
  });
});
