import { expect, test } from "vitest";
import { Configuration, localEnvironment } from "../../../src/core/index.ts";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import type { TaskSpec } from "../../../src/core/graph/job-graph.ts";
import { taskMetricsArray } from "../../../src/core/runtime/metrics.ts";
import { Task } from "../../../src/core/runtime/task.ts";

test("a task is cancelled in the middle of a batch, so that slow functions don't hold it for a batch", async () => {
  const controlWord = new Int32Array(1);
  let seen = 0;
  const env = localEnvironment();
  env.from(Array.from({ length: 500 }, (_, i) => i)).sinkTo((row: number) => {
    seen++;
    if (row === 5) controlWord[0] = 1;
  });
  const { graph, tasks } = env.compile();
  const vertex = graph.vertices[0];
  if (vertex === undefined) throw new Error("the job has no vertex");
  const task = new Task(
    {
      info: { jobName: "job", vertex, subtask: 0, attempt: 0 },
      inputs: [],
      outputs: [],
      doorbell: { park: () => undefined },
      metrics: taskMetricsArray(),
      classes: new ClassRegistry([]),
      configuration: Configuration.empty,
      controlWord,
      poll: () => controlWord[0] !== 0,
      wait: async () => undefined,
      wake: () => undefined,
      now: () => Date.now(),
      heapLimitBytes: 0,
      heapUsed: () => 0,
    },
    tasks[0] as TaskSpec,
  );
  await task.open();
  expect(await task.run()).toBe("canceled");
  await task.close();
  expect(seen).toBeGreaterThan(5);
  expect(seen).toBeLessThan(40);
});
