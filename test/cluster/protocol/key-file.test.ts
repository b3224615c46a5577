import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { clientKeys, readKeyFile, serverKeys, writeKeyFile } from "../../../src/cluster/protocol/key-file.ts";
import { newKeyPair } from "../../../src/cluster/protocol/keys.ts";
import { ConfigurationError } from "../../../src/core/types/errors.ts";
import { Configuration } from "../../../src/core/types/options.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drey-keys-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("a key file", () => {
  it("holds a new pair, for this user only, and is never written over", () => {
    const path = join(folder, "cluster.key");
    const publicKey = writeKeyFile(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readKeyFile(path).publicKey).toBe(publicKey);
    expect(() => writeKeyFile(path)).toThrow(/exists; a key is never written over/);
  });

  it("that others can read is refused", () => {
    const path = join(folder, "cluster.key");
    writeKeyFile(path);
    chmodSync(path, 0o644);
    expect(() => readKeyFile(path)).toThrow(/can be read by other users \(mode 0644\)/);
  });

  it("that is missing or no key file is refused, and what it holds is not repeated", () => {
    expect(() => readKeyFile(join(folder, "none"))).toThrow(/can't be read.*`drey keys .*none` makes one/);
    const path = join(folder, "broken.key");
    writeFileSync(path, "secret hunter2\n", { mode: 0o600 });
    expect(() => readKeyFile(path)).toThrow(ConfigurationError);
    expect(() => readKeyFile(path)).not.toThrow(/hunter2/);
  });
});

describe("the keys of a process", () => {
  it("are none without a file", () => {
    expect([serverKeys(Configuration.empty), clientKeys(Configuration.empty)]).toEqual([undefined, undefined]);
  });

  it("are the same on both sides of a cluster that shares a file", () => {
    const path = join(folder, "cluster.key");
    const publicKey = writeKeyFile(path);
    const configuration = Configuration.of({ "security.key-file": path });
    expect(serverKeys(configuration)?.allowed).toEqual(new Set([publicKey]));
    expect(clientKeys(configuration)?.server).toBe(publicKey);
  });

  it("of a JobManager admit those on its list too", () => {
    const path = join(folder, "cluster.key");
    const publicKey = writeKeyFile(path);
    const other = newKeyPair().publicKey;
    const configuration = Configuration.of({ "security.key-file": path, "security.allowed-keys": ` ${other} ,` });
    expect(serverKeys(configuration)?.allowed).toEqual(new Set([publicKey, other]));
    const wrong = Configuration.of({ "security.key-file": path, "security.allowed-keys": "no key" });
    expect(() => serverKeys(wrong)).toThrow(/a key in security.allowed-keys is not a CURVE key/);
  });

  it("leave no trace of the secret in the text that is shown", () => {
    const path = join(folder, "cluster.key");
    const publicKey = writeKeyFile(path);
    expect(readFileSync(path, "utf8")).toContain(publicKey);
    expect(JSON.stringify(Configuration.of({ "security.key-file": path }).toRecord())).not.toContain(readKeyFile(path).secretKey);
  });
});
