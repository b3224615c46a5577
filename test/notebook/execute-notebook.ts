/**
 * Runs a notebook in a Jupyter kernel, as a front end does: starts the kernel, sends it the code cells one after the other, and puts what
 * it answers into the notebook. Speaks Jupyter's wire protocol 5.3 over ZeroMQ; no Python.
 *
 * The kernel's sockets lie in a folder of their own (`ipc`), so runs beside one another never take each other's ports.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Dealer, Subscriber } from "zeromq";

/** A notebook as it stands in a file, nbformat 4. */
export interface Notebook {
  readonly cells: readonly NotebookCell[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly nbformat: number;
  readonly nbformat_minor: number;
}

export interface NotebookCell {
  readonly cell_type: "code" | "markdown" | "raw";
  readonly id?: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly source: string | readonly string[];
  readonly execution_count?: number | null;
  readonly outputs?: readonly Output[];
}

export type Output =
  | { readonly output_type: "stream"; readonly name: string; readonly text: string }
  | {
      readonly output_type: "display_data" | "execute_result";
      readonly data: Readonly<Record<string, unknown>>;
      readonly metadata: object;
      readonly execution_count?: number;
    }
  | { readonly output_type: "error"; readonly ename: string; readonly evalue: string; readonly traceback: readonly string[] };

export interface ExecuteOptions {
  /** Program and arguments; `{connection}` stands for the connection file. */
  readonly kernel: readonly [string, ...string[]];
  /** What stands between the folder and a socket's number: "-" for Jupyter, ":" for tslab, the default. */
  readonly separator?: "-" | ":";
  /** The folder that the kernel runs in. */
  readonly cwd: string;
  /** Of one cell, and of the kernel's start; default 120,000. */
  readonly timeoutMs?: number;
  /** Beside the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What became of a notebook. */
export interface Executed {
  readonly notebook: Notebook;
  /** Displays that were updated after their first drawing: how often. */
  readonly updates: number;
  /** What the kernel's process wrote itself. */
  readonly kernelLog: string;
}

/** Runs all code cells, also after a cell has failed. @throws Error when the kernel does not start, ends, or leaves a cell unanswered. */
export async function executeNotebook(notebook: Notebook, { kernel, cwd, separator, timeoutMs }: ExecuteOptions): Promise<Executed> {
  const session = new KernelSession({ kernel, cwd, ...(separator === undefined ? {} : { separator }), ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  const run = async ({ source }: NotebookCell): Promise<Omit<Ran, "reply">> => {
    const { execution_count, outputs } = await session.execute(typeof source === "string" ? source : source.join(""));
    return { execution_count, outputs };
  };
  try {
    await session.ready();
    const cells: NotebookCell[] = [];
    for (const cell of notebook.cells) {
      if (cell.cell_type !== "code") cells.push(cell);
      else cells.push({ ...cell, ...(await run(cell)) });
    }
    return { notebook: { ...notebook, cells }, updates: session.updates, kernelLog: session.log };
  } finally {
    await session.end();
  }
}

/** A message of the kernel. */
export interface Message {
  readonly type: string;
  /** The id of the request that this belongs to. */
  readonly request: string;
  readonly content: Readonly<Record<string, unknown>>;
}

const DELIMITER = "<IDS|MSG>";
const SOCKETS = ["shell", "iopub", "stdin", "control", "hb"] as const;

/** A cell that ran. */
export interface Ran {
  readonly execution_count: number | null;
  readonly outputs: readonly Output[];
  /** The content of the `execute_reply`. */
  readonly reply: Readonly<Record<string, unknown>>;
}

/** A kernel that was started, and a front end's sockets to it. Whoever starts it ends it. */
export class KernelSession {
  log = "";
  updates = 0;
  readonly #timeoutMs: number;
  readonly #folder = mkdtempSync(join(tmpdir(), "drey-kernel-"));
  readonly #key = randomUUID();
  readonly #id = randomUUID();
  readonly #kernel: ChildProcess;
  readonly #ended: Promise<void>;
  // A question for the user finds the front end that sent the cell by the name of its socket.
  readonly #shell = new Dealer({ linger: 0, routingId: this.#id });
  readonly #control = new Dealer({ linger: 0 });
  readonly #stdin = new Dealer({ linger: 0, routingId: this.#id });
  readonly #iopub = new Subscriber({ linger: 0 });
  readonly #listeners = new Set<(message: Message) => void>();
  /** Where a display stands, so that an update finds it: the outputs of its cell and its place among them. */
  readonly #displays = new Map<string, { readonly outputs: Output[]; readonly at: number }>();

  constructor({ kernel: [program, ...args], cwd, separator = ":", timeoutMs = 120_000, env = {} }: ExecuteOptions) {
    this.#timeoutMs = timeoutMs;
    const connection = join(this.#folder, "connection.json");
    const ports = Object.fromEntries(SOCKETS.map((name, index) => [`${name}_port`, index + 1]));
    const ip = join(this.#folder, "socket");
    writeFileSync(connection, JSON.stringify({ transport: "ipc", ip, key: this.#key, signature_scheme: "hmac-sha256", ...ports }));
    this.#shell.connect(`ipc://${ip}${separator}${ports["shell_port"]}`);
    this.#iopub.connect(`ipc://${ip}${separator}${ports["iopub_port"]}`);
    this.#control.connect(`ipc://${ip}${separator}${ports["control_port"]}`);
    this.#stdin.connect(`ipc://${ip}${separator}${ports["stdin_port"]}`);
    this.#iopub.subscribe();
    for (const socket of [this.#shell, this.#iopub, this.#control, this.#stdin]) void this.#receive(socket);
    this.#kernel = spawn(program, args.map((arg) => arg.replace("{connection}", connection)), {
      cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#kernel.stdout, this.#kernel.stderr]) stream?.on("data", (text: Buffer) => (this.log += text.toString()));
    this.#ended = new Promise((resolve) => {
      this.#kernel.once("exit", () => resolve());
      this.#kernel.once("error", (error) => {
        this.log += String(error);
        resolve();
      });
    });
  }

  /** Resolves when the kernel answers and its outputs arrive here. */
  async ready(): Promise<void> {
    const { answer } = await this.#request(this.#shell, "kernel_info_request", {});
    await answer;
    // A subscription takes its time: what is published before it has arrived is lost.
    for (let tries = 0; ; tries++) {
      const heard = this.#next((message) => message.type === "status", 250);
      await this.#request(this.#shell, "kernel_info_request", {});
      if (await heard.then(() => true, () => false)) return;
      if (tries === 40) throw new Error(`The kernel's outputs do not arrive. It said:\n${this.log}`);
    }
  }

  /** Runs a cell; resolves when the kernel is idle again. @param more fields of the request. */
  async execute(code: string, more: object = {}): Promise<Ran> {
    const outputs: Output[] = [];
    const request = randomUUID();
    const listen = (message: Message): void => {
      if (message.request === request || message.type === "update_display_data") this.#take(message, outputs);
    };
    this.#listeners.add(listen);
    try {
      const idle = this.#next((it) => it.request === request && it.type === "status" && it.content["execution_state"] === "idle");
      const how = { silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: false, ...more };
      const { answer } = await this.#request(this.#shell, "execute_request", { code, ...how }, request);
      const [{ content }] = await Promise.all([answer, idle]);
      return { execution_count: (content["execution_count"] as number | undefined) ?? null, outputs, reply: content };
    } finally {
      this.#listeners.delete(listen);
    }
  }

  /** The kernel's own process. */
  get pid(): number {
    return this.#kernel.pid as number;
  }

  /** Resolves when the kernel's process has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Asks on the shell or the control channel; resolves with the content of the answer. */
  async ask(channel: "shell" | "control", type: string, content: object = {}): Promise<Readonly<Record<string, unknown>>> {
    const { answer } = await this.#request(channel === "shell" ? this.#shell : this.#control, type, content);
    return (await answer).content;
  }

  /** Sends what has no answer. */
  async tell(channel: "shell" | "stdin", type: string, content: object, key: string = this.#key): Promise<void> {
    await this.#send(channel === "shell" ? this.#shell : this.#stdin, type, content, randomUUID(), key);
  }

  /** Hears every message from now on, until the returned function is called. */
  listen(listener: (message: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The next message that fits. */
  next(isIt: (message: Message) => boolean, timeoutMs?: number): Promise<Message> {
    return this.#next(isIt, timeoutMs);
  }

  /** Asks the kernel to end, and sees to it. */
  async end(): Promise<void> {
    const gone = (ms: number): Promise<boolean> =>
      new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), ms);
        void this.#ended.then(() => {
          clearTimeout(timer);
          resolve(true);
        });
      });
    if (!(await gone(0))) {
      await this.#send(this.#control, "shutdown_request", { restart: false }, randomUUID());
      if (!(await gone(5_000))) this.#kernel.kill("SIGKILL");
      await this.#ended;
    }
    for (const socket of [this.#shell, this.#iopub, this.#control, this.#stdin]) socket.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #take({ type, content }: Message, outputs: Output[]): void {
    const displayId = (content["transient"] as { display_id?: string } | undefined)?.display_id;
    const metadata = (content["metadata"] ?? {}) as object;
    const data = (content["data"] ?? {}) as Readonly<Record<string, unknown>>;
    switch (type) {
      case "stream": {
        const last = outputs.at(-1);
        const name = String(content["name"]);
        const text = String(content["text"]);
        if (last?.output_type === "stream" && last.name === name) outputs[outputs.length - 1] = { ...last, text: last.text + text };
        else outputs.push({ output_type: "stream", name, text });
        return;
      }
      case "display_data":
        outputs.push({ output_type: "display_data", data, metadata });
        if (displayId !== undefined) this.#displays.set(displayId, { outputs, at: outputs.length - 1 });
        return;
      case "update_display_data": {
        const place = displayId === undefined ? undefined : this.#displays.get(displayId);
        if (place === undefined) return;
        this.updates++;
        place.outputs[place.at] = { output_type: "display_data", data, metadata };
        return;
      }
      case "execute_result":
        outputs.push({ output_type: "execute_result", data, metadata, execution_count: Number(content["execution_count"]) });
        return;
      case "error": {
        const { ename, evalue, traceback } = content as { ename: string; evalue: string; traceback: string[] };
        outputs.push({ output_type: "error", ename, evalue, traceback });
      }
    }
  }

  /** Sends a request; `answer` is its reply. */
  async #request(socket: Dealer, type: string, content: object, request: string = randomUUID()): Promise<{ answer: Promise<Message> }> {
    const answer = this.#next((message) => message.request === request && message.type === type.replace("_request", "_reply"));
    // Whoever does not wait for it need not hear that it did not come.
    answer.catch(() => undefined);
    await this.#send(socket, type, content, request);
    return { answer };
  }

  /** The next message of that kind. @throws Error after the deadline, or when the kernel ends. */
  #next(isIt: (message: Message) => boolean, timeoutMs: number = this.#timeoutMs): Promise<Message> {
    return new Promise((resolve, reject) => {
      const done = (act: () => void): void => {
        clearTimeout(timer);
        this.#listeners.delete(listen);
        act();
      };
      const listen = (message: Message): void => {
        if (isIt(message)) done(() => resolve(message));
      };
      const fail = (what: string): void => done(() => reject(new Error(`${what} The kernel said:\n${this.log}`)));
      const timer = setTimeout(() => fail(`No answer within ${timeoutMs} ms.`), timeoutMs);
      this.#listeners.add(listen);
      void this.#ended.then(() => fail(`The kernel has ended (${this.#kernel.exitCode ?? this.#kernel.signalCode}).`));
    });
  }

  async #send(socket: Dealer, type: string, content: object, id: string, key: string = this.#key): Promise<void> {
    const header = { msg_id: id, username: "test", session: this.#id, date: new Date().toISOString(), msg_type: type, version: "5.3" };
    const parts = [header, {}, {}, content].map((part) => JSON.stringify(part));
    await socket.send([DELIMITER, this.#sign(parts, key), ...parts]);
  }

  #sign(parts: readonly string[], key: string = this.#key): string {
    const hmac = createHmac("sha256", key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("hex");
  }

  async #receive(socket: Dealer | Subscriber): Promise<void> {
    for await (const frames of socket) {
      const texts = frames.map((frame) => frame.toString());
      const [signature, ...parts] = texts.slice(texts.indexOf(DELIMITER) + 1) as [string, string, string, string, string];
      if (signature !== this.#sign(parts.slice(0, 4))) throw new Error("The kernel signs its messages with another key.");
      const [header, parent, , content] = parts.map((part) => JSON.parse(part) as Record<string, unknown>) as [
        Record<string, unknown>, Record<string, unknown>, Record<string, unknown>, Record<string, unknown>,
      ];
      const message: Message = { type: String(header["msg_type"]), request: String(parent["msg_id"] ?? ""), content };
      for (const listener of [...this.#listeners]) listener(message);
    }
  }
}
