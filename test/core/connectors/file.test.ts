import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { type FileSinkSpec, fileSink } from "../../../src/core/connectors/file-sink.ts";
import { jsonLines, localEnvironment, textLines } from "../../../src/core/index.ts";
import { Configuration } from "../../../src/core/types/options.ts";

const folder = mkdtempSync(join(tmpdir(), "drey-files-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(content: string, extension = "txt"): string {
  const path = join(folder, `input-${files++}.${extension}`);
  writeFileSync(path, content);
  return path;
}
const env = (parallelism = 1): ReturnType<typeof localEnvironment> => localEnvironment({ parallelism, printLogs: false });

describe("JSON lines", () => {
  test("each line is a row; empty lines and a missing last line end don't matter", async () => {
    expect(await env().fromJsonLines(file('{"a":1}\n\n[2]\r\n"three"')).collect()).toEqual([{ a: 1 }, [2], "three"]);
  });

  test("a line that is no JSON fails the job with file and line number", async () => {
    const path = file('{"a":1}\n{"a":\n{"a":3}\n');
    await expect(env().fromJsonLines(path).collect()).rejects.toThrow(`${path}, line 2 is not JSON: "{\\"a\\":"`);
  });

  test("or is left out and counted", async () => {
    const program = env();
    const job = await program.submit({ outputs: { rows: program.fromJsonLines(file('{"a":1}\nno\n{"a":3}\nno\n'), { malformed: "skip" }) } });
    const rows: unknown[] = [];
    await new Promise<void>((resolve, reject) => job.outputs.rows.subscribe({ next: (row) => rows.push(row), error: reject, complete: resolve }));
    await job.result();
    expect(rows).toEqual([{ a: 1 }, { a: 3 }]);
    const skipped = (await job.metricsHistory()).at(-1)?.subtasks.map((it) => it.values["numRecordsSkipped"] ?? 0) ?? [];
    expect(skipped.reduce((a, b) => a + b, 0)).toBe(2);
  });

  test("a file that isn't there says so", async () => {
    await expect(env().fromJsonLines(join(folder, "none.jsonl")).collect()).rejects.toThrow(/none\.jsonl does not exist\. It must be readable where the TaskManager runs/);
  });

  test("a large file is shared among subtasks, each line exactly once, and a bad line has its number in the file", async () => {
    const count = 200_000;
    const lines = Array.from({ length: count }, (_, i) => JSON.stringify({ i, pad: "p".repeat((i * 7) % 150) }));
    const path = file(`${lines.join("\n")}\n`, "jsonl");
    const seen = await env(3).fromJsonLines<{ i: number }>(path).map((it) => it.i).collect();
    expect(seen.length).toBe(count);
    expect(new Set(seen).size).toBe(count);
    lines[180_000] = "{broken";
    const broken = file(lines.join("\n"), "jsonl");
    await expect(env(3).fromJsonLines(broken).collect()).rejects.toThrow(`${broken}, line 180001 is not JSON`);
  });

  test("a folder is its files in order of their names", async () => {
    const inner = join(folder, "many");
    mkdirSync(inner);
    writeFileSync(join(inner, "b.jsonl"), "2\n");
    writeFileSync(join(inner, "a.jsonl"), "1\n");
    writeFileSync(join(inner, "_hidden"), "no");
    expect(await env().fromJsonLines(inner).collect()).toEqual([1, 2]);
  });
});

describe("text", () => {
  test("lines come without their ends, whatever their length and characters", async () => {
    const long = "ü".repeat(400_000);
    expect(await env().fromText(file(`one\r\n${long}\nlast`)).collect()).toEqual(["one", long, "last"]);
  });
});

describe("CSV", () => {
  test("quotes, delimiters and line breaks in fields, and values by their look", async () => {
    const path = file('id,name,ok,price,zip\n1,"Smith, ""J""",true,1.50,00501\n2,"two\nlines",false,,"7"\n', "csv");
    expect(await env().fromCsv(path).collect()).toEqual([
      { id: 1, name: 'Smith, "J"', ok: true, price: 1.5, zip: "00501" },
      { id: 2, name: "two\nlines", ok: false, price: null, zip: "7" },
    ]);
  });

  test("given columns, another delimiter, and everything as text", async () => {
    expect(await env().fromCsv(file("1;2\n3;4"), { columns: ["a", "b"], delimiter: ";", infer: false }).collect()).toEqual([{ a: "1", b: "2" }, { a: "3", b: "4" }]);
  });

  test.each([
    ["a,b\n1,2\n3\n", /line 3 is not CSV: "3" \(1 fields, but there are 2 columns\)/],
    ['a\n"x\n', /line 2 is not CSV: .* \(a quoted field has no end\)/],
    ['a\n"x"y\n', /line 2 is not CSV: .* \(text follows a closing quote\)/],
  ])("malformed rows name their line: %j", async (content, message) => {
    await expect(env().fromCsv(file(content)).collect()).rejects.toThrow(message);
  });

  test("what is written by the rules is read back, for any fields", async () => {
    const field = fc.string({ unit: fc.constantFrom("a", "é", ",", '"', "\n", "\r\n", " ", "1"), maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 20 }), async (rows) => {
        const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const path = file(`a,b\n${rows.map((row) => row.map(quoted).join(",")).join("\n")}\n`, "csv");
        expect(await env().fromCsv(path).collect()).toEqual(rows.map(([a, b]) => ({ a, b })));
      }),
      { numRuns: 50 },
    );
  });
});

