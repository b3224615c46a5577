import { expect, test } from "vitest";
import type { Operator } from "../../../src/core/operators/operator.ts";
import { type ChainMember, type FusedChain, fuse } from "../../../src/core/runtime/operator-chain.ts";
import type { Output } from "../../../src/core/runtime/output.ts";
import { SubtaskStates } from "../../../src/core/state/operator-states.ts";

const nothing = (): void => undefined;

/** A chain of operators, one after the other, with an edge behind the last. */
function chainOf(operators: readonly Operator[], heard: string[]): { chain: FusedChain; members: readonly ChainMember[] } {
  const members = operators.map((operator, index): ChainMember => ({
    definition: {
      id: `o${index}` as never, name: `o${index}`, spec: { kind: "test" },
      outputs: [index + 1 < operators.length ? { to: "operator", operator: index + 1 } : { to: "edge", edge: 0 }],
    },
    operator, stateId: `o${index}`, states: new SubtaskStates(), inputs: 1,
    wiring: { emit: nothing, emitSide: nothing, emitWatermark: nothing, emitIdle: nothing },
  }));
  const output = { emit: nothing, emitWatermark: (watermark: number) => void heard.push(`watermark ${watermark}`), emitIdle: () => void heard.push("idle") };
  const edge = { id: "e" as never, partitioning: { kind: "forward" } } as const;
  const control = { word: new Int32Array(1), serve: nothing };
  return { chain: fuse("test", members, [edge], [output as unknown as Output], control), members };
}

test("an operator that makes watermarks hides from its consumers that its input is idle", () => {
  const heard: string[] = [];
  const passes: Operator = { process: nothing };
  const makes: Operator = { process: nothing, makesWatermarks: true };
  chainOf([passes, passes], heard).chain.idle();
  expect(heard.splice(0)).toEqual(["idle"]);
  const { chain, members } = chainOf([passes, makes, passes], heard);
  chain.idle();
  chain.watermark(5);
  chainOf([makes, passes], heard).chain.idle();
  expect(heard).toEqual([]);
  members[1]?.wiring.emitIdle();
  members[1]?.wiring.emitWatermark(7);
  chain.watermark(Infinity);
  expect(heard).toEqual(["idle", "watermark 7", "watermark Infinity"]);
});
