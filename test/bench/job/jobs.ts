/** Small jobs in the DataStream API, the same that Apache Flink runs in ../compare, and as they are when their latency is measured. */
import { type DataStream, type Environment, type GenerateOptions, count, seconds, tumbling } from "drey";
import { preciseNow } from "../measure.ts";
import { NexmarkGenerator } from "../nexmark/generator.ts";

/** Results of a job at full speed. */
export const jobs: Readonly<Record<string, (env: Environment, generate: GenerateOptions) => DataStream<unknown>>> = {
  window: (env, generate) =>
    env
      .generate((i) => i, generate)
      .map((i) => ({ key: keyOf(i), i, time: Math.floor(i / 100) }))
      .filter((event) => event.i % 10 !== 0)
      .withTimestamps((event) => event.time)
      .keyBy((event) => event.key)
      .window(tumbling(seconds(1)))
      .aggregate(count()),

  nexwindow: (env, generate) => {
    const nexmark = new NexmarkGenerator({ rate: 10_000 });
    return env
      .generate((i) => nexmark.bidFigures(i), generate)
      .map((event) => ({ auction: event.auction, price: Math.floor((event.price * 908) / 1_000), time: event.time }))
      .filter((event) => event.auction >= 0)
      .withTimestamps((event) => event.time)
      .keyBy((event) => event.auction)
      .window(tumbling(seconds(1)))
      .aggregate(count());
  },

  map: (env, generate) => env.generate((i) => i, generate).map((i) => i * 31 + 7),

  mapnochain: (env, generate) => env.generate((i) => i, generate).map((i) => i * 31 + 7).startNewChain(),
};

type PacedOptions = GenerateOptions & { readonly rowsPerSecond: number };

/** How old, in milliseconds, the latest record is that a result waited for, when the result is there. Event time goes with the clock. */
export const latencies: Readonly<Record<string, (env: Environment, generate: PacedOptions) => DataStream<number>>> = {
  window: (env, generate) =>
    env
      .generate((i) => ({ key: keyOf(i), i, time: Math.floor((i * 1_000) / generate.rowsPerSecond), made: preciseNow() }), generate)
      .filter((event) => event.i % 10 !== 0)
      .withTimestamps((event) => event.time)
      .keyBy((event) => event.key)
      .window(tumbling(seconds(1)))
      .aggregate({ createAccumulator: () => 0, add: (event, latest) => Math.max(latest, event.made), getResult: (latest) => latest })
      .map((made) => preciseNow() - made),

  map: (env, generate) => env.generate(preciseNow, generate).map((made) => preciseNow() - made),

  mapnochain: (env, generate) => env.generate(preciseNow, generate).map((made) => preciseNow() - made).startNewChain(),
};

/** A thousand keys in no order. */
function keyOf(i: number): number {
  let bits = i ^ (i >>> 16);
  bits = Math.imul(bits, 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return ((bits ^ (bits >>> 16)) & 0x7fffffff) % 1_000;
}
