/**
 * Incremental aggregation: what a window or group keeps instead of its records (Flink: AggregateFunction), and the usual ones.
 */

/** An aggregation in four functions. Records are added one by one; the accumulator is all that is kept. */
export interface AggregateFunction<In, Acc, Out> {
  /** A fresh accumulator. */
  createAccumulator(): Acc;
  /** The accumulator with a record added: a new one, or the same one changed. */
  add(value: In, accumulator: Acc): Acc;
  getResult(accumulator: Acc): Out;
  /** Two accumulators as one. Needed by windows that merge (sessions) and by pre-aggregation. */
  merge?(a: Acc, b: Acc): Acc;
}

/** The number of records. */
export function count(): AggregateFunction<unknown, number, number> {
  return {
    createAccumulator: () => 0,
    add: (_value, accumulator) => accumulator + 1,
    getResult: (accumulator) => accumulator,
    merge: (a, b) => a + b,
  };
}

/** The sum of a number per record; 0 without records. */
export function sum<T>(value: (record: T) => number): AggregateFunction<T, number, number> {
  return {
    createAccumulator: () => 0,
    add: (record, accumulator) => accumulator + value(record),
    getResult: (accumulator) => accumulator,
    merge: (a, b) => a + b,
  };
}

/** The arithmetic mean of a number per record. */
export function average<T>(value: (record: T) => number): AggregateFunction<T, { sum: number; count: number }, number> {
  return {
    createAccumulator: () => ({ sum: 0, count: 0 }),
    add: (record, accumulator) => {
      accumulator.sum += value(record);
      accumulator.count++;
      return accumulator;
    },
    getResult: (accumulator) => accumulator.sum / accumulator.count,
    merge: (a, b) => ({ sum: a.sum + b.sum, count: a.count + b.count }),
  };
}
