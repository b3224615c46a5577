/** The kernel as a front end sees it: requests, channels, interrupts, its end. */
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { KernelSession, type Message } from "../execute-notebook.ts";
import { errorOf, ourKernel, printed, startKernel, valueOf } from "./kernel.ts";
import { runs } from "../../cluster/local/programs.ts";

// A compiler on a machine that does much else takes its time.
vi.setConfig({ testTimeout: 60_000 });

let kernel: KernelSession;
beforeAll(async () => {
  kernel = await startKernel();
}, 60_000);
afterAll(() => kernel.end());

/** Collects messages until the returned function is called. */
function collect(): { readonly messages: Message[]; stop(): void } {
  const messages: Message[] = [];
  return { messages, stop: kernel.listen((message) => messages.push(message)) };
}
const isStream = (text: string) => (message: Message) => message.type === "stream" && String(message.content["text"]).includes(text);

describe("requests", () => {
  test("the kernel says what it is", async () => {
    const info = await kernel.ask("shell", "kernel_info_request");
    expect(info).toMatchObject({
      status: "ok",
      protocol_version: "5.4",
      implementation: "drey",
      language_info: { name: "typescript", file_extension: ".ts" },
    });
  });

  test("what fits at the cursor is offered, in code points", async () => {
    await kernel.execute("const delays = [1, 2]");
    expect(await kernel.ask("shell", "complete_request", { code: "'😀'; delays.fi", cursor_pos: 14 })).toMatchObject({
      status: "ok",
      cursor_start: 12,
      cursor_end: 14,
      matches: expect.arrayContaining(["filter", "find"]) as string[],
    });
    expect(await kernel.ask("shell", "complete_request", { code: "del", cursor_pos: 3 })).toMatchObject({
      matches: expect.arrayContaining(["delays"]) as string[],
    });
    expect(await kernel.ask("shell", "complete_request", { code: "%ca", cursor_pos: 3 })).toMatchObject({ matches: ["%cancel"] });
  });

  test("completion answers while a cell runs", async () => {
    const running = kernel.execute("await new Promise((done) => setTimeout(done, 1_000)); 'slow'");
    let ended = false;
    void running.then(() => (ended = true));
    await kernel.ask("shell", "complete_request", { code: "Math.ma", cursor_pos: 7 });
    expect(ended).toBe(false);
    expect(valueOf(await running)).toBe("'slow'");
  });

  test("a name tells its type and its documentation", async () => {
    await kernel.execute("/** How late. */\nfunction lateness(minutes: number) { return minutes }");
    const { found, data } = await kernel.ask("shell", "inspect_request", { code: "lateness", cursor_pos: 8, detail_level: 0 });
    expect(found).toBe(true);
    expect((data as Record<string, string>)["text/plain"]).toMatch(/lateness\(minutes: number\): number[^]*How late\./);
    const { reply } = await kernel.execute("?lateness");
    expect(reply["payload"]).toMatchObject([{ source: "page", start: 0 }]);
  });

  test.each([
    ["const a = 1", "complete"],
    ["function f() {", "incomplete"],
    ["const text = `half", "incomplete"],
    ["a = = 3", "invalid"],
    ["%help", "complete"],
  ])("%j is %s", async (code, status) => {
    expect((await kernel.ask("shell", "is_complete_request", { code }))["status"]).toBe(status);
  });

  test("the history has what was run", async () => {
    await kernel.execute("const inHistory = 1");
    const tail = await kernel.ask("shell", "history_request", { hist_access_type: "tail", n: 1, raw: true, output: false });
    expect(tail["history"]).toEqual([[0, expect.any(Number), "const inHistory = 1"]]);
    const found = await kernel.ask("shell", "history_request", {
      hist_access_type: "search",
      pattern: "*History*",
      unique: true,
      raw: true,
      output: true,
    });
    expect(found["history"]).toEqual([[0, expect.any(Number), ["const inHistory = 1", null]]]);
  });

  test("user expressions are answered after the cell, each with its value or its error", async () => {
    const { reply } = await kernel.execute("const asked = 20", {
      user_expressions: { twice: "asked * 2", wrong: "(() => { throw new Error('no') })()" },
    });
    expect(reply["user_expressions"]).toMatchObject({
      twice: { status: "ok", data: { "text/plain": "40" } },
      wrong: { status: "error", evalue: "no" },
    });
  });

  test("a silent cell counts nothing and shows nothing", async () => {
    const before = (await kernel.execute("1")).execution_count;
    const { outputs } = await kernel.execute("5", { silent: true, store_history: false });
    expect(outputs).toEqual([]);
    expect((await kernel.execute("1")).execution_count).toBe((before ?? 0) + 1);
  });

  test("cells that were sent with one that fails are not run", async () => {
    const stop_on_error = true;
    const [, second, third] = await Promise.all([
      kernel.execute("throw new Error('first')", { stop_on_error }),
      kernel.execute("console.log('second')", { stop_on_error }),
      kernel.execute("console.log('third')", { stop_on_error }),
    ]);
    expect([second.reply["status"], third.reply["status"]]).toEqual(["aborted", "aborted"]);
    expect(printed(await kernel.execute("console.log('later')"))).toBe("later\n");
  });

  test("a message that is signed with another key is not heard", async () => {
    const { messages, stop } = collect();
    await kernel.tell("shell", "execute_request", { code: "console.log('forged')", silent: false }, "another key");
    await kernel.execute("1");
    stop();
    expect(messages.filter(isStream("forged"))).toEqual([]);
  });

  test("prompt asks the front end and waits", async () => {
    const asked = kernel.next(({ type }) => type === "input_request");
    const ran = kernel.execute("prompt('Your name?') + '!'", { allow_stdin: true });
    expect((await asked).content).toEqual({ prompt: "Your name? ", password: false });
    await kernel.tell("stdin", "input_reply", { value: "Ada" });
    expect(valueOf(await ran)).toBe("'Ada!'");
    expect(valueOf(await kernel.execute("prompt('nobody there')"))).toBe("null");
  });

  test("a comm of the page that nobody answers is closed", async () => {
    const closed = kernel.next(({ type }) => type === "comm_close");
    await kernel.tell("shell", "comm_open", { comm_id: "c1", target_name: "nobody", data: {} });
    expect((await closed).content["comm_id"]).toBe("c1");
  });

  test("a comm of a cell speaks with the page, in both directions and with bytes", async () => {
    const opened = kernel.next(({ type }) => type === "comm_open");
    await kernel.execute(
      "const comm = (globalThis as any)[Symbol.for('drey.comms')].open('page', { hello: 1 }, { message: (data: any) => comm.send({ twice: data.n * 2 }) })",
    );
    const { content } = await opened;
    expect(content).toMatchObject({ target_name: "page", data: { hello: 1 } });
    const { comms } = await kernel.ask("shell", "comm_info_request", { target_name: "page" });
    expect(comms).toEqual({ [String(content["comm_id"])]: { target_name: "page" } });
    const answered = kernel.next(({ type }) => type === "comm_msg");
    await kernel.tell("shell", "comm_msg", { comm_id: content["comm_id"], data: { n: 21 } });
    expect((await answered).content["data"]).toEqual({ twice: 42 });
  });
});

