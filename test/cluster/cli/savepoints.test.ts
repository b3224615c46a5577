/** docs/bad-input.md, its lines on savepoints: each is told in a sentence and with an exit code, and leaves what was there as it was. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ProgramFolder } from "../local/programs.ts";

let folder: ProgramFolder;
/** The job that goes on, and its savepoint. */
let job: string;
let savepoint: string;

const drey = async (...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> => {
  const program = folder.drey(...args);
  const { code } = await program.ended;
  return { code, stdout: program.stdout, stderr: program.stderr };
};

/** Counts numbers by their last digit. */
const counting = (uid = "counter", more = ""): string => `import { discard, environment, valueState } from "drey";
const env = environment(${more}).enableCheckpointing("200 ms");
const count = valueState("count", 0);
env.generate((n: number): number => n, { rowsPerSecond: 500 }).keyBy((n) => n % 10).process<number>((n, context, out) => {
  const seen = context.state(count);
  seen.update((seen.value() ?? 0) + 1);
  out.collect(n);
}).uid("${uid}").sinkTo(discard());
await env.execute("counting");
`;

/** A copy of the savepoint with something done to it. */
function broken(name: string, spoil: (copy: string) => void): string {
  const copy = join(folder.path, name);
  cpSync(savepoint, copy, { recursive: true });
  spoil(copy);
  return copy;
}
const manifestOf = (place: string): string => join(place, "_metadata");
const contentOf = (place: string): Record<string, string> =>
  Object.fromEntries(readdirSync(place).map((name) => [name, createHash("sha256").update(readFileSync(join(place, name))).digest("hex")]));
const checkpoints = (stdout: string): string => /[0-9a-f]{32}/.exec(stdout)?.[0] as string;
const runningJobs = async (): Promise<string> => (await drey("list", "-r")).stdout;

beforeAll(async () => {
  folder = new ProgramFolder();
  Object.assign(folder.env, {
    AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9", AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret", AWS_MAX_ATTEMPTS: "1",
  });
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  folder.write("drey.yaml", "heartbeat.timeout: 60 s\n");
  folder.write("job.ts", counting());
  expect(await drey("cluster", "start", "-tm", "1", "-s", "3")).toMatchObject({ code: 0 });
  job = checkpoints((await drey("run", "-d", "job.ts")).stdout);
  await vi.waitFor(async () => expect(await runningJobs()).toContain(job), { timeout: 120_000 });
  const taken = await drey("savepoint", job, "savepoints");
  expect(taken).toMatchObject({ code: 0, stderr: `Taking a savepoint of job ${job}.\n` });
  savepoint = /^Savepoint completed\. Path: (.*)\n$/.exec(taken.stdout)?.[1] as string;
}, 180_000);
afterAll(async () => {
  await folder.drey("cluster", "stop").ended;
  await folder.remove();
}, 60_000);

describe("drey run --from", () => {
  const manifest = (): Buffer => readFileSync(manifestOf(savepoint));
  const table: [string, () => string, (place: string) => string | RegExp, string?][] = [
    ["where there is nothing", () => join(folder.path, "nothing"), (place) => `there is no checkpoint or savepoint in "${place}": it has no file _metadata. Check the path.`],
    ["of a manifest that is cut off", () => broken("cut", (copy) => truncateSync(manifestOf(copy), manifest().length - 9)),
      (place) => new RegExp(`^${place}/_metadata should have \\d+ bytes of text, but has \\d+; it was cut off\\.$`)],
    ["of a manifest with a flipped bit", () => broken("flipped", (copy) => {
      const bytes = manifest();
      bytes[bytes.length - 20]! ^= 1;
      writeFileSync(manifestOf(copy), bytes);
    }), (place) => `${place}/_metadata is damaged: its checksum is wrong.`],
    ["of something else", () => broken("foreign", (copy) => writeFileSync(manifestOf(copy), "something of Flink's, perhaps")), (place) => `${place}/_metadata is not the checkpoint of a drey.`],
    ["of a newer version", () => broken("newer", (copy) => {
      const bytes = manifest();
      bytes.writeUInt32BE(99, "drey checkpoint\n".length);
      writeFileSync(manifestOf(copy), bytes);
    }), (place) => `${place}/_metadata has version 99, and this drey reads versions up to 1; read it with the drey that wrote it, or a newer one.`],
    ["that can't be read", () => broken("unreadable", (copy) => {
      rmSync(manifestOf(copy));
      mkdirSync(manifestOf(copy));
    }), (place) => new RegExp(`^could not read ${place}/_metadata: EISDIR: .*\\.$`)],
    ["in a store that does not answer", () => "s3://bucket/savepoint", () => /^could not read s3:\/\/bucket\/savepoint\/_metadata: .*\.$/],
    ["in a place of no kind", () => "ftp://host/savepoint", () => '"ftp://host/savepoint" is no place for checkpoints; expected an absolute path, file:///path or s3://bucket/path.'],
    ["with state of an operator that has another uid now", () => savepoint, () =>
      /^job "counting" can't go on from savepoint \d+ of job "counting": it has no operator for the state of "process" \(counter\)\. Give the operators that they became the same uids, or allow that this state is left behind \(allowNonRestoredState\)\.$/,
      counting("renamed")],
    ["with another number of key groups", () => savepoint, () =>
      /^job "counting" can't go on from savepoint \d+ of job "counting": "process" had a maximal parallelism of 128, and now has 64, but state by key is divided by it once and for all\. Set pipeline\.max-parallelism, or the operator's setMaxParallelism\(\), to 128\.$/,
      counting("counter", '{ configuration: { "pipeline.max-parallelism": 64 } }')],
  ];

  it.each(table)("%s is refused with the reason and exit code 1", { timeout: 120_000 }, async (_what, place, sentence, program) => {
    const from = place();
    const before = existsSync(from) && !_what.includes("can't be read") ? contentOf(from) : undefined;
    folder.write("other.ts", program ?? counting());
    const answer = await drey("run", "-q", "--from", from, "other.ts");
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    const [line] = answer.stderr.split("\n");
    const expected = sentence(from);
    if (typeof expected === "string") expect(line).toBe(expected);
    else expect(line).toMatch(expected);
    expect(answer.stderr).not.toMatch(/\n\s+at .*node:internal/);
    if (before !== undefined) expect(contentOf(from)).toEqual(before);
  });

  it("that is refused leaves no job", { timeout: 120_000 }, async () => {
    expect((await runningJobs()).match(/counting/g)).toHaveLength(1);
  });

  it("of files that are cut off or missing fails the job, which tells which", { timeout: 120_000 }, async () => {
    const data = (copy: string): string[] => readdirSync(copy).filter((name) => name !== "_metadata").map((name) => join(copy, name));
    const cut = broken("files cut", (copy) => data(copy).forEach((file) => truncateSync(file, 5)));
    const missing = broken("files missing", (copy) => data(copy).forEach((file) => rmSync(file)));
    const first = await drey("run", "-q", "--from", cut, "job.ts");
    expect(first.code).toBe(1);
    expect(first.stderr).toMatch(/files cut\/\S+ ends after 5 bytes, but bytes \d+ to \d+ of it were asked for; it was cut off\..* The job has no other checkpoint that can be read\./);
    const second = await drey("run", "-q", "--from", missing, "job.ts");
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/files missing has no file \S+, which checkpoint \d+ needs\./);
  });

  it("at a parallelism for which there are no slots waits as long as is allowed, and says what is missing", { timeout: 120_000 }, async () => {
    const before = contentOf(savepoint);
    const answer = await drey("run", "-q", "-p", "7", "-Dslot.request.timeout=1s", "--from", savepoint, "job.ts");
    expect(answer.code).toBe(1);
    expect(answer.stderr).toMatch(/job "counting" .*7 slots/);
    expect(contentOf(savepoint)).toEqual(before);
  });

  it("takes the manifest's own path, too", { timeout: 120_000 }, async () => {
    const answer = await drey("run", "-d", "--from", manifestOf(savepoint), "job.ts");
    expect(answer).toMatchObject({ code: 0, stderr: "" });
    expect((await drey("cancel", checkpoints(answer.stdout))).code).toBe(0);
  });
});

