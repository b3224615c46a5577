// A worker thread with a bell. workerData: { role: "flag" | "ring" | "wait", bell, afterMs? }.
import { parentPort, workerData } from "node:worker_threads";
import { ThreadDoorbell, ringBell, takeFlag, waitForBell } from "../../../../dist/cluster/exchange/doorbell.js";

const { role, bell, afterMs } = workerData;
parentPort.postMessage("up");
if (role === "flag") {
  const doorbell = new ThreadDoorbell(bell);
  for (;;) {
    doorbell.park(10_000, () => false);
    if (takeFlag(bell)) parentPort.postMessage("taken");
  }
} else if (role === "ring") {
  setTimeout(() => ringBell(bell), afterMs);
} else {
  await waitForBell(bell, 10_000);
}
