/** A cluster of Node processes for programs of other runtimes: prints its address, and ends with its standard input. */
import { LocalCluster } from "drey";

const cluster = await LocalCluster.start({ taskManagers: 2, slots: 1 });
console.log(cluster.address);
process.stdin.on("end", () => void cluster.stop()).resume();
