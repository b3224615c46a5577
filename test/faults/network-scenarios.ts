/**
 * Faults of the network, and of two who both believe they lead: each process of the cluster is on a machine of its own (network.ts). Where
 * that can't be had the tests are skipped and say why.
 */
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { type Machine, Network, NetworkCluster, PORT, unavailable } from "./network.ts";
import { SHORT, Scenario, latest } from "./scenario.ts";

// More than all deadlines of one test together: each ends by itself, and takes its network with it.
vi.setConfig({ testTimeout: 300_000 });

const WHY_NOT = unavailable();
/** About eight seconds of rows: longer than a heartbeat's timeout and what follows. */
const RUN = { rows: 24_000, rowsPerSecond: 3_000 };

describe.skipIf(WHY_NOT !== undefined)(`a network${WHY_NOT === undefined ? "" : ` (skipped: ${WHY_NOT})`}`, () => {
  test("12: a leader that slept while a standby took over changes nothing when it wakes, and ends", async () => {
    await using network = new Network();
    const at = network.sharedAddress;
    const options = {
      ...SHORT,
      "high-availability.type": "filesystem",
      "high-availability.storageDir": join(network.folder, "ha"),
      "execution.checkpointing.dir": join(network.folder, "checkpoints"),
    };
    const cluster = await NetworkCluster.start(network, { options, at });
    await using it = await Scenario.on(cluster, RUN);
    const leader = cluster.roles[0];
    if (leader === undefined) throw new Error("there is no leader");
    const second = network.machine("jm2");
    network.takeAddress(second, at);
    const standby = cluster.startJobManager(second);
    await it.checkpointed(3);
    leader.kill("SIGSTOP");
    await standby.ready();
    network.moveAddress(at, second);
    await it.until("the client has found the next leader", async () => (await it.job.details()).state === "RUNNING", 40_000);
    leader.kill("SIGCONT");
    await it.until("the former leader has ended", () => !leader.isRunning);
    expect(leader.exitCode).toBe(1);
    expect(leader.said).toContain("another JobManager leads");
    await it.verdict(0);
    expect(standby.isRunning).toBe(true);
  });

  test.each([
    ["13: a TaskManager that nobody hears and that hears nobody", true],
    ["14: a TaskManager that nobody hears, but that hears the JobManager,", false],
  ])("%s is replaced, and is taken back when it is heard again", async (_title, bothWays) => {
    await using network = new Network();
    const cluster = await NetworkCluster.start(network, { options: SHORT, taskManagers: 3 });
    await using it = await Scenario.on(cluster, RUN);
    await it.checkpointed(3);
    const [lost] = await busyMachines(it);
    if (lost === undefined) throw new Error("no TaskManager has tasks");
    network.cut(lost, cluster.jobManager);
    if (bothWays) network.cut(cluster.jobManager, lost);
    await it.until("the TaskManager is given up", async () => (await it.client.overview()).taskManagers.length === 2);
    await it.restored(1);
    network.heal(lost, cluster.jobManager);
    if (bothWays) network.heal(cluster.jobManager, lost);
    await it.until("it is back", async () => (await it.client.overview()).taskManagers.length === 3);
    await it.verdict(1);
  });

  test("15: two TaskManagers that don't reach each other are noticed, although both reach the JobManager", async () => {
    await using network = new Network();
    const cluster = await NetworkCluster.start(network, { options: SHORT });
    // Three tasks of each kind need both machines.
    await using it = await Scenario.on(cluster, { ...RUN, parallelism: 3 });
    await it.checkpointed(3);
    const [a, b] = cluster.taskManagers;
    if (a === undefined || b === undefined) throw new Error("there are no two TaskManagers");
    network.cut(a, b);
    network.cut(b, a);
    await it.until("a task has failed", async () => (await it.job.details()).executions.some(({ attempt }) => attempt > 0));
    expect((await it.client.overview()).taskManagers.length).toBe(2);
    network.heal(a, b);
    network.heal(b, a);
    await it.restored(1);
    await it.verdict(1);
  });

  // Messages that come again, or out of order, after a connection broke: test/cluster/protocol/repeats.test.ts, and the simulation.
  test("16: a network that loses a tenth and is late costs time, and nothing else", async () => {
    await using network = new Network();
    await using late = await LateProxy.listen(network.here.address);
    const cluster = await NetworkCluster.start(network, {
      options: SHORT,
      reachedAt: (jobManager) => {
        late.target = { host: jobManager.address, port: PORT };
        return `tcp://${network.here.address}:${late.port}`;
      },
    });
    await using it = await Scenario.on(cluster, { ...RUN, parallelism: 3 });
    await it.checkpointed(1);
    network.loseATenth();
    await it.verdict(0);
    expect(late.carried).toBeGreaterThan(50);
    expect(network.sentAgain(cluster.jobManager) + network.sentAgain(cluster.taskManagers[0] as Machine)).toBeGreaterThan(3);
  });
});

/** The machines on which tasks run. */
async function busyMachines({ job, client, cluster }: Scenario<NetworkCluster>): Promise<Machine[]> {
  const [{ executions }, { taskManagers }] = await Promise.all([job.details(), client.overview()]);
  const busy = new Set(latest(executions).map((it) => it.taskManager));
  const pids = new Set(taskManagers.filter((it) => busy.has(it.taskManager)).map((it) => it.pid));
  return cluster.taskManagers.filter((_machine, index) => pids.has(cluster.roles[index + 1]?.pid ?? 0));
}

/** A way to a server that is slow: pieces arrive 20 to 200 ms late, in order. */
class LateProxy implements AsyncDisposable {
  /** Pieces that were brought. */
  carried = 0;
  /** Where everything goes. */
  target: { readonly host: string; readonly port: number } | undefined;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => {
    if (this.target === undefined) return near.destroy();
    const far = connect(this.target);
    this.#bring(near, far);
    this.#bring(far, near);
    return undefined;
  });

  static async listen(host: string): Promise<LateProxy> {
    const proxy = new LateProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, host, resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  #bring(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    // Timers that are due together come in any order; the pieces come in theirs.
    const waiting: (() => void)[] = [];
    const later = (act: () => void): void => {
      waiting.push(act);
      setTimeout(() => waiting.shift()?.(), 20 + ((this.carried++ * 67) % 181));
    };
    from.on("data", (bytes) => later(() => to.write(bytes)));
    from.on("error", () => undefined);
    from.on("close", () => {
      this.#sockets.delete(from);
      later(() => to.destroy());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
