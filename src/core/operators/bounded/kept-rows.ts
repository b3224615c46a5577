/** What the operators of bounded streams have in common: memory, a file to spill to, and results that come after the end of the input. */
import { options } from "../../types/options.ts";
import type { Operator, OperatorContext } from "../operator.ts";
import { Emission } from "./emission.ts";
import { type Compare, ExternalSort } from "./external-sort.ts";
import { GroupedRows } from "./grouped-rows.ts";
import { SpillFile } from "./spill-file.ts";
import { SpillingRows } from "./spilling-rows.ts";

/** Makes the containers of one operator, which share its memory and its file. */
export class KeptRows {
  readonly file: SpillFile;
  readonly #context: OperatorContext;
  readonly #memoryBytes: number;

  /** @param containers how many of them fill up at the same time. */
  constructor(context: OperatorContext, containers = 1) {
    this.#context = context;
    this.#memoryBytes = context.configuration.get(options.managedMemory) / containers;
    this.file = new SpillFile(context.classes, context.configuration.get(options.tmpDirectory) || undefined);
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  rows(): SpillingRows {
    return new SpillingRows(this.#memoryBytes, this.#context.classes, this.file);
  }

  sorted(compare: Compare<unknown>): ExternalSort {
    return new ExternalSort(compare, this.#memoryBytes, this.#context.classes, this.file);
  }

  grouped(key: (row: unknown) => unknown, order?: Compare<unknown>): GroupedRows {
    return new GroupedRows(key, order, this.#memoryBytes, this.#context.classes, this.file);
  }
}

/** The methods of an operator that keeps what comes and hands on what `results` does once all input has come. */
export function afterInput(
  context: OperatorContext,
  kept: KeptRows,
  results: () => Iterator<unknown, void>,
): Pick<Operator, "owes" | "close"> {
  const emission = new Emission(context, results);
  return { owes: () => emission.owes(), close: () => kept.file.close() };
}
