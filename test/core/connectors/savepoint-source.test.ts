/** The source of a savepoint's state, driven by hand: where it goes on after a failure. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type SavepointSpec, savepointSource } from "../../../src/core/connectors/savepoint-source.ts";
import { noClasses } from "../../../src/core/data/classes.ts";
import type { OperatorContext, SourceOperator } from "../../../src/core/operators/operator.ts";
import { listState } from "../../../src/core/state/descriptors.ts";
import { SubtaskStates } from "../../../src/core/state/operator-states.ts";
import { type OperatorSnapshot, redistribute } from "../../../src/core/state/snapshot.ts";

const folder = mkdtempSync(join(tmpdir(), "drey-savepoint-source-"));
afterAll(() => rmSync(folder, { recursive: true }));

const KEYS = 100;
const basis = { stateId: "stored", maxParallelism: 4, classes: noClasses, now: () => 0 };

function written(states: SubtaskStates): { readonly snapshot: OperatorSnapshot; readonly bytes: Buffer } {
  const frozen = states.freeze(1, "savepoint");
  const pieces: Uint8Array[] = [];
  while (!frozen.work(100, (bytes) => pieces.push(bytes) > 0));
  return { snapshot: frozen.finish("state", 0), bytes: Buffer.concat(pieces) };
}

function stored(): SavepointSpec {
  const states = new SubtaskStates(basis);
  for (let key = 0; key < KEYS; key++) {
    states.keyed.setCurrentKey(key);
    states.keyed.state(listState<number>("numbers")).update([key, key + 1]);
  }
  const { snapshot, bytes } = written(states);
  writeFileSync(join(folder, "state"), bytes);
  return { kind: "savepoint", folder, snapshots: [snapshot], maxParallelism: 4, part: { kind: "keyed", descriptor: listState("numbers") }, nowMs: 0 };
}

function sourceOver(spec: SavepointSpec, states: SubtaskStates, subtask: number, parallelism: number): SourceOperator {
  const source = savepointSource.create(spec, { subtask, parallelism, states, classes: noClasses } as Partial<OperatorContext> as OperatorContext) as SourceOperator;
  void source.open?.();
  return source;
}

function read(source: SourceOperator, most: number): unknown[] {
  const rows: unknown[] = [];
  for (let left = most; left > 0; ) {
    const some: unknown[] = [];
    const count = source.read(some, new Float64Array(16), Math.min(left, 16));
    if (count < 0) break;
    rows.push(...some.slice(0, count));
    left -= count;
  }
  return rows;
}

test.each([0, 1, 7, 31, KEYS])("the source goes on at another parallelism after %d rows, and gives each key once", (before) => {
  const spec = stored();
  const states = new SubtaskStates(basis);
  const source = sourceOver(spec, states, 0, 1);
  const rows = read(source, before);
  source.prepareSnapshot?.(1);
  const { snapshot, bytes } = written(states);
  void source.close?.();
  for (const subtask of [0, 1, 2]) {
    const from = redistribute([snapshot], subtask, 3, 4)!;
    const restored = new SubtaskStates({ ...basis, restore: { from, read: ({ offset, bytes: length }) => bytes.subarray(offset, offset + length) } });
    const next = sourceOver(spec, restored, subtask, 3);
    rows.push(...read(next, KEYS));
    void next.close?.();
  }
  expect(rows.map((row) => JSON.stringify(row)).sort()).toEqual(
    Array.from({ length: KEYS }, (_, key) => JSON.stringify({ key, value: [key, key + 1] })).sort(),
  );
});
