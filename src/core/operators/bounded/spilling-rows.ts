/** Rows in the order in which they came, in memory as long as they fit, then on disk. Written first, then read, as often as wanted. */
import type { ClassRegistry } from "../../data/classes.ts";
import { flattenKept } from "../../data/text.ts";
import { MemoryBudget } from "./memory-budget.ts";
import type { Run, SpillFile } from "./spill-file.ts";

export class SpillingRows<Row = unknown> implements Iterable<Row> {
  readonly #file: SpillFile;
  readonly #budget: MemoryBudget;
  readonly #runs: Run[] = [];
  #memory: Row[] = [];
  #size = 0;

  /** @param memoryBytes heap that its rows may take. @param file closed by whoever made it. */
  constructor(memoryBytes: number, classes: ClassRegistry, file: SpillFile) {
    this.#file = file;
    this.#budget = new MemoryBudget(memoryBytes, classes);
  }

  get size(): number {
    return this.#size;
  }

  /** Whether all rows are in memory. */
  get inMemory(): boolean {
    return this.#runs.length === 0;
  }

  add(row: Row): void {
    this.#size++;
    this.#memory.push(flattenKept(row));
    if (this.#budget.add(row)) return;
    this.#runs.push(this.#file.write(this.#memory));
    this.#memory = [];
    this.#budget.clear();
  }

  *[Symbol.iterator](): Generator<Row, void> {
    for (const run of this.#runs) yield* this.#file.read(run) as Iterable<Row>;
    yield* this.#memory;
  }
}
