import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadConfiguration, parseConfiguration, readEnvironmentVariables, readFlags } from "../../src/cluster/configuration-file.ts";
import { ConfigurationError } from "../../src/core/types/errors.ts";
import { options } from "../../src/core/types/options.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drey-conf-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string): string => {
  const file = join(folder, name);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, text);
  return file;
};

describe("a configuration file", () => {
  it("reads flat keys, nested keys and comments alike", () => {
    const configuration = parseConfiguration(
      [
        "---",
        "# a cluster",
        "taskmanager.numberOfTaskSlots: 4   # slots",
        "taskmanager:",
        "  memory:",
        "    network.size: '32 mb'",
        "",
        "heartbeat:",
        "    timeout: 7 s",
        'jobmanager.rpc.address: "tcp://127.0.0.1:6123"',
      ].join("\n"),
      "drey.yaml",
    );
    expect(configuration.toRecord()).toEqual({
      "taskmanager.numberOfTaskSlots": 4,
      "taskmanager.memory.network.size": 32 * 1024 * 1024,
      "heartbeat.timeout": 7_000,
      "jobmanager.rpc.address": "tcp://127.0.0.1:6123",
    });
  });

  it.each([
    ["heartbeat.timeout: soon", 'f.yaml:1: heartbeat.timeout is "soon"'],
    ["\nheartbeat.timeot: 1 s", 'f.yaml:2: unknown option "heartbeat.timeot". Did you mean heartbeat.timeout?'],
    ["- a", "f.yaml:1: only maps of single values"],
    ["heartbeat.timeout: [1, 2]", "f.yaml:1: only maps of single values"],
    ["heartbeat:\n  timeout: 1 s\n   interval: 1 s", "f.yaml:3: this line is indented"],
    ["heartbeat:\n    timeout: 1 s\n  interval: 1 s", "f.yaml:3: the indentation fits no line above"],
    ["heartbeat:\n\ttimeout: 1 s", "f.yaml:2: tabs can't indent"],
    ["heartbeat.timeout:\nheartbeat.interval: 1 s", "f.yaml:1: there is no value"],
    ["heartbeat.timeout:", "f.yaml:1: there is no value"],
    ["heartbeat.timeout: 1 s\nheartbeat:\n  timeout: 2 s", "f.yaml:3: heartbeat.timeout stands in line 1 already"],
    ["heartbeat.timeout 1 s", "f.yaml:1: this is not `key: value`"],
    ["jobmanager.rpc.address: 'tcp", "f.yaml:1: this text has no closing quote"],
  ])("refuses %j with the line and the reason", (text, message) => {
    expect(() => parseConfiguration(text, "f.yaml")).toThrow(ConfigurationError);
    expect(() => parseConfiguration(text, "f.yaml")).toThrow(message);
  });
});

describe("environment variables and flags", () => {
  it("name options in capitals with underscores", () => {
    const env = {
      DREY_TASKMANAGER_NUMBEROFTASKSLOTS: "3",
      DREY_PIPELINE_OPERATOR_CHAINING_ENABLED: "false",
      DREY_JOBMANAGER: "tcp://x:1",
      HOME: "/",
    };
    expect(readEnvironmentVariables(env).toRecord()).toEqual({
      "taskmanager.numberOfTaskSlots": 3,
      "pipeline.operator-chaining.enabled": false,
    });
  });

  it("a variable that looks like an option and is none is an error", () => {
    expect(() => readEnvironmentVariables({ DREY_TASKMANAGER_SLOTS: "3" })).toThrow(
      "environment variable DREY_TASKMANAGER_SLOTS names no option",
    );
    expect(readEnvironmentVariables({ DREY_SOMETHING: "3" }).toRecord()).toEqual({});
  });

  it("a flag without a value is an error, the last of several wins", () => {
    expect(() => readFlags(["parallelism.default"])).toThrow("-Dparallelism.default is not -Dkey=value");
    expect(readFlags(["parallelism.default=2", "parallelism.default=3"]).get(options.parallelism)).toBe(3);
  });
});

describe("precedence", () => {
  it("flags stand over variables, variables over the file", () => {
    write("drey.yaml", "parallelism.default: 2\nheartbeat.timeout: 2 s\nmetrics.interval: 2 s");
    const configuration = loadConfiguration({
      folder,
      env: { DREY_HEARTBEAT_TIMEOUT: "3 s", DREY_METRICS_INTERVAL: "3 s" },
      flags: ["metrics.interval=4 s"],
    });
    expect([options.parallelism, options.heartbeatTimeout, options.metricsInterval].map((it) => configuration.get(it))).toEqual([
      2, 3_000, 4_000,
    ]);
  });

  it("looks into DREY_CONF_DIR, then for drey.yaml, then for conf/config.yaml", () => {
    expect(loadConfiguration({ folder, env: {} }).toRecord()).toEqual({});
    write("conf/config.yaml", "parallelism.default: 2");
    expect(loadConfiguration({ folder, env: {} }).get(options.parallelism)).toBe(2);
    write("drey.yaml", "parallelism.default: 3");
    expect(loadConfiguration({ folder, env: {} }).get(options.parallelism)).toBe(3);
    write("there/config.yaml", "parallelism.default: 4");
    expect(loadConfiguration({ folder, env: { DREY_CONF_DIR: join(folder, "there") } }).get(options.parallelism)).toBe(4);
    expect(() => loadConfiguration({ folder, env: { DREY_CONF_DIR: join(folder, "nowhere") } })).toThrow("DREY_CONF_DIR is");
  });

  it("a file that was named must exist", () => {
    expect(() => loadConfiguration({ file: join(folder, "missing.yaml"), env: {} })).toThrow("can't be read");
  });
});
