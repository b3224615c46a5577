// The job "window" as it is written with RxJS alone, in one thread: 1,000 keys counted per second of event time, 100,000 events in it,
// every tenth filtered out. What drey's job of the same name (npm run bench -- job --job window) is to be compared with.
// Run: npm run bench -- rxjs [--n 2000000] [--json]        (about 5 seconds)
//
//   operators   with RxJS's own operators: a group per window, which ends with the first event of a later one, and in it a group per key
//   by hand     with one operator of the user's: counts in a Map per window
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { Observable, connect, count, filter, first, groupBy, map, mergeMap, range } from "rxjs";

const { values } = parseArgs({ options: { n: { type: "string", default: "2000000" }, json: { type: "boolean", default: false } } });
const n = Number(values.n);
const SIZE_MS = 1_000;

const events = (count) =>
  range(0, count).pipe(
    map((i) => ({ key: keyOf(i), i, time: Math.floor(i / 100) })),
    filter((event) => event.i % 10 !== 0),
  );

const windowOf = (event) => Math.floor(event.time / SIZE_MS);

const withOperators = (stream) =>
  stream.pipe(
    connect((shared) =>
      shared.pipe(
        groupBy(windowOf, { duration: (group) => shared.pipe(first((event) => windowOf(event) > group.key, undefined)) }),
        mergeMap((ofWindow) =>
          ofWindow.pipe(
            groupBy((event) => event.key),
            mergeMap((ofKey) => ofKey.pipe(count(), map((events) => ({ key: ofKey.key, window: ofWindow.key, events })))),
          ),
        ),
      ),
    ),
  );

const byHand = (stream) =>
  new Observable((subscriber) => {
    let present = 0;
    let counts = new Map();
    const emit = () => {
      for (const [key, events] of counts) subscriber.next({ key, window: present, events });
      counts = new Map();
    };
    return stream.subscribe({
      next: (event) => {
        const window = windowOf(event);
        if (window !== present) {
          emit();
          present = window;
        }
        counts.set(event.key, (counts.get(event.key) ?? 0) + 1);
      },
      error: (error) => subscriber.error(error),
      complete: () => {
        emit();
        subscriber.complete();
      },
    });
  });

for (const [name, windowed] of [["operators", withOperators], ["by hand", byHand]]) {
  run(windowed, Math.ceil(n / 10));
  const { seconds, cpuSeconds, results, counted } = run(windowed, n);
  // Every tenth event is filtered out, and all others are in one window.
  if (counted !== n - Math.ceil(n / 10)) throw new Error(`RxJS ${name}: the windows have ${counted} events of ${n}.`);
  const [eventsPerSecond, eventsPerCpuSecond] = [Math.round(n / seconds), Math.round(n / cpuSeconds)];
  const figures = { events: n, results, seconds, eventsPerSecond, cpuSeconds, eventsPerCpuSecond };
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
  const speed = `${Math.round(eventsPerSecond / 1_000)} k events/s, ${Math.round(eventsPerCpuSecond / 1_000)} k per CPU-second`;
  console.log(
    values.json
      ? JSON.stringify({ job: "window", variant: `RxJS, ${name}`, ...figures, ...machine })
      : `${name.padEnd(11)}${speed}, ${seconds.toFixed(2)} s`,
  );
}

function run(windowed, of) {
  const cpu = process.cpuUsage();
  const began = performance.now();
  let results = 0;
  let counted = 0;
  windowed(events(of)).subscribe((result) => {
    results++;
    counted += result.events;
  });
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - began) / 1_000, cpuSeconds: (user + system) / 1e6, results, counted };
}

/** A thousand keys in no order. */
function keyOf(i) {
  let bits = i ^ (i >>> 16);
  bits = Math.imul(bits, 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return ((bits ^ (bits >>> 16)) & 0x7fffffff) % 1_000;
}
