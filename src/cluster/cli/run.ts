/** `drey run`: runs a program, whose jobs run on a cluster. */
import { isFinal } from "../../core/graph/job-status.ts";
import type { JobControl } from "../../core/runtime/executor.ts";
import { ConfigurationError } from "../../core/types/errors.ts";
import { ClusterClient } from "../client/cluster-client.ts";
import { setRunContext } from "../client/run-context.ts";
import {
  CONNECT_MS,
  type Command,
  type Flag,
  UsageError,
  clusterFlags, clusterOf,
  configurationOf,
  firstPositional,
  readArguments,
} from "./command.ts";
import { describeFailure } from "./failure.ts";
import { withParallelism } from "./info.ts";
import { requireFile, runProgram } from "./program.ts";
import { Progress } from "./progress.ts";
import { placeOf } from "./savepoint.ts";

const flags = {
  detached: { type: "boolean", short: "d", help: "submit the job and end; it goes on without this program" },
  parallelism: { type: "string", short: "p", value: "n", help: "parallelism of operators that set none" },
  fromSavepoint: { type: "string", short: "s", value: "path", help: "the first job goes on from this savepoint or retained checkpoint" },
  from: { type: "string", value: "path", help: "the same" },
  allowNonRestoredState: { type: "boolean", short: "n", help: "state of operators that the job has no more is left behind" },
  quiet: { type: "boolean", short: "q", help: "no progress on stderr" },
  ...clusterFlags,
} as const satisfies Readonly<Record<string, Flag>>;

const INTERRUPTED = 130;

export const runCommand: Command = {
  name: "run",
  summary: "runs a program on a cluster",
  usage: ["run [-d] [-p n] [-s savepoint [-n]] [-m addr] [-Dkey=value …] <job.ts> [args…]"],
  flags,
  notes: [
    "The program is a TypeScript or JavaScript module that submits jobs at its top level, or exports a default function main(args).",
    "Its environment() uses the cluster given by -m, DREY_JOBMANAGER, jobmanager.rpc.address or `drey cluster start`, in this order; where",
    "there is none, a local cluster is started for the run. Ctrl-C cancels the job; a second ctrl-C ends at once.",
  ].join("\n"),
  async run(args) {
    const at = firstPositional(args, flags);
    const { values } = readArguments(args.slice(0, at), flags);
    const file = args[at];
    if (file === undefined) throw new UsageError("`drey run` needs the program: drey run job.ts");
    const from = values.fromSavepoint ?? values.from;
    if (values.allowNonRestoredState === true && from === undefined) {
      throw new UsageError("-n/--allowNonRestoredState needs -s with a savepoint.");
    }
    requireFile(file);
    const configuration = withParallelism(configurationOf(values), values.parallelism);
    const detached = values.detached === true;
    let address = clusterOf(values, configuration);
    if (address !== undefined) {
      // Asked now, before the program does anything.
      const client = await ClusterClient.connect(address, { configuration, connectDeadlineMs: CONNECT_MS });
      if (address === "") ({ address } = client);
      await client.close();
    } else if (detached) {
      throw new ConfigurationError("a detached job needs a cluster that stays; start one with `drey cluster start`, or name one with -m.");
    }
    const run = new Run(detached, values.quiet === true);
    setRunContext({
      ...(address === undefined ? {} : { address }),
      ...(from === undefined
        ? {}
        : { from: { savepoint: placeOf(from), allowNonRestoredState: values.allowNonRestoredState === true } }),
      options: configuration.toRecord(),
      detached,
      describe: false,
      submitting: () => run.submitting(),
      waiting: () => run.waiting(),
      described: () => undefined,
    });
    return run.of(() => runProgram(file, args.slice(at + 1)));
  },
};

/** One run of a program: its jobs, and how it ends. */
class Run {
  readonly #detached: boolean;
  readonly #progress: Progress | undefined;
  readonly #jobs = new Set<JobControl>();
  #submitting = 0;
  #waiting = false;
  #interrupted = false;

  constructor(detached: boolean, quiet: boolean) {
    this.#detached = detached;
    this.#progress = quiet ? undefined : new Progress(process.stderr);
    this.#progress?.guard(process.stdout);
  }

  /** @returns the exit code. The process ends when the program has nothing more to do, as any program. */
  async of(program: () => Promise<void>): Promise<number> {
    process.on("SIGINT", () => this.#interrupt());
    process.on("unhandledRejection", (error) => this.#fail(error));
    process.on("uncaughtException", (error) => this.#fail(error));
    try {
      await program();
    } catch (error) {
      return this.#outcome(error);
    }
    return Number(process.exitCode ?? 0);
  }

  submitting(): (job: JobControl | undefined) => void {
    this.#submitting++;
    return (job) => {
      this.#submitting--;
      if (job !== undefined) this.#submitted(job);
      this.#leave();
    };
  }

  /** The program waits for a detached job. */
  waiting(): void {
    this.#waiting = true;
    this.#leave();
  }

  #submitted(job: JobControl): void {
    if (this.#detached) {
      process.stdout.write(`Job has been submitted with JobID ${job.id}\n`);
      return;
    }
    this.#jobs.add(job);
    const unfollow = this.#progress?.follow(job);
    job.watch({
      status: ({ state }) => {
        if (!isFinal(state)) return;
        this.#jobs.delete(job);
        if (unfollow !== undefined) queueMicrotask(unfollow);
      },
      lost: () => this.#jobs.delete(job),
    });
  }

  /** A detached program that waits is over, once its last submission is through. */
  #leave(): void {
    if (this.#waiting && this.#submitting === 0) setImmediate(() => this.#submitting === 0 && process.exit(0));
  }

  #interrupt(): void {
    if (this.#interrupted || (this.#jobs.size === 0 && this.#submitting === 0)) process.exit(INTERRUPTED);
    this.#interrupted = true;
    this.#progress?.clear();
    process.stderr.write("Cancelling; once more ctrl-C ends at once.\n");
    process.exitCode = INTERRUPTED;
    for (const job of this.#jobs) job.cancel().catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): never {
    process.exit(this.#outcome(error));
  }

  /** Says why the program failed. After ctrl-C a cancelled job is no failure. */
  #outcome(error: unknown): number {
    this.#progress?.clear();
    if (this.#interrupted && (error as { code?: unknown } | null)?.code === "DREY_JOB_CANCELED") return INTERRUPTED;
    process.stderr.write(`${describeFailure(error)}\n`);
    return this.#interrupted ? INTERRUPTED : 1;
  }
}