describe("drey savepoint", () => {
  /** The job goes on as if nobody had asked. */
  const goesOn = async (): Promise<void> => {
    expect(await runningJobs()).toMatch(new RegExp(`${job} +RUNNING`));
    expect((await drey("savepoint", job, "savepoints")).code).toBe(0);
  };

  it("where no folder can be made is refused, and the job goes on", { timeout: 120_000 }, async () => {
    const file = folder.write("file", "no folder");
    const answer = await drey("savepoint", job, join(file, "below"));
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toMatch(/\nsavepoint \d+ of job "counting" failed: .*could not write .*ENOTDIR.*\n$/);
    await goesOn();
  });

  it("on a full disk is refused, leaves nothing, and the job goes on", { timeout: 120_000 }, async ({ skip }) => {
    const disk = join(folder.path, "disk");
    mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], { stdio: "pipe" });
    } catch (error) {
      skip(`a small disk can't be mounted here: ${(error as Error).message.trim()}`);
    }
    try {
      writeFileSync(join(disk, "filler"), Buffer.alloc(4096));
      const answer = await drey("savepoint", job, disk);
      expect(answer).toMatchObject({ code: 1, stdout: "" });
      expect(answer.stderr).toMatch(/\nsavepoint \d+ of job "counting" failed: .*could not write .*ENOSPC: no space left on device.*\n$/);
      await vi.waitFor(() => expect(readdirSync(disk)).toEqual(["filler"]), { timeout: 30_000 });
      await goesOn();
    } finally {
      execFileSync("umount", ["-l", disk]);
    }
  });

  it("in a store that does not answer is refused, and the job goes on", { timeout: 120_000 }, async () => {
    const answer = await drey("savepoint", job, "s3://bucket/savepoints");
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toMatch(/\nsavepoint \d+ of job "counting" failed: .*could not write s3:\/\/bucket\/savepoints\/.*\n$/);
    await goesOn();
  });

  it("of a job that there is not, or that has ended, is refused", { timeout: 120_000 }, async () => {
    expect(await drey("savepoint", "ffffffff")).toMatchObject({ code: 1, stderr: expect.stringContaining("there is no job ffffffff on the cluster") as unknown });
    expect(await drey("savepoint", job)).toMatchObject({
      code: 1, stderr: expect.stringContaining('a savepoint of job "counting" needs a place: name one, or set execution.checkpointing.savepoint-dir.') as unknown,
    });
  });
});

