/**
 * Mistakes, and what the compiler says of each: `sentences.test.ts` compiles this file and looks for every text that stands behind a
 * `says:` in the errors of the next line. It is not part of `tsc -p test/types`.
 */
import { count, delta, environment, filter, keyBy, map, session, tumbling, window } from "drey";
import type { DataStream } from "drey";
import { testHarness } from "drey/testing";
import { map as rxMap } from "rxjs";

const env = environment();
const rides = env.from<{ readonly zone: number; readonly fare: number }>([]);
const fetchFare = async (zone: number): Promise<number> => zone;

// says: map() takes a synchronous function
rides.map(async (ride) => fetchFare(ride.zone));
// says: map() takes a synchronous function
rides.map((ride) => fetchFare(ride.zone));
// says: filter() takes a synchronous function
rides.filter(async (ride) => (await fetchFare(ride.zone)) > 1);
// says: keyBy() takes a synchronous function
rides.keyBy(async (ride) => ride.zone);
// says: map() takes a synchronous function
rides.pipe(map(async (ride) => ride.zone));
// says: filter() takes a synchronous function
rides.pipe(filter(async (ride) => ride.zone > 1));
// says: keyBy() takes a synchronous function
rides.pipe(keyBy(async (ride) => ride.zone));

// says: Property 'window' does not exist on type 'DataStream<
rides.window(tumbling("1 min"));
// says: is not assignable to type 'KeyedStream<
rides.pipe(window(tumbling("1 min")));
// says: Property 'sinkTo' does not exist on type 'WindowedStream<
rides.keyBy((ride) => ride.zone).window(tumbling("1 min")).sinkTo(console.log);
// says: Property 'zoen' does not exist
rides.keyBy((ride) => ride.zoen).window(tumbling("1 min")).aggregate(count());
// says: is not assignable to parameter of type 'DataStream<
rides.union(env.of("another type"));
// says: DataStream<{ readonly zone: number; readonly fare: number; }>' is missing the following properties from type 'Observable<
rides.pipe(rxMap((ride) => ride));
// says: is not assignable to parameter of type 'WindowDescription<
rides.keyBy((ride) => ride.zone).window("1 min");
// says: is not assignable to type 'string | ClusterClient | LocalCluster
environment({ cluster: 7 });
// says: 'parallelsim' does not exist
environment({ parallelsim: 4 });
// says: Property 'then' does not exist
void rides.then;
// says: Property 'countWindow' does not exist on type 'DataStream<
rides.countWindow(10);
// says: Property 'zoen' does not exist
rides.keyBy((ride) => ride.zone).window(session((ride) => ride.zoen)).count();
// says: Property 'cheap' does not exist
rides.keyBy((ride) => ride.zone).window(tumbling("1 min")).trigger(delta(1, (a: { readonly fare: number }, b) => b.cheap - a.fare));
// says: is not assignable to parameter of type 'Trigger<
rides.keyBy((ride) => ride.zone).window(tumbling("1 min")).trigger(10);
// says: Type '"often"' is not assignable to type 'WindowTime
rides.keyBy((ride) => ride.zone).window(tumbling("1 min", { time: "often" })).count();

// says: Type 'number' is not assignable to type 'Observable<
rides.rx(() => 7);
// says: is missing the following properties from type 'Observable<
rides.rx(async (rows$) => rows$);
// says: Type '"keep"' is not assignable to type 'RxState | undefined'
rides.rx((rows$) => rows$, { state: "keep" });
// says: Property 'at' does not exist on type
rides.rx((rows$) => rows$.pipe(rxMap((ride) => ride.at)));
// says: is not assignable to parameter of type 'string'
void testHarness((words: DataStream<string>) => words).then((harness) => harness.push(7));
// says: 'b' does not exist in type
void testHarness((words: DataStream<string>) => ({ words })).then((harness) => harness.outputs.words.take().map((word) => ({ a: word, b: 1 }) satisfies { a: string }));
// says: sum() takes the name of a field that holds numbers
env.from<{ readonly zone: number; readonly name: string }>([]).keyBy("zone").sum("name");
// says: Argument of type '"zoen"' is not assignable
rides.keyBy("zone").minBy("zoen");
