import { describe, expect, test } from "vitest";
import { type Collector, type Counter, type Histogram, type Meter, ProcessFunction, type ProcessContext, type RuntimeContext, localEnvironment } from "../../../src/core/index.ts";
import { testHarness } from "../../../src/core/testing/index.ts";

class Measured extends ProcessFunction<number, number> {
  odd!: Counter;
  size!: Histogram;
  rate!: Meter;
  last = 0;
  override open({ metrics }: RuntimeContext): void {
    this.odd = metrics.counter("odd");
    this.size = metrics.histogram("size");
    this.rate = metrics.meter("rate");
    metrics.gauge("last", () => this.last);
  }
  override processElement(value: number, context: ProcessContext, out: Collector<number>): void {
    if (value % 2 === 1) this.odd.inc();
    this.size.update(value);
    this.rate.mark();
    this.last = value;
    context.metrics.gauge("set").set(-value);
    out.collect(value);
  }
}

describe("metrics of user functions", () => {
  test("are seen among those of the task, under the operator's name", async () => {
    await using harness = await testHarness(new Measured());
    for (let value = 1; value <= 100; value++) harness.push(value);
    harness.advanceBy("1 s");
    harness.push(101);
    harness.advanceBy("1 s");
    harness.push(0);
    const metric = (name: string): number => harness.metric(`Measured.${name}`);
    expect([metric("odd"), metric("set"), metric("rate")]).toEqual([51, 0, 102]);
    expect(metric("size.count")).toBe(102);
    expect([metric("size.min"), metric("size.max"), metric("size.p50")].every((value) => value >= 0 && value <= 101)).toBe(true);
    expect(metric("rate.perSecond")).toBeGreaterThanOrEqual(0);
  });

  test("reach whoever listens to the job", async () => {
    const env = localEnvironment({ printLogs: false });
    const job = await env.submit({ outputs: { rows: env.of(1, 2, 3).process(new Measured()).name("measured") } });
    await job.outputs.rows.forEach(() => undefined);
    await job.result();
    const last = (await job.metricsHistory()).at(-1)?.subtasks.find(({ values }) => "measured.odd" in values);
    expect(last?.values["measured.odd"]).toBe(2);
  });

  test("a name has one kind, and there is room for so many", async () => {
    const twice = localEnvironment().of(1).process({
      processElement: (_value: number, { metrics }: ProcessContext) => void (metrics.counter("a"), metrics.gauge("a")),
    });
    await expect(twice.collect()).rejects.toThrow(/The metric ".*\.a" is there already, as one of another kind/);
    const many = localEnvironment().of(1).process({
      processElement: (_value: number, { metrics }: ProcessContext) => {
        for (let n = 0; n < 300; n++) metrics.counter(`m${n}`);
      },
    });
    await expect(many.collect()).rejects.toThrow(/There is no room for the metric ".*\.m256": a subtask has 256 numbers/);
  });
});