describe("outputs", () => {
  test("what a cell says later stays under it", async () => {
    const late = kernel.next(isStream("late"));
    const first = await kernel.execute("setTimeout(() => console.log('late'), 200); 'first'");
    const second = await kernel.execute("await new Promise((done) => setTimeout(done, 400))");
    expect(valueOf(first)).toBe("'first'");
    expect(printed(second)).toBe("");
    expect((await late).content["name"]).toBe("stdout");
  });

  test("child processes of a cell are heard", async () => {
    const code =
      "import { spawnSync } from 'node:child_process'; spawnSync('echo', ['from a child'], { stdio: 'inherit' }); await new Promise((d) => setTimeout(d, 100))";
    expect(printed(await kernel.execute(code))).toBe("from a child\n");
  });

  test("a burst of 5,000 updates arrives whole and in order", async () => {
    const { messages, stop } = collect();
    const code = [
      "const outlet = (globalThis as any)[Symbol.for('drey.display')];",
      "for (let i = 0; i < 5_000; i++) outlet.send({ 'text/plain': String(i) }, { id: 'burst', update: i > 0 });",
    ].join("\n");
    await kernel.execute(code);
    stop();
    const shown = messages
      .filter(({ type }) => type.endsWith("display_data"))
      .map(({ content }) => Number((content["data"] as Record<string, string>)["text/plain"]));
    expect([shown.length, shown.findIndex((n, i) => n !== i), shown.slice(-2)]).toEqual([5_000, -1, [4_998, 4_999]]);
  });

  test("console.clear clears the cell", async () => {
    const cleared = kernel.next(({ type }) => type === "clear_output");
    await kernel.execute("console.clear()");
    expect((await cleared).content).toEqual({ wait: false });
  });
});

