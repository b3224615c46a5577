// A process with one end of data connections, each channel's task in a worker thread. Told what to do by messages from its parent:
// { start: options } → { address } · { open: [{ direction, channel, peer, settings }] } → { ended } for each · { statistics } · { close }
import { Worker } from "node:worker_threads";
import { createBell } from "../../../../dist/cluster/exchange/doorbell.js";
import { createRing } from "../../../../dist/cluster/exchange/ring-channel.js";
import { DataLinks } from "../../../../dist/cluster/exchange/zmq-channel.js";

let links;
const open = async ({ direction, channel, peer, segmentBytes, segments, ...settings }) => {
  const bell = createBell();
  const [producerBell, consumerBell] = direction === "output" ? [bell, links.bell] : [links.bell, bell];
  const ring = createRing({ segmentBytes, segments, producerBell, consumerBell });
  const end = direction === "output" ? links.openOutput(channel, peer, ring) : links.openInput(channel, peer, ring);
  const worker = new Worker(new URL("./ring-thread.mjs", import.meta.url), {
    workerData: { role: direction === "output" ? "write" : "read", ring, bell, ...settings },
  });
  const report = await new Promise((resolve) => {
    worker.once("message", resolve);
    worker.once("error", (error) => resolve({ error: error.message }));
    void end.ended.then((error) => error !== undefined && resolve({ error: error.message }));
  });
  await worker.terminate();
  const error = await end.ended;
  process.send({ ended: { channel, ...report, ...(error === undefined ? {} : { error: error.message }) } });
};

process.on("message", async (message) => {
  if (message.start !== undefined) {
    links = new DataLinks({ ...message.start, onPeerLost: (peer, reason) => process.send({ lost: { peer, reason } }) });
    process.send({ address: await links.start() });
  } else if (message.open !== undefined) {
    for (const one of message.open) void open(one);
  } else if (message.statistics !== undefined) {
    process.send({ statistics: links.statistics, cpu: process.cpuUsage(), rss: process.memoryUsage().rss });
  } else if (message.close !== undefined) {
    await links.close();
    process.disconnect();
  }
});
process.on("disconnect", () => process.exit(0));
