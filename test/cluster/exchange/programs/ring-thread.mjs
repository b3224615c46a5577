// A worker thread at one end of a ring.
// workerData: { role: "write" | "read", ring, bell, count, maximum, minimum?, pauseEvery?, pauseMs? }.
import { parentPort, workerData } from "node:worker_threads";
import { ThreadDoorbell } from "../../../../dist/cluster/exchange/doorbell.js";
import { RingInput, RingOutput } from "../../../../dist/cluster/exchange/ring-channel.js";
import { Reader, Writer } from "./stream.mjs";

const { role, ring, bell, count, maximum, minimum = 0, pauseEvery = 0, pauseMs = 1 } = workerData;
const doorbell = new ThreadDoorbell(bell);
const end = role === "write" ? new RingOutput(ring) : new RingInput(ring);
const side = role === "write" ? new Writer(end, count, maximum, minimum) : new Reader(end, count, maximum, minimum);
const ready = role === "write" ? () => end.tryAcquire() >= 0 : () => end.tryPeek() >= 0;
const never = new Int32Array(new SharedArrayBuffer(4));
let parks = 0;
let timeouts = 0;
for (let steps = 0; !side.done; ) {
  if (side.step()) {
    steps += 1;
    if (pauseEvery > 0 && steps % pauseEvery === 0) Atomics.wait(never, 0, 0, pauseMs);
    continue;
  }
  parks += 1;
  const before = performance.now();
  doorbell.park(10_000, ready);
  if (performance.now() - before > 9_000) timeouts += 1;
}
parentPort.postMessage({ role, bytes: side.bytes, parks, timeouts });
