// How fast segments move between subtasks: through a ring between two threads, and between two processes over ZeroMQ.
// Run: npm run build && node test/bench/micro/exchange.mjs [rounds]        (about 20 seconds; medians of the rounds)
//
//   hop      a lone segment from one thread's publish to the other thread's peek, half of a round trip, µs
//   tiny     segments of 64 bytes per second, thousands        (also per CPU-second over all threads and processes)
//   full     segments of 128 KiB, MB per second, each filled by one copy and not looked at
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { ThreadDoorbell, createBell } from "../../../dist/cluster/exchange/doorbell.js";
import { RingInput, RingOutput, createRing } from "../../../dist/cluster/exchange/ring-channel.js";
import { SEGMENT_BYTES, SEGMENT_HEADER_BYTES, SegmentKind, writeSegmentHeader } from "../../../dist/core/data/element.js";

const here = fileURLToPath(import.meta.url);
const PINGS = 1_000;
const TASKS = {
  hop: { segmentBytes: 1024, segments: 4, payloadBytes: 8 },
  tiny: { segmentBytes: 1024, segments: 16, payloadBytes: 32, count: 100_000 },
  full: { segmentBytes: SEGMENT_BYTES, segments: 8, payloadBytes: SEGMENT_BYTES - SEGMENT_HEADER_BYTES, count: 3_000 },
};

if (!isMainThread) runTask();
else if (process.argv[2] === "peer") await runPeer();
else await runAll();

function runTask() {
  const { role, out, into, bell, payloadBytes, count } = workerData;
  const doorbell = new ThreadDoorbell(bell);
  const output = out && new RingOutput(out);
  const input = into && new RingInput(into);
  const payload = new Uint8Array(payloadBytes).fill(7);
  const room = () => output.tryAcquire() >= 0;
  const some = () => input.tryPeek() >= 0;
  const write = () => {
    let offset;
    while ((offset = output.tryAcquire()) < 0) doorbell.park(5_000, room);
    writeSegmentHeader(output.memory, offset, SegmentKind.rows, 1, payloadBytes, 0);
    output.memory.bytes.set(payload, offset + SEGMENT_HEADER_BYTES);
    output.publish();
  };
  const read = () => {
    while (input.tryPeek() < 0) doorbell.park(5_000, some);
    input.release();
  };
  if (role === "ping") {
    const hopsUs = [];
    const idle = new Int32Array(new SharedArrayBuffer(4));
    for (let n = 0; n < PINGS; n += 1) {
      Atomics.wait(idle, 0, 0, 0.3);
      const before = performance.now();
      write();
      read();
      hopsUs.push(((performance.now() - before) * 1_000) / 2);
    }
    hopsUs.sort((a, b) => a - b);
    parentPort.postMessage({ p50: hopsUs[PINGS >> 1], p99: hopsUs[Math.floor(PINGS * 0.99)] });
  } else if (role === "pong") {
    for (let n = 0; n < PINGS; n += 1) {
      read();
      write();
    }
    parentPort.postMessage({});
  } else if (role === "write") {
    for (let n = 0; n < count; n += 1) write();
    parentPort.postMessage({});
  } else {
    read();
    const before = performance.now();
    for (let n = 1; n < count; n += 1) read();
    parentPort.postMessage({ seconds: (performance.now() - before) / 1_000 });
  }
}

function runThread(data) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(here, { workerData: data });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** A process with data connections; the parent tells it one task at a time. */
async function runPeer() {
  const { DataLinks } = await import("../../../dist/cluster/exchange/zmq-channel.js");
  const links = new DataLinks({ taskManagerId: process.argv[3], address: process.argv[4], onPeerLost: () => process.exit(0) });
  process.send({ address: await links.start() });
  process.on("disconnect", () => process.exit(0));
  process.on("message", async ({ role, name, peer, outName, intoName }) => {
    const task = TASKS[name];
    const bell = createBell();
    const ends = [];
    const data = { role, bell, ...task };
    if (outName) {
      data.out = createRing({ ...task, producerBell: bell, consumerBell: links.bell });
      ends.push(links.openOutput(outName, peer, data.out));
    }
    if (intoName) {
      data.into = createRing({ ...task, producerBell: links.bell, consumerBell: bell });
      ends.push(links.openInput(intoName, peer, data.into));
    }
    const before = process.cpuUsage();
    const result = await runThread(data);
    const cpu = process.cpuUsage(before);
    if (role === "read" || role === "ping") for (const end of ends) end.close();
    process.send({ result, cpuSeconds: (cpu.user + cpu.system) / 1e6 });
  });
}

