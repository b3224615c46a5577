// What snapshots of state in memory cost: `npm run bench -- state` (about a minute).
//
//   pauses   1 million keys, 100 MB when written; records change keys at random, 500 at a time, and in between the snapshot is written in
//            slices of 4 ms, as a task does it. A pause is the time between two batches of records: freezing, slices, garbage; told on the
//            clock and in CPU time, which a busy neighbour does not lengthen.
//   disk     1 million keys of about 250 bytes in lmdb, 50,000 of them cached: how many are filled in, read and changed per second, and what
//            an incremental checkpoint writes after a share of the keys has changed.
//   restore  10 million keys of a window, written at parallelism 4 and restored at parallelism 3, each subtask its own.
//
// Node 20.20.2, 2 shared cores that others kept busy:
//   pauses   93 MB in 1.5 s of CPU, p50 4.0 ms, p99 18 ms, longest 44 ms (with 14 other processes at work: 22 ms at p99 in CPU time)
//   disk     of 300,000 keys 139 k/s filled in, 85 k/s changed at random, 294 k/s within the cache; 67 MB the first time, then 1 % changed:
//            1 MB in 5 ms, 10 % changed: 7 MB in 73 ms
//   restore  10 million keys, 128 MB: 4.3, 3.5 and 3.9 s for the three subtasks
//
// Each can be left out by a 0: --keys 0, --disk 0, --restore 0. Needs some memory: NODE_OPTIONS=--max-old-space-size=4000.
import { parseArgs } from "node:util";
import { noClasses } from "../../dist/core/data/classes.js";
import { keyGroupOf, keyGroupRange } from "../../dist/core/data/key-groups.js";
import { valueState } from "../../dist/core/state/descriptors.js";
import { SubtaskStates } from "../../dist/core/state/operator-states.js";
import { redistribute } from "../../dist/core/state/snapshot.js";

const { values: flags } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    disk: { type: "string", default: "1000000" },
    restore: { type: "string", default: "10000000" },
    strings: { type: "boolean", default: false },
  },
});
const MAX_PARALLELISM = 128;
const SLICE_MS = 4;
const BATCH = 500;

const states = (restore, disk) =>
  new SubtaskStates({
    stateId: "op", maxParallelism: MAX_PARALLELISM, classes: noClasses, now: () => Date.now(),
    ...(restore === undefined ? {} : { restore }), ...(disk === undefined ? {} : { disk }),
  });
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
const ms = (value) => `${value.toFixed(1)} ms`;
const mb = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;

let seed = 42;
const random = (below) => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
};

function pauses(keys) {
  const it = states();
  const { keyed } = it;
  const state = keyed.state(valueState("orders"));
  const keyOf = flags.strings ? (i) => `customer-${i}` : (i) => i;
  for (let i = 0; i < keys; i++) {
    keyed.setCurrentKey(keyOf(i));
    state.update({ count: i, sum: i / 3, name: `customer number ${i}`, address: `${i} Long Street, a town of middling size`, last: 1.7e12 + i });
  }
  const batch = () => {
    for (let i = 0; i < BATCH; i++) {
      keyed.setCurrentKey(keyOf(random(keys)));
      const order = state.value();
      order.count++;
      order.sum += i;
      state.update(order);
    }
  };
  const during = (forMs) => {
    const from = performance.now();
    let batches = 0;
    while (performance.now() - from < forMs) {
      batch();
      batches++;
    }
    return (batches * BATCH) / (performance.now() - from) / 1000;
  };
  during(1000);
  const before = during(2000);
  const all = [];
  const inCpu = [];
  let [bytes, tookMs, workMs] = [0, 0, 0];
  for (let round = 0; round < 5; round++) {
    const began = performance.now();
    let cpu = process.cpuUsage();
    const snapshot = it.freeze(round);
    let pauseFrom = began;
    for (let done = false; !done; ) {
      done = snapshot.work(SLICE_MS, () => true);
      all.push(performance.now() - pauseFrom);
      const used = process.cpuUsage(cpu);
      workMs += (used.user + used.system) / 1000;
      inCpu.push((used.user + used.system) / 1000);
      batch();
      pauseFrom = performance.now();
      cpu = process.cpuUsage();
    }
    tookMs += performance.now() - began;
    ({ bytes } = snapshot);
    during(500);
  }
  all.sort((a, b) => a - b);
  inCpu.sort((a, b) => a - b);
  console.log(
    `pauses   ${keys} ${flags.strings ? "string" : "whole-number"} keys, ${mb(bytes)} written in ${ms(tookMs / 5)}: p50 ${ms(percentile(all, 0.5))}, p99 ${ms(percentile(all, 0.99))}, ` +
      `longest ${ms(all.at(-1))} of ${all.length} (CPU: ${ms(percentile(inCpu, 0.5))}, ${ms(percentile(inCpu, 0.99))}, ${ms(inCpu.at(-1))}); ${before.toFixed(2)} M records/s alone; writing takes ${ms(workMs / 5)} of CPU per snapshot`,
  );
}

