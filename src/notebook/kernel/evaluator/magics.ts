/** Lines that begin with `%`: what one asks of the cluster without writing a program. */
import { isFinal } from "../../../core/graph/job-status.ts";
import { ConfigurationError, ConnectionError, NotFoundError } from "../../../core/types/errors.ts";
import type { Picture } from "../../picture.ts";
import type { NotebookSession } from "../../session.ts";
import { cancelAtOnce, startedSession, wasStarted } from "./attached-jobs.ts";
import type { MagicToRun } from "./protocol.ts";

interface Magic {
  /** As one writes it. */
  readonly form: string;
  readonly summary: string;
  run(argument: string, body: string): Promise<unknown>;
}

const magics: Readonly<Record<string, Magic>> = {
  cluster: {
    form: "%cluster [start [taskManagers [slots]] | stop]",
    summary: "who sits in which slot; starts or ends the notebook's cluster",
    run: (argument) => cluster(argument),
  },
  jobs: { form: "%jobs", summary: "jobs of the notebook's cluster", run: () => jobs() },
  cancel: {
    form: "%cancel <job>",
    summary: "cancels a job, by the beginning of its id or by its name",
    run: (argument) => cancel(argument),
  },
  savepoint: {
    form: "%savepoint <job> [folder]",
    summary: "writes a savepoint of a running job",
    run: (argument) => savepoint(argument),
  },
  diagnostics: {
    form: "%diagnostics error | warning | off",
    summary: "whether type errors stop a cell, are told beside its outputs, or are not looked for",
    // The front process, which compiles, answers it.
    run: () => Promise.resolve(undefined),
  },
  interrupts: {
    form: "%interrupts wait | cancel",
    summary: "an interrupt ends the waiting for jobs, and a second one the jobs; or the first one ends both",
    run: (argument) => interrupts(argument),
  },
  help: { form: "%help", summary: "this list", run: () => Promise.resolve(shown(helpText())) },
  sql: {
    form: "%%sql",
    summary: "reserved for queries; drey has no SQL yet",
    run: () => Promise.reject(new ConfigurationError("%%sql is reserved: drey has no SQL yet. Write the query with the DataStream API.")),
  },
};

/** Runs a magic. @throws ConfigurationError for one that does not exist, and what goes wrong at the cluster. */
export function runMagic({ name, argument, body }: MagicToRun): Promise<unknown> {
  const magic = Object.hasOwn(magics, name) ? magics[name] : undefined;
  if (magic === undefined) {
    const known = Object.values(magics).map(({ form }) => form.split(" ")[0]);
    return Promise.reject(new ConfigurationError(`there is no %${name}; there are ${known.join(", ")}.`));
  }
  return magic.run(argument, body).catch(async (error: unknown) => {
    // Its JobManager may be gone a moment before anybody tells this process so.
    if (error instanceof ConnectionError && wasStarted() && (await startedSession()) === undefined) throw noCluster(error);
    throw error;
  });
}

/** A text that is shown as it stands, without quotes. */
const shown = (text: string): object => ({ [Symbol.for("Jupyter.display")]: () => ({ "text/plain": text }) });

function helpText(): string {
  const width = Math.max(...Object.values(magics).map(({ form }) => form.length)) + 2;
  return [
    ...Object.values(magics).map(({ form, summary }) => `${form.padEnd(width)}${summary}`),
    "",
    `${"?name".padEnd(width)}what a name is: its type and its documentation`,
    `${"prompt(text)".padEnd(width)}asks the user; confirm(text) asks for yes or no`,
    "",
    "Cells are TypeScript. What a cell declares is there in all others; the value of its last expression is shown.",
  ].join("\n");
}

function interrupts(argument: string): Promise<object> {
  if (argument !== "wait" && argument !== "cancel")
    return Promise.reject(new ConfigurationError(`%interrupts knows wait and cancel, not ${JSON.stringify(argument)}.`));
  cancelAtOnce(argument === "cancel");
  const then = argument === "cancel" ? "cancels the jobs that it waits for" : "leaves the jobs running that it waits for; a second one cancels them";
  return Promise.resolve(shown(`Interrupting a cell ${then}.`));
}

async function running(): Promise<NotebookSession> {
  const session = await startedSession();
  if (session !== undefined) return session;
  throw noCluster();
}

function noCluster(cause?: Error): ConfigurationError {
  const before = wasStarted() ? "this notebook's cluster has ended" : "this notebook has no cluster yet";
  return new ConfigurationError(`${before}; %cluster start, or await notebookSession().`, { cause });
}

async function cluster(argument: string): Promise<Picture | object> {
  const [word, taskManagers, slots] = argument.split(/\s+/);
  if (word === "stop") {
    await (await running()).close();
    return shown("The cluster has ended.");
  }
  if (word !== "start") {
    if (word !== undefined && word !== "") throw new ConfigurationError(`%cluster knows start and stop, not "${word}".`);
    return (await running()).slots();
  }
  const { notebookSession } = await import("../../session.ts");
  const session = await notebookSession({
    ...(taskManagers === undefined ? {} : { taskManagers: Number(taskManagers) }),
    ...(slots === undefined ? {} : { slots: Number(slots) }),
  });
  return session.slots();
}

async function jobs(): Promise<object> {
  const all = await (await running()).client.jobs();
  if (all.length === 0) return shown("No jobs yet.");
  const { table } = await import("../../views/table.ts");
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  return table(
    all.map(({ job, name, state, startedAtMs, endedAtMs }) => ({
      job: job.slice(0, 8),
      name,
      state,
      started: new Date(startedAtMs).toLocaleTimeString(),
      ran: seconds((endedAtMs ?? Date.now()) - startedAtMs),
    })),
    { title: "Jobs" },
  );
}

/** The job that a text means: the beginning of its id, or its name. @throws NotFoundError when none or several are meant. */
async function jobNamed(
  session: NotebookSession,
  text: string,
): Promise<{ job: Parameters<NotebookSession["client"]["job"]>[0]; name: string }> {
  const all = await session.client.jobs();
  const alive = all.filter(({ state }) => !isFinal(state));
  const meant = alive.filter(({ job, name }) => text !== "" && (job.startsWith(text) || name === text));
  const [only] = meant;
  if (only !== undefined && meant.length === 1) return only;
  const list = alive.map(({ job, name }) => `${job.slice(0, 8)} "${name}"`).join(", ");
  throw new NotFoundError(`${meant.length === 0 ? "no running job" : "more than one job"} is "${text}"; running: ${list || "none"}.`);
}

async function cancel(argument: string): Promise<object> {
  const session = await running();
  const { job, name } = await jobNamed(session, argument);
  await (await session.client.job(job)).cancel();
  return shown(`Job "${name}" (${job}) is cancelled.`);
}

async function savepoint(argument: string): Promise<object> {
  const session = await running();
  const [text = "", folder] = argument.split(/\s+/);
  const { job, name } = await jobNamed(session, text);
  const handle = await session.client.attach(job);
  return shown(`Savepoint of "${name}": ${await handle.savepoint(folder)}`);
}
