import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ProgramFolder, type Program, runs } from "../local/programs.ts";

let folder: ProgramFolder;
beforeEach(() => {
  folder = new ProgramFolder();
});
afterEach(async () => {
  if (existsSync(join(folder.env["DREY_RUNTIME_DIR"] as string, "default"))) await folder.drey("cluster", "stop").ended;
  await folder.remove();
});

/** The end of a command. */
async function end(program: Program): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { code } = await program.ended;
  return { code, stdout: program.stdout, stderr: program.stderr };
}
const drey = (...args: string[]): ReturnType<typeof end> => end(folder.drey(...args));

const COUNT = `import { environment } from "drey";
interface Row { zone: string; n: number }
const env = environment();
const rows: Row[] = [{ zone: "a", n: 1 }, { zone: "b", n: 2 }, { zone: "a", n: 3 }];
env.from(rows).filter((row: Row): boolean => row.zone === "a").map((row) => row.n).print();
await env.execute("count zones");
`;
const FOREVER = `import { environment } from "drey";
const env = environment();
env.generate((i) => i, { rowsPerSecond: 20 }).print();
await env.execute("forever");
`;

describe("drey", () => {
  it("says what it can do", async () => {
    const help = await drey("--help");
    expect(help.code).toBe(0);
    for (const name of ["run", "info", "list", "cancel", "savepoint", "stop", "rescale", "keys", "cluster", "jobmanager", "taskmanager"])
      expect(help.stdout).toContain(`\n  ${name} `);
    expect(await drey("--version")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^drey \d+\.\d+\.\d+\n$/) });
    expect((await drey("--options")).stdout).toContain(
      "taskmanager.numberOfTaskSlots = 2\n    Slots of each TaskManager. (Flink: 1.)\n    DREY_TASKMANAGER_NUMBEROFTASKSLOTS",
    );
    expect((await drey("run", "--help")).stdout).toContain("-p, --parallelism n");
  });

  it.each([
    [[], 1, "", "Usage: drey <command>"],
    [["frobnicate"], 1, 'there is no command "frobnicate"', ""],
    [["run"], 1, "`drey run` needs the program", ""],
    [["run", "--nonsense", "job.ts"], 1, "Unknown option '--nonsense'", ""],
    [["run", "missing.ts"], 1, "there is no file", ""],
    [["run", "-p", "many", "job.ts"], 1, '-p needs an integer from 1 on, not "many"', ""],
    [["run", "-Dparallelism.defualt=2", "job.ts"], 1, "Did you mean parallelism.default?", ""],
    [["run", "-d", "job.ts"], 1, "a detached job needs a cluster that stays; start one with `drey cluster start`", ""],
    [["run", "-n", "job.ts"], 1, "-n/--allowNonRestoredState needs -s with a savepoint", ""],
    [["savepoint", "a", "b", "c"], 1, "`drey savepoint` takes a job id and a folder", ""],
    [["rescale", "abc"], 1, "`drey rescale` needs a job id and a parallelism", ""],
    [["rescale", "abc", "two"], 1, 'needs an integer from 1 on, not "two"', ""],
    [["list"], 1, "no cluster is running here; start one with `drey cluster start`", ""],
    [["cancel"], 1, "`drey cancel` needs one job id", ""],
    [["cluster"], 1, "needs one of start, stop and status", ""],
    [["cluster", "start", "now"], 1, '`drey cluster start` takes flags only, not "now"', ""],
    [["list", "all"], 1, '`drey list` takes flags only, not "all"', ""],
    [["cluster", "stop"], 1, "", 'No cluster "default" runs here.'],
    [["cluster", "start", "--name", "../x"], 1, "can't be named", ""],
  ])("answers %j with exit code %d and a sentence", async (args, code, stderr, stdout) => {
    folder.write("job.ts", COUNT);
    const answer = await drey(...args);
    expect(answer.code).toBe(code);
    expect(answer.stderr).toContain(stderr);
    expect(answer.stdout).toContain(stdout);
    expect(answer.stderr).not.toMatch(/\n\s+at /);
  });

  it("does not wait for an address where nobody is", async () => {
    const answer = await drey("list", "-m", "tcp://127.0.0.1:9");
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toMatch(/^no JobManager answers at tcp:\/\/127\.0\.0\.1:9 after 3 s; is it running\?.*\n$/);
  });

  it("says which line of the configuration file is wrong", async () => {
    folder.write("drey.yaml", "heartbeat:\n  timeout: soon\n");
    folder.write("job.ts", COUNT);
    expect((await drey("run", "job.ts")).stderr).toMatch(/drey\.yaml:2: heartbeat\.timeout is "soon"/);
  });
});

