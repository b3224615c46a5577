/**
 * Closing a ZeroMQ socket, to the end. `close()` alone returns while libzmq's own threads still hold the address, the file and the
 * connections of the socket; a successor in the same process would find the address taken.
 *
 * Not by `unbind`: zeromq.js runs it on another thread, and when this one reads from the socket meanwhile libzmq aborts the process
 * (seen with 6.8.0, whose `unbindSync` binds, by mistake).
 */
import type { Socket } from "zeromq";

/** The longest that libzmq is given, in milliseconds; usually it takes one or two. */
const DEADLINE_MS = 1_000;

/** Closes a socket and resolves when its address is free. Harmless for one that is closed. What is still queued is discarded. */
export async function closeSocket(socket: Socket): Promise<void> {
  if (socket.closed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, DEADLINE_MS);
    // The monitor ends with the socket, after everything that belongs to it.
    socket.events.on("end", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close();
  });
}
