/**
 * Rows by key: in a hash table as long as they fit into memory, else sorted by key on disk. Then group after group, each key once.
 */
import type { ClassRegistry } from "../../data/classes.ts";
import { type KeyToken, keyToken } from "../../data/keys.ts";
import { flattenKept, flattenString } from "../../data/text.ts";
import { KeyTable } from "../../state/key-table.ts";
import { type Compare, ExternalSort } from "./external-sort.ts";
import { MemoryBudget } from "./memory-budget.ts";
import type { SpillFile } from "./spill-file.ts";

/** The rows of one key. To be read before the next group is asked for, once. */
export interface Group<Row = unknown> {
  readonly token: KeyToken;
  readonly rows: Iterable<Row>;
}

type Keyed<Row> = readonly [KeyToken, Row];

/** Any order of tokens in which equal ones are neighbours, the same for every operator. */
export function compareTokens(a: KeyToken, b: KeyToken): number {
  if (a === b) return 0;
  if (typeof a === typeof b) {
    // NaN is one key, and equal to itself here.
    if (typeof a === "number" && (Number.isNaN(a) || Number.isNaN(b))) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
    return a < b ? -1 : 1;
  }
  return typeof a < typeof b ? -1 : 1;
}

export class GroupedRows<Row = unknown> {
  readonly #key: (row: Row) => unknown;
  readonly #order: Compare<Row> | undefined;
  readonly #memoryBytes: number;
  readonly #classes: ClassRegistry;
  readonly #file: SpillFile;
  readonly #budget: MemoryBudget;
  #table: KeyTable<Row[]> | undefined = new KeyTable();
  #sort: ExternalSort<Keyed<Row>> | undefined;

  /** @param order of the rows within a group; default: that in which they came. @param file closed by whoever made it. */
  constructor(
    key: (row: Row) => unknown,
    order: Compare<Row> | undefined,
    memoryBytes: number,
    classes: ClassRegistry,
    file: SpillFile,
  ) {
    this.#key = key;
    this.#order = order;
    this.#memoryBytes = memoryBytes;
    this.#classes = classes;
    this.#file = file;
    this.#budget = new MemoryBudget(memoryBytes, classes);
  }

  add(row: Row): void {
    const token = keyToken(this.#key(row));
    if (this.#sort !== undefined) return this.#sort.add([token, row]);
    const table = this.#table as KeyTable<Row[]>;
    const rows = table.get(token);
    if (rows === undefined) table.set(typeof token === "string" ? flattenString(token) : token, [flattenKept(row)]);
    else rows.push(flattenKept(row));
    if (!this.#budget.add(row)) this.#becomeSorted(table);
  }

  /** All groups. Call once. */
  *groups(): Generator<Group<Row>, void> {
    if (this.#sort === undefined) {
      const order = this.#order;
      const groups: Group<Row>[] = [];
      this.#table?.forEach((rows, token) => groups.push({ token, rows: order === undefined ? rows : rows.sort(order) }));
      this.#table = undefined;
      yield* groups;
      return;
    }
    const rows = this.#sort.rows()[Symbol.iterator]();
    let next = rows.next();
    while (next.done !== true) {
      const token = next.value[0];
      const ofToken = function* (): Generator<Row, void> {
        for (; next.done !== true && compareTokens(next.value[0], token) === 0; next = rows.next()) yield next.value[1];
      };
      yield { token, rows: ofToken() };
      // What the group's reader left.
      while (next.done !== true && compareTokens(next.value[0], token) === 0) next = rows.next();
    }
  }

  #becomeSorted(table: KeyTable<Row[]>): void {
    const order = this.#order;
    const compare: Compare<Keyed<Row>> = (a, b) => compareTokens(a[0], b[0]) || (order === undefined ? 0 : order(a[1], b[1]));
    const sort = new ExternalSort(compare, this.#memoryBytes, this.#classes, this.#file);
    table.forEach((rows, token) => {
      for (const row of rows) sort.add([token, row]);
    });
    this.#table = undefined;
    this.#sort = sort;
  }
}