describe("drey savepoint -d", () => {
  it("removes a savepoint with its files, and nothing that is none", { timeout: 120_000 }, async () => {
    const copy = broken("to go", () => undefined);
    expect(await drey("savepoint", "-d", copy)).toMatchObject({ code: 0, stdout: `Removed savepoint ${copy}.\n` });
    expect(existsSync(copy)).toBe(false);
    const mine = join(folder.path, "mine");
    mkdirSync(mine);
    writeFileSync(join(mine, "notes.txt"), "mine");
    expect(await drey("savepoint", "-d", mine)).toMatchObject({ code: 1, stderr: expect.stringContaining(`there is no checkpoint or savepoint in "${mine}"`) as unknown });
    expect(readdirSync(mine)).toEqual(["notes.txt"]);
  });

  it("leaves a savepoint that a job may have to go back to", { timeout: 120_000 }, async () => {
    const copy = broken("needed", () => undefined);
    folder.write("rare.ts", counting().replace('"200 ms"', '"1 h"'));
    const id = checkpoints((await drey("run", "-d", "--from", copy, "rare.ts")).stdout);
    const answer = await drey("savepoint", "-d", copy);
    expect(answer.code).toBe(1);
    expect(answer.stderr).toContain(`${copy} can't be removed: job "counting" (${id}) would go back to it after a failure. Remove it when the job has ended, or has taken checkpoints of its own.`);
    expect(existsSync(manifestOf(copy))).toBe(true);
    await drey("cancel", id);
    await vi.waitFor(async () => expect((await drey("savepoint", "-d", copy)).code).toBe(0), { timeout: 30_000 });
  });
});

describe("who may not read", () => {
  it.skipIf(process.getuid?.() !== 0)("is told so, as is who may not write", { timeout: 120_000 }, async () => {
    const closed = broken("closed", () => undefined);
    execFileSync("chmod", ["700", closed]);
    execFileSync("chmod", ["711", folder.path]);
    const program = folder.node("closed.mjs", `import { newSavepoint, openSavepoint } from "drey";
process.setgid(65534);
process.setuid(65534);
for (const attempt of [() => openSavepoint(${JSON.stringify(closed)}), () => newSavepoint().write(${JSON.stringify(join(folder.path, "more"))})]) {
  console.log(await attempt().then(() => "done", (error) => \`\${error.code} \${error.message}\`));
}
`);
    await program.ended;
    const [reading, writing] = program.stdout.split("\n");
    expect(reading).toBe(`DREY_CHECKPOINT could not read ${closed}/_metadata: EACCES: permission denied, open '${closed}/_metadata'.`);
    // Which of them depends on whether one may enter the folder for temporary files.
    expect(writing).toMatch(/^DREY_CHECKPOINT could not (list|write) .*\/more(\/_metadata)?: EACCES: permission denied, .*\.$/);
  });
});
