// A TaskManager that only says that its tasks run; to be killed. Argument: the JobManager's address.
import { registrationConversation, taskManagerConversation } from "../../../dist/cluster/protocol/messages.js";
import { RpcClient } from "../../../dist/cluster/protocol/rpc.js";

const ignore = () => undefined;
const client = new RpcClient({
  address: process.argv[2],
  identity: "victim",
  incarnation: "1",
  served: taskManagerConversation,
  called: registrationConversation,
  connectDeadlineMs: 10_000,
  heartbeat: { intervalMs: 200, timeoutMs: 30_000 },
  handlers: {
    deploy: ({ tasks }) => {
      for (const { execution } of tasks) void client.call("taskState", { execution, state: "RUNNING", atMs: Date.now() });
    },
    cancel: ignore, releaseJob: ignore, grantResult: ignore, feedSegments: ignore, shutdown: ignore,
  },
});
await client.connect();
await client.call("register", { taskManager: "victim", slots: 1, dataAddress: "ipc:///victim", host: "here", pid: process.pid, slotHeapBytes: 1, version: "0" });
process.once("disconnect", () => process.exit());
