/**
 * A cluster whose processes live on machines of their own, as far as the network goes: a network namespace each, behind one router that can
 * lose what one says to another. This process is a machine among them. Nobody is told of a loss: the router drops packets without a word,
 * as a broken network does.
 *
 * Needs Linux, root, and `ip`; `unavailable` says what is missing. All of it is gone when the network is disposed of.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ClusterClient, Configuration } from "drey";
import { deadline } from "./scenario.ts";

const CLI = fileURLToPath(new URL("../../dist/cluster/cli.js", import.meta.url));
/** Where JobManagers listen. */
export const PORT = 6_123;
/** Of this process, so that two runs don't meet. */
const MARK = `dy${process.pid}`;
const SUBNET = `10.${64 + (process.pid % 128)}`;

/** Why there can be no such network here; undefined: there can. */
export function unavailable(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "network namespaces need root on Linux";
  try {
    ip("netns", "add", `${MARK}-probe`);
    ip("-n", `${MARK}-probe`, "rule", "add", "from", "10.0.0.1", "to", "10.0.0.2", "blackhole");
    return undefined;
  } catch (error) {
    return `ip can't make network namespaces and rules here: ${(error as Error).message.split("\n").at(-2)}`;
  } finally {
    try {
      ip("netns", "del", `${MARK}-probe`);
    } catch {
      // It could not be made.
    }
  }
}

/** A machine: its namespace, or none for this process, and its address. */
export interface Machine {
  readonly name: string;
  readonly address: string;
}

/** Machines behind one router. */
export class Network implements AsyncDisposable {
  readonly here: Machine;
  readonly folder: string = mkdtempSync(join(tmpdir(), "drey-network-"));
  readonly #router = `${MARK}-router`;
  readonly #namespaces: string[] = [];
  readonly #processes: RoleOnMachine[] = [];
  readonly #machines = new Map<string, number>();
  #losing: ChildProcess | undefined;

