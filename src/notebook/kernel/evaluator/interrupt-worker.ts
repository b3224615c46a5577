/**
 * The thread that interrupts. A loop that never ends keeps the evaluator's main thread from hearing anything; this thread hears for it. It
 * asks the main thread's inspector, which answers in the middle of any loop, first to settle the cell and then to drop what it is doing.
 *
 * The order matters: dropping leaves Node's stack of asynchronous contexts as it was, and Node ends the process over that. What handles an
 * uncaught exception puts the stack in order; so the interruption is first raised as one, on top of the loop.
 *
 * It also watches over the process: when the front process has ended, however it did, a busy evaluator would run on for ever.
 */
import { Session } from "node:inspector";
import { Socket } from "node:net";
import { DESCRIPTORS } from "./protocol.ts";

const RAISE = 'process._fatalException(globalThis[Symbol.for("drey.kernel.interruption")]())';

const socket = new Socket({ fd: DESCRIPTORS.interrupts, readable: true, writable: false });
socket.on("data", () => {
  // Only for as long as it takes: a process that ends waits for inspectors to leave.
  const session = new Session();
  session.connectToMainThread();
  session.post("Runtime.evaluate", { expression: RAISE });
  session.post("Runtime.terminateExecution", () => session.disconnect());
});
const frontEnded = (): void => {
  process.kill(process.pid, "SIGKILL");
};
socket.on("end", frontEnded);
socket.on("error", frontEnded);
