/**
 * Random programs for the tests of whole jobs: rows, and a small grammar of pipelines whose answers do not depend on how fast which
 * subtask runs. A pipeline is data, so that a failing one can be shrunk and read; `build` makes a stream of it.
 *
 * What makes the answers certain: rows are late by at most `LATENESS_MS`; what is not commutative runs only where the records of a key
 * keep their order; timers give what belongs to their time and nothing else.
 */
import {
  type AggregateFunction,
  type Collector,
  type DataStream,
  type Environment,
  KeyedProcessFunction,
  type ProcessContext,
  type ProcessWindowContext,
  ProcessWindowFunction,
  type RuntimeContext,
  type TimerContext,
  type ListState,
  type MapState,
  type ValueState,
  cumulative,
  listState,
  mapState,
  session,
  sliding,
  tumbling,
  valueState,
} from "drey";
import fc from "fast-check";
import { Observable, delay } from "rxjs";

/** A class of the program, whose instances travel in rows. */
export class Point {
  x: number;
  y: number | bigint;
  constructor(x: number, y: number | bigint) {
    this.x = x;
    this.y = y;
  }
  get norm(): number {
    return Math.abs(this.x) + Math.abs(Number(this.y));
  }
}

export interface Row {
  /** One of KEYS; no operator changes it. */
  readonly key: string;
  readonly id: number;
  /** Event time. */
  readonly at: number;
  readonly value: number;
  readonly payload: unknown;
}

const KEYS = ["", "a", "b", "naïve", "ключ", "🐿️", "\u0000", "constructor"];
const LATENESS_MS = 50;

// ---------------------------------------------------------------------------------------------------------------- rows

const word = fc.oneof(fc.string({ maxLength: 8 }), fc.string({ unit: "grapheme", maxLength: 6 }), fc.constant("\ud800"));
const number = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(-0, Number.NaN, Infinity, 2 ** 53));
const point = fc.oneof(
  fc.tuple(number, number).map(([x, y]) => new Point(x, y)),
  fc.tuple(fc.integer(), fc.bigInt()).map(([x, y]) => new Point(x, y)),
);
const leaf = fc.oneof(word, number, fc.boolean(), fc.bigInt(), fc.date(), fc.constantFrom(null, undefined), point);
const order = fc.record({
  customer: fc.record({ name: word, since: fc.oneof(fc.date({ noInvalidDate: true }), fc.constant(null)) }),
  lines: fc.array(fc.record({ item: word, price: number, where: fc.option(point) }), { maxLength: 3 }),
  total: fc.bigInt(),
  note: fc.oneof(word, fc.constantFrom(null, undefined)),
});
const payload: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: order },
  { weight: 2, arbitrary: fc.record({ number, word, point: fc.option(point) }, { requiredKeys: ["word"] }) },
  { weight: 2, arbitrary: leaf },
  { weight: 1, arbitrary: fc.array(leaf, { maxLength: 4 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.array(fc.tuple(word, leaf), { maxLength: 3 }), fc.array(leaf, { maxLength: 3 }))
      .map(([entries, items]) => ({ map: new Map(entries), set: new Set(items) })),
  },
);

/**
 * Rows in the order in which they come, out of order in time within the bound. A few are drawn and then repeated, so that there is
 * something to carry.
 */
export const rows: fc.Arbitrary<readonly Row[]> = fc
  .record({
    drawn: fc.array(
      fc.record({
        key: fc.constantFrom(...KEYS),
        late: fc.integer({ min: 0, max: LATENESS_MS }),
        step: fc.integer({ min: 0, max: 40 }),
        value: fc.integer({ min: -9, max: 9 }),
        payload,
      }),
      { minLength: 1, maxLength: 40 },
    ),
    repeat: fc.constantFrom(1, 1, 10, 60),
  })
  .map(({ drawn, repeat }) => {
    let now = 0;
    return Array.from({ length: repeat }, () => drawn)
      .flat()
      .map(({ key, late, step, value, payload }, id) => {
        now += step;
        return { key, id, at: now - late, value, payload };
      });
  });

// ------------------------------------------------------------------------------------------------------------- grammar