function restore(keys) {
  const files = new Map();
  const layout = { store: (cell) => cell.n, load: (n) => ({ n }) };
  const old = 4;
  const writeFrom = performance.now();
  const snapshots = Array.from({ length: old }, (_, subtask) => {
    const it = states();
    const table = it.tables("slices", layout).table(1000);
    const range = keyGroupRange(subtask, old, MAX_PARALLELISM);
    for (let i = 0; i < keys; i++) {
      const group = keyGroupOf(i, MAX_PARALLELISM);
      if (group >= range.start && group < range.end) table.set(i, { n: i });
    }
    const parts = [];
    const snapshot = it.freeze(1);
    while (!snapshot.work(100, (bytes) => parts.push(bytes)));
    files.set(`${subtask}`, Buffer.concat(parts));
    return snapshot.finish(`${subtask}`, 0);
  });
  const wrote = performance.now() - writeFrom;
  const parallelism = 3;
  const times = [];
  let [found, sum] = [0, 0];
  for (let subtask = 0; subtask < parallelism; subtask++) {
    const from = performance.now();
    const it = states({ from: redistribute(snapshots, subtask, parallelism, MAX_PARALLELISM), read: ({ file, offset, bytes }) => files.get(file).subarray(offset, offset + bytes) });
    const table = it.tables("slices", layout).table(1000);
    times.push(performance.now() - from);
    const range = keyGroupRange(subtask, parallelism, MAX_PARALLELISM);
    table.forEach(({ n }, key) => {
      const group = keyGroupOf(key, MAX_PARALLELISM);
      if (n !== key || group < range.start || group >= range.end) throw new Error(`key ${key} came back as ${n} in subtask ${subtask}`);
      found++;
      sum += n;
    });
  }
  if (found !== keys || sum !== (keys * (keys - 1)) / 2) throw new Error(`${found} of ${keys} keys came back`);
  const size = [...files.values()].reduce((total, { length }) => total + length, 0);
  console.log(`restore  ${keys} keys, ${mb(size)}, from parallelism ${old} to ${parallelism}: exact; ${times.map(ms).join(", ")} per subtask (filled and written in ${ms(wrote)})`);
}

function disk(keys) {
  const it = states(undefined, { folder: "", cachedEntries: 50_000, incremental: true });
  const { keyed } = it;
  const state = keyed.state(valueState("orders"));
  const filler = "x".repeat(180);
  const timed = (count, act) => {
    const cpu = process.cpuUsage();
    for (let i = 0; i < count; i++) act(i);
    const { user, system } = process.cpuUsage(cpu);
    return `${(count / ((user + system) / 1000)).toFixed(0)} k/s`;
  };
  const change = (key) => {
    keyed.setCurrentKey(key);
    const order = state.value();
    order.count++;
    state.update(order);
  };
  const filled = timed(keys, (i) => {
    keyed.setCurrentKey(i);
    state.update({ count: i, sum: i / 3, name: `customer number ${i}`, address: filler });
  });
  const all = timed(keys / 10, () => change(random(keys)));
  const hot = timed(keys, () => change(random(40_000)));
  let id = 0;
  const take = () => {
    const from = performance.now();
    const cpu = process.cpuUsage();
    const snapshot = it.freeze(++id);
    const pauses = [];
    for (let done = false, began = from; !done; began = performance.now()) {
      done = snapshot.work(SLICE_MS, () => true);
      pauses.push(performance.now() - began);
      if (id > 1) for (let i = 0; i < 50; i++) change(random(40_000));
    }
    snapshot.finish("f", 0);
    it.completed(id);
    const { user, system } = process.cpuUsage(cpu);
    pauses.sort((a, b) => a - b);
    return { bytes: snapshot.bytes, text: `${mb(snapshot.bytes)} in ${ms((user + system) / 1000)} of CPU, pauses p99 ${ms(percentile(pauses, 0.99))}` };
  };
  console.log(`disk     ${keys} keys: filled ${filled}, changed at random ${all}, changed within the cache ${hot}; first checkpoint ${take().text}`);
  for (const share of [0.001, 0.01, 0.05, 0.1]) {
    for (let i = 0; i < keys * share; i++) change(random(keys));
    console.log(`         ${(share * 100).toFixed(1).padStart(4)} % of the keys changed: ${take().text}`);
  }
  it.close();
}

if (Number(flags.keys) > 0) pauses(Number(flags.keys));
if (Number(flags.disk) > 0) disk(Number(flags.disk));
if (Number(flags.restore) > 0) restore(Number(flags.restore));
