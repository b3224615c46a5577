import { describe, expect, test } from "vitest";
import {
  type DataStream, type Environment, ProcessJoinFunction, type Collector, type JoinContext, type Sided, localEnvironment, session, sideOutput, sliding, tumbling,
} from "../../../src/core/index.ts";

const env = (parallelism = 1): Environment => localEnvironment({ parallelism, printLogs: false });
interface Row {
  readonly k: string;
  readonly n: number;
  readonly at: number;
}
const row = (text: string): Row => ({ k: text[0] as string, n: Number(text.slice(1)), at: Number(text.slice(1)) });
const rows = (program: Environment, text: string, disorder = 0): DataStream<Row> =>
  program.from(text.split(" ").filter((it) => it !== "").map(row)).withTimestamps((it) => it.at, { outOfOrderness: disorder });
const told = (it: Row | undefined): string => (it === undefined ? "-" : `${it.k}${it.n}`);

describe("joins on windows", () => {
  const [left, right] = ["a1 a3 b4 a11 c12", "a2 b5 b6 a21 d13"];

  test.each([1, 3])("an inner join gives each pair of a key and window once (parallelism %i)", async (parallelism) => {
    const program = env(parallelism);
    const joined = rows(program, left).join(rows(program, right)).where((it) => it.k).equalTo((it) => it.k).window(tumbling(10));
    expect((await joined.apply((a, b) => `${told(a)}${told(b)}`).collect()).sort()).toEqual(["a1a2", "a3a2", "b4b5", "b4b6"]);
  });

  test("outer joins add the records without a partner", async () => {
    const program = env(2);
    const [one, two] = [rows(program, left), rows(program, right)];
    const inner = ["a1a2", "a3a2", "b4b5", "b4b6"];
    const answers = {
      left: await one.leftJoin(two).where((it) => it.k).equalTo((it) => it.k).window(tumbling(10)).apply((a, b) => told(a) + told(b)).collect(),
      right: await one.rightJoin(two).where((it) => it.k).equalTo((it) => it.k).window(tumbling(10)).apply((a, b) => told(a) + told(b)).collect(),
      full: await one.fullJoin(two).where((it) => it.k).equalTo((it) => it.k).window(tumbling(10)).apply((a, b) => told(a) + told(b)).collect(),
    };
    expect(answers.left.sort()).toEqual([...inner, "a11-", "c12-"].sort());
    expect(answers.right.sort()).toEqual([...inner, "-a21", "-d13"].sort());
    expect(answers.full.sort()).toEqual([...inner, "a11-", "c12-", "-a21", "-d13"].sort());
  });

  test("coGroup sees all records of both sides, and the window", async () => {
    const program = env();
    const grouped = rows(program, left).coGroup(rows(program, right)).where((it) => it.k).equalTo((it) => it.k).window(tumbling(10))
      .apply((a, b, { key, window }) => [`${key}@${window.end}: ${a.map(told).join(" ")} | ${b.map(told).join(" ")}`]);
    expect((await grouped.collect()).sort()).toEqual(["a@10: a1 a3 | a2", "a@20: a11 | ", "a@30:  | a21", "b@10: b4 | b5 b6", "c@20: c12 | ", "d@20:  | d13"]);
  });

  test("any windows do: sliding ones pair records again, sessions take in both sides", async () => {
    const program = env();
    const [one, two] = [rows(program, "a1 a12"), rows(program, "a8")];
    const slid = one.join(two).where((it) => it.k).equalTo((it) => it.k).window(sliding(10, 5)).apply((a, b, { window }) => `${told(a)}${told(b)}@${window.end}`);
    expect(await slid.collect()).toEqual(["a1a8@10", "a12a8@15"]);
    const met = one.coGroup(two).where((it) => it.k).equalTo((it) => it.k).window(session(8)).apply((a, b) => [`${a.map(told).join(" ")} | ${b.map(told).join(" ")}`]);
    expect(await met.collect()).toEqual(["a1 a12 | a8"]);
  });

  test("results have the window's time, and late records go where they are sent", async () => {
    const program = env();
    const late = sideOutput<Sided<Row, Row>>("late");
    const one = program.from(["a1", "a25", "a3"].map(row)).withTimestamps((it) => it.at, { punctuated: (_it, at) => at });
    const two = rows(program, "a2 a30");
    const joined = one.join(two).where((it) => it.k).equalTo((it) => it.k).window(tumbling(10)).lateTo(late).apply((a, b) => `${told(a)}${told(b)}`);
    const timed = joined.process<string>((text, { timestamp }, out) => out.collect(`${text}@${timestamp}`));
    expect((await timed.collect()).every((text) => text.endsWith("@9"))).toBe(true);
  });

  test("a stream without timestamps says what to write", () => {
    const program = env();
    const joined = program.of(row("a1")).join(rows(program, "a2")).where((it) => it.k).equalTo((it) => it.k);
    expect(() => joined.window(tumbling(10))).toThrow(/needs event time/);
    expect(() => program.of(1).join(env().of(1))).toThrow(/join\(\) joins streams of two environments/);
  });
});

