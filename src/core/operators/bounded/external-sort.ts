/**
 * Sorts more rows than memory holds: sorted runs go to disk, and are merged when the rows are read (Flink: UnilateralSortMerger). Rows
 * that compare equal keep the order in which they came.
 */
import type { ClassRegistry } from "../../data/classes.ts";
import { flattenKept } from "../../data/text.ts";
import { MemoryBudget } from "./memory-budget.ts";
import type { Run, SpillFile } from "./spill-file.ts";

/** As of `Array.prototype.sort`. */
export type Compare<Row> = (a: Row, b: Row) => number;

/** Runs that are merged at once; each has a chunk in memory. More are merged in several passes. */
const MOST_RUNS = 64;

export class ExternalSort<Row = unknown> {
  readonly #compare: Compare<Row>;
  readonly #file: SpillFile;
  readonly #budget: MemoryBudget;
  #runs: Run[] = [];
  #memory: Row[] = [];

  /** @param memoryBytes heap that unsorted rows may take. @param file closed by whoever made it, after the rows were read. */
  constructor(compare: Compare<Row>, memoryBytes: number, classes: ClassRegistry, file: SpillFile) {
    this.#compare = compare;
    this.#file = file;
    this.#budget = new MemoryBudget(memoryBytes, classes);
  }

  add(row: Row): void {
    this.#memory.push(flattenKept(row));
    if (this.#budget.add(row)) return;
    this.#runs.push(this.#file.write(this.#memory.sort(this.#compare)));
    this.#memory = [];
    this.#budget.clear();
  }

  /** All rows in order. Call once. */
  rows(): Iterable<Row> {
    const memory = this.#memory.sort(this.#compare);
    this.#memory = [];
    while (this.#runs.length > MOST_RUNS) {
      const merged = merge(this.#runs.slice(0, MOST_RUNS).map((run) => this.#rowsOf(run)), this.#compare);
      this.#runs = [this.#file.write(merged), ...this.#runs.slice(MOST_RUNS)];
    }
    return this.#runs.length === 0 ? memory : merge([...this.#runs.map((run) => this.#rowsOf(run)), memory.values()], this.#compare);
  }

  #rowsOf(run: Run): Iterator<Row> {
    return this.#file.read(run) as Iterator<Row>;
  }
}

/** Sorted inputs as one; of equal rows those of the earlier input come first. */
function* merge<Row>(inputs: readonly Iterator<Row>[], compare: Compare<Row>): Generator<Row, void> {
  // A binary heap of the inputs by their next rows.
  const heap: { readonly input: Iterator<Row>; readonly index: number; row: Row }[] = [];
  const before = (a: number, b: number): boolean => {
    const [x, y] = [heap[a], heap[b]] as [(typeof heap)[0], (typeof heap)[0]];
    const order = compare(x.row, y.row);
    return order < 0 || (order === 0 && x.index < y.index);
  };
  const swap = (a: number, b: number): void => {
    [heap[a], heap[b]] = [heap[b] as (typeof heap)[0], heap[a] as (typeof heap)[0]];
  };
  const sink = (): void => {
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= heap.length) return;
      if (child + 1 < heap.length && before(child + 1, child)) child++;
      if (!before(child, at)) return;
      swap(at, child);
      at = child;
    }
  };
  for (const [index, input] of inputs.entries()) {
    const first = input.next();
    if (first.done === true) continue;
    heap.push({ input, index, row: first.value });
    for (let at = heap.length - 1; at > 0 && before(at, (at - 1) >> 1); at = (at - 1) >> 1) swap(at, (at - 1) >> 1);
  }
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    yield top.row;
    const next = top.input.next();
    if (next.done !== true) top.row = next.value;
    else {
      const last = heap.pop() as (typeof heap)[0];
      if (heap.length > 0) heap[0] = last;
    }
    sink();
  }
}
