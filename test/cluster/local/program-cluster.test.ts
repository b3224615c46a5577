import { Observable, from } from "rxjs";
import { type ClusterClient, ConfigurationError, JobFailedError, LocalCluster, connect, environment } from "drey";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ProgramFolder } from "./programs.ts";

describe("a program on a cluster that it names", () => {
  let cluster: LocalCluster;
  beforeAll(async () => {
    // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.timeout": "60 s" } });
  });
  afterAll(() => cluster.stop());

  class Point {
    readonly x: number;
    constructor(x: number) {
      this.x = x;
    }
    doubled(): number {
      return this.x * 2;
    }
  }

  it("gets its rows back, instances of its own classes among them", async () => {
    const points = await environment({ cluster })
      .from([1, 2])
      .map((x) => new Point(x))
      .collect();
    expect(points.map((point) => [point instanceof Point, point.doubled()])).toEqual([
      [true, 2],
      [true, 4],
    ]);
  });

  it("reads rows larger than a segment, in order", async () => {
    const rows = await environment({ cluster })
      .generate((i) => ({ i, text: "x".repeat(i % 10 === 0 ? 300_000 : 3) }), { count: 30 })
      .collect();
    expect(rows.map(({ i, text }) => [i, text.length])).toEqual(Array.from({ length: 30 }, (_, i) => [i, i % 10 === 0 ? 300_000 : 3]));
  });

  it("sends rows of an Observable into the job", async () => {
    const rows = await environment({ cluster })
      .fromObservable(from(Array.from({ length: 10_000 }, (_, n) => ({ n }))))
      .map(({ n }) => n + 1)
      .collect();
    expect([rows.length, rows[0], rows.at(-1)]).toEqual([10_000, 1, 10_000]);
  });

  it("fails with the error of its Observable", async () => {
    const breaks = new Observable<number>((subscriber) => {
      subscriber.next(1);
      subscriber.error(new RangeError("the source broke"));
    });
    const collecting = environment({ cluster })
      .fromObservable(breaks)
      .map((x) => x)
      .collect();
    await expect(collecting).rejects.toThrow(JobFailedError);
    await expect(collecting).rejects.toMatchObject({ cause: { name: "RangeError", message: "the source broke" } });
  });

  it("cancels a job by breaking off its loop", async () => {
    for await (const n of environment({ cluster }).generate((i) => i)) if (n === 10) break;
    const client = await connect(cluster.address);
    await expect.poll(async () => (await client.jobs()).at(-1)?.state).toBe("CANCELED");
    await client.close();
  });

  it("can leave a result and take it up again, from another program too", async () => {
    const env = environment({ cluster });
    const { id } = await env.submit({ outputs: { r: env.generate((i) => ({ i, name: `row ${i}` }), { count: 50_000 }) } });
    const client = await connect(cluster.address);
    const job = await client.job(id);
    const first = await job.openResult("r");
    expect(await first.next()).toContainEqual({ i: 0, name: "row 0" });
    first.close();
    const second = await job.openResult("r");
    let last: unknown;
    for (let rows = await second.next(); rows !== null; rows = await second.next()) last = rows.at(-1);
    expect(last).toEqual({ i: 49_999, name: "row 49999" });
    await client.close();
  });

  it("a job that another program submitted can be attached to, watched and cancelled", async () => {
    const submitting: ClusterClient = await connect(cluster.address);
    const env = environment({ cluster: submitting });
    env.generate((i) => i, { rowsPerSecond: 10 }).print();
    const { id } = await env.submit({ name: "left behind", detached: true });
    await submitting.close();
    const other = await connect(cluster.address);
    const handle = await other.attach(id);
    const states: string[] = [];
    handle.status$.subscribe(({ state }) => states.push(state));
    await expect.poll(() => states).toContain("RUNNING");
    await handle.cancel();
    expect((await handle.details()).state).toBe("CANCELED");
    await other.close();
  });
});

describe("a program that names no cluster", () => {
  let folder: ProgramFolder;
  beforeEach(() => {
    folder = new ProgramFolder();
  });
  afterEach(() => folder.remove());

  it("starts one of its own, which grows with the slots that its jobs need and ends with it", async () => {
    const program = folder.node(
      "program.mjs",
      `import { environment } from "drey";
       const env = environment({ parallelism: 6 });
       const rows = await env.generate((i) => i, { count: 100 }).map((i) => i % 2).collect();
       console.log("rows", rows.length);`,
    );
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.stdout).toBe("rows 100\n");
  });

  it("can't leave a job behind on a cluster of its own", async () => {
    const program = folder.node(
      "program.mjs",
      `import { environment } from "drey";
       const env = environment();
       env.generate((i) => i).print();
       await env.submit({ detached: true }).catch((error) => console.log(error.name, error.message));`,
    );
    expect((await program.ended).code).toBe(0);
    expect(program.stdout).toMatch(/Error .*can't be detached.*drey cluster start/);
  });

  it("uses the one of DREY_JOBMANAGER, and says so when it is not there", async () => {
    folder.env["DREY_JOBMANAGER"] = `ipc://${folder.path}/nobody`;
    const program = folder.node(
      "program.mjs",
      `import { environment } from "drey"; await environment().from([1]).collect().catch((error) => console.log(error.message));`,
    );
    expect((await program.ended).code).toBe(0);
    expect(program.stdout).toMatch(/no JobManager answers at ipc:\/\/.*nobody/);
  });

  it("is told when its environment was closed", async () => {
    const env = environment();
    await env.close();
    await expect(env.from([1]).collect()).rejects.toThrow(ConfigurationError);
  });
});
