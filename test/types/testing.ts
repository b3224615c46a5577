/** What is under test has the types of its pipeline; marbles have those of their values. */
import { CoProcessFunction, KeyedProcessFunction, count, filter, listState, mapState, sideOutput, tumbling, valueState } from "drey";
import type { DataStream, DataStreamSink } from "drey";
import { expectStream, marbles, testHarness } from "drey/testing";
import type { HarnessInput, HarnessOutput, HarnessSnapshot, Marbles, TestHarness } from "drey/testing";
import { is } from "./same.ts";

interface Ride {
  readonly zone: string;
  readonly fare: number;
}
class Totals extends KeyedProcessFunction<string, Ride, number> {
  override processElement(_ride: Ride): void {}
}
class Both extends CoProcessFunction<Ride, { readonly zone: string; readonly name: string }, string, string> {
  override processElement1(_ride: Ride): void {}
  override processElement2(_zone: { readonly zone: string; readonly name: string }): void {}
}

const pipeline = await testHarness((rides: DataStream<Ride>) => rides.keyBy("zone").window(tumbling(5)).aggregate(count()));
is<TestHarness<[Ride], { output: number }>>()(pipeline);
is<HarnessInput<Ride>>()(pipeline.inputs[0]);
is<HarnessOutput<number>>()(pipeline.output);
is<number[]>()(pipeline.take());
is<number | undefined>()(pipeline.takeRecords()[0]?.timestamp);
pipeline.push({ zone: "a", fare: 1 }, new Date(5));

const keyed = await testHarness(new Totals(), { keyBy: (ride) => ride.zone, parallelism: 2 });
is<number[]>()(keyed.take());
is<number | undefined>()(keyed.state(valueState("total", 0)).get("a"));
is<readonly string[]>()(keyed.state(listState<string>("ids")).get("a"));
is<readonly (readonly [string, number])[]>()(keyed.state(mapState<string, number>("fares")).get("a"));
is<HarnessSnapshot>()(keyed.snapshot());

const both = await testHarness(new Both(), { keyBy: [(ride) => ride.zone, (zone) => zone.name] });
is<HarnessInput<{ readonly zone: string; readonly name: string }>>()(both.inputs[1]);
is<string[]>()(both.take());

const several = await testHarness((rides: DataStream<Ride>, words: DataStream<string>) => ({ fares: rides.map((ride) => ride.fare), words }));
is<HarnessOutput<number>>()(several.outputs.fares);
is<HarnessOutput<string>>()(several.outputs.words);
is<HarnessInput<string>>()(several.inputs[1]);

is<number[]>()((await testHarness(filter((x: number) => x > 1))).take());
is<TestHarness<[Ride], Record<never, never>>>()(await testHarness((rides: DataStream<Ride>): DataStreamSink => rides.print()));
is<HarnessOutput<boolean>>()(pipeline.sideOutput(sideOutput<boolean>("late")));

is<Marbles<string>>()(marbles("a-b|"));
is<Marbles<number>>()(marbles("a-b|", { a: 1, b: 2 }));
several.play(marbles("a|", { a: { zone: "a", fare: 1 } }), marbles("-b|"));
is<void>()(expectStream(pipeline).toBe("a-b|"));
is<Promise<void>>()(expectStream(marbles("a|").toStream(null as never)).toBe("a|"));
