// Keeps the main loop of another Node process busy: node busy-loop.mjs <pid> <milliseconds>. The process opens its inspector on SIGUSR1.
// Prints "busy" once the loop is asked for; ends with exit code 2 when the process has no inspector that can be reached.
import { get } from "node:http";
import { Socket } from "node:net";
import { randomBytes } from "node:crypto";

const PORT = 9229;
const [pid, ms] = process.argv.slice(2).map(Number);

const giveUp = (why) => {
  console.error(why);
  process.exit(2);
};
setTimeout(() => giveUp(`process ${pid} opened no inspector within 10 s`), 10_000).unref();

/** The inspector's address, asked for until there is one. */
const target = () =>
  new Promise((resolve) => {
    get({ host: "127.0.0.1", port: PORT, path: "/json/list" }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part)).on("end", () => resolve(JSON.parse(text)[0]));
    }).on("error", () => setTimeout(() => resolve(target()), 50));
  });

process.kill(pid, "SIGUSR1");
const { webSocketDebuggerUrl } = await target();
const socket = new Socket().connect(PORT, "127.0.0.1");
socket.on("error", (error) => giveUp(error.message));
const { pathname } = new URL(webSocketDebuggerUrl);
socket.write(
  `GET ${pathname} HTTP/1.1\r\nHost: 127.0.0.1:${PORT}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
);

/** A text frame, masked with zeros, of less than 64 kB. */
const frame = (text) => {
  const bytes = Buffer.from(text);
  const head = Buffer.from([0x81, 0xfe, bytes.length >> 8, bytes.length & 0xff, 0, 0, 0, 0]);
  return Buffer.concat([head, bytes]);
};
const evaluate = (id, expression) =>
  socket.write(frame(JSON.stringify({ id, method: "Runtime.evaluate", params: { expression, returnByValue: true } })));

let heard = "";
let asked = 0;
socket.on("data", (bytes) => {
  heard += bytes.toString("latin1");
  if (asked === 0 && heard.includes("\r\n\r\n")) evaluate((asked = 1), "process.pid");
  if (asked === 1 && heard.includes('"id":1')) {
    // Somebody else may listen at the port.
    if (!heard.includes(`"value":${pid}`)) giveUp(`the inspector at port ${PORT} is not that of process ${pid}`);
    evaluate((asked = 2), `for (const end = Date.now() + ${ms}; Date.now() < end; );`);
    console.log("busy");
  }
  if (asked === 2 && heard.includes('"id":2')) process.exit(0);
});
socket.on("close", () => process.exit(0));
