/** The two ends of a result, wired without a network: readers come and go, and no row is lost or seen twice. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { ResultStream } from "../../src/cluster/client/result-reader.ts";
import { ResultBuffer, type ResultChange } from "../../src/cluster/jobmanager/result-buffer.ts";
import { noClasses } from "../../src/core/data/classes.ts";
import { jobId } from "../../src/core/types/ids.ts";
import { SegmentWriter } from "../cluster/client/segments.ts";

const SEGMENT_BYTES = 16 * 1024;

/** One subtask's segments: batches of small rows, and large rows in no more pieces than the window has. */
const output = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ batch: fc.integer({ min: 0, max: 6 }) }) },
    fc.record({ pieces: fc.integer({ min: 1, max: 7 }) }),
  ),
  {
    maxLength: 30,
  },
);
/** A reader takes so many rows, and has so many of the last batch left. */
const readers = fc.array(fc.record({ batches: fc.integer({ min: 0, max: 9 }), leaves: fc.integer({ min: 0, max: 6 }) }), { maxLength: 8 });

it("whoever reads on begins with the row after the last one that was taken", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(output, { minLength: 1, maxLength: 2 }),
      readers,
      fc.integer({ min: 1, max: 40 }),
      async (outputs, comings, room) => {
        const buffer = new ResultBuffer({
          name: "r",
          subtasks: outputs.length,
          capacityBytes: room * SEGMENT_BYTES,
          segmentBytes: SEGMENT_BYTES,
          policy: "block",
        });
        const written: string[][] = outputs.map(() => []);
        const tasks = outputs.map((parts, subtask) => {
          const writer = new SegmentWriter();
          const row = (text: string): string => {
            written[subtask]!.push(text);
            return text;
          };
          const name = (): string => `${subtask}/${written[subtask]!.length}`;
          const segments = parts.flatMap((part) => {
            if ("batch" in part) return part.batch === 0 ? [] : [writer.rows(...Array.from({ length: part.batch }, () => row(name())))];
            const text = row(name().padEnd(100 * part.pieces));
            return writer.pieces(text, 100);
          });
          return { segments: [...segments, writer.end()], sent: 0, granted: 0 };
        });
        let reader: ResultStream | undefined;
        const heed = (change: ResultChange): void => {
          expect(change.failure).toBeUndefined();
          for (const { subtask, granted } of change.grants) tasks[subtask]!.granted = granted;
          for (const { subtask, sequence, segments } of change.deliveries) {
            reader?.accept({ job: jobId("j"), name: "r", subtask, attempt: 0, sequence }, segments);
          }
        };
        const run = (): void => {
          for (let moved = true; moved;) {
            moved = false;
            for (const [subtask, task] of tasks.entries()) {
              if (task.sent >= Math.min(task.granted, task.segments.length)) continue;
              moved = true;
              heed(buffer.accept(subtask, task.sent, [task.segments[task.sent++]!]));
            }
          }
        };
        const open = (name: string): ResultStream => {
          heed(buffer.open(name));
          reader = new ResultStream({
            name: "r",
            subtasks: buffer.subtasks,
            skip: buffer.skip,
            classes: noClasses,
            grant: (subtask, granted) => queueMicrotask(() => (heed(buffer.read(name, subtask, granted)), run())),
            onEnd: (taken) => queueMicrotask(() => buffer.close(name, taken)),
          });
          reader.start();
          return reader;
        };
        const seen: string[] = [];
        heed(buffer.begin());
        for (const [index, { batches, leaves }] of [...comings, { batches: Infinity, leaves: 0 }].entries()) {
          const stream = open(`reader ${index}`);
          let left = 0;
          for (let taken = 0; taken < batches; taken++) {
            const next = stream.next();
            const come = new Promise<"nothing yet">((resolve) => setImmediate(resolve, "nothing yet"));
            run();
            const rows = await (batches === Infinity ? next : Promise.race([next, come]));
            if (rows === null || rows === "nothing yet") break;
            left = taken + 1 === batches ? Math.min(leaves, rows.length) : 0;
            seen.push(...(rows.slice(0, rows.length - left) as string[]));
            run();
          }
          stream.close(left);
          await new Promise((resolve) => setImmediate(resolve));
        }
        for (const [subtask, rows] of written.entries()) expect(seen.filter((text) => text.startsWith(`${subtask}/`))).toEqual(rows);
      },
    ),
    { numRuns: 200 },
  );
});
