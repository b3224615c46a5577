/**
 * Where option values come from before a program says anything: a configuration file, environment variables, flags. Later ones win:
 *
 *     drey.yaml  <  DREY_…  <  -Dkey=value  <  environment({ … })
 *
 * The file is the part of YAML that a configuration needs: maps of scalars, nested or with flat keys, comments. Anything else (lists,
 * anchors, texts over several lines) is refused with its line, so that no file means something else here than in a YAML reader.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Configuration, allOptions, type OptionValue } from "../core/types/options.ts";
import { ConfigurationError, describe } from "../core/types/errors.ts";

/** Where `loadConfiguration` looks; everything has a default, for tests everything can be given. */
export interface ConfigurationSources {
  /** A file that must exist. Absent: the first that exists of `$DREY_CONF_DIR/config.yaml`, `drey.yaml` and `conf/config.yaml`. */
  readonly file?: string;
  /** The texts of `-D` flags: `key=value`. */
  readonly flags?: readonly string[];
  /** Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The folder to look for a file in; default: the current one. */
  readonly folder?: string;
}

/**
 * The configuration of a process: file, then environment variables, then flags.
 * @throws ConfigurationError naming the file and line, the variable or the flag at fault.
 */
export function loadConfiguration(sources: ConfigurationSources = {}): Configuration {
  const env = sources.env ?? process.env;
  const file = sources.file === undefined ? findFile(sources.folder ?? process.cwd(), env["DREY_CONF_DIR"]) : resolve(sources.file);
  const fromFile = file === undefined ? Configuration.empty : readConfigurationFile(file);
  return fromFile.with(readEnvironmentVariables(env)).with(readFlags(sources.flags ?? []));
}

/**
 * Reads one file.
 * @throws ConfigurationError `<file>:<line>: …` when it can't be read, is not a map of scalars, or has unknown or unfit options.
 */
export function readConfigurationFile(file: string): Configuration {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigurationError(
      `the configuration file ${file} can't be read (${(error as Error).message}); check --config and DREY_CONF_DIR.`,
      { cause: error },
    );
  }
  return parseConfiguration(text, file);
}

/** As `readConfigurationFile`, from a text. @param file names it in errors. */
export function parseConfiguration(text: string, file: string): Configuration {
  let configuration = Configuration.empty;
  const lineOf = new Map<string, number>();
  for (const { key, value, line } of entriesOf(text, file)) {
    const before = lineOf.get(key);
    if (before !== undefined) throw new ConfigurationError(`${file}:${line}: ${key} stands in line ${before} already; keep one of them.`);
    lineOf.set(key, line);
    configuration = configuration.with(Configuration.of({ [key]: value }, `${file}:${line}`));
  }
  return configuration;
}

/** The name of the environment variable of an option: `taskmanager.numberOfTaskSlots` is `DREY_TASKMANAGER_NUMBEROFTASKSLOTS`. */
export function environmentVariable(key: string): string {
  return `DREY_${key.toUpperCase().replaceAll(/[.-]/g, "_")}`;
}

/**
 * The options that stand in environment variables. A variable that begins like an option's and is none is an error; other `DREY_…`
 * variables are not ours to judge.
 */
export function readEnvironmentVariables(env: Readonly<Record<string, string | undefined>>): Configuration {
  const keyOf = new Map(allOptions.map(({ key }) => [environmentVariable(key), key]));
  const groups = new Set(allOptions.map(({ key }) => environmentVariable(key.slice(0, key.search(/[.-]/)))));
  let configuration = Configuration.empty;
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !name.startsWith("DREY_")) continue;
    const key = keyOf.get(name);
    if (key !== undefined) {
      configuration = configuration.with(Configuration.of({ [key]: value }, `environment variable ${name}`));
    } else if ([...groups].some((group) => name.startsWith(`${group}_`))) {
      throw new ConfigurationError(
        `environment variable ${name} names no option; a name is DREY_ and the option's key in capitals, with _ for . and -.`,
      );
    }
  }
  return configuration;
}

