/** Types of the operators beyond those of fluent.ts follow from their functions, in both styles. */
import {
  aggregatingState, average, batch, BroadcastProcessFunction, count, countTrigger, delta, environment, listState, mapAsync, mapState, pairwise, purging, reducingState, rx, scan, sum,
  tumbling, valueState,
} from "drey";
import type {
  BroadcastContext, BroadcastStream, Collector, DataSet, DataStream, JoinedStreams, KeyedStream, MapState, ReadOnlyBroadcastContext, ReadOnlyMapState,
  ReducingState, WindowedStream,
} from "drey";
import { bufferCount, map as rxMap } from "rxjs";
import type { SchedulerLike } from "rxjs";
import { is } from "./same.ts";

interface Ride {
  readonly id: string;
  readonly zone: number;
  readonly fare: number;
}
const env = environment();
const rides = env.from<Ride>([]).withTimestamps(() => 0);
const byZone = rides.keyBy((ride) => ride.zone);

// RxJS pipelines.
is<DataStream<Ride[]>>()(rides.rx((rows$) => rows$.pipe(bufferCount(2))));
is<DataStream<string>>()(
  byZone.rx((rows$, { key, scheduler }) => {
    is<number>()(key);
    is<SchedulerLike>()(scheduler);
    return rows$.pipe(rxMap((ride) => `${key} ${ride.id}`));
  }, { time: "processing", ttl: "1 h", state: "replay", replayLimit: 10 }),
);
is<DataStream<Ride[]>>()(rides.pipe(rx((rows$) => rows$.pipe(bufferCount(2)))));

// Sequences.
is<DataStream<number>>()(byZone.scan((all: number, ride) => all + ride.fare, 0));
is<DataStream<[Ride, Ride]>>()(rides.pairwise());
is<DataStream<Ride | null>>()(rides.startWith(null));
is<DataStream<Ride>>()(rides.take(1).skip(1).takeWhile((ride) => ride.fare > 1).distinct((ride) => ride.id).throttle("1 s"));
is<DataStream<Ride>>()(byZone.sum("fare").keyBy("zone").minBy("fare").keyBy("zone").dedupe("1 min"));
is<DataStream<readonly Ride[]>>()(byZone.topN(3, (ride) => ride.fare));
is<KeyedStream<Ride, string>>()(rides.keyBy("id"));
is<DataStream<[Ride, Ride]>>()(rides.pipe(pairwise()));
is<DataStream<number>>()(rides.map((ride) => ride.fare).pipe(scan((a: number, b: number) => a + b)));

// Other systems, arrays of records, loops.
is<DataStream<string>>()(rides.mapAsync(async (ride) => ride.id, { ordered: false, retry: { attempts: 2 } }));
is<DataStream<string>>()(rides.pipe(mapAsync(async (ride) => ride.id)));
is<DataStream<Ride[]>>()(rides.batch({ count: 10, within: "1 s" }));
is<DataStream<Ride[]>>()(rides.pipe(batch(3)));
is<DataStream<string>>()(rides.iterate((loop) => ({ feedback: loop.filter((ride) => ride.fare > 0), output: loop.map((ride) => ride.id) })));

// Windows.
is<WindowedStream<Ride, number>>()(byZone.window(tumbling("1 min")).trigger(purging(countTrigger(3))).allowedLateness("1 s"));
is<WindowedStream<Ride, "all">>()(rides.windowAll(tumbling("1 min")));
is<DataStream<string>>()(byZone.countWindow(3).apply((all, { key, window }) => all.map((ride) => `${ride.id} ${key} ${window.end}`)));
is<DataStream<number>>()(byZone.window(tumbling("1 min")).trigger(delta(2, (a, b) => a.fare - b.fare)).aggregate(count()));
is<DataStream<string>>()(byZone.window(tumbling("1 min")).aggregate(sum((ride) => ride.fare), (fare, { key }) => `${key + 1} ${fare - 1}`));

// Two streams.
const names = env.of({ zone: 1, name: "Harbour" }).withTimestamps(() => 0);
is<JoinedStreams<Ride, { zone: number; name: string }, "left">>()(rides.leftJoin(names));
const joined = rides.leftJoin(names).where((ride) => ride.zone).equalTo((zone) => zone.zone).window(tumbling("1 h"));
is<DataStream<string | undefined>>()(joined.apply((ride, zone) => (is<{ zone: number; name: string } | undefined>()(zone), is<Ride>()(ride), zone?.name)));
is<DataStream<number>>()(
  rides.coGroup(names).where((ride) => ride.zone).equalTo((zone) => zone.zone).window(tumbling("1 h")).apply((all, some) => [all.length + some.length]),
);
is<DataStream<string>>()(byZone.intervalJoin(names.keyBy("zone")).between("-1 min", "1 min").apply((ride, zone) => ride.id + zone.name));
const rules = mapState<number, string>("rules");
is<BroadcastStream<{ zone: number; name: string }>>()(names.broadcast(rules));
class Ruled extends BroadcastProcessFunction<Ride, { zone: number; name: string }, string> {
  override processElement(ride: Ride, context: ReadOnlyBroadcastContext, out: Collector<string>): void {
    is<ReadOnlyMapState<number, string>>()(context.broadcastState(rules));
    out.collect(ride.id);
  }
  override processBroadcastElement(zone: { zone: number; name: string }, context: BroadcastContext): void {
    is<MapState<number, string>>()(context.broadcastState(rules));
    context.broadcastState(rules).put(zone.zone, zone.name);
  }
}
is<DataStream<string>>()(rides.connect(names.broadcast(rules)).process(new Ruled()));

// State.
byZone.process<number>((ride, context, out) => {
  is<number | undefined>()(context.state(valueState("n", 0)).value());
  is<ReducingState<number>>()(context.state(reducingState<number>("highest", Math.max)));
  is<number | undefined>()(context.state(aggregatingState("mean", average((fare: number) => fare))).get());
  is<readonly Ride[]>()(context.state(listState<Ride>("rides", { ttl: "1 h" })).get());
  out.collect(ride.fare);
});

// Data sets.
is<DataSet<number>>()(env.dataSet([1, 2]));
is<DataSet<string>>()(env.dataSet([1, 2]).map((x) => String(x)).sortPartition((text) => text).first(1));
is<DataSet<number>>()(env.dataSet([1]).join(env.dataSet(["a"])).where((x) => x).equalTo((text) => text.length).with((x, text) => x + text.length));
is<DataSet<number>>()(env.dataSet([1]).iterate(3, (rows) => rows.map((x) => x + 1)));
