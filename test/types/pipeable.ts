/** The RxJS-flavoured way of writing infers the same types as the methods do. */
import {
  allowedLateness, batch, countEvictor, countTrigger, countWindow, evictor, processWindow, purging, reduceWindow, session, trigger,
  aggregate, count, environment, filter, flatMap, keyBy, KeyedProcessFunction, map, process, ProcessFunction, reduce, seconds, sum, tumbling, union,
  window, withTimestamps,
} from "drey";
import type { Collector, DataStream, KeyedStream, ProcessContext } from "drey";
import { is } from "./same.ts";

interface Ride {
  readonly id: string;
  readonly zone: number;
  readonly fare: number;
  readonly at: number;
}

const rides = environment().from<Ride>([]);

is<DataStream<number>>()(rides.pipe(map((ride) => ride.fare)));
is<DataStream<string>>()(rides.pipe(filter((ride) => ride.fare > 10), map((ride) => ride.id), flatMap((id) => id.split("-"))));
is<DataStream<number>>()(
  rides.pipe(map((ride) => (ride.zone === 0 ? null : ride.zone)), filter((zone): zone is number => zone !== null)),
);
is<KeyedStream<Ride, number>>()(rides.pipe(keyBy((ride) => ride.zone)));
is<DataStream<Ride>>()(rides.pipe(keyBy((ride) => ride.zone), reduce((a, b) => (a.fare > b.fare ? a : b))));
is<DataStream<Ride>>()(rides.pipe(union(rides)));
is<DataStream<string>>()(
  rides.pipe(
    withTimestamps((ride) => ride.at),
    keyBy((ride) => ride.zone),
    window(session((ride: Ride) => ride.fare)),
    trigger(purging(countTrigger(5))),
    evictor(countEvictor(3)),
    allowedLateness("5 s"),
    processWindow((rows, { key, window: { end } }, out: Collector<string>) => out.collect(`${key + end}: ${rows.map((ride) => ride.id).join()}`)),
  ),
);
is<DataStream<Ride[]>>()(rides.pipe(batch({ count: 5, within: "1 s" })));
is<DataStream<Ride>>()(rides.pipe(keyBy((ride) => ride.zone), countWindow(5), reduceWindow((a, b) => (a.fare > b.fare ? a : b))));
is<DataStream<number>>()(
  rides.pipe(
    withTimestamps((ride) => ride.at, { outOfOrderness: seconds(5) }),
    keyBy((ride) => ride.zone),
    window(tumbling(seconds(60))),
    aggregate(count()),
  ),
);
is<DataStream<{ zone: number; total: number }>>()(
  rides.pipe(
    withTimestamps((ride) => ride.at),
    keyBy((ride) => ride.zone),
    window(tumbling(seconds(60))),
    aggregate(sum((ride: Ride) => ride.fare), (total, { key }) => ({ zone: key, total })),
  ),
);

class Ids extends ProcessFunction<Ride, string> {
  override processElement(ride: Ride, _context: ProcessContext, out: Collector<string>): void {
    out.collect(ride.id);
  }
}
class Zones extends KeyedProcessFunction<number, Ride, boolean> {
  override processElement(): void {}
}
is<DataStream<string>>()(rides.pipe(process(new Ids())));
is<DataStream<boolean>>()(rides.pipe(keyBy((ride) => ride.zone), process(new Zones())));
