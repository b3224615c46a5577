// How many records a job with windows takes per CPU-second: one thread, generated records through an exchange, 10,000 keys.
// Run: npm run build && node test/bench/micro/windows.mjs [name …]        (about 15 seconds)
//
//   sliced     tumbling(1 s).aggregate(count()): all keys of a window in one table (operators/window.ts)
//   general    the same with its trigger written down, so that the general operator does it (operators/triggered-window.ts)
//   count      countWindow(100).aggregate(count())
//   kept       tumbling(1 s).process(…): ten records of a key are kept until the window ends
//   sliding    sliding(1 s, 100 ms) in the general operator: ten windows per record, and as many windows as records end
//   session    sessions with a gap of 500 ms and a trigger, in the general operator
//
// Node 20.20.2, one of 2 shared cores (with busy neighbours half of it), M records per CPU-second:
//   sliced 9.5   general 2.6   count 5.0   kept 1.9   sliding 0.21   session 0.5 (with busy neighbours)
import {
  count, countTrigger, eventTimeTrigger, localEnvironment, seconds, session, sliding, tumbling,
} from "../../../dist/core/index.js";

const RECORDS = 2_000_000;
const jobs = {
  sliced: (keyed) => keyed.window(tumbling(seconds(1))).aggregate(count()),
  general: (keyed) => keyed.window(tumbling(seconds(1))).trigger(eventTimeTrigger()).aggregate(count()),
  count: (keyed) => keyed.countWindow(100).aggregate(count()),
  kept: (keyed) => keyed.window(tumbling(seconds(1))).process((rows, _context, out) => out.collect(rows.length)),
  sliding: (keyed) => keyed.window(sliding(seconds(1), 100)).trigger(eventTimeTrigger()).aggregate(count()),
  session: (keyed) => keyed.window(session(500)).trigger(countTrigger(1_000)).aggregate(count()),
};

/** 100,000 records per second of event time, keys in no order. */
function keyOf(i) {
  let bits = i ^ (i >>> 16);
  bits = Math.imul(bits, 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return ((bits ^ (bits >>> 16)) & 0x7fffffff) % 10_000;
}

const wanted = process.argv.slice(2);
for (const [name, job] of Object.entries(jobs)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  let figure = 0;
  // The first run compiles.
  for (const records of [RECORDS / 10, RECORDS]) {
    const env = localEnvironment();
    const keyed = env.generate((i) => ({ key: keyOf(i), time: Math.floor(i / 100) }), { count: records })
      .withTimestamps((event) => event.time).keyBy((event) => event.key);
    job(keyed).sinkTo(() => undefined);
    const before = process.cpuUsage();
    await env.execute();
    const { user, system } = process.cpuUsage(before);
    figure = records / (user + system);
  }
  console.log(`${name.padEnd(9)} ${figure.toFixed(2)} M records per CPU-second`);
}
