/** A program's types follow from its first rows, through every method, without a type argument. */
import {
  average, count, CoProcessFunction, discard, environment, jsonLines, KeyedProcessFunction, listState, mapState, ProcessFunction, seconds, session,
  sideOutput, sliding, sum, tumbling, valueState,
} from "drey";
import type { Collector, DataStream, KeyedStream, ProcessContext, WindowedStream } from "drey";
import type { Observable } from "rxjs";
import { of } from "rxjs";
import { is } from "./same.ts";

interface Ride {
  readonly id: string;
  readonly zone: number;
  readonly fare: number;
  readonly at: number;
}

const env = environment();
const rides = env.from<Ride>([]);

// Sources.
is<DataStream<number>>()(env.of(1, 2, 3));
is<DataStream<{ a: number }>>()(env.from([{ a: 1 }]));
is<DataStream<string>>()(env.from(new Set(["a"])));
is<DataStream<number>>()(env.from(of(1)));
is<DataStream<number>>()(
  env.from(function* () {
    yield 1;
  }),
);
is<DataStream<{ i: number }>>()(env.generate((i) => ({ i })));
is<DataStream<string>>()(env.fromText("lines.txt"));
is<DataStream<Record<string, string | number | boolean | null>>>()(env.fromCsv("rows.csv"));
is<DataStream<Ride>>()(env.fromJsonLines<Ride>("rides.jsonl"));

// One record at a time.
is<DataStream<number>>()(rides.map((ride) => ride.fare));
is<DataStream<Ride>>()(rides.filter((ride) => ride.fare > 10));
is<DataStream<string>>()(rides.flatMap((ride) => [ride.id, String(ride.zone)]));
is<DataStream<number>>()(rides.map((ride) => (ride.zone === 0 ? null : ride.zone)).filter((zone): zone is number => zone !== null));
is<DataStream<Ride>>()(rides.rebalance().rescale().shuffle().broadcast().global());
is<DataStream<Ride>>()(rides.setParallelism(2).name("rides").uid("rides").startNewChain());
is<DataStream<Ride>>()(rides.union(rides));

// Keys and windows.
const timed = rides.withTimestamps((ride) => ride.at, { outOfOrderness: seconds(5) });
const byZone = timed.keyBy((ride) => ride.zone);
is<KeyedStream<Ride, number>>()(byZone);
is<KeyedStream<Ride, readonly [number, string]>>()(timed.keyBy((ride) => [ride.zone, ride.id] as const));
is<DataStream<Ride>>()(byZone.reduce((a, b) => ({ ...a, fare: a.fare + b.fare })));
is<WindowedStream<Ride, number>>()(byZone.window(tumbling(seconds(60))));
is<DataStream<number>>()(byZone.window(sliding("1 min", "10 s")).aggregate(count()));
is<DataStream<number>>()(byZone.window(session("30 s")).aggregate(sum((ride) => ride.fare)));
is<DataStream<{ readonly zone: number; readonly until: number; readonly mean: number }>>()(
  byZone
    .window(tumbling("1 h"))
    .aggregate(average((ride) => ride.fare), (mean, { key, window }) => ({ zone: key, until: window.end, mean }) as const),
);
is<DataStream<{ readonly key: number; readonly start: number; readonly end: number; readonly count: number }>>()(
  byZone.window(tumbling("1 h")).count(),
);

// Functions with state, timers and side outputs.
const late = sideOutput<{ readonly ride: Ride; readonly byMs: number }>("late");
class Totals extends KeyedProcessFunction<number, Ride, { zone: number; total: number }> {
  override processElement(ride: Ride, context: ProcessContext<number>): void {
    const total = context.state(valueState<number>("total", 0));
    is<number | undefined>()(total.value());
    is<readonly string[]>()(context.state(listState<string>("ids")).get());
    is<Ride | undefined>()(context.state(mapState<string, Ride>("rides")).get("id"));
    is<number>()(context.key);
    context.output(late, { ride, byMs: 1 });
  }
}
is<DataStream<{ zone: number; total: number }>>()(byZone.process(new Totals()));
is<DataStream<{ readonly ride: Ride; readonly byMs: number }>>()(byZone.process(new Totals()).sideOutput(late));
class Ids extends ProcessFunction<Ride, string> {
  override processElement(ride: Ride, _context: ProcessContext, out: Collector<string>): void {
    out.collect(ride.id);
  }
}
is<DataStream<string>>()(rides.process(new Ids()));
is<DataStream<number>>()(rides.process<number>((ride, _context, out) => out.collect(ride.fare)));

is<DataStream<string>>()(
  byZone.process<string>({
    rides: 0,
    open(context) {
      this.rides = context.attempt;
    },
    processElement(ride, context, out) {
      is<Ride>()(ride);
      is<number>()(context.key);
      out.collect(`${ride.id} ${this.rides++}`);
    },
  }),
);

// Sequences.
is<KeyedStream<Ride, number>>()(timed.keyBy("zone"));
is<KeyedStream<Ride, [number, string]>>()(timed.keyBy("zone", "id"));
is<DataStream<Ride>>()(byZone.sum("fare"));
is<DataStream<Ride>>()(byZone.maxBy("at"));
is<DataStream<readonly Ride[]>>()(byZone.topN(3, (ride) => ride.fare));
is<DataStream<number>>()(rides.scan((sum, ride) => sum + ride.fare, 0));
is<DataStream<[Ride, Ride]>>()(rides.pairwise());
is<DataStream<Ride | "none">>()(rides.startWith("none" as const));
is<DataStream<string>>()(rides.mapAsync(async (ride) => ride.id));
is<DataStream<Ride>>()(rides.iterate((loop) => ({ feedback: loop.filter((ride) => ride.fare > 1), output: loop })));

// Joins.
is<DataStream<string>>()(
  timed.join(timed).where((ride) => ride.id).equalTo((ride) => ride.id).window(tumbling("1 min")).apply((a, b) => a.id + b.id),
);
is<DataStream<Ride | undefined>>()(
  timed.leftJoin(timed).where((ride) => ride.id).equalTo((ride) => ride.id).window(tumbling("1 min")).apply((_a, b) => b),
);
is<DataStream<number>>()(byZone.intervalJoin(byZone).between("-1 min", 0).apply((a, b) => a.fare - b.fare));

// Two streams.
const zones = env.of({ zone: 1, name: "Harbour" });
class Named extends CoProcessFunction<Ride, { zone: number; name: string }, string, number> {
  override processElement1(): void {}
  override processElement2(): void {}
}
is<DataStream<string>>()(rides.connect(zones).keyBy((ride) => ride.zone, (zone) => zone.zone).process(new Named()));
is<DataStream<string>>()(rides.connect(zones).map((ride) => ride.id, (zone) => zone.name));

// Results.
is<Observable<Ride>>()(rides.toObservable());
is<Promise<Ride[]>>()(rides.collect());
rides.subscribe((ride) => is<Ride>()(ride));
rides.subscribe({ next: (ride) => is<Ride>()(ride), error: (error: unknown) => void error, complete: () => undefined });
rides.sinkTo(jsonLines("out/"));
rides.sinkTo(discard());
rides.sinkTo((ride) => is<Ride>()(ride));
const handle = await env.submit({ name: "rides", outputs: { rides, fares: rides.map((ride) => ride.fare) } });
is<Observable<Ride>>()(handle.outputs.rides);
is<Observable<number>>()(handle.outputs.fares);
for await (const ride of rides) is<Ride>()(ride);
