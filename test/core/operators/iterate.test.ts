import { describe, expect, test } from "vitest";
import { type Environment, localEnvironment, streamGraph, tumbling } from "../../../src/core/index.ts";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import { FeedbackQueue } from "../../../src/core/operators/feedback-queue.ts";

const env = (parallelism = 1): Environment => localEnvironment({ parallelism, printLogs: false });

/** Collatz: how many steps each number takes to 1. */
const collatz = (program: Environment, numbers: readonly number[]) =>
  program
    .from(numbers.map((start) => ({ start, now: start, steps: 0 })))
    .iterate((loop) => {
      const stepped = loop.map(({ start, now, steps }) => (now === 1 ? { start, now, steps } : { start, now: now % 2 === 0 ? now / 2 : 3 * now + 1, steps: steps + 1 }));
      return { feedback: stepped.filter(({ now }) => now !== 1), output: stepped.filter(({ now }) => now === 1) };
    }, { maxWait: 0 });
const stepsOf = (n: number): number => {
  let steps = 0;
  for (; n !== 1; steps++) n = n % 2 === 0 ? n / 2 : 3 * n + 1;
  return steps;
};

describe("iterate", () => {
  test.each([1, 3])("records go round until they leave, and the loop ends with its input (parallelism %i)", async (parallelism) => {
    const numbers = Array.from({ length: 200 }, (_, index) => index + 1);
    const rows = await collatz(env(parallelism), numbers).collect();
    expect(rows.map(({ start, steps }) => [start, steps]).sort((a, b) => (a[0] as number) - (b[0] as number))).toEqual(numbers.map((n) => [n, stepsOf(n)]));
  });

  test("a loop that makes far more than its channels hold does not stop itself", async () => {
    // Each record becomes two, fourteen times: 2^14 records of 100 numbers at once.
    const program = env(2);
    const grown = program.of({ depth: 0, ballast: Array.from({ length: 100 }, (_, index) => index) }).iterate((loop) => {
      const split = loop.flatMap((it) => [{ ...it, depth: it.depth + 1 }, { ...it, depth: it.depth + 1 }]);
      return { feedback: split.filter((it) => it.depth < 14), output: split.filter((it) => it.depth === 14) };
    }, { maxWait: 0 });
    expect(await grown.map((it) => it.ballast.length).collect()).toEqual(new Array(2 ** 14).fill(100));
  });

  test("event time goes forward with the input, and ends with the loop", async () => {
    const program = env();
    const timed = program.of({ at: 1, rounds: 2 }, { at: 12, rounds: 0 }).withTimestamps((it) => it.at);
    const output = timed.iterate((loop) => ({
      feedback: loop.filter((it) => it.rounds > 0).map((it) => ({ ...it, rounds: it.rounds - 1 })), output: loop,
    }), { maxWait: 0 });
    expect(await output.keyBy(() => 0).window(tumbling(10)).count().map((it) => `${it.end}: ${it.count}`).collect()).toEqual(["10: 3", "20: 1"]);
  });

  test("a loop that makes timestamps of its own ends when it is quiet", async () => {
    const rows = env().of({ at: 1, left: 3 }).iterate((loop) => {
      const stepped = loop.map((it) => ({ at: it.at + 1, left: it.left - 1 })).withTimestamps((it) => it.at);
      return { feedback: stepped.filter((it) => it.left > 0), output: stepped.filter((it) => it.left === 0) };
    }, { maxWait: 300 });
    expect(await rows.collect()).toEqual([{ at: 4, left: 0 }]);
  });

  test("the graph tells the loop, and a loop that is none is an error", () => {
    const program = env();
    collatz(program, [1]).print();
    expect(program.explain()).toMatch(/v2 \(above\)|\(above\)/);
    expect(() => program.of(1).iterate((loop) => ({ feedback: loop, output: loop }))).toThrow(/nothing would ever leave it/);
    expect(() => program.of(1).iterate(() => undefined as never)).toThrow(/returned undefined as feedback; return { feedback, output }/);
  });

  test("operators in a circle without iterate are an error that names them", () => {
    const program = env();
    const first = program.add({ name: "first", spec: { kind: "map" } });
    const second = program.add({ name: "second", spec: { kind: "map" }, inputs: [{ from: first, input: 0, partitioning: undefined, sideOutput: undefined }] });
    first.inputs = [{ from: second, input: 0, partitioning: undefined, sideOutput: undefined }];
    expect(() => streamGraph("circle", [second])).toThrow(/Operators feed each other in a circle: "first" → "second" → "first"/);
  });
});

describe("the feedback queue", () => {
  test("keeps the order of any pushes and takes, whatever lies in its file", () => {
    const queue = new FeedbackQueue(new ClassRegistry([]), 1_500);
    let [pushed, taken, most] = [0, 0, 0];
    for (const [push, take] of [[5_000, 100], [3_000, 7_000], [4_000, 100], [10, 5_000], [2_000, 1_810]] as const) {
      for (let n = 0; n < push; n++) queue.push({ n: pushed++ }, n);
      expect(queue.all().map(({ value }) => (value as { n: number }).n)).toEqual(Array.from({ length: pushed - taken }, (_, index) => taken + index));
      most = Math.max(most, queue.spilled);
      const shifted = Array.from({ length: take }, () => queue.shift()?.value as { n: number } | undefined).filter((it) => it !== undefined);
      expect(shifted.map(({ n }) => n)).toEqual(Array.from({ length: Math.min(take, pushed - taken) }, (_, index) => taken + index));
      taken += shifted.length;
    }
    expect([queue.size, queue.all().length, most > 1_000]).toEqual([pushed - taken, pushed - taken, true]);
    queue.close();
  });
});
