/**
 * Rows of one type as columns: the fast form of a batch. For each row type one function is generated that checks and writes a
 * batch in a single pass, and one that builds the rows again.
 *
 * Invariant: a row is written only if it is of exactly this type — its prototype, its field names and their order, and every
 * value against its column — so that reading gives an equal row. The pass stops in front of the first row that is not, or that no
 * longer fits, and says which. What the guess at the type is worth is not this file's concern.
 *
 *     block  i32 slot, rows, stride, value bytes, block bytes, 0
 *            i32 characters of each string column
 *            columns of 8 bytes (float, date), then of 4 (int, lengths of strings), then of 1 (boolean, null marks), each stride long
 *            values of `any` columns, row by row (value-format.ts)
 *            text: the strings column by column, then those of the values
 *
 * `stride` is how many rows were hoped for, `rows` how many fitted.
 *
 * Measured on a 7-field Bid with 3 strings (Node 20, ns per row): reading and writing numbers 19, checks of names, prototype and
 * types 15 together, joining and writing the strings 55. So the checks that make the guess safe cost a sixth.
 */
import { InvariantError } from "../types/errors.ts";
import type { ClassRegistry } from "./classes.ts";
import { compileInstance, literalSource } from "./construct.ts";
import type { SegmentMemory } from "./element.ts";
import { columnCount, type ColumnType } from "./schema.ts";
import { align8, bytesPerCharacter, readText, TEXT_HEADER_BYTES, writeText } from "./text.ts";
import type { ValueReader } from "./value-reader.ts";
import { Entangled, type ValueWriter } from "./value-writer.ts";

/** Why a pass ended before the last row. */
export const Stop = {
  none: 0,
  /** The next row does not fit into the memory. */
  full: 1,
  /** The next row is of another shape. */
  shape: 2,
  /** The next row has a value that its column can't hold. */
  type: 3,
  /** The next row has one object in two places: it must be written as one value. */
  entangled: 4,
  /** The text needs two bytes per character, which were not reserved; nothing is written. */
  width: 5,
} as const;
export type Stop = (typeof Stop)[keyof typeof Stop];

/** What one pass needs, and leaves behind, besides rows and memory. One per encoder, reused. */
export interface Pass {
  readonly writer: ValueWriter;
  /** Bytes per character to reserve. */
  width: 1 | 2;
  /** Texts in a row that needed one byte only, while two were reserved. */
  narrowTexts: number;
  /** Bytes for text and values. */
  budget: number;
  stopped: Stop;
  /** The row whose values were written last, counted from the first: for messages. */
  index: number;
  /** Left by the generated function: the joined strings, and their characters by column. */
  text: string;
  readonly characters: number[];
}

type Fill = (rows: readonly unknown[], base: number, count: number, memory: SegmentMemory, at: number, pass: Pass) => number;
type Take = (rows: unknown[], at: number, count: number, stride: number, memory: SegmentMemory, offset: number, header: number,
  text: string, reader: ValueReader) => void;

const BLOCK_HEADER_BYTES = 24;

/** How many columns of each width a type has. */
interface Layout {
  wide: number;
  int: number;
  byte: number;
  texts: number;
  values: boolean;
}

/** Where a column of numbers stands that has a place in every row: it may double as the column of timestamps. */
interface NumberColumn {
  readonly wide: boolean;
  readonly index: number;
}

/** Writes rows of one type. Compiled once per type and thread. */
export class RowWriter {
  readonly type: ColumnType;
  readonly numbers: readonly NumberColumn[];
  /** Bytes that each row takes in the columns. */
  readonly bytesPerRow: number;
  /** Bytes at most that a block takes beyond its rows, with an empty text. */
  readonly overheadBytes: number;
  /** Whether a row has the shape of this type: the values of its fields may still not fit. */
  readonly is: (row: unknown) => boolean;
  readonly #layout: Layout;
  readonly #fill: Fill;

