import { describe, expect, test } from "vitest";
import { fieldsRead } from "../../../src/cluster/code/fields-read.ts";
import { type CompiledJob, count, localEnvironment, LocalExecutor, Environment, sideOutput, tumbling } from "../../../src/core/index.ts";
import { projectEdges } from "../../../src/core/runtime/projection.ts";

interface Bid { readonly auction: number; readonly price: number; readonly at: number; readonly text: string }
const bid = (i: number): Bid => ({ auction: i % 3, price: i, at: i * 10, text: "x".repeat(5) });

const fieldsOf = (job: CompiledJob): (string | undefined)[] => projectEdges(job, fieldsRead).tasks.flatMap((task) => task.edges.map((edge) => edge.fields?.join()));

describe("projection of edges", () => {
  test("only what key and aggregate read crosses to a window", () => {
    const env = localEnvironment();
    env.generate(bid, { count: 10 }).withTimestamps((it) => it.at).keyBy((it) => it.auction).window(tumbling(50)).aggregate({
      createAccumulator: () => 0, add: (it: Bid, total: number) => total + it.price, getResult: (total: number) => total,
    }).print();
    expect(fieldsOf(env.compile())[0]?.split(",").sort()).toEqual(["auction", "price"]);
  });

  test("a filter needs what it reads and what its consumers read; a sink of whole records needs all", () => {
    const program = (whole: boolean): CompiledJob => {
      const env = localEnvironment();
      const cheap = env.generate(bid).rebalance().filter((it) => it.price < 5);
      if (whole) cheap.print();
      else cheap.map((it) => it.auction).print();
      return env.compile();
    };
    expect(fieldsOf(program(false))).toEqual(["price,auction"]);
    expect(fieldsOf(program(true))).toEqual([undefined]);
  });

  test("fields that are read two exchanges further on cross both", () => {
    const env = localEnvironment();
    env.generate(bid).rebalance().filter((it) => it.price > 1).keyBy((it) => it.auction).process((it, _context, out) => out.collect(it.text)).print();
    expect(fieldsOf(env.compile()).map((it) => it?.split(",").sort().join())).toEqual(["auction,price,text", "auction,text"]);
  });

  test("late records go out whole, so windows that keep them need all", () => {
    const env = localEnvironment();
    env.generate(bid).withTimestamps((it) => it.at).keyBy((it) => it.auction).window(tumbling(50)).lateTo(sideOutput<Bid>("late")).aggregate(count()).print();
    expect(fieldsOf(env.compile())[0]).toBeUndefined();
  });

  test("a job gives the same rows with and without", async () => {
    const run = async (project: boolean): Promise<unknown[]> => {
      const executor = new LocalExecutor(project ? { ship: async (job) => async () => ({ tasks: projectEdges(job, fieldsRead).tasks, classes: [] }) } : {});
      const env = new Environment({ connect: async () => executor, close: () => executor.close() }, { parallelism: 2, printLogs: false });
      const stream = env.from([...Array.from({ length: 200 }, (_, i) => bid(i)), { auction: 1, at: 5, price: undefined as unknown as number, text: "" }])
        .withTimestamps((it) => it.at, { outOfOrderness: 10_000 }).keyBy((it) => it.auction).window(tumbling(500)).aggregate(
          { createAccumulator: () => [] as unknown[], add: (it: Bid, all: unknown[]) => [...all, it.price], getResult: (all: unknown[]) => all.length },
          (result, { key, window }) => `${key} ${window.end} ${result}`,
        );
      return (await stream.collect()).sort();
    };
    expect(await run(true)).toEqual(await run(false));
  });
});