describe("interrupts", () => {
  const interruptedWithin = async (code: string, interrupt: () => Promise<unknown> | void): Promise<string | undefined> => {
    const started = kernel.next(isStream("started"));
    const ran = kernel.execute(`console.log('started'); ${code}`);
    await started;
    await interrupt();
    return errorOf(await ran)?.ename;
  };
  const byMessage = (): Promise<unknown> => kernel.ask("control", "interrupt_request");

  test.each([
    ["a wait that never ends", "await new Promise(() => {})"],
    ["a loop", "while (true) {}"],
    ["a loop after an await", "await null; while (true) {}"],
    ["a loop after a timer", "await new Promise((done) => setTimeout(done, 5)); for (;;) Math.random()"],
    ["a loop that prints", "await null; while (true) console.log('x'.repeat(1_000))"],
  ])("%s is interrupted by a message", async (_what, code) => {
    expect(await interruptedWithin(code, byMessage)).toBe("Interrupted");
    expect(valueOf(await kernel.execute("await new Promise((done) => setTimeout(done, 5)); 'alive'"))).toBe("'alive'");
  });

  test("a signal interrupts, too", async () => {
    expect(await interruptedWithin("await null; while (true) {}", () => void process.kill(kernel.pid, "SIGINT"))).toBe("Interrupted");
  });

  test("a question to the user is interrupted", async () => {
    const asked = kernel.next(({ type }) => type === "input_request");
    const ran = kernel.execute("prompt('?'); await new Promise(() => {})", { allow_stdin: true });
    await asked;
    await byMessage();
    expect(errorOf(await ran)?.ename).toBe("Interrupted");
  });

  test("variables are still there", async () => {
    await kernel.execute("let survived = 1");
    await interruptedWithin("survived = 2; while (true) {}", byMessage);
    expect(valueOf(await kernel.execute("survived"))).toBe("2");
  });
});

describe("the end", () => {
  test("a cell that ends the process says so, and the next one runs without its variables", async () => {
    await kernel.execute("const lost = 1");
    expect(errorOf(await kernel.execute("require('node:process').exit(3)"))).toMatchObject({
      ename: "EvaluatorEnded",
      evalue: expect.stringContaining("exit code 3") as string,
    });
    expect(errorOf(await kernel.execute("lost"))?.evalue).toContain("Cannot find name 'lost'");
    expect(valueOf(await kernel.execute("2"))).toBe("2");
  });

  test("a kernel that is killed leaves no process behind, however busy", async () => {
    const other = await startKernel();
    const evaluator = Number(valueOf(await other.execute("process.pid")));
    const started = other.next(isStream("busy"));
    void other.execute("console.log('busy'); await null; while (true) {}").catch(() => undefined);
    await started;
    process.kill(other.pid, "SIGKILL");
    await expect.poll(() => runs(evaluator), { timeout: 20_000 }).toBe(false);
    await other.end();
  });

  test("a kernel ends with the front end that started it, also when that is killed", async () => {
    const program =
      "require('child_process').spawn(process.execPath, process.argv.slice(1), { env: { ...process.env, JPY_PARENT_PID: `${process.pid}` } })";
    const [node, ...args] = ourKernel.kernel;
    const frontEnd = new KernelSession({ ...ourKernel, kernel: [node, "-e", program, ...args], cwd: tmpdir(), timeoutMs: 60_000 });
    try {
      await frontEnd.ready();
      const ended = Number(valueOf(await frontEnd.execute("require('node:process').ppid")));
      expect(ended).not.toBe(frontEnd.pid);
      process.kill(frontEnd.pid, "SIGKILL");
      await expect.poll(() => runs(ended), { timeout: 60_000 }).toBe(false);
    } finally {
      await frontEnd.end();
    }
  }, 120_000);
});
