import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeBundle } from "../../../src/cluster/code/bundle.ts";
import { capture } from "../../../src/cluster/code/capture.ts";
import { CaptureError } from "../../../src/core/types/errors.ts";
import { refused, shippable } from "./fixtures/cases.mjs";
import { ShippingThread } from "./fixtures/ship.mjs";

interface Case {
  title: string;
  run: never;
  args?: unknown[];
  message: string;
}

const callHere = async (run: unknown, args: unknown[]): Promise<unknown> =>
  typeof run === "function" ? run(...args) : (run as { process(...args: unknown[]): unknown }).process(...args);

describe("a function behaves in a worker thread as it does here, with", () => {
  let thread: ShippingThread;
  beforeAll(() => {
    thread = new ShippingThread();
  });
  afterAll(() => thread.close());

  test.for(shippable as Case[])("$title", async ({ run, args = [] }) => {
    const bytes = encodeBundle(await capture([{ label: "map(f)", value: run }]));
    const there = await thread.run(bytes, args);
    expect(there.result ?? there.stack).toBe(JSON.stringify(await callHere(run, args)));
  });
});

describe("a function is refused, with the path to it and a cure, when it captures", () => {
  test.for(refused as Case[])("$title", async ({ run, message }) => {
    const failure: unknown = await capture([{ label: "map(f)", value: run }]).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(CaptureError);
    expect((failure as CaptureError).message).toBe(message);
    expect((failure as CaptureError).details["path"]).toEqual(message.slice(0, message.indexOf(": ")).split(" → "));
  });
});

test("all of this holds in a plain Node process that runs the built package", async () => {
  const script = fileURLToPath(new URL("./fixtures/run-cases.mjs", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script], { timeout: 60_000 });
  const { ran, failures } = JSON.parse(stdout) as { ran: number; failures: unknown[] };
  expect(failures).toEqual([]);
  expect(ran).toBeGreaterThan(60);
  // Nothing experimental: a warning would appear in every worker of every job.
  expect(stderr).toBe("");
}, 60_000);