export type Source = "array" | "iterable" | "async iterable" | "function" | "observable" | "generate";
export type KeyKind = "text" | "tuple" | "record" | "date" | "bigint" | "number";
export type Exchange = "rebalance" | "rescale" | "shuffle" | "broadcast" | "global";

export type Step =
  | { readonly op: "map"; readonly add: number }
  | { readonly op: "filter"; readonly modulo: number; readonly rest: number }
  | { readonly op: "flatMap"; readonly copies: number }
  | { readonly op: "exchange"; readonly how: Exchange; readonly add: number }
  | { readonly op: "reduce"; readonly key: KeyKind }
  | { readonly op: "state"; readonly key: KeyKind }
  | { readonly op: "timers" | "rx"; readonly key: KeyKind; readonly sizeMs: number }
  | { readonly op: "tumbling" | "sliding" | "session"; readonly key: KeyKind; readonly sizeMs: number; readonly parts: number }
  | {
      readonly op: "kept" | "cumulative" | "keptSession" | "count";
      readonly key: KeyKind;
      readonly sizeMs: number;
      readonly parts: number;
    }
  | { readonly op: "union"; readonly modulo: number; readonly add: number }
  | { readonly op: "connect"; readonly modulo: number; readonly key: KeyKind; readonly sizeMs: number }
  | { readonly op: "coMap"; readonly modulo: number; readonly add: number };

export interface Setting {
  readonly parallelism: number | undefined;
  readonly chaining: "always" | "head" | "never";
  readonly slots: "default" | "other" | undefined;
}

export interface Pipeline {
  readonly source: Source;
  /** Watermarks after each record and not only now and then: much of what happens, happens between them. */
  readonly punctuated: boolean;
  /** Parallelism of operators that set none. */
  readonly parallelism: number;
  readonly chaining: boolean;
  /** With two slot sharing groups each has half of the four slots. */
  readonly groups: boolean;
  readonly steps: readonly (readonly [Step, Setting])[];
}

