/**
 * The door `drey/testing`: pipelines and functions under test in one thread, with clock and watermarks in the test's hands.
 */
export { TestHarness, testHarness } from "./harness.ts";
export type {
  BroadcastHarnessOptions, DataOf, HarnessOptions, HarnessSnapshot, HarnessState, KeyedCoHarnessOptions, KeyedHarnessOptions, PendingTimer,
} from "./harness.ts";
export { HarnessInput } from "./harness-input.ts";
export { HarnessOutput } from "./harness-output.ts";
export type { StreamElement, StreamRecord } from "./harness-output.ts";
export { expectStream, marbles } from "./marbles.ts";
export type { MarbleOptions, MarbleValues, Marbles, StreamExpectation } from "./marbles.ts";
