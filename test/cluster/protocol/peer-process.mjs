// A process that is one end of the tests' conversation; started with the role, the address and options as JSON. Uses the built package.
import * as v from "valibot";
import { RpcClient, RpcServer } from "../../../dist/cluster/protocol/rpc.js";

const [role, address, json] = process.argv.slice(2);
const options = JSON.parse(json ?? "{}");
const double = { double: { request: v.number(), reply: v.number() } };
const add = { add: { request: v.object({ left: v.number(), right: v.number() }), reply: v.number() } };
const end =
  role === "client"
    ? new RpcClient({ address, identity: "tm-1", incarnation: `run-${process.pid}`, served: double, handlers: { double: (n) => n * 2 }, called: add, ...options })
    : new RpcServer({ address, epoch: 1, served: add, handlers: { add: ({ left, right }) => left + right }, called: double, ...options });
await (role === "client" ? end.connect() : end.start());
process.on("message", async (message) => {
  if (message === "spin") for (;;);
  if (message === "close") {
    await end.close();
    // Nothing but this channel may keep the process alive now.
    process.disconnect();
  }
});
process.send("up");