describe("drey run", () => {
  it("runs a TypeScript program on a local cluster: rows on stdout, progress on stderr", async () => {
    folder.write("count.ts", COUNT);
    const answer = await drey("run", "count.ts");
    expect(answer).toMatchObject({ code: 0, stdout: "1\n3\n" });
    expect(answer.stderr).toMatch(
      /^Job has been submitted with JobID [0-9a-f]{32}\n(Job "count zones" is (WAITING.*|RUNNING)\n)*Job "count zones" is FINISHED after .*\n$/,
    );
    // The JobManager takes its folder along; it ends a moment after the program.
    await expect.poll(() => readdirSync(folder.env["TMPDIR"] as string), { timeout: 30_000 }).toEqual([]);
  });

  it("calls the default export once, with the arguments after the program", async () => {
    folder.write(
      "main.ts",
      `import { environment } from "drey";
console.log("loaded", process.argv.slice(2).join());
export default async function main(args: readonly string[]): Promise<void> {
  console.log("main", args.join());
  const rows = await environment().from(args.map(Number)).map((x) => x * 2).collect();
  console.log(rows.join());
}
`,
    );
    const answer = await drey("run", "-q", "main.ts", "1", "-p", "2");
    expect(answer.stdout).toMatch(/^loaded 1,-p,2\nmain 1,-p,2\n2,NaN,4\n$/);
    expect(answer).toMatchObject({ code: 0, stderr: "" });
  });

  it("shows a failing job's sentence, place and line, and ends with 1", async () => {
    folder.write(
      "fail.ts",
      `import { environment } from "drey";
type Row = { zone?: { name: string } };
const env = environment();
env
  .from<Row>([{}])
  .map((row: Row): string => row.zone!.name)
  .print();
await env.execute("failing");
`,
    );
    const answer = await drey("run", "-q", "fail.ts");
    expect(answer.code).toBe(1);
    expect(answer.stderr).toMatch(/^Job "failing" failed: "map" .*TypeError: Cannot read properties of undefined \(reading 'name'\)/);
    expect(answer.stderr).toContain("  at fail.ts:6:");
    expect(answer.stderr).toContain("  > 6 |   .map((row: Row): string => row.zone!.name)");
    expect(answer.stderr).toContain("    5 |   .from<Row>([{}])");
    expect(answer.stderr).toMatch(/\n {6}\| {40}\^\n/);
    expect(answer.stderr).not.toMatch(/node_modules|dist\//);
  });

  it("shows what a function captures that can't travel", async () => {
    folder.write(
      "capture.ts",
      `import { environment } from "drey";
const cache = new Proxy({} as Record<string, string>, {});
const env = environment();
env.from(["a"]).map(function lookup(key: string) { return cache[key]; }).print();
await env.execute();
`,
    );
    const answer = await drey("run", "capture.ts");
    expect(answer).toMatchObject({ code: 1, stdout: "" });
    expect(answer.stderr).toMatch(/^map\(lookup\) → cache: captures 'cache' \(a Proxy/);
  });

  it("refuses TypeScript that can't be erased, with its place", async () => {
    folder.write("enum.ts", "enum Color { Red }\nconsole.log(Color.Red);\n");
    const answer = await drey("run", "enum.ts");
    expect(answer.code).toBe(1);
    expect(answer.stderr).toMatch(
      /^\/.*enum\.ts:1:1: TypeScript enum is not supported in strip-only mode\. Types are erased, not compiled/,
    );
  });

  it("tells what a program itself throws, as Node does", async () => {
    folder.write("throws.ts", "function go(): never { throw new RangeError('mine'); }\ngo();\n");
    const answer = await drey("run", "throws.ts");
    expect(answer.code).toBe(1);
    expect(answer.stderr).toMatch(/RangeError: mine\n {4}at go .*throws\.ts:1:30/);
  });

  it("finds drey for programs outside of any package", async () => {
    const outside = mkdtempSync(join(tmpdir(), "dreyt-"));
    writeFileSync(join(outside, "count.ts"), COUNT);
    const answer = await drey("run", "-q", join(outside, "count.ts"));
    rmSync(outside, { recursive: true });
    expect(answer).toMatchObject({ code: 0, stdout: "1\n3\n" });
  });

  it("ctrl-C cancels the job and ends with 130", async () => {
    folder.write("forever.ts", FOREVER);
    const program = folder.drey("run", "forever.ts");
    await program.said(/3\n/);
    program.kill("SIGINT");
    expect((await program.ended).code).toBe(130);
    expect(program.stderr).toMatch(/Cancelling; once more ctrl-C ends at once\.\n(.*\n)*Job "forever" is CANCELED after/);
  });
});

describe("drey info", () => {
  it("shows the graph without running the program's job", async () => {
    folder.write("count.ts", `console.error("built");\n${COUNT}`);
    const answer = await drey("info", "-p", "2", "count.ts");
    expect(answer).toMatchObject({ code: 0, stderr: "built\n" });
    expect(answer.stdout).toMatch(/^Job graph "count zones"/);
    expect(answer.stdout).toContain("filter");
    const json = JSON.parse((await drey("info", "--json", "count.ts")).stdout) as object;
    expect(json).toMatchObject({ name: "count zones" });
    expect((await drey("info", "--dot", "count.ts")).stdout).toMatch(/^digraph "count zones"/);
    expect(readdirSync(folder.env["TMPDIR"] as string)).toEqual([]);
  });

  it("says when a program submits nothing", async () => {
    folder.write("nothing.ts", "export {};\n");
    expect(await drey("info", "nothing.ts")).toMatchObject({
      code: 1,
      stderr: "nothing.ts submitted no job; call env.execute() or env.submit().\n",
    });
  });
});

/** The processes of the background cluster: first the JobManager. */
function processes(): number[] {
  const record = readFileSync(join(folder.env["DREY_RUNTIME_DIR"] as string, "default", "cluster.json"), "utf8");
  const { jobManager, taskManagers } = JSON.parse(record) as { jobManager: number; taskManagers: number[] };
  return [jobManager, ...taskManagers];
}

describe("drey cluster", () => {
  it("starts a cluster that programs and commands find, and stops it without a trace", async () => {
    const start = await drey("cluster", "start", "-tm", "1", "-s", "3");
    expect(start).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ipc:\/\/.*\n$/) });
    const pids = processes();
    expect(pids.map(runs)).toEqual([true, true]);

    expect(await drey("cluster", "start")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the cluster "default" runs already at ipc://'),
    });
    expect((await drey("cluster", "status")).stdout).toMatch(
      /^The cluster "default" runs at .* 3 of 3 slots free\.\n\nTaskManager +Process/,
    );

    folder.write("forever.ts", FOREVER);
    const detached = await drey("run", "-d", "forever.ts");
    expect(detached).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Job has been submitted with JobID [0-9a-f]{32}\n$/) });
    const id = /[0-9a-f]{32}/.exec(detached.stdout)?.[0] as string;
    await vi.waitFor(async () => expect((await drey("list", "-r")).stdout).toMatch(new RegExp(`${id} +RUNNING .* forever\n`)), {
      timeout: 30_000,
    });
    expect((await drey("list", "-s")).stdout).toBe("There are no waiting jobs.\n");

    folder.write("count.ts", COUNT);
    expect(await drey("run", "-q", "count.ts")).toMatchObject({ code: 0, stdout: "1\n3\n" });

    expect(await drey("cancel", id.slice(0, 12))).toMatchObject({ code: 0, stdout: `Cancelled job ${id}.\n` });
    expect(await drey("cancel", id)).toMatchObject({ code: 0, stdout: `Job ${id} had ended before: it is CANCELED.\n` });
    expect((await drey("list")).stdout).toBe("There are no running or waiting jobs.\n");
    expect(await drey("cancel", "ffff")).toMatchObject({ code: 1, stderr: expect.stringContaining("there is no job ffff on the cluster") });
    const all = JSON.parse((await drey("list", "-a", "--json")).stdout) as { name: string; state: string }[];
    expect(all.map(({ name, state }) => `${name} ${state}`).sort()).toEqual(["count zones FINISHED", "forever CANCELED"]);

    expect(await drey("cluster", "stop")).toMatchObject({ code: 0, stdout: 'The cluster "default" is stopped.\n' });
    expect(pids.map(runs)).toEqual([false, false]);
    expect(readdirSync(folder.env["DREY_RUNTIME_DIR"] as string)).toEqual([]);
    expect(await drey("cluster", "status")).toMatchObject({ code: 1, stdout: 'No cluster "default" runs here.\n' });
  }, 60_000);

  it("replaces a TaskManager that was killed, and stops with all of its processes", async () => {
    await drey("cluster", "start", "-tm", "2");
    const record = (): { taskManagers: number[]; jobManager: number; supervisor: number } =>
      JSON.parse(readFileSync(join(folder.env["DREY_RUNTIME_DIR"] as string, "default", "cluster.json"), "utf8"));
    const before = record();
    process.kill(before.taskManagers[0] as number, "SIGKILL");
    await vi.waitFor(() => expect(record().taskManagers[0]).not.toBe(before.taskManagers[0]), { timeout: 30_000, interval: 50 });
    await vi.waitFor(async () => expect((await drey("cluster", "status")).stdout).toContain("4 of 4 slots free"), { timeout: 30_000 });
    const after = record();
    expect(after.taskManagers[1]).toBe(before.taskManagers[1]);
    expect(await drey("cluster", "stop")).toMatchObject({ code: 0 });
    expect([after.supervisor, after.jobManager, ...after.taskManagers].map(runs)).toEqual([false, false, false, false]);
  }, 60_000);

  it("stops one whose JobManager was killed, and starts anew in its place", async () => {
    await drey("cluster", "start", "-tm", "1");
    const pids = processes();
    process.kill(pids[0] as number, "SIGKILL");
    await vi.waitFor(() => expect(runs(pids[0] as number)).toBe(false), { timeout: 30_000 });
    expect((await drey("list")).stderr).toContain("no cluster is running here");
    expect(await drey("cluster", "stop")).toMatchObject({ code: 0 });
    expect(pids.map(runs)).toEqual([false, false]);
  });

  it("that can't start says why and leaves nothing", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const answer = await drey("cluster", "start", `-Djobmanager.rpc.address=tcp://127.0.0.1:${port}`);
    taken.close();
    expect(answer.code).toBe(1);
    expect(answer.stderr).toMatch(/^jobmanager ended at once \(exit code 1\)\. .*jobmanager\.log says:\n.*address/i);
    expect(readdirSync(folder.env["DREY_RUNTIME_DIR"] as string)).toEqual([]);
  });
});