  constructor() {
    try {
      this.#namespace(this.#router);
      // As a router does: what is not for it goes on.
      execFileSync("ip", ["netns", "exec", this.#router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
      this.here = this.#plug("here", undefined);
    } catch (error) {
      this.#remove();
      throw error;
    }
  }

  /** Puts a machine into the network. */
  machine(name: string): Machine {
    const namespace = `${MARK}-${name}`;
    this.#namespace(namespace);
    return this.#plug(name, namespace);
  }

  /** An address that the router takes to one machine, and to another when told again; both have it as theirs. */
  moveAddress(address: string, to: Machine): void {
    const number = this.#machines.get(to.name);
    ip("-n", this.#router, "route", "replace", `${address}/32`, "via", to.address, "dev", `m${number}`);
  }

  /** Gives a machine one more address, which `moveAddress` can bring packets to. */
  takeAddress(machine: Machine, address: string): void {
    ip("-n", `${MARK}-${machine.name}`, "addr", "add", `${address}/32`, "dev", "lo");
  }

  /** @returns an address that no machine has yet. */
  get sharedAddress(): string {
    return `${SUBNET}.250.1`;
  }

  /** From now on what `from` says does not reach `to`. */
  cut(from: Machine, to: Machine): void {
    ip("-n", this.#router, "rule", "add", "from", from.address, "to", to.address, "blackhole");
  }

  /** Undoes `cut`. */
  heal(from: Machine, to: Machine): void {
    ip("-n", this.#router, "rule", "del", "from", from.address, "to", to.address, "blackhole");
  }

  /** Until the network ends, everything that is on its way is lost for a tenth of the time, some milliseconds now and then. */
  loseATenth(): void {
    const script = "while :; do ip rule add blackhole; sleep 0.02; ip rule del blackhole; sleep 0.2; done";
    this.#losing = spawn("ip", ["netns", "exec", this.#router, "sh", "-c", script], { stdio: "ignore" });
  }

  /** TCP segments that a machine had to send again so far. */
  sentAgain({ name }: Machine): number {
    const text = execFileSync("ip", ["netns", "exec", `${MARK}-${name}`, "cat", "/proc/net/snmp"], { encoding: "utf8" });
    const [names, values] = text.split("\n").filter((line) => line.startsWith("Tcp:")).map((line) => line.split(" "));
    return Number(values?.[names?.indexOf("RetransSegs") ?? -1]);
  }

  /** Starts a role on a machine. */
  start(machine: Machine, role: "jobmanager" | "taskmanager", args: readonly string[]): RoleOnMachine {
    const started = new RoleOnMachine(`${MARK}-${machine.name}`, [CLI, role, ...args]);
    this.#processes.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((it) => it.stop()));
    if (this.#losing !== undefined) await ended(this.#losing, "SIGKILL");
    this.#remove();
  }

  #remove(): void {
    for (const namespace of this.#namespaces) ip("netns", "del", namespace);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #namespace(name: string): void {
    ip("netns", "add", name);
    this.#namespaces.push(name);
    ip("-n", name, "link", "set", "lo", "up");
  }

  /** A cable from the router to a namespace, or to this process's own. */
  #plug(name: string, namespace: string | undefined): Machine {
    const number = this.#machines.size + 1;
    this.#machines.set(name, number);
    const device = `${MARK}e${number}`;
    const near = namespace === undefined ? [] : ["-n", namespace];
    ip("link", "add", device, "type", "veth", "peer", "name", `m${number}`, "netns", this.#router);
    if (namespace !== undefined) ip("link", "set", device, "netns", namespace);
    ip("-n", this.#router, "addr", "add", `${SUBNET}.${number}.1/24`, "dev", `m${number}`);
    ip("-n", this.#router, "link", "set", `m${number}`, "up");
    ip(...near, "addr", "add", `${SUBNET}.${number}.2/24`, "dev", device);
    ip(...near, "link", "set", device, "up");
    ip(...near, "route", "add", ...(namespace === undefined ? [`${SUBNET}.0.0/16`] : ["default"]), "via", `${SUBNET}.${number}.1`);
    return { name, address: `${SUBNET}.${number}.2` };
  }
}

/** A process of a cluster on a machine of the network. */
export class RoleOnMachine {
  readonly #child: ChildProcess;
  #said = "";
  #ready: () => void = () => undefined;
  readonly #isReady = new Promise<void>((resolve) => (this.#ready = resolve));

  constructor(namespace: string, args: readonly string[]) {
    this.#child = spawn("ip", ["netns", "exec", namespace, process.execPath, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#said += text;
        if (/ ready (at|for) /.test(this.#said)) this.#ready();
      });
  }

  /** What it wrote. */
  get said(): string {
    return this.#said;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** Resolves when it serves. */
  async ready(): Promise<void> {
    await deadline(this.#isReady, 30_000, "a process on a machine").catch((error: Error) => {
      throw new Error(`${error.message}; it said:\n${this.#said}`);
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async stop(): Promise<void> {
    this.kill("SIGCONT");
    await ended(this.#child, "SIGTERM");
  }
}

/** One JobManager and TaskManagers, each on a machine of its own, with keys. The network is its maker's. */
export class NetworkCluster {
  readonly network: Network;
  readonly taskManagers: Machine[] = [];
  /** The first JobManager, the TaskManagers, further JobManagers. */
  readonly roles: RoleOnMachine[] = [];
  readonly jobManager: Machine;
  /** Where the JobManager is reached from here. */
  readonly address: string;
  readonly #options: Readonly<Record<string, unknown>>;

  private constructor(network: Network, options: Readonly<Record<string, unknown>>, address?: string) {
    this.network = network;
    this.jobManager = network.machine("jm");
    const key = join(network.folder, "key");
    execFileSync(process.execPath, [CLI, "keys", key], { stdio: "ignore" });
    this.#options = { ...options, "security.key-file": key };
    this.address = `tcp://${address ?? this.jobManager.address}:${PORT}`;
  }

  /** @param at an address that can move; default the JobManager's machine's own. */
  static async start(
    network: Network,
    { taskManagers = 2, options = {}, at, reachedAt }: {
      readonly taskManagers?: number;
      readonly options?: Readonly<Record<string, unknown>>;
      readonly at?: string;
      /** Where the TaskManagers look for the JobManager, when it is not where it listens. */
      readonly reachedAt?: (jobManager: Machine) => string;
    } = {},
  ): Promise<NetworkCluster> {
    const cluster = new NetworkCluster(network, options, at);
    if (at !== undefined) {
      network.takeAddress(cluster.jobManager, at);
      network.moveAddress(at, cluster.jobManager);
    }
    const leader = cluster.startJobManager(cluster.jobManager);
    const address = reachedAt?.(cluster.jobManager) ?? cluster.address;
    for (let i = 1; i <= taskManagers; i++) {
      const machine = network.machine(`tm${i}`);
      cluster.taskManagers.push(machine);
      cluster.roles.push(
        network.start(machine, "taskmanager", ["-m", address, "-s", "2", `-Dtaskmanager.bind-host=${machine.address}`, ...cluster.#flags]),
      );
    }
    await Promise.all([leader, ...cluster.roles].map((it) => it.ready()));
    return cluster;
  }

  /** One more that can lead; it listens where the cluster's JobManager does. */
  startJobManager(machine: Machine): RoleOnMachine {
    const role = this.network.start(machine, "jobmanager", ["-a", this.address, ...this.#flags]);
    this.roles.push(role);
    return role;
  }

  connect(): Promise<ClusterClient> {
    return ClusterClient.connect(this.address, { configuration: Configuration.of(this.#options) });
  }

  /** Ends the processes; the network stays. */
  async stop(): Promise<void> {
    await Promise.all(this.roles.map((it) => it.stop()));
  }

  get #flags(): string[] {
    return Object.entries(this.#options).map(([key, value]) => `-D${key}=${String(value)}`);
  }
}

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
}

/** Ends a child process; when it does not end in time, by force. */
async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill(signal);
  await deadline(gone, 12_000, "the end of a process").catch(() => {
    child.kill("SIGKILL");
    return gone;
  });
}
