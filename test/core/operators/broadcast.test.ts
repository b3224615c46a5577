import { describe, expect, test } from "vitest";
import {
  type BroadcastContext, BroadcastProcessFunction, type BroadcastTimerContext, type Collector, type KeyedBroadcastContext,
  KeyedBroadcastProcessFunction, type ReadOnlyBroadcastContext, localEnvironment, mapState, valueState,
} from "../../../src/core/index.ts";

const env = (parallelism = 1): ReturnType<typeof localEnvironment> => localEnvironment({ parallelism, printLogs: false });
const rules = mapState<string, number>("rules");
interface Rule {
  readonly name: string;
  readonly atLeast: number;
}
/** A source whose rows come after those of the others have. */
const later = <T>(...values: readonly T[]) =>
  async function* (): AsyncGenerator<T> {
    await new Promise((resolve) => setTimeout(resolve, 60));
    yield* values;
  };

class Apply extends BroadcastProcessFunction<number, Rule, string> {
  override processElement(value: number, context: ReadOnlyBroadcastContext, out: Collector<string>): void {
    for (const [name, atLeast] of context.broadcastState(rules).entries()) if (value >= atLeast) out.collect(`${value} ${name}`);
  }
  override processBroadcastElement(rule: Rule, context: BroadcastContext): void {
    if (rule.atLeast < 0) context.broadcastState(rules).remove(rule.name);
    else context.broadcastState(rules).put(rule.name, rule.atLeast);
  }
}

describe("broadcast state", () => {
  test.each([1, 3])("every subtask has what the broadcast records left (parallelism %i)", async (parallelism) => {
    const program = env(parallelism);
    const broadcast = program.of<Rule>({ name: "big", atLeast: 10 }, { name: "any", atLeast: 0 }, { name: "big", atLeast: 3 }, { name: "any", atLeast: -1 }).broadcast(rules);
    const numbers = program.from(later(1, 2, 3, 4, 5, 6)).rebalance();
    expect((await numbers.connect(broadcast).process(new Apply()).collect()).sort()).toEqual(["3 big", "4 big", "5 big", "6 big"]);
  });

  test("the stream's side may only read it", async () => {
    const program = env();
    const stream = program.of(1).connect(program.of<Rule>().broadcast(rules)).process({
      processElement(_value: number, context: ReadOnlyBroadcastContext) {
        (context.broadcastState(rules) as unknown as { put(key: string, value: number): void }).put("a", 1);
      },
      processBroadcastElement: () => undefined,
    });
    await expect(stream.collect()).rejects.toThrow(/changes the broadcast state "rules" in processElement\(\) or onTimer\(\)/);
  });

  test("a state that was not declared says where to", async () => {
    const program = env();
    const stream = program.of(1).connect(program.of(2).broadcast(mapState<string, number>("others"))).process<number>({
      processElement: (_value: number, context: ReadOnlyBroadcastContext) => void context.broadcastState(rules),
      processBroadcastElement: () => undefined,
    });
    await expect(stream.collect()).rejects.toThrow(/asks for the broadcast state "rules"; declare it where the stream is broadcast/);
    expect(() => program.of(2).broadcast(valueState("v") as never)).toThrow(/broadcast state is declared with mapState/);
  });

  test("a keyed function has state and timers per key, and reaches all keys from a broadcast record", async () => {
    const seen = valueState<number>("seen", 0);
    class Count extends KeyedBroadcastProcessFunction<string, { k: string; at: number }, string, string> {
      override processElement(value: { k: string; at: number }, context: ReadOnlyBroadcastContext<string>): void {
        const state = context.state(seen);
        state.update((state.value() as number) + 1);
        context.timers.registerEventTimeTimer(value.at + 5);
      }
      override processBroadcastElement(question: string, context: KeyedBroadcastContext<string>, out: Collector<string>): void {
        context.applyToKeyedState(seen, (key, state) => {
          out.collect(`${question} ${key}=${state.value()}`);
          if (key === "b") state.clear();
        });
      }
      override onTimer(time: number, context: BroadcastTimerContext<string>, out: Collector<string>): void {
        out.collect(`${context.key} ${context.timeDomain} ${time}: ${context.state(seen).value()}`);
      }
    }
    const program = env(2);
    const words = program.of({ k: "a", at: 1 }, { k: "b", at: 2 }, { k: "a", at: 3 }, { k: "ключ", at: 4 }).withTimestamps((it) => it.at).keyBy("k");
    const questions = program.from(later("how many?")).broadcast(rules);
    const answers = (await words.connect(questions).process(new Count()).collect()).sort();
    expect(answers).toEqual([
      "a event 6: 2", "a event 8: 2", "b event 7: 0", "how many? a=2", "how many? b=1", "how many? ключ=1", "ключ event 9: 1",
    ]);
  });
});