/** The options that stand in flags. @param flags the texts after `-D`: `key=value`; the last one of a key wins. */
export function readFlags(flags: readonly string[]): Configuration {
  const raw: Record<string, string> = {};
  for (const flag of flags) {
    const equals = flag.indexOf("=");
    if (equals < 1) throw new ConfigurationError(`-D${flag} is not -Dkey=value; write for example -Dparallelism.default=4.`);
    raw[flag.slice(0, equals).trim()] = flag.slice(equals + 1).trim();
  }
  return Configuration.of(raw, "flag -D");
}

/** The flags that say the same as a configuration, for a process that is started with it. */
export function flagsOf(configuration: Configuration): string[] {
  return Object.entries(configuration.toRecord()).map(([key, value]) => `-D${key}=${value}`);
}

function findFile(folder: string, confDir: string | undefined): string | undefined {
  if (confDir !== undefined && confDir !== "") {
    const file = resolve(confDir, "config.yaml");
    if (!existsSync(file)) throw new ConfigurationError(`DREY_CONF_DIR is ${describe(confDir)}, but there is no ${file}.`);
    return file;
  }
  return [join(folder, "drey.yaml"), join(folder, "conf", "config.yaml")].find((file) => existsSync(file));
}

interface Entry {
  readonly key: string;
  readonly value: OptionValue;
  readonly line: number;
}

interface OpenMap {
  /** Of its keys; undefined before the first one. */
  indent: number | undefined;
  readonly prefix: string;
  readonly line: number;
  /** Indentation of the line that opened it. */
  readonly outer: number;
}

/** The leaves of the map, keys joined by dots, in the order of their lines. */
function entriesOf(text: string, file: string): Entry[] {
  const entries: Entry[] = [];
  // The open maps, outermost first; the indentation of a map's keys is known once its first key is read.
  const open: OpenMap[] = [{ indent: 0, prefix: "", line: 0, outer: -1 }];
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const failAt = (line: number, what: string): never => {
    const quoted = describe((lines[line - 1] as string).trim());
    throw new ConfigurationError(
      `${file}:${line}: ${what} (${quoted}); a configuration file has lines such as \`parallelism.default: 4\`.`,
    );
  };
  lines.forEach((raw, index) => {
    const line = index + 1;
    const fail = (what: string): never => failAt(line, what);
    const content = raw.trim();
    if (content === "" || content.startsWith("#") || (content === "---" && entries.length === 0)) return;
    if (/^ *\t/.test(raw)) fail("tabs can't indent");
    if (/^(- |-$|[[{&*!|>%@`])/.test(content)) fail("only maps of single values are read here");
    const indent = raw.length - raw.trimStart().length;
    const innermost = open.at(-1)!;
    if (innermost.indent === undefined) {
      if (indent <= innermost.outer) failAt(innermost.line, "there is no value");
      innermost.indent = indent;
    }
    if (indent > innermost.indent) fail("this line is indented, but the line before it does not start a map");
    while (indent < open.at(-1)!.indent!) open.pop();
    const map = open.at(-1)!;
    if (indent !== map.indent) fail("the indentation fits no line above");
    const found = /^(?:"([^"]+)"|'([^']+)'|([^\s:#"'][^:#]*?))\s*:(?:\s+(.*))?$/.exec(content);
    if (found === null) return fail("this is not `key: value`");
    const key = `${map.prefix}${(found[1] ?? found[2] ?? found[3]) as string}`;
    const rest = withoutComment(found[4] ?? "");
    if (rest === "") open.push({ indent: undefined, prefix: `${key}.`, line, outer: indent });
    else entries.push({ key, value: scalar(rest, fail), line });
  });
  const last = open.at(-1)!;
  if (last.indent === undefined) failAt(last.line, "there is no value");
  return entries;
}

function withoutComment(text: string): string {
  const quoted = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?:#.*)?$/.exec(text);
  if (quoted !== null) return quoted[1] as string;
  return text.replace(/(^|\s)#.*$/, "").trim();
}

function scalar(text: string, fail: (what: string) => never): OptionValue {
  if (text.startsWith('"')) {
    try {
      return JSON.parse(text) as string;
    } catch {
      return fail("this text in double quotes can't be read");
    }
  }
  if (text.startsWith("'"))
    return text.endsWith("'") && text.length > 1 ? text.slice(1, -1).replaceAll("''", "'") : fail("this text has no closing quote");
  if (/^[[{&*!|>%@`]/.test(text) || text.startsWith("- ")) return fail("only maps of single values are read here");
  return text;
}
