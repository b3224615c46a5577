/**
 * What `drey run` tells the program that it runs. The program may have found another copy of drey than the command is (its own
 * dependency), so the two share nothing but this object on globalThis, and it holds plain data and callbacks only.
 */
import type { JobGraph } from "../../core/graph/job-graph.ts";
import type { JobControl } from "../../core/runtime/executor.ts";
import type { OptionValue } from "../../core/types/options.ts";

export interface RunContext {
  /** Where the JobManager is; absent: the program's environment starts a local cluster. */
  readonly address?: string;
  /** Options from the configuration file, environment variables and flags. `environment({ … })` stands over them. */
  readonly options: Readonly<Record<string, OptionValue>>;
  /** The program's first job goes on from there. Who takes it removes it. */
  from?: { readonly savepoint: string; readonly allowNonRestoredState: boolean };
  /** Jobs outlive the program. */
  readonly detached: boolean;
  /** Jobs are not run: the first one is handed to `described`, and submitting it fails with `ProgramDescribed`. */
  readonly describe: boolean;
  /** A job is being submitted. @returns is told when it was accepted, or (undefined) when it was not. */
  submitting(graph: JobGraph): (job: JobControl | undefined) => void;
  /** The program waits for the end of a detached job: there is nothing more to do for it. */
  waiting(): void;
  described(graph: JobGraph): void;
}

/** Thrown where a program that is only described would have submitted a job. Known by its name: it may come from another copy of drey. */
export class ProgramDescribed extends Error {
  override readonly name = "ProgramDescribed";
  constructor() {
    super("The program is described, not run: its job was not submitted.");
  }
}

const KEY: symbol = Symbol.for("drey.context");
const holder = globalThis as { [key: symbol]: unknown };

/** The context of this process; undefined in a program that was started otherwise. */
export function runContext(): RunContext | undefined {
  return holder[KEY] as RunContext | undefined;
}

/** Sets the context, before the program is loaded. */
export function setRunContext(context: RunContext | undefined): void {
  holder[KEY] = context;
}
