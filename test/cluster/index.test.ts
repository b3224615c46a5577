import * as core from "drey/core";
import * as drey from "drey";
import { describe, expect, it } from "vitest";

describe("the door `drey`", () => {
  it("has all that `drey/core` has, the same things, and clusters", () => {
    const names = Object.keys(core);
    const missing = names.filter((name) => (drey as Record<string, unknown>)[name] !== (core as Record<string, unknown>)[name]);
    expect(missing).toEqual([]);
    expect(
      Object.keys(drey)
        .filter((name) => !names.includes(name))
        .sort(),
    ).toEqual(["ClusterClient", "LocalCluster", "Savepoint", "SavepointWriter", "changeSavepoint", "connect", "environment", "newSavepoint", "openSavepoint"]);
  });
});