describe("file sinks", () => {
  test("each subtask writes a file; what is written can be read back", async () => {
    const out = join(folder, "out");
    const program = env(2);
    program.generate((i) => ({ i, text: `line ${i}` }), { count: 1_000 }).sinkTo(jsonLines(out));
    await program.execute();
    expect(readdirSync(out).sort()).toEqual(["part-0.jsonl", "part-1.jsonl"]);
    const rows = await env().fromJsonLines<{ i: number }>(out).collect();
    expect(rows.map((row) => row.i).sort((a, b) => a - b)).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
  });

  test.each([[3, 2], [2, 3], [1, 3], [3, 1]])("what a checkpoint covers is committed by whichever subtask it falls to, from %i to %i", async (before, after) => {
    const out = join(folder, `rescaled-${before}-${after}`);
    const started = async (subtask: number, parallelism: number, attempt: number, restored: readonly unknown[]) => {
      let kept: readonly unknown[] = restored;
      const states = { list: () => ({ get: () => kept, update: (items: readonly unknown[]) => void (kept = items) }) };
      const configuration = Configuration.of({ "execution.checkpointing.interval": "1 s" }, "the test");
      const spec: FileSinkSpec = { kind: "fileSink", folder: out, format: { lines: "JSON" } };
      const context = { subtask, parallelism, attempt, operatorId: "sink", jobName: "job", configuration, states };
      const operator = fileSink.create(spec, context as never);
      await operator.open?.();
      return { operator, kept: () => kept };
    };
    const covered: unknown[] = [];
    for (let subtask = 0; subtask < before; subtask++) {
      const { operator, kept } = await started(subtask, before, 0, []);
      for (let n = 0; n < 5; n++) {
        operator.process?.({ subtask, n }, Number.NaN);
        // Of two checkpoints, the first was given up.
        if (n >= 3) operator.prepareSnapshot?.(n);
      }
      covered.push(...kept());
      await operator.close?.();
    }
    expect(readdirSync(out).filter((name) => !name.startsWith("."))).toEqual([]);
    for (let subtask = 0; subtask < after; subtask++) await started(subtask, after, 1, covered);
    const rows = await env().fromJsonLines<{ subtask: number; n: number }>(out).collect();
    expect(rows.map(({ subtask, n }) => subtask * 5 + n).sort((a, b) => a - b)).toEqual(Array.from({ length: before * 5 }, (_, i) => i));
  });

  test("text keeps strings as they are", async () => {
    const out = join(folder, "text-out");
    const program = env();
    program.of<unknown>("plain", { a: 1 }, 5n).sinkTo(textLines(out));
    await program.execute();
    expect(readFileSync(join(out, "part-0.txt"), "utf8")).toBe('plain\n{"a":1}\n5\n');
  });

  test("a folder that can't be made says why", async () => {
    const program = env();
    program.of(1).sinkTo(jsonLines(join(file("x"), "below")));
    await expect(program.execute()).rejects.toThrow(/The sink can't write .*part-0\.jsonl/);
  });
});
