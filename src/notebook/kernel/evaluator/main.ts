/**
 * The evaluator: the process that runs the cells, a child of the front process. It has no socket of Jupyter's and knows nothing of its
 * protocol; when it ends, the notebook's variables are lost and nothing else.
 *
 * It ends when the front process does: its IPC channel closes, or the interrupting thread sees it in the midst of a loop.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { AwaitedJob } from "../../../core/api/awaited-jobs.ts";
import { answer } from "./answers.ts";
import { cancelsAtOnce, jobsOfCell, rememberAwaitedJobs, startedSession, unfinished } from "./attached-jobs.ts";
import { type Ended, Interruption, interruptCell, runCell, runInterruptibly, runningRequest } from "./cells.ts";
import { Comms } from "./comms.ts";
import { runMagic } from "./magics.ts";
import { installOutlet } from "./outlet.ts";
import { installPrompts } from "./prompt.ts";
import type { Order, RequestNumber } from "./protocol.ts";
import { presentRequest, within } from "./running.ts";
import { installStreams } from "./streams.ts";
import { failureOf } from "./traceback.ts";
import { bundleOf } from "./values.ts";

/** How long the notebook's cluster may take to end with the kernel. */
const END_MS = 3_000;
/** Texts of cells by request, as far as late outputs may ask for them. */
const MOST_TEXTS = 500;

const texts = new Map<RequestNumber, string>();
const comms = new Comms();
/** What the last interrupt left running; a cell that is run since then is not about it. */
let named: { readonly request: RequestNumber; readonly jobs: readonly AwaitedJob[] } | undefined;

const globals = globalThis as unknown as Record<symbol | string, unknown>;
globals["require"] = createRequire(join(process.cwd(), "cell.js"));
globals[Symbol.for("drey.comms")] = comms;
globals[Symbol.for("drey.kernel.meta")] = {
  url: pathToFileURL(join(process.cwd(), "cell.ts")).href,
  dirname: process.cwd(),
  filename: join(process.cwd(), "cell.ts"),
};
globals[Symbol.for("drey.kernel.interruption")] = () => new Interruption("the cell was interrupted in the middle of its work.");

installStreams();
installPrompts();
installOutlet((request) => texts.get(request), comms);
rememberAwaitedJobs();

process.on("uncaughtException", (error) => {
  if (error instanceof Interruption) {
    // The loop that runs below this call is about to be dropped, and with it every promise that waits for its turn. So the cell is ended
    // in a turn of its own.
    setImmediate(() => interruptCell(error));
    return;
  }
  tellUnhandled("Uncaught", error);
});
process.on("unhandledRejection", (reason) => tellUnhandled("Unhandled rejection", reason));
process.on("disconnect", () => process.exit(0));
// Ctrl-C in a console goes to the whole group of processes; the front process decides what it means.
process.on("SIGINT", () => undefined);

function tellUnhandled(what: string, reason: unknown): void {
  const { traceback } = failureOf(reason);
  answer({ kind: "stream", request: presentRequest(), name: "stderr", text: `${what}: ${traceback.join("\n")}\n` });
}

process.on("message", (order: Order) => {
  void obey(order).catch((error: unknown) => tellUnhandled("The kernel itself failed", error));
});

async function obey(order: Order): Promise<void> {
  switch (order.kind) {
    case "run":
      named = undefined;
      texts.set(order.request, order.cell.typescript);
      if (texts.size > MOST_TEXTS) texts.delete(texts.keys().next().value as RequestNumber);
      return runCell(order.request, order.cell, (how) => void tellEnd(order.request, how, order.show));
    case "magic":
      return runInterruptibly(
        order.request,
        () => runMagic(order.magic),
        (how) => void tellEnd(order.request, how, true),
      );
    case "interrupt":
      answer({ kind: "interrupting" });
      return interrupt(order.request);
    case "comm":
      return comms.take(order.request, order);
    case "end":
      await end();
      return process.exit(0);
  }
}

async function tellEnd(request: RequestNumber, how: Ended, show: boolean): Promise<void> {
  if ("thrown" in how) return answer({ kind: "done", request, failure: failureOf(how.thrown) });
  if (!show || how.value === undefined) return answer({ kind: "done", request });
  try {
    const result = await within(request, () => bundleOf(how.value));
    answer({ kind: "done", request, result });
  } catch (error) {
    answer({ kind: "done", request, failure: failureOf(error) });
  }
}

async function interrupt(request: RequestNumber): Promise<void> {
  const cell = runningRequest();
  const shownUnder = cell ?? named?.request ?? request;
  const say = (text: string): void => answer({ kind: "stream", request: shownUnder, name: "stderr", text: `${text}\n` });
  const cancel = async (jobs: readonly AwaitedJob[]): Promise<void> => {
    for (const job of jobs) {
      say(`Cancelling job "${job.name}" (${job.id}).`);
      await job.cancel().catch((error: unknown) => say(String(error)));
    }
  };
  if (named !== undefined) {
    const { jobs } = named;
    named = undefined;
    interruptCell(new Interruption("the cell was interrupted; its jobs are cancelled."));
    return cancel(await unfinished(jobs));
  }
  const atOnce = cancelsAtOnce();
  const then = atOnce ? "what it waited for is cancelled." : "what it waited for goes on.";
  if (!interruptCell(new Interruption(`the cell was interrupted; ${then}`))) return;
  const jobs = await unfinished(jobsOfCell(cell ?? request));
  if (jobs.length === 0) return;
  if (atOnce) return cancel(jobs);
  named = { request: cell ?? request, jobs };
  const list = jobs.map(({ id, name }) => `"${name}" (${id})`).join(", ");
  say(`Still running: ${list}. Interrupt again to cancel ${jobs.length === 1 ? "it" : "them"}, or leave ${jobs.length === 1 ? "it" : "them"} running.`);
}

async function end(): Promise<void> {
  const session = await startedSession();
  const closed = session?.close().catch(() => undefined);
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, END_MS).unref())]);
}

const interrupter = new Worker(new URL("./interrupt-worker.js", import.meta.url));
interrupter.unref();
answer({ kind: "ready" });
