/** What a command of the command line is, and how its arguments are read. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { type Configuration, options as optionsByName } from "../../core/types/options.ts";
import { ConfigurationError, ConnectionError, DreyError } from "../../core/types/errors.ts";
import { ClusterClient } from "../client/cluster-client.ts";
import { loadConfiguration } from "../configuration-file.ts";
import { configuredCluster, findCluster } from "../local/program-cluster.ts";

/** An argument of a command, for the parser and for the reader. */
export interface Flag {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly multiple?: boolean;
  /** What stands for the value in the help: `addr`. */
  readonly value?: string;
  readonly help: string;
}

export interface Command {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** Forms, each after `drey `. */
  readonly usage: readonly string[];
  readonly flags: Readonly<Record<string, Flag>>;
  /** More to say, below the flags. */
  readonly notes?: string;
  /** @param args what follows the command's name. @returns the exit code. Errors are printed by the caller, with exit code 1. */
  run(args: readonly string[]): Promise<number>;
}

/** The command line can't be understood. */
export class UsageError extends DreyError {
  constructor(message: string, options?: { readonly cause?: unknown }) {
    super("DREY_USAGE", "user", message, options);
  }
}

/** A flag with a text behind it. */
export type TextFlag = Flag & { readonly type: "string" };
export type ClusterFlags = { readonly jobmanager: TextFlag; readonly config: TextFlag; readonly D: TextFlag & { readonly multiple: true } };

/** Flags that choose a cluster. */
export const clusterFlags: ClusterFlags = {
  jobmanager: {
    type: "string",
    short: "m",
    value: "addr",
    help: "the JobManager: tcp://host:port or ipc:///path; several are separated by commas. Default: DREY_JOBMANAGER, then the running cluster",
  },
  config: { type: "string", value: "file", help: "the configuration file" },
  D: { type: "string", short: "D", multiple: true, value: "key=value", help: "an option of the engine; may be repeated" },
};

type Values<Flags extends Readonly<Record<string, Flag>>> = {
  readonly [Name in keyof Flags]?: Flags[Name] extends { readonly multiple: true }
    ? string[]
    : Flags[Name]["type"] extends "boolean"
      ? boolean
      : string;
};

/** What a command line says to a command: its flags by name, and what stands beside them. */
export interface Parsed<Flags extends Readonly<Record<string, Flag>>> {
  readonly values: Values<Flags>;
  readonly positionals: readonly string[];
}

/**
 * Reads arguments.
 * @throws UsageError for unknown flags and missing values.
 */
export function readArguments<const Flags extends Readonly<Record<string, Flag>>>(args: readonly string[], flags: Flags): Parsed<Flags> {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: parserOptions(flags), allowPositionals: true, strict: true });
    return { values: values as Values<Flags>, positionals };
  } catch (error) {
    throw new UsageError(`${(error as Error).message.replace(/\.? To specify a positional.*$/s, ".")}`, { cause: error });
  }
}

/** The place of the first argument that is no flag and no flag's value: what follows it belongs to somebody else. */
export function firstPositional(args: readonly string[], flags: Readonly<Record<string, Flag>>): number {
  const { tokens } = parseArgs({ args: [...args], options: parserOptions(flags), allowPositionals: true, strict: false, tokens: true });
  return tokens.find((token) => token.kind === "positional")?.index ?? args.length;
}

function parserOptions(flags: Readonly<Record<string, Flag>>): NonNullable<ParseArgsConfig["options"]> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
    ]),
  );
}

/** A number after a flag. @throws UsageError unless it is an integer from `least` on. */
export function integer(text: string | undefined, flag: string, least = 1): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least) throw new UsageError(`${flag} needs an integer from ${least} on, not "${text}".`);
  return value;
}

/** The configuration that a command works with: file, environment variables, `-D`. */
export function configurationOf(values: Values<ClusterFlags>): Configuration {
  return loadConfiguration({ flags: values.D ?? [], ...(values.config === undefined ? {} : { file: values.config }) });
}

/**
 * The address that a command means; empty when the leader's is to be looked up in shared storage; undefined when none is given and no
 * cluster runs.
 */
export function clusterOf(values: Values<ClusterFlags>, configuration: Configuration): string | undefined {
  if (values.jobmanager !== undefined) return values.jobmanager;
  return configuredCluster(configuration) ?? (configuration.get(optionsByName.haType) === "none" ? findCluster(configuration) : "");
}

/** As `clusterOf`. @throws ConfigurationError when there is none. */
function addressOf(values: Values<ClusterFlags>, configuration: Configuration): string {
  const address = clusterOf(values, configuration);
  if (address !== undefined) return address;
  throw new ConfigurationError(
    `no cluster is running here; start one with \`drey cluster start\`, or name one with -m or ${optionsByName.jobManagerAddress.key}.`,
  );
}

/** How long a command looks for its JobManager: long enough for a busy one. */
export const CONNECT_MS = 3_000;

/** Connects to the cluster that a command means, and hangs up when `work` is done. @throws ConnectionError when nobody answers. */
export async function withCluster<T>(values: Values<ClusterFlags>, work: (client: ClusterClient) => Promise<T>): Promise<T> {
  const configuration = configurationOf(values);
  const client = await ClusterClient.connect(addressOf(values, configuration), { configuration, connectDeadlineMs: CONNECT_MS });
  try {
    return await work(client);
  } catch (error) {
    if (error instanceof ConnectionError) throw new ConnectionError(`${error.message} (asked: ${client.address})`, { cause: error });
    throw error;
  } finally {
    await client.close();
  }
}

/** What `drey <command> --help` prints. */
export function helpText({ name, summary, usage, flags, notes }: Command): string {
  const left = Object.entries(flags).map(([flag, { short, value }]) => {
    if (flag.length === 1) return `-${flag}${value ?? ""}`;
    return `${short === undefined ? "" : `-${short}, `}--${flag}${value === undefined ? "" : ` ${value}`}`;
  });
  const width = Math.max(0, ...left.map((text) => text.length)) + 3;
  return [
    `drey ${name}: ${summary}`,
    "",
    ...usage.map((form, index) => `${index === 0 ? "Usage:" : "      "} drey ${form}`),
    ...(left.length === 0
      ? []
      : ["", ...Object.values(flags).map(({ help }, index) => `  ${(left[index] as string).padEnd(width)}${help}`)]),
    ...(notes === undefined ? [] : ["", notes]),
  ].join("\n");
}
