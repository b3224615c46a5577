/** Channels between tasks: each end has a queue of its own, and segments take their time in between, in order. A link that loses an end breaks. */
import { SEGMENT_HEADER_BYTES, segmentPayloadBytes } from "../../src/core/data/element.ts";
import type { MemoryChannel } from "../../src/core/runtime/memory-channel.ts";
import type { ExecutionAddress, TaskDeployment } from "../../src/cluster/protocol/messages.ts";
import type { Cluster } from "./cluster.ts";
import { dropsRepeat } from "./mutants.ts";
import type { SimulatedTaskManager } from "./simulated-task-manager.ts";

interface End {
  readonly taskManager: SimulatedTaskManager;
  readonly execution: ExecutionAddress;
  readonly queue: MemoryChannel;
}

interface Link {
  output?: End;
  input?: End;
  moving: boolean;
  broken: boolean;
}

export class Links {
  readonly #cluster: Cluster;
  readonly #links = new Map<string, Link>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  input(channel: string, taskManager: SimulatedTaskManager, execution: ExecutionAddress, queue: MemoryChannel): MemoryChannel {
    this.#of(channel).input = { taskManager, execution, queue };
    this.moved(channel);
    return queue;
  }

  output(channel: string, taskManager: SimulatedTaskManager, execution: ExecutionAddress, queue: MemoryChannel): MemoryChannel {
    this.#of(channel).output = { taskManager, execution, queue };
    return queue;
  }

  /** Something was put into, or taken out of, one of the queues. */
  moved(channel: string): void {
    const link = this.#of(channel);
    for (const end of [link.output, link.input]) end?.taskManager.ring(end.execution);
    this.#move(link);
  }

  /** A task is gone without having finished: whoever it was linked to hears of it. */
  lose(deployment: TaskDeployment, from: SimulatedTaskManager): void {
    for (const { channel } of [...deployment.inputs, ...deployment.outputs].flatMap((edge) => edge.channels)) {
      const link = this.#of(channel);
      if (link.broken) continue;
      link.broken = true;
      const other = link.output?.taskManager === from && link.output.execution.vertex === deployment.execution.vertex ? "input" : "output";
      this.#cluster.world.after(this.#cluster.world.between(5, 60), () => {
        const end = link[other];
        end?.taskManager.process.run(() => end.taskManager.linkLost(end.execution));
      });
    }
  }

  /** What a finished task wrote goes its way; what it did not read is of no use. */
  ended(deployment: TaskDeployment): void {
    for (const { channel } of deployment.inputs.flatMap((edge) => edge.channels)) {
      const link = this.#of(channel);
      link.broken = true;
    }
  }

  /** The connections between two TaskManagers break. */
  cut(a: SimulatedTaskManager, b: SimulatedTaskManager): void {
    for (const link of this.#links.values()) {
      const ends = [link.output?.taskManager, link.input?.taskManager];
      if (link.broken || !ends.includes(a) || !ends.includes(b) || a === b) continue;
      link.broken = true;
      for (const end of [link.output, link.input]) end?.taskManager.process.run(() => end.taskManager.linkLost(end.execution));
    }
  }

  #of(channel: string): Link {
    let link = this.#links.get(channel);
    if (link === undefined) this.#links.set(channel, (link = { moving: false, broken: false }));
    return link;
  }

  #move(link: Link): void {
    if (link.moving || link.broken || link.output === undefined || link.input === undefined || link.output.queue.queued === 0) return;
    link.moving = true;
    const { world } = this.#cluster;
    world.after(world.between(0.1, this.#cluster.wire.weather.slowMs), () => {
      link.moving = false;
      const [from, to] = [link.output?.queue, link.input?.queue];
      if (link.broken || from === undefined || to === undefined) return;
      const source = from.tryPeek();
      const target = to.tryAcquire();
      if (source < 0 || target < 0) return;
      const bytes = SEGMENT_HEADER_BYTES + segmentPayloadBytes(from.memory, source);
      to.memory.bytes.set(from.memory.bytes.subarray(source, source + bytes), target);
      // A link that sends a segment again tells it by its number; without that it comes twice.
      if (!dropsRepeat(this.#cluster)) from.release();
      to.publish();
      this.#move(link);
    });
  }
}
