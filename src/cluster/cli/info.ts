/** `drey info`: the graph of a program's job, without running it (Flink: the optimized plan). */
import type { JobGraph } from "../../core/graph/job-graph.ts";
import { explain } from "../../core/graph/explain.ts";
import { GraphError } from "../../core/types/errors.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { setRunContext } from "../client/run-context.ts";
import {
  type Command,
  type Flag,
  type Parsed,
  UsageError,
  clusterFlags,
  configurationOf,
  firstPositional,
  integer,
  readArguments,
} from "./command.ts";
import { runProgram } from "./program.ts";

const flags = {
  parallelism: { type: "string", short: "p", value: "n", help: "parallelism of operators that set none" },
  dot: { type: "boolean", help: "as DOT, for Graphviz" },
  json: { type: "boolean", help: "as JSON" },
  config: clusterFlags.config,
  D: clusterFlags.D,
} as const satisfies Readonly<Record<string, Flag>>;

export const infoCommand: Command = {
  name: "info",
  summary: "shows the graph of a program's job without running it",
  usage: ["info [-p n] [--dot | --json] <job.ts> [args…]"],
  flags,
  notes: "The program runs up to the first job that it submits.",
  async run(args) {
    const at = firstPositional(args, flags);
    const { values }: Parsed<typeof flags> = readArguments(args.slice(0, at), flags);
    const file = args[at];
    if (file === undefined) throw new UsageError("`drey info` needs the program: drey info job.ts");
    let graph: JobGraph | undefined;
    const configuration = withParallelism(configurationOf(values), values.parallelism);
    setRunContext({
      options: configuration.toRecord(),
      detached: false,
      describe: true,
      submitting: () => () => undefined,
      waiting: () => undefined,
      described: (described) => {
        graph ??= described;
      },
    });
    // A job that is submitted without being awaited fails on its own; that is how it should be.
    process.on("unhandledRejection", (error) => {
      if (!isProgramDescribed(error)) throw error;
    });
    try {
      await runProgram(file, args.slice(at + 1));
    } catch (error) {
      if (!isProgramDescribed(error) && graph === undefined) throw error;
    }
    // What was not awaited gets the rest of this turn.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (graph === undefined) throw new GraphError(`${file} submitted no job; call env.execute() or env.submit().`);
    process.stdout.write(`${explain(graph, values.json === true ? "json" : values.dot === true ? "dot" : "text").trimEnd()}\n`);
    return 0;
  },
};

/** The configuration with the parallelism of `-p`. */
export function withParallelism(configuration: Configuration, text: string | undefined): Configuration {
  const parallelism = integer(text, "-p");
  return parallelism === undefined
    ? configuration
    : configuration.with(Configuration.of({ [optionsByName.parallelism.key]: parallelism }, "-p"));
}

/** By name: the program may have another copy of drey. */
const isProgramDescribed = (error: unknown): boolean => error instanceof Error && error.name === "ProgramDescribed";
