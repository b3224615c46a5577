import fc from "fast-check";
import { TestScheduler } from "rxjs/testing";
import { describe, expect, test } from "vitest";
import { type DataStream, count, localEnvironment, milliseconds, session, tumbling } from "../../../src/core/index.ts";
import { expectStream, marbles, testHarness } from "../../../src/core/testing/index.ts";

/** In which a frame is a millisecond. */
function inRunMode<R>(work: () => R): R {
  const { frameTimeFactor } = TestScheduler;
  TestScheduler.frameTimeFactor = 1;
  try {
    return work();
  } finally {
    TestScheduler.frameTimeFactor = frameTimeFactor;
  }
}

const values = { a: 1, b: "two", c: null, d: undefined, x: {}, y: [], z: 3n };

describe("a diagram", () => {
  const piece = fc.oneof(
    fc.constantFrom("-", "--", "---", " ", "a", "b", "xyz", "(ab)", "(c)", " 3ms ", " 1.5s ", " 2m "),
    fc.integer({ min: 1, max: 500 }).map((ms) => ` ${ms}ms `),
  );
  test("means what it means in RxJS", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom("", "|", "(d|)"), (pieces, end) => {
        const diagram = pieces.join("") + end;
        const ours = marbles(diagram, values);
        const theirs = inRunMode(() => TestScheduler.parseMarbles(diagram, values, undefined, false, true));
        const records = theirs.flatMap(({ frame, notification }) => (notification.kind === "N" ? [{ value: notification.value, timestamp: frame }] : []));
        expect(ours.records).toEqual(records);
        expect(ours.endMs).toBe(theirs.find(({ notification }) => notification.kind === "C")?.frame);
      }),
    );
  });

  test("has frames of any length", () => {
    expect(marbles("-a 3s b|", undefined, { frameMs: 1_000 })).toMatchObject({
      records: [{ value: "a", timestamp: 1_000 }, { value: "b", timestamp: 5_000 }], endMs: 6_000,
    });
  });

  test.each([
    ["a-#", "has a #, which streams don't"],
    ["-^a", "has a ^"],
    ["(a(b))", "opens a group inside of a group"],
    ["a)", "closes a group that it has not opened"],
    ["(a-b)", "lets time pass inside of a group"],
    ["( 3ms a)", "lets time pass inside of a group, by 3ms"],
    ["(a", "opens a group and does not close it"],
    ["a|b", "goes on after its end"],
  ])("%s is refused: it %s", (diagram, why) => {
    expect(() => marbles(diagram)).toThrow(why);
  });
});

describe("a harness plays diagrams", () => {
  const counts = (parallelism = 1) =>
    testHarness((keys: DataStream<string>) => keys.keyBy((key) => key).window(tumbling(4)).aggregate(count()), { parallelism });

  test.each([1, 3])("windows close where event time passes them, at parallelism %i", async (parallelism) => {
    await using harness = await counts(parallelism);
    harness.play(marbles("-aa-a-----bb|"));
    expectStream(harness).toBe("---2---1---2|", { 1: 1, 2: 2 });
  });

  test("sessions end after their gap, and the end of the input ends them all", async () => {
    await using harness = await testHarness((keys: DataStream<string>) =>
      keys.keyBy(() => 0).window(session(milliseconds(3))).reduce((a, b) => a + b),
    );
    harness.play(marbles("a-b----c|"));
    expectStream(harness).toBe("----x----(y|)", { x: "ab", y: "c" });
  });

  test("two inputs go in step", async () => {
    await using harness = await testHarness((a: DataStream<string>, b: DataStream<string>) => a.union(b));
    harness.play(marbles("a-b-c|"), marbles("-x-y-z--|"));
    expectStream(harness).toBe("axbycz--|");
  });

  test("two diagrams continue each other", async () => {
    await using harness = await testHarness((a: DataStream<string>) => a);
    harness.play(marbles("a-b"));
    expectStream(harness).toBe("a-b");
    harness.play(marbles("-----c|"));
    expectStream(harness).toBe("a-b--c|");
  });

  test("the difference is drawn", async () => {
    await using harness = await testHarness((letters: DataStream<string>) => letters.map((letter) => letter.toUpperCase()));
    harness.play(marbles("a-b 1s (cd)|"));
    expect(() => expectStream(harness).toBe("A-(BC)|")).toThrow(/drawn: {2}A-\(BC\)\|\n {2}stream: A-B 1000ms \(CD\)\|\n/);
    expect(() => expectStream(harness).toBe("A-B 1s (CD)")).toThrow("stream: A-B 1000ms (CD)|");
  });

  test("a record without a timestamp stands nowhere", async () => {
    await using harness = await testHarness((letters: DataStream<string>) => letters);
    harness.push("a");
    expect(() => expectStream(harness).toBe("a")).toThrow('The record "a" has no timestamp');
  });

  test("each input needs a diagram", async () => {
    await using harness = await testHarness((a: DataStream<string>, b: DataStream<string>) => a.union(b));
    expect(() => (harness as { play(...diagrams: unknown[]): void }).play(marbles("a"))).toThrow("play() got 1 diagrams for 2 inputs");
  });
});

describe("a stream of a program", () => {
  test.each([1, 2])("is compared with a diagram, at parallelism %i", async (parallelism) => {
    const env = localEnvironment({ parallelism });
    const numbers = marbles("-a-ab--aa|", { a: 1, b: 2 }).toStream(env);
    await expectStream(numbers).toBe("-a-ab--aa|", { a: 1, b: 2 });
    const windows = numbers.keyBy((x) => x).window(tumbling(4)).aggregate(count());
    await expectStream(windows).toBe("---2---(11)1|", { 1: 1, 2: 2 });
    await expect(expectStream(windows).toBe("-a|")).rejects.toThrow("The stream is not as drawn");
  });
});