describe("interval join", () => {
  test.each([1, 2, 4])("pairs records whose times are close enough, bounds included (parallelism %i)", async (parallelism) => {
    const program = env(parallelism);
    const joined = rows(program, "a10 a20 b20").keyBy((it) => it.k).intervalJoin(rows(program, "a8 a12 a18 a22 a23 b17 b25").keyBy((it) => it.k)).between(-2, 2);
    expect((await joined.apply((a, b) => told(a) + told(b)).collect()).sort()).toEqual(["a10a12", "a10a8", "a20a18", "a20a22"]);
  });

  test("bounds may be left out, be texts, and lie on one side", async () => {
    const program = env();
    const [one, two] = [rows(program, "a10000").keyBy("k"), rows(program, "a9000 a9500 a10000 a11000").keyBy("k")];
    const pairs = (it: DataStream<string>): Promise<string[]> => it.collect();
    expect(await pairs(one.intervalJoin(two).between("-1 s", 0).apply((_a, b) => told(b)))).toEqual(["a9000", "a9500", "a10000"]);
    expect(await pairs(one.intervalJoin(two).between("-1 s", 0).lowerBoundExclusive().upperBoundExclusive().apply((_a, b) => told(b)))).toEqual(["a9500"]);
    expect(await pairs(one.intervalJoin(two).between(500, "1 s").apply((_a, b) => told(b)))).toEqual(["a11000"]);
    expect(() => one.intervalJoin(two).between(5, 4)).toThrow(/bounds 5 ms and 4 ms; the lower one comes first/);
  });

  test("results have the higher of the two times, and the function sees key and times", async () => {
    class Distance extends ProcessJoinFunction<Row, Row, string, string> {
      override processElement(left: Row, right: Row, context: JoinContext<string>, out: Collector<string>): void {
        out.collect(`${context.key} ${left.n}→${right.n} ${context.rightTimestamp - context.leftTimestamp} at ${context.timestamp}`);
      }
    }
    const program = env();
    const joined = rows(program, "a10").keyBy("k").intervalJoin(rows(program, "a8 a13").keyBy("k")).between(-5, 5).process(new Distance());
    const timed = joined.process<string>((text, { timestamp }, out) => out.collect(`${text} = ${timestamp}`));
    expect(await timed.collect()).toEqual(["a 10→8 -2 at 10 = 10", "a 10→13 3 at 13 = 13"]);
  });

  test("records below the watermark are late: dropped, or sent to a side output", async () => {
    const program = env();
    const lateLeft = sideOutput<Row>("late left");
    const left = program.from(["a10", "a50", "a12"].map(row)).withTimestamps((it) => it.at, { punctuated: (_it, at) => at }).keyBy("k");
    const right = program.from(["a11", "a60"].map(row)).withTimestamps((it) => it.at, { punctuated: (_it, at) => at }).keyBy("k");
    const joined = left.intervalJoin(right).between(-5, 5).lateLeftTo(lateLeft).apply((a, b) => told(a) + told(b));
    const handle = await program.submit({ outputs: { joined, late: joined.sideOutput(lateLeft).map(told) } });
    const got: string[] = [];
    await Promise.all([handle.outputs.joined.forEach((it) => void got.push(it)), handle.outputs.late.forEach((it) => void got.push(`late ${it}`))]);
    expect(got).toContain("a10a11");
    // The watermark of both is 50 at most when a12 comes; which of the two streams is ahead decides whether it is late.
    expect(got.filter((it) => it === "late a12" || it === "a12a11")).toHaveLength(1);
  });

  test("what can't meet anything any more is forgotten", async () => {
    const program = env();
    const many = Array.from({ length: 3_000 }, (_, at) => ({ k: "a", n: at, at }));
    const punctual = (stream: DataStream<Row>): DataStream<Row> => stream.withTimestamps((it) => it.at, { punctuated: (_it, at) => at });
    const joined = punctual(program.from(many)).keyBy("k").intervalJoin(punctual(program.from(many)).keyBy("k")).between(-1, 1);
    expect(await joined.apply((a, b) => b.n - a.n).collect()).toHaveLength(3 * 3_000 - 2);
  });

  test("needs keys and times on both sides", () => {
    const program = env();
    const timed = rows(program, "a1").keyBy("k");
    expect(() => timed.intervalJoin(program.of(row("a1")).keyBy("k")).between(0, 1)).toThrow(/intervalJoin\(\) needs event time on both streams/);
    expect(() => timed.intervalJoin(program.of(row("a1")) as never)).toThrow(/it takes a keyed stream: write keyBy/);
  });
});
