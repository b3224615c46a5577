/** Against a server that answers as Flink's REST API and SQL Gateway do, so that no Flink is needed. */
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { FlinkCluster } from "./flink-cluster.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

type Answers = Readonly<Record<string, unknown>>;

/** Answers by method and path; unknown paths are an error of the server. Statements that are sent are kept. */
async function serve(answers: Answers, statements: string[] = []): Promise<string> {
  const server = createServer((request: IncomingMessage, response) => {
    void text(request).then((body) => {
      const path = `${request.method} ${request.url}`;
      if (path.endsWith("/statements")) statements.push((JSON.parse(body) as { statement: string }).statement);
      const answer = answers[path];
      response.writeHead(answer === undefined ? 500 : 200, { "content-type": "application/json" });
      response.end(answer === undefined ? `no answer to ${path}` : JSON.stringify(answer));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const subtask = (start: number, preparing: number, end: number): unknown => ({
  "start-time": start, "end-time": end, "status-duration": { DEPLOYING: preparing, INITIALIZING: 100, RUNNING: end - start, CANCELED: -1 },
});

const flink = (state: string): Answers => ({
  "GET /overview": {},
  "GET /v1/info": {},
  "POST /v1/sessions": { sessionHandle: "s" },
  "POST /v1/sessions/s/statements": { operationHandle: "o" },
  "GET /v1/sessions/s/operations/o/status": { status: "FINISHED" },
  "GET /v1/sessions/s/operations/o/result/0": { jobID: "j" },
  "DELETE /v1/sessions/s": {},
  "GET /jobs/j": { state, vertices: [{ id: "source" }, { id: "sink" }] },
  "GET /jobs/j/vertices/source": { subtasks: [subtask(1_000, 400, 3_400), subtask(1_200, 800, 3_500)] },
  "GET /jobs/j/vertices/sink": { subtasks: [subtask(1_000, 900, 4_000)] },
});

test("a run lasts from the first subtask that runs to the last that has ended", async () => {
  const statements: string[] = [];
  const address = await serve(flink("FINISHED"), statements);
  const cluster = await FlinkCluster.find({ rest: address, gateway: address });
  const run = await (cluster as FlinkCluster).runQuery(["CREATE TABLE t (a INT)", "SELECT a FROM t"], { events: 5_000, parallelism: 2 });
  expect(run).toMatchObject({ seconds: 2.5, eventsPerSecond: 2_000 });
  expect(statements).toEqual([
    "SET 'parallelism.default' = '2'", "SET 'execution.runtime-mode' = 'streaming'", "CREATE TABLE t (a INT)",
    "CREATE TABLE answer WITH ('connector' = 'blackhole') AS SELECT a FROM t",
  ]);
});

test("a job that fails is told with where to look", async () => {
  const address = await serve(flink("FAILED"));
  const cluster = await FlinkCluster.find({ rest: address, gateway: address });
  const run = (cluster as FlinkCluster).runQuery(["SELECT 1"], { events: 1, parallelism: 1 });
  await expect(run).rejects.toThrow(`job j ended as FAILED; see ${address}/#/job/completed/j`);
});

test("where no Flink or no SQL Gateway answers, that is the reason not to compare", async () => {
  const address = await serve({ "GET /overview": {} });
  expect(await FlinkCluster.find({ rest: "http://127.0.0.1:1", gateway: address })).toMatch(/^no Flink cluster answers at http:\/\/127\.0\.0\.1:1 /);
  expect(await FlinkCluster.find({ rest: address, gateway: address })).toMatch(/^no Flink SQL Gateway answers at /);
});
