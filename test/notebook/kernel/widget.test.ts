/** Live pictures through a comm: offered to the page, used where it answers. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KernelSession, Message } from "../execute-notebook.ts";
import { printed, startKernel } from "./kernel.ts";

let kernel: KernelSession;
beforeAll(async () => {
  kernel = await startKernel();
  await kernel.execute('import { chart, liveDisplay } from "drey/notebook"');
}, 60_000);
afterAll(() => kernel.end());

const WIDGET = "application/vnd.jupyter.widget-view+json";
const dataOf = ({ content }: Message): Readonly<Record<string, unknown>> => content["data"] as Readonly<Record<string, unknown>>;
const offered = (message: Message): boolean => message.type === "comm_open" && message.content["target_name"] === "jupyter.widget";

/** A cell that draws a point more until it is told to stop, or a minute has gone by. */
const CELL = `
const place = liveDisplay([{ label: "Press", run: async () => { console.log("pressed"); stopped = true; return "done"; } }]);
let stopped = false;
const points: { x: number; y: number }[] = [];
for (const end = Date.now() + 60_000; !stopped && Date.now() < end; ) {
  points.push({ x: points.length, y: 1 });
  place.update(chart(points.slice(-50), { kind: "line", title: "live", x: "x", y: "y" }));
  await new Promise((done) => setTimeout(done, 20));
}
await place.finish();`;

test("a page that answers gets frames through the comm, and its buttons work; in the end a picture stays that needs no kernel", async () => {
  const opened = kernel.next(offered);
  const shown: string[][] = [];
  let frames = 0;
  let id = "";
  const say = (content: object): Promise<void> => kernel.tell("shell", "comm_msg", { comm_id: id, data: { method: "custom", content } });
  const stop = kernel.listen((message) => {
    if (message.type.endsWith("display_data")) shown.push(Object.keys(dataOf(message)));
    if (message.type !== "comm_msg" || dataOf(message)["method"] !== "update") return;
    const { svg } = dataOf(message)["state"] as { svg?: string };
    if (svg === undefined) return;
    expect(svg).toMatch(/^<svg/);
    frames++;
    void (frames === 10 ? say({ drey: "pressed", button: 0 }) : say({ drey: "drawn" }));
  });
  const ran = kernel.execute(CELL);
  const { content } = await opened;
  id = String(content["comm_id"]);
  expect((content["data"] as { state: object }).state).toMatchObject({ _model_module: "anywidget", buttons: [{ label: "Press" }] });
  await say({ drey: "ready" });
  expect(printed(await ran)).toBe("pressed\n");
  stop();
  expect(frames).toBeGreaterThanOrEqual(10);
  expect(shown.filter((forms) => forms.includes(WIDGET))).toHaveLength(1);
  expect(shown.at(-1)).toEqual(expect.arrayContaining(["text/html", "image/svg+xml", "text/plain"]));
  expect(shown.at(-1)).not.toContain(WIDGET);
}, 90_000);

test("a page that refuses is not asked again, and its outputs are replaced", async () => {
  const opened = kernel.next(offered);
  const ran = kernel.execute(CELL.replace("60_000", "600"));
  const { content } = await opened;
  await kernel.tell("shell", "comm_close", { comm_id: content["comm_id"], data: {} });
  await ran;
  let again = false;
  const stop = kernel.listen((message) => {
    again ||= offered(message);
  });
  const shown: string[] = [];
  const stopShown = kernel.listen((message) => shown.push(message.type));
  await kernel.execute(CELL.replace("60_000", "600"));
  stop();
  stopShown();
  expect(again).toBe(false);
  expect(shown.filter((type) => type === "update_display_data").length).toBeGreaterThan(1);
}, 60_000);