  constructor(type: ColumnType, classes: ClassRegistry) {
    const source = new FillSource(type, classes);
    this.type = source.type;
    this.numbers = source.numbers;
    this.#layout = source.layout;
    const { wide, int, byte, texts } = source.layout;
    this.bytesPerRow = 8 * wide + 4 * int + byte;
    this.overheadBytes = BLOCK_HEADER_BYTES + align8(4 * texts) + 8 * (int + byte) + TEXT_HEADER_BYTES + 24;
    this.is = source.compileIs();
    this.#fill = source.compileFill();
  }

  /** Offset of a number column within the memory, for a block at `block` with this stride. */
  offsetOf(column: NumberColumn, block: number, stride: number): number {
    return columnsOffset(this.#layout, block) + columnOffset(this.#layout, column, stride);
  }

  /**
   * Writes a block with as many of rows[base … base + count) as are of this type and fit between `offset` and `limit`.
   * Afterwards `pass.stopped` says why there are not more.
   * @returns the end of the block; its count of rows stands in its header. -1: not one row was written.
   * @throws Unshippable if a value can't travel; `pass.index` is then its row.
   */
  write(
    slot: number, memory: SegmentMemory, offset: number, limit: number, rows: readonly unknown[], base: number, count: number, pass: Pass,
  ): number {
    const layout = this.#layout;
    const columns = columnsOffset(layout, offset);
    const end = columns + columnsBytes(layout, count);
    pass.budget = limit - end - TEXT_HEADER_BYTES - 16;
    pass.stopped = pass.budget < 0 ? Stop.full : Stop.none;
    pass.text = "";
    if (pass.budget < 0) return -1;
    const { writer } = pass;
    if (layout.values) writer.reset();
    let written: number;
    try {
      written = this.#fill(rows, base, count, memory, columns, pass);
    } catch (thrown) {
      if (!(thrown instanceof Entangled)) throw thrown;
      pass.stopped = Stop.entangled;
      return -1;
    }
    if (written === 0) return -1;
    let at = end;
    const valueBytes = layout.values ? writer.length : 0;
    if (valueBytes > 0) {
      memory.bytes.set(writer.bytes.subarray(0, valueBytes), at);
      at = align8(at + valueBytes);
    }
    if (layout.texts > 0 || layout.values) {
      const text = layout.values ? pass.text + writer.text : pass.text;
      const width = widthOf(text, pass);
      if (width === 0) return -1;
      at = writeText(memory, at, limit, text, width);
      if (at < 0) throw new InvariantError(`A block of ${written} rows outgrew the bytes that were counted for it.`);
    }
    const header = offset >> 2;
    memory.i32[header] = slot;
    memory.i32[header + 1] = written;
    memory.i32[header + 2] = count;
    memory.i32[header + 3] = valueBytes;
    memory.i32[header + 4] = at - offset;
    memory.i32[header + 5] = 0;
    for (let i = 0; i < layout.texts; i++) memory.i32[header + 6 + i] = pass.characters[i] as number;
    return at;
  }
}

/** After so many texts of one-byte characters in a row, two bytes per character are no longer reserved. */
const NARROW_TEXTS = 16;

/** The width to write a text in; 0 and a stop if fewer bytes were reserved than it needs. */
function widthOf(text: string, pass: Pass): 0 | 1 | 2 {
  const width = bytesPerCharacter(text);
  if (width === pass.width) {
    pass.narrowTexts = 0;
  } else if (width === 1) {
    if (++pass.narrowTexts === NARROW_TEXTS) pass.width = 1;
  } else {
    pass.width = 2;
    pass.narrowTexts = 0;
    pass.stopped = Stop.width;
    return 0;
  }
  return width;
}

/** Reads rows of one type. Compiled once per type, selection of columns, and thread. */
export class RowReader {
  readonly #layout: Layout;
  readonly #numbers: readonly NumberColumn[];
  readonly #take: Take;
  readonly #readsText: boolean;
  readonly #readsValues: boolean;