async function runAll() {
  const rounds = Number(process.argv[2] ?? 3);
  const rows = [await measure("ring, two threads", rounds, throughThreads)];
  for (const address of ["ipc", "tcp"]) rows.push(await betweenProcesses(address, rounds));
  console.log(`Node ${process.version}, medians of ${rounds} rounds`);
  console.table(Object.fromEntries(rows));
}

async function measure(title, rounds, run) {
  const seen = { hop: [], tiny: [], full: [] };
  for (let round = 0; round < rounds; round += 1) for (const name of Object.keys(seen)) seen[name].push(await run(name, round));
  const median = (name, pick) => {
    const sorted = seen[name].map(pick).sort((a, b) => a - b);
    return sorted[sorted.length >> 1];
  };
  const rate = (name, scale) => (one) => (TASKS[name].count * scale) / one.seconds;
  const perCpu = (name, scale) => (one) => (TASKS[name].count * scale) / one.cpuSeconds;
  const mb = SEGMENT_BYTES / 1e6;
  return [title, {
    "hop p50 µs": Math.round(median("hop", (one) => one.p50)),
    "hop p99 µs": Math.round(median("hop", (one) => one.p99)),
    "tiny k/s": Math.round(median("tiny", rate("tiny", 1e-3))),
    "tiny k/s/cpu": Math.round(median("tiny", perCpu("tiny", 1e-3))),
    "full MB/s": Math.round(median("full", rate("full", mb))),
    "full MB/s/cpu": Math.round(median("full", perCpu("full", mb))),
  }];
}

async function throughThreads(name) {
  const task = TASKS[name];
  const [left, right] = [createBell(), createBell()];
  const there = createRing({ ...task, producerBell: left, consumerBell: right });
  const back = createRing({ ...task, producerBell: right, consumerBell: left });
  const before = process.cpuUsage();
  const hop = name === "hop";
  const [near, far] = await Promise.all([
    runThread({ role: hop ? "ping" : "write", bell: left, out: there, into: hop ? back : undefined, ...task }),
    runThread({ role: hop ? "pong" : "read", bell: right, into: there, out: hop ? back : undefined, ...task }),
  ]);
  const cpu = process.cpuUsage(before);
  return { ...near, ...far, cpuSeconds: (cpu.user + cpu.system) / 1e6 };
}

async function betweenProcesses(kind, rounds) {
  const folder = mkdtempSync(join(tmpdir(), "drey-bench-"));
  const start = async (id) => {
    const child = fork(here, ["peer", id, kind === "ipc" ? `ipc://${folder}/${id}` : "tcp://127.0.0.1:*"]);
    const { address } = await new Promise((resolve) => child.once("message", resolve));
    return { child, peer: { taskManagerId: id, address } };
  };
  const [a, b] = [await start("a"), await start("b")];
  const tell = ({ child }, message) =>
    new Promise((resolve) => {
      child.once("message", resolve);
      child.send(message);
    });
  let run = 0;
  const row = await measure(`zmq ${kind}, two processes`, rounds, async (name) => {
    run += 1;
    const [there, back] = [`there${run}`, name === "hop" ? `back${run}` : undefined];
    const [near, far] = await Promise.all([
      tell(a, { role: name === "hop" ? "ping" : "write", name, peer: b.peer, outName: there, intoName: back }),
      tell(b, { role: name === "hop" ? "pong" : "read", name, peer: a.peer, outName: back, intoName: there }),
    ]);
    return { ...near.result, ...far.result, cpuSeconds: near.cpuSeconds + far.cpuSeconds };
  });
  for (const { child } of [a, b]) child.kill();
  rmSync(folder, { recursive: true, force: true });
  return row;
}
