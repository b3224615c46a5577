import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatAddress, isLoopback, leaveSocketFolder, makeSocketFolder, parseAddress, requireGuarded } from "../../../src/cluster/protocol/addresses.ts";
import { ConfigurationError } from "../../../src/core/types/errors.ts";

describe("an address", () => {
  it.each(["tcp://127.0.0.1:6123", "tcp://localhost:*", "tcp://[::1]:6123", "tcp://*:6123", "tcp://node-1.example.org:6123", "ipc:///tmp/x/jobmanager"])(
    "%s is read and written alike",
    (text) => {
      expect(formatAddress(parseAddress(text))).toBe(text);
    },
  );

  it.each(["", "localhost:6123", "http://127.0.0.1:80", "tcp://127.0.0.1", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:0", "tcp://a b:1", "tcp://h:1/x", "ipc://", "ipc://relative", "ipc://@abstract", "ipc:///a\0b"])(
    "%j is refused with the value and the cure",
    (text) => {
      expect(() => parseAddress(text, "cluster.address")).toThrow(ConfigurationError);
      expect(() => parseAddress(text, "cluster.address")).toThrow(/^cluster\.address is .*; (give|the path)/s);
    },
  );

  it("with a path that no system can bind is refused, saying how long it may be", () => {
    expect(() => parseAddress(`ipc:///${"x".repeat(120)}/socket`)).toThrow(/has a path of 128 bytes; a socket's path can have 100/);
  });
});

describe("without keys", () => {
  it.each(["127.0.0.1", "127.8.9.1", "::1", "localhost"])("%s is within this machine", (host) => expect(isLoopback(host)).toBe(true));
  it.each(["0.0.0.0", "*", "10.0.0.1", "127.0.0.1.evil.com", "localhost.evil.com", "::", "eth0"])("%s is not", (host) => {
    expect(isLoopback(host)).toBe(false);
    expect(() => requireGuarded({ transport: "tcp", host, port: 1 }, false)).toThrow(/CURVE keys/);
    requireGuarded({ transport: "tcp", host, port: 1 }, true);
  });

  it("a socket in a folder that others may enter is refused", () => {
    const folder = makeSocketFolder();
    try {
      const open = join(folder.path, "open");
      mkdirSync(open, { mode: 0o755 });
      expect(() => requireGuarded(parseAddress(`ipc://${open}/socket`), false)).toThrow(/open to other users \(mode 0755/);
      expect(() => requireGuarded(parseAddress(`ipc://${folder.path}/absent/socket`), false)).toThrow(/does not exist/);
      requireGuarded(parseAddress(folder.address("socket")), false);
    } finally {
      folder.remove();
    }
  });
});

describe("a socket folder", () => {
  it("is its owner's alone, and goes when it is removed", () => {
    const folder = makeSocketFolder();
    expect(statSync(folder.path).mode & 0o777).toBe(0o700);
    expect(folder.address("jobmanager")).toBe(`ipc://${folder.path}/jobmanager`);
    folder.remove();
    folder.remove();
    expect(existsSync(folder.path)).toBe(false);
  });

  it("is left by the last one that was in it", () => {
    const folder = makeSocketFolder();
    mkdirSync(join(folder.path, "socket"));
    leaveSocketFolder(folder.address("jobmanager"));
    expect(existsSync(folder.path)).toBe(true);
    rmSync(join(folder.path, "socket"), { recursive: true });
    leaveSocketFolder(folder.address("jobmanager"));
    expect(existsSync(folder.path)).toBe(false);
    leaveSocketFolder(folder.address("jobmanager"));
    leaveSocketFolder("tcp://127.0.0.1:6123");
  });

  it("of somebody's own is not removed, empty or not", () => {
    const own = join(tmpdir(), `own-${process.pid}`);
    mkdirSync(own);
    leaveSocketFolder(`ipc://${join(own, "jobmanager")}`);
    expect(existsSync(own)).toBe(true);
    rmSync(own, { recursive: true });
  });

  it("is not made where its sockets' paths would be too long", () => {
    const parent = join(tmpdir(), `deep-${process.pid}-${"x".repeat(90)}`);
    mkdirSync(parent, { recursive: true });
    try {
      expect(() => makeSocketFolder(parent)).toThrow(/Use a shorter folder \(set TMPDIR=\/tmp\)/);
    } finally {
      rmSync(parent, { recursive: true });
    }
  });
});