  /** @param columns names of the top fields to read; others are absent from the rows. */
  constructor(type: ColumnType, classes: ClassRegistry, columns?: ReadonlySet<string>) {
    const source = new TakeSource(type, classes, columns);
    this.#layout = source.layout;
    this.#numbers = source.numbers;
    this.#readsText = source.readsText;
    this.#readsValues = source.layout.values;
    this.#take = source.compile();
  }

  /** Reads the block at `offset` into rows[at …). @returns how many rows it has. */
  read(memory: SegmentMemory, offset: number, rows: unknown[], at: number, reader: ValueReader): number {
    const header = offset >> 2;
    const count = memory.i32[header + 1] as number;
    const stride = memory.i32[header + 2] as number;
    const columns = columnsOffset(this.#layout, offset);
    let text = "";
    if (this.#readsText || this.#readsValues) {
      const values = columns + columnsBytes(this.#layout, stride);
      text = readText(memory, align8(values + (memory.i32[header + 3] as number)));
      if (this.#readsValues) {
        let before = 0;
        for (let i = 0; i < this.#layout.texts; i++) before += memory.i32[header + 6 + i] as number;
        reader.reset(memory.bytes, values, text, before);
      }
    }
    this.#take(rows, at, count, stride, memory, columns, header + 6, text, reader);
    return count;
  }

  /** Copies the numbers of a column that doubles as timestamps. */
  readTimestamps(memory: SegmentMemory, block: number, index: number, timestamps: Float64Array): void {
    const count = memory.i32[(block >> 2) + 1] as number;
    const stride = memory.i32[(block >> 2) + 2] as number;
    const column = this.#numbers[index];
    if (column === undefined) throw new InvariantError(`A batch names column ${index} as its timestamps, which its type does not have.`);
    const offset = columnsOffset(this.#layout, block) + columnOffset(this.#layout, column, stride);
    if (column.wide) timestamps.set(memory.f64.subarray(offset >> 3, (offset >> 3) + count));
    else timestamps.set(memory.i32.subarray(offset >> 2, (offset >> 2) + count));
  }
}

const columnsOffset = (layout: Layout, block: number): number => block + BLOCK_HEADER_BYTES + align8(4 * layout.texts);

const columnsBytes = (layout: Layout, stride: number): number =>
  8 * stride * layout.wide + align8(4 * stride) * layout.int + align8(stride) * layout.byte;

const columnOffset = (layout: Layout, column: NumberColumn, stride: number): number =>
  column.wide ? 8 * stride * column.index : 8 * stride * layout.wide + align8(4 * stride) * column.index;

/** The source of both functions that belongs to the columns: which there are, and where they begin. */
class ColumnsSource {
  readonly layout: Layout = { wide: 0, int: 0, byte: 0, texts: 0, values: false };
  readonly numbers: NumberColumn[] = [];
  /** Values that the generated function closes over: prototypes, name lists, constructors. */
  readonly constants: unknown[] = [];

  protected wideColumn(): string {
    return `w${this.layout.wide++}`;
  }

  protected intColumn(): string {
    return `n${this.layout.int++}`;
  }

  protected byteColumn(): string {
    return `b${this.layout.byte++}`;
  }

  protected constant(value: unknown): string {
    this.constants.push(value);
    return `k${this.constants.length - 1}`;
  }

  /** Statements that declare where each column begins, as an index into its view. */
  protected offsets(stride: string): string {
    const lines: string[] = [];
    for (let i = 0; i < this.layout.wide; i++) lines.push(`const w${i} = (p >> 3) + ${i} * ${stride};`);
    lines.push(`p += ${8 * this.layout.wide} * ${stride};`);
    for (let i = 0; i < this.layout.int; i++) lines.push(`const n${i} = (p + ${i} * ((4 * ${stride} + 7) & ~7)) >> 2;`);
    lines.push(`p += ${this.layout.int} * ((4 * ${stride} + 7) & ~7);`);
    for (let i = 0; i < this.layout.byte; i++) lines.push(`const b${i} = p + ${i} * ((${stride} + 7) & ~7);`);
    return lines.join("\n");
  }

  protected compileWith<F>(body: string): F {
    const names = this.constants.map((_, i) => `k${i}`);
    return (new Function(...names, body) as (...constants: unknown[]) => F)(...this.constants);
  }

  /** Notes that a top field is a column of numbers without gaps. */
  protected number(type: ColumnType, column: string, depth: number): void {
    if (type.nullable || depth > 1) return;
    this.numbers.push({ wide: column.startsWith("w"), index: Number(column.slice(1)) });
  }
}

/** Pairs of objects of a row that are compared for identity; a type with more is written as values. */
const MAX_PAIRS = 64;

/** The source of the function that checks and writes. */
class FillSource extends ColumnsSource {
  readonly type: ColumnType;
  readonly #classes: ClassRegistry;
  readonly #declared: string[] = [];
  readonly #checks: string[] = [];
  readonly #values: string[] = [];
  readonly #writes: string[] = [];
  readonly #characters: string[] = [];
  /** Objects of the row that become columns, by what they are: only two of one kind can be the same. */
  readonly #objects = new Map<string, string[]>();
  #locals = 0;

  constructor(type: ColumnType, classes: ClassRegistry) {
    super();
    this.#classes = classes;
    this.type = objectPairs(type) > MAX_PAIRS || columnCount(type) > 512 ? { kind: "any", nullable: false } : type;
    this.#visit(this.type, "row", 0);
  }

  compileIs(): (row: unknown) => boolean {
    const { type } = this;
    if (type.kind === "record" || type.kind === "tuple") {
      const check = this.#shapeCheck(type, "row", "return false;");
      return this.compileWith(`"use strict"; return (row) => { let at = 0; ${check} return true; };`);
    }
    switch (type.kind) {
      case "int":
      case "float":
        return (row) => typeof row === "number";
      case "string":
        return (row) => typeof row === "string";
      case "boolean":
        return (row) => typeof row === "boolean";
      case "null":
        return (row) => row === null || row === undefined;
      case "date":
        return (row) => typeof row === "object" && row !== null && Object.getPrototypeOf(row) === Date.prototype;
      default:
        return () => true;
    }
  }

  compileFill(): Fill {
    const texts = this.#characters.map((_, i) => `s${i}`);
    const { values } = this.layout;
    const total = texts.length === 0 ? "" : `characters += ${this.#characters.join(" + ")};`;
    const needed = values
      ? "(characters + writer.text.length) * width + writer.length"
      : "characters * width";
    const full = values
      ? "{ writer.truncate(length, text); pass.stopped = 1; break rows; }"
      : "{ pass.stopped = 1; break rows; }";
    const outside = [...this.#objects.values()].flat().map((object) => `if (${object} != null) writer.outside(${object});`);
    return this.compileWith<Fill>(`"use strict";
return function fill(rows, base, count, memory, p, pass) {
  const { i32, f64, bytes } = memory;
  const { budget, width, writer } = pass;
  ${this.offsets("count")}
  ${texts.map((name) => `let ${name} = "";`).join(" ")}
  let characters = 0, at = 0, i = 0;
  rows: for (; i < count; i++) {
    const row = rows[base + i];
    ${this.#declared.join("\n    ")}
    ${this.#checks.join("\n    ")}
    ${this.#identityChecks()}
    ${values ? `const length = writer.length, text = writer.text;
    pass.index = i;
    writer.beginRow();
    ${outside.join("\n    ")}
    ${this.#values.join("\n    ")}` : ""}
    ${total}
    ${texts.length > 0 || values ? `if (${needed} > budget) ${full}` : ""}
    ${this.#writes.join("\n    ")}
  }
  ${texts.map((name, i) => `pass.characters[${i}] = ${name}.length;`).join(" ")}
  ${texts.length > 0 ? `pass.text = ${texts.join(" + ")};` : ""}
  return i;
};`);
  }

  #identityChecks(): string {
    const lines: string[] = [];
    for (const objects of this.#objects.values()) {
      for (let a = 0; a < objects.length; a++) {
        for (let b = a + 1; b < objects.length; b++) {
          lines.push(`if (${objects[a]} === ${objects[b]} && ${objects[a]} != null) { pass.stopped = ${Stop.entangled}; break rows; }`);
        }
      }
    }
    return lines.join("\n    ");
  }

  /** @param value source of the value; evaluated once. */
  #visit(type: ColumnType, value: string, depth: number): void {
    if (type.kind === "any") {
      const local = depth === 0 ? value : this.#local("undefined");
      if (depth > 0) this.#checks.push(`${local} = ${value};`);
      this.layout.values = true;
      this.#values.push(`writer.write(${local});`);
      return;
    }
    const stop = `{ pass.stopped = ${depth === 0 ? Stop.shape : Stop.type}; break rows; }`;
    if (type.kind === "null") {
      const local = this.#local("null");
      const mark = this.byteColumn();
      this.#checks.push(`${local} = ${value};`, `if (${local} !== null && ${local} !== undefined) ${stop}`);
      this.#writes.push(`bytes[${mark} + i] = ${local} === null ? 1 : 2;`);
      return;
    }
    const local = depth === 0 ? value : this.#local(absentValue(type));
    if (depth > 0) this.#checks.push(`${local} = ${value};`);
    if (type.nullable) {
      const mark = this.#local("0");
      const column = this.byteColumn();
      this.#checks.push(`if (${local} === null || ${local} === undefined) {`);
      this.#checks.push(`${mark} = ${local} === null ? 1 : 2; ${local} = ${absentValue(type)};`, "} else {");
      this.#writes.push(`bytes[${column} + i] = ${mark};`);
    }
    this.#present(type, local, depth, stop);
    if (type.nullable) this.#checks.push("}");
  }

  #present(type: ColumnType, local: string, depth: number, stop: string): void {
    switch (type.kind) {
      case "int": {
        const column = this.intColumn();
        this.number(type, column, depth);
        // With small integers as feedback, V8 drops the comparison with -0.
        this.#checks.push(`if (typeof ${local} !== "number" || (${local} | 0) !== ${local} || Object.is(${local}, -0))`, this.#typeStop());
        this.#writes.push(`i32[${column} + i] = ${local};`);
        return;
      }
      case "float": {
        const column = this.wideColumn();
        this.number(type, column, depth);
        this.#checks.push(`if (typeof ${local} !== "number") ${stop}`);
        this.#writes.push(`f64[${column} + i] = ${local};`);
        return;
      }
      case "boolean":
        this.#checks.push(`if (${local} !== true && ${local} !== false) ${stop}`);
        this.#writes.push(`bytes[${this.byteColumn()} + i] = ${local} ? 1 : 0;`);
        return;
      case "string": {
        this.#checks.push(`if (typeof ${local} !== "string") ${stop}`);
        this.#writes.push(`s${this.layout.texts} += ${local}; i32[${this.intColumn()} + i] = ${local}.length;`);
        this.#characters.push(`${local}.length`);
        this.layout.texts++;
        return;
      }
      case "date": {
        const column = this.wideColumn();
        this.number(type, column, depth);
        this.#checks.push(`if (typeof ${local} !== "object" || ${local} === null`);
        this.#checks.push(`|| Object.getPrototypeOf(${local}) !== ${this.constant(Date.prototype)}) ${stop}`);
        this.#writes.push(`f64[${column} + i] = ${local} === null ? 0 : ${this.constant(Date.prototype.getTime)}.call(${local});`);
        this.#object("date", local);
        return;
      }
      case "record":
        this.#checks.push(this.#shapeCheck(type, local, stop));
        this.#object(type.className, local);
        for (const field of type.fields) this.#visit(field.type, `${local}[${JSON.stringify(field.name)}]`, depth + 1);
        return;
      case "tuple":
        this.#checks.push(this.#shapeCheck(type, local, stop));
        this.#object("array", local);
        type.items.forEach((item, index) => this.#visit(item, `${local}[${index}]`, depth + 1));
        return;
      default:
        throw new InvariantError(`A column of type ${JSON.stringify(type)} can't be written.`);
    }
  }

  /** A number that is not an int has the shape of an int: widening helps, another shape would not. */
  #typeStop(): string {
    return `{ pass.stopped = typeof row === "number" || ${this.type.kind !== "int"} ? ${Stop.type} : ${Stop.shape}; break rows; }`;
  }

  #shapeCheck(type: ColumnType, local: string, stop: string): string {
    if (type.kind === "tuple") {
      const holes = type.items.flatMap((item, i) => {
        // Other columns refuse undefined anyway.
        const mayBeUndefined = item.nullable || item.kind === "any";
        return mayBeUndefined ? [`(${local}[${i}] === undefined && !(${i} in ${local}))`] : [];
      });
      return `if (!Array.isArray(${local}) || ${local}.length !== ${type.items.length}` +
        ` || Object.getPrototypeOf(${local}) !== ${this.constant(Array.prototype)}${holes.map((hole) => ` || ${hole}`).join("")}) ${stop}`;
    }
    if (type.kind !== "record") return "";
    const prototype = this.constant(prototypeOf(type.className, this.#classes));
    const names = this.constant(type.fields.map((field) => field.name));
    // for-in over objects of one layout walks V8's cached list of names: the loop costs about 1 ns per field.
    return `if (typeof ${local} !== "object" || ${local} === null || Object.getPrototypeOf(${local}) !== ${prototype}) ${stop}
    at = 0; for (const name in ${local}) if (name !== ${names}[at++]) { at = -1; break; }
    if (at !== ${type.fields.length}) ${stop}`;
  }

  #object(kind: string, local: string): void {
    const objects = this.#objects.get(kind);
    if (objects === undefined) this.#objects.set(kind, [local]);
    else objects.push(local);
  }

  #local(initial: string): string {
    const name = `v${this.#locals++}`;
    this.#declared.push(`let ${name} = ${initial};`);
    return name;
  }
}

/** The source of what stands in a column where its record is absent. */
function absentValue(type: ColumnType): string {
  switch (type.kind) {
    case "int":
    case "float":
      return "0";
    case "string":
      return '""';
    case "boolean":
      return "false";
    default:
      return "null";
  }
}

function objectPairs(type: ColumnType): number {
  const counts = new Map<string, number>();
  const count = (of: ColumnType): void => {
    if (of.kind === "date" || of.kind === "tuple") counts.set(of.kind, (counts.get(of.kind) ?? 0) + 1);
    if (of.kind === "tuple") of.items.forEach(count);
    if (of.kind === "record") {
      counts.set(`record ${of.className}`, (counts.get(`record ${of.className}`) ?? 0) + 1);
      for (const field of of.fields) count(field.type);
    }
  };
  count(type);
  return [...counts.values()].reduce((sum, n) => sum + (n * (n - 1)) / 2, 0);
}

function prototypeOf(className: string, classes: ClassRegistry): object {
  if (className === "") return Object.prototype;
  const known = classes.ofWireName(className);
  if (known === undefined) throw new InvariantError(`A row type names the class ${className}, which is not registered.`);
  return known.prototype;
}

/** The source of the function that builds rows. Visits columns in the same order as FillSource. */
class TakeSource extends ColumnsSource {
  readonly #classes: ClassRegistry;
  readonly #statements: string[] = [];
  readonly #cursors: string[] = [];
  readonly #row: string;
  readsText = false;

  constructor(type: ColumnType, classes: ClassRegistry, columns: ReadonlySet<string> | undefined) {
    super();
    this.#classes = classes;
    this.#row = this.#visit(type, 0, true, columns);
  }

  compile(): Take {
    const starts = this.#cursors.map((cursor, i) => (cursor === "" ? "" : `let ${cursor} = start;`) + ` start += i32[header + ${i}];`);
    return this.compileWith<Take>(`"use strict";
return function take(rows, at, count, stride, memory, p, header, text, reader) {
  const { i32, f64, bytes } = memory;
  ${this.offsets("stride")}
  let start = 0;
  ${starts.join("\n  ")}
  for (let i = 0; i < count; i++) {
    ${this.layout.values ? "reader.beginRow();" : ""}
    ${this.#statements.join("\n    ")}
    rows[at + i] = ${this.#row};
  }
};`);
  }

  /** @returns the source of the value; "undefined" if nobody wants it. */
  #visit(type: ColumnType, depth: number, wanted: boolean, columns?: ReadonlySet<string>): string {
    if (type.kind === "any") {
      this.layout.values = true;
      const local = `x${this.#statements.length}`;
      this.#statements.push(`const ${local} = reader.read();`);
      return columns === undefined ? local : `${this.constant(pick)}(${local}, ${this.constant(columns)})`;
    }
    if (type.kind === "null") return `(bytes[${this.byteColumn()} + i] === 1 ? null : undefined)`;
    const mark = type.nullable ? this.byteColumn() : "";
    const value = this.#present(type, depth, wanted, columns);
    return type.nullable ? `(bytes[${mark} + i] === 0 ? ${value} : bytes[${mark} + i] === 1 ? null : undefined)` : value;
  }

  #present(type: ColumnType, depth: number, wanted: boolean, columns: ReadonlySet<string> | undefined): string {
    switch (type.kind) {
      case "int": {
        const column = this.intColumn();
        this.number(type, column, depth);
        return `i32[${column} + i]`;
      }
      case "float": {
        const column = this.wideColumn();
        this.number(type, column, depth);
        return `f64[${column} + i]`;
      }
      case "boolean":
        return `(bytes[${this.byteColumn()} + i] !== 0)`;
      case "string": {
        const index = this.layout.texts++;
        const lengths = this.intColumn();
        this.#cursors.push(wanted ? `c${index}` : "");
        if (!wanted) return "undefined";
        this.readsText = true;
        this.#statements.push(`const t${index} = text.substring(c${index}, c${index} += i32[${lengths} + i]);`);
        return `t${index}`;
      }
      case "date": {
        const column = this.wideColumn();
        this.number(type, column, depth);
        return `new Date(f64[${column} + i])`;
      }
      case "record": {
        const names: string[] = [];
        const values: string[] = [];
        for (const field of type.fields) {
          const chosen = wanted && (columns === undefined || columns.has(field.name));
          const value = this.#visit(field.type, depth + 1, chosen);
          if (!chosen) continue;
          names.push(field.name);
          values.push(value);
        }
        if (type.className === "") return literalSource(names, values);
        return `new ${this.constant(compileInstance(prototypeOf(type.className, this.#classes), names))}(${values.join(", ")})`;
      }
      case "tuple":
        return `[${type.items.map((item) => this.#visit(item, depth + 1, wanted)).join(", ")}]`;
      default:
        throw new InvariantError(`A column of type ${JSON.stringify(type)} can't be read.`);
    }
  }
}

/** A record with only some of its fields; what is no record stays as it is. */
export function pick(value: unknown, columns: ReadonlySet<string>): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const prototype = Object.getPrototypeOf(value) as object | null;
  const picked = Object.create(prototype) as Record<string, unknown>;
  const names = Object.keys(value);
  if (names.every((name) => columns.has(name))) return value;
  for (const name of names) if (columns.has(name)) picked[name] = (value as Record<string, unknown>)[name];
  return picked;
}