describe("roles by hand", () => {
  it("a JobManager and a TaskManager in processes of their own make a cluster", async () => {
    const jobManager = folder.drey("jobmanager");
    const [, address] = await jobManager.said(/JobManager ready at (ipc:\S+)/);
    const taskManager = folder.drey("taskmanager", "-m", address as string, "-s", "1");
    await taskManager.said(/TaskManager \S+ ready/);
    folder.write("count.ts", COUNT);
    expect(await drey("run", "-q", "-m", address as string, "count.ts")).toMatchObject({ code: 0, stdout: "1\n3\n" });
    taskManager.kill("SIGTERM");
    expect((await taskManager.ended).code).toBe(0);
    jobManager.kill("SIGINT");
    expect((await jobManager.ended).code).toBe(0);
  });

  it("with a key form a cluster that nobody joins without it", async () => {
    const [key, other] = [join(folder.path, "cluster.key"), join(folder.path, "other.key")];
    expect(await drey("keys", key)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\S{40}\n$/) });
    expect(await drey("keys", key)).toMatchObject({ code: 1, stderr: expect.stringContaining("a key is never written over") });
    await drey("keys", other);
    const withKey = `-Dsecurity.key-file=${key}`;
    const jobManager = folder.drey("jobmanager", "-a", "tcp://127.0.0.1:*", withKey);
    const [, address] = await jobManager.said(/JobManager ready at (tcp:\S+)/);
    for (let index = 0; index < 2; index++) await folder.drey("taskmanager", "-m", address as string, "-s", "1", withKey).said(/ready/);
    folder.write("count.ts", COUNT);
    expect(await drey("run", "-q", "-p", "2", "-m", address as string, withKey, "count.ts")).toMatchObject({ code: 0 });
    for (const refused of [[], [`-Dsecurity.key-file=${other}`]]) {
      expect(await drey("list", "-m", address as string, ...refused)).toMatchObject({ code: 1, stderr: expect.stringContaining("handshake") });
    }
    const wide = await drey("taskmanager", "-m", address as string, "-Dtaskmanager.bind-host=10.0.0.2");
    expect(wide).toMatchObject({ code: 1, stderr: expect.stringMatching(/tcp:\/\/10\.0\.0\.2:\* is reachable from other machines.*drey keys/) });
  }, 60_000);
});