const key = fc.constantFrom<KeyKind>("text", "tuple", "record", "date", "bigint", "number");
const add = fc.integer({ min: -3, max: 3 });
const modulo = fc.integer({ min: 2, max: 4 });
const sizeMs = fc.integer({ min: 1, max: 300 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constant("map" as const), add }),
  fc.record({ op: fc.constant("filter" as const), modulo, rest: fc.integer({ min: 0, max: 1 }) }),
  fc.record({ op: fc.constant("flatMap" as const), copies: fc.integer({ min: 0, max: 3 }) }),
  fc.record({
    op: fc.constant("exchange" as const),
    how: fc.constantFrom<Exchange>("rebalance", "rescale", "shuffle", "broadcast", "global"),
    add,
  }),
  fc.record({ op: fc.constant("reduce" as const), key }),
  fc.record({ op: fc.constant("state" as const), key }),
  fc.record({ op: fc.constantFrom("timers" as const, "rx" as const), key, sizeMs }),
  fc.record({
    op: fc.constantFrom("tumbling" as const, "sliding" as const, "session" as const),
    key,
    sizeMs,
    parts: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({
    op: fc.constantFrom("kept" as const, "cumulative" as const, "keptSession" as const, "count" as const),
    key,
    sizeMs,
    parts: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ op: fc.constant("union" as const), modulo, add }),
  fc.record({ op: fc.constant("connect" as const), modulo, key, sizeMs }),
  fc.record({ op: fc.constant("coMap" as const), modulo, add }),
);
const setting: fc.Arbitrary<Setting> = fc.record({
  parallelism: fc.oneof(fc.constant(undefined), fc.integer({ min: 1, max: 4 })),
  chaining: fc.constantFrom<Setting["chaining"]>("always", "always", "head", "never"),
  slots: fc.constantFrom<Setting["slots"]>(undefined, undefined, "default", "other"),
});

export const pipelines: fc.Arbitrary<Pipeline> = fc.record({
  source: fc.constantFrom<Source>("array", "array", "iterable", "async iterable", "function", "observable", "generate"),
  punctuated: fc.boolean(),
  parallelism: fc.integer({ min: 1, max: 4 }),
  chaining: fc.boolean(),
  groups: fc.constantFrom(false, false, true),
  steps: fc.array(fc.tuple(step, setting), { minLength: 1, maxLength: 5 }),
});

// ------------------------------------------------------------------------------------------------------------- streams

/** The records of a key come in one order only, from wherever they are seen; or in any. */
type Order = "per key" | "none";

export interface Built {
  readonly stream: DataStream<Row>;
  readonly order: Order;
}

/**
 * The pipeline as a stream of `env`, over these rows. Steps that need an order which is not there any more do the commutative thing
 * instead.
 * @param fault called for each record behind each step; may throw.
 */
export function build(env: Environment, pipeline: Pipeline, rows: readonly Row[], fault?: () => void): Built {
  const widest = pipeline.groups ? 2 : 4;
  const most = (parallelism: number): number => Math.min(parallelism, widest);
  env.registerClass(Point);
  const source = sourceOf(env, pipeline.source, rows);
  let parallelism = pipeline.source === "generate" ? most(pipeline.parallelism) : 1;
  if (pipeline.source === "generate") source.setParallelism(parallelism);
  let order: Order = parallelism === 1 ? "per key" : "none";
  const watermarks = pipeline.punctuated
    ? { punctuated: (_row: Row, timestamp: number): number => timestamp - LATENESS_MS - 1 }
    : { outOfOrderness: LATENESS_MS };
  let stream = source.withTimestamps((row) => row.at, watermarks).setParallelism(parallelism);

  for (const [step, { parallelism: wanted = pipeline.parallelism, chaining, slots }] of pipeline.steps) {
    const next = most(wanted);
    const settle = (made: DataStream<Row>, group = true): DataStream<Row> => {
      made.setParallelism(next);
      if (chaining === "head") made.startNewChain();
      if (chaining === "never") made.disableChaining();
      if (pipeline.groups && group && slots !== undefined) made.slotSharingGroup(slots);
      return made;
    };
    // Without a key, records go to other subtasks whenever their number changes, and those of a key part.
    const unkeyed = (): void => {
      if (next !== parallelism) order = "none";
    };
    switch (step.op) {
      case "map":
        unkeyed();
        stream = settle(stream.map(adding(step.add)));
        break;
      case "filter": {
        const { modulo, rest } = step;
        unkeyed();
        stream = settle(stream.filter((row) => row.id % modulo !== rest));
        break;
      }
      case "flatMap": {
        const { copies } = step;
        unkeyed();
        stream = settle(stream.flatMap((row) => Array.from({ length: copies }, (_, copy) => ({ ...row, id: row.id * 4 + copy }))));
        break;
      }
      case "exchange":
        if (step.how !== "global" || order !== "per key") order = "none";
        stream = settle(stream[step.how]().map(adding(step.add)));
        break;
      case "reduce":
        stream = settle(stream.keyBy(keyOf(step.key)).reduce(order === "none" ? keepFirst : chain));
        // Of a running reduction without order only the number of results is certain.
        if (order === "none") stream = stream.map(({ key }) => ({ key, id: 0, at: 0, value: 0, payload: null })).setParallelism(next);
        break;
      case "state":
        stream = settle(stream.keyBy(keyOf(step.key)).process<Row>(order === "none" ? new PerStretch(25) : new Follows()));
        order = "per key";
        break;
      case "timers":
        stream = settle(stream.keyBy(keyOf(step.key)).process<Row>(new PerStretch(step.sizeMs)));
        order = "per key";
        break;
      case "rx": {
        // By event time, and in order of arrival within one time.
        const { sizeMs } = step;
        const late = stream.keyBy(keyOf(step.key)).rx((row$, { scheduler }) => row$.pipe(delay(sizeMs, scheduler)), { state: "replay" });
        stream = settle(late);
        break;
      }
      case "tumbling":
      case "sliding":
      case "session": {
        const { op, sizeMs, parts } = step;
        const window = op === "tumbling" ? tumbling(sizeMs) : op === "sliding" ? sliding(sizeMs * parts, sizeMs) : session(sizeMs);
        stream = settle(
          stream
            .keyBy(keyOf(step.key))
            .window(window)
            .aggregate(digest, (result, { window: { start, end } }) => ({
              ...result,
              id: start,
              at: end - 1,
              payload: { start, end, was: result.payload },
            })),
        );
        order = "per key";
        break;
      }
      case "kept":
      case "cumulative":
      case "keptSession": {
        const { op, sizeMs, parts } = step;
        const window = op === "kept" ? tumbling(sizeMs) : op === "cumulative" ? cumulative(sizeMs * parts, sizeMs) : session(() => sizeMs);
        stream = settle(stream.keyBy(keyOf(step.key)).window(window).process(new Digested()));
        order = "per key";
        break;
      }
      case "count": {
        // Which records are together depends on their order.
        const { parts } = step;
        if (order === "per key") stream = settle(stream.keyBy(keyOf(step.key)).countWindow(parts + 1).process(new Digested()));
        break;
      }
      case "union": {
        const { modulo } = step;
        const [left, right] = [stream.filter((row) => row.id % modulo === 0), stream.filter((row) => row.id % modulo === 1)];
        stream = settle(left.setParallelism(parallelism).union(right.setParallelism(next)).map(adding(step.add)));
        order = "none";
        break;
      }
      case "coMap": {
        const { modulo, add } = step;
        const right = stream.filter((row) => row.id % modulo === 1).setParallelism(parallelism);
        stream = settle(stream.connect(right).map(adding(add), (row) => ({ ...row, payload: ["right", row.payload] })));
        order = "none";
        break;
      }
      case "connect": {
        const { modulo, sizeMs } = step;
        const other = stream.filter((row) => row.id % modulo === 1).setParallelism(parallelism);
        stream = settle(stream.connect(other).keyBy(keyOf(step.key), keyOf(step.key)).process<Row>(new Both(sizeMs)));
        order = "per key";
        break;
      }
    }
    parallelism = next;
    if (fault !== undefined) {
      const passes = (row: Row): Row => {
        fault();
        return row;
      };
      stream = stream.map(passes).setParallelism(next);
    }
  }
  return { stream, order };
}

function sourceOf(env: Environment, source: Source, rows: readonly Row[]): DataStream<Row> {
  switch (source) {
    case "array":
      return env.from(rows);
    case "iterable":
      return env.from({ [Symbol.iterator]: () => rows[Symbol.iterator]() });
    case "async iterable":
      return env.from(
        (async function* () {
          yield* rows;
        })(),
      );
    case "function":
      return env.from(function* () {
        yield* rows;
      });
    case "observable":
      return env.fromObservable(
        new Observable<Row>((subscriber) => {
          for (const row of rows) subscriber.next(row);
          subscriber.complete();
        }),
      );
    case "generate":
      return env.generate((index) => rows[index] as Row, { count: rows.length });
  }
}

const adding =
  (add: number) =>
  (row: Row): Row => ({ ...row, value: row.value + add });

function keyOf(kind: KeyKind): (row: Row) => unknown {
  const keys = KEYS;
  switch (kind) {
    case "text":
      return (row) => row.key;
    case "tuple":
      return (row) => [row.key, row.key.length];
    case "record":
      return (row) => ({ name: row.key, of: { length: row.key.length } });
    case "date":
      return (row) => new Date(keys.indexOf(row.key) * 86_400_000);
    case "bigint":
      return (row) => BigInt(keys.indexOf(row.key)) << 70n;
    case "number":
      return (row) => [-0, Number.NaN, 1, 2.5, -7, Infinity, 2 ** 40, 1e-9][keys.indexOf(row.key)];
  }
}

/** Not commutative: a result tells all records before it and their order. */
const chain = (before: Row, row: Row): Row => ({ ...row, value: (before.value * 31 + row.value) % 1_000_003 });
const keepFirst = (first: Row): Row => first;

/** Commutative: what an aggregate can know of its records, whatever their order. */
const digest: AggregateFunction<Row, { key: string; sum: number; ids: number[]; norms: number }, Row> = {
  createAccumulator: () => ({ key: "", sum: 0, ids: [], norms: 0 }),
  add: (row, { sum, ids, norms }) => ({
    key: row.key,
    sum: sum + row.value,
    ids: [...ids, row.id],
    norms: norms + (row.payload instanceof Point ? 1 : 0),
  }),
  getResult: ({ key, sum, ids, norms }) => ({ key, id: 0, at: 0, value: sum, payload: { ids: [...ids].sort((a, b) => a - b), norms } }),
  // An accumulator without records has no key.
  merge: (a, b) => ({ key: a.ids.length === 0 ? b.key : a.key, sum: a.sum + b.sum, ids: [...a.ids, ...b.ids], norms: a.norms + b.norms }),
};

/** The same from the records themselves. */
class Digested extends ProcessWindowFunction<Row, Row> {
  override process(rows: readonly Row[], { window: { start, end } }: ProcessWindowContext, out: Collector<Row>): void {
    const result = digest.getResult(rows.reduce((sum, row) => digest.add(row, sum), digest.createAccumulator()));
    out.collect({ ...result, id: start, at: end - 1, payload: { start, end, was: result.payload } });
  }
}

/** Each record with what its key has seen before. */
class Follows extends KeyedProcessFunction<unknown, Row, Row> {
  private count!: ValueState<number>;
  private last!: ListState<Row>;
  private values!: MapState<readonly [number], number>;

  override open(context: RuntimeContext): void {
    this.count = context.state(valueState("count", 0));
    this.last = context.state(listState<Row>("last"));
    this.values = context.state(mapState<readonly [number], number>("values"));
  }

  override processElement(row: Row, context: ProcessContext, out: Collector<Row>): void {
    const count = (this.count.value() as number) + 1;
    this.count.update(count);
    this.values.put([row.value], (this.values.get([row.value]) ?? 0) + 1);
    const before = this.last.get().map((it) => it.id);
    this.last.update([...this.last.get(), row].slice(-2));
    context.timers.registerEventTimeTimer(row.at + 1e9);
    context.timers.deleteEventTimeTimer(row.at + 1e9);
    out.collect({ ...row, value: count, payload: { was: row.payload, before, values: [...this.values.entries()], at: context.timestamp } });
  }

  override onTimer(): void {
    throw new Error("a timer that was deleted fired");
  }
}

/** The records of each stretch of time, when it is over. */
class PerStretch extends KeyedProcessFunction<unknown, Row, Row> {
  private readonly sizeMs: number;
  private rows!: MapState<number, Row[]>;

  constructor(sizeMs: number) {
    super();
    this.sizeMs = sizeMs;
  }

  override open(context: RuntimeContext): void {
    this.rows = context.state(mapState<number, Row[]>("rows"));
  }

  override processElement(row: Row, context: ProcessContext): void {
    const end = Math.ceil(((context.timestamp as number) + 1) / this.sizeMs) * this.sizeMs;
    this.rows.put(end, [...(this.rows.get(end) ?? []), row]);
    context.timers.registerEventTimeTimer(end);
  }

  override onTimer(end: number, _context: TimerContext, out: Collector<Row>): void {
    const rows = this.rows.get(end) ?? [];
    this.rows.remove(end);
    out.collect({
      key: (rows[0] as Row).key,
      id: end,
      at: end,
      value: rows.reduce((sum, row) => sum + row.value, 0),
      payload: rows.map((row) => row.id).sort((a, b) => a - b),
    });
  }
}

/** Of two streams, per key and stretch of time, how many records came on either. */
class Both {
  readonly sizeMs: number;
  private counts!: MapState<number, readonly [key: string, left: number, right: number]>;

  constructor(sizeMs: number) {
    this.sizeMs = sizeMs;
  }

  open(context: RuntimeContext): void {
    this.counts = context.state(mapState<number, readonly [string, number, number]>("counts"));
  }

  processElement1(row: Row, context: ProcessContext): void {
    this.add(row, context, 1, 0);
  }

  processElement2(row: Row, context: ProcessContext): void {
    this.add(row, context, 0, 1);
  }

  onTimer(end: number, _context: TimerContext, out: Collector<Row>): void {
    const [key, left, right] = this.counts.get(end) as readonly [string, number, number];
    this.counts.remove(end);
    out.collect({ key, id: end, at: end, value: left * 1000 + right, payload: null });
  }

  private add(row: Row, context: ProcessContext, left: number, right: number): void {
    const end = Math.ceil(((context.timestamp as number) + 1) / this.sizeMs) * this.sizeMs;
    const [, before, beside] = this.counts.get(end) ?? ["", 0, 0];
    this.counts.put(end, [row.key, before + left, beside + right]);
    context.timers.registerEventTimeTimer(end);
  }
}
