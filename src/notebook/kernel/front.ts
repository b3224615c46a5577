/**
 * The front process of a kernel: everything that a front end talks to. It never runs a line of a cell, so it always answers: the heartbeat
 * beats, outputs flow and an interrupt arrives whatever a cell does.
 *
 * Cells run one after the other, in the order in which they came; everything else is answered at once. Between `busy` and `idle` of a
 * request lie all its answers, and what a cell says later still names the cell as its parent.
 */
import { VERSION } from "../../cluster/protocol/version.ts";
import { CompilerThread } from "./compiler/compiler-thread.ts";
import type { Compiled, Diagnostic, DiagnosticsMode } from "./compiler/protocol.ts";
import type { Connection } from "./connection-file.ts";
import { EvaluatorProcess } from "./evaluator-process.ts";
import type { Answer, Bundle, CommMessage, Failure, RequestNumber } from "./evaluator/protocol.ts";
import { History } from "./history.ts";
import { NO_PARENT, type Request, Sockets } from "./sockets.ts";
import { type Header, type Json, PROTOCOL_VERSION, Wire } from "./wire.ts";

/** How a cell ended. */
interface Outcome {
  readonly result?: Bundle;
  readonly failure?: Failure;
}

/** Parents that late outputs may still need. */
const MOST_PARENTS = 2_000;
/** Prints within this time make one message. */
const GATHER_MS = 15;
const GATHER_CHARACTERS = 64 * 1024;
/** Requests that follow a failed cell and were sent with it arrive within this time, and are not run. */
const ABORT_MS = 20;

/** One kernel, from `open` until its front end, or a signal, ends it. */
export class Front {
  /** Resolves when the kernel has ended. */
  readonly ended: Promise<void>;
  readonly #compiler: CompilerThread;
  readonly #evaluator: EvaluatorProcess;
  readonly #history = new History();
  readonly #parents = new Map<RequestNumber, Request>();
  readonly #comms = new Map<string, string>();
  readonly #queue: Request[] = [];
  readonly #outcomes = new Map<RequestNumber, (outcome: Outcome) => void>();
  #sockets!: Sockets;
  #mode: DiagnosticsMode;
  #nextRequest: RequestNumber = 1;
  #present: RequestNumber = 0;
  /** The latest request that was interrupted: it may not have got to its evaluator yet. */
  #interrupted: RequestNumber = 0;
  #cells = 0;
  #runs = 0;
  #running = false;
  #asking = false;
  #gathered: { request: RequestNumber; name: string; text: string } | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #ending = false;
  #tellEnded: () => void = () => undefined;

  private constructor(folder: string, mode: DiagnosticsMode) {
    this.#mode = mode;
    this.ended = new Promise((resolve) => (this.#tellEnded = resolve));
    this.#compiler = new CompilerThread(folder);
    this.#evaluator = new EvaluatorProcess({
      answer: (answer) => this.#take(answer),
      raw: (name, text) => this.#gather(this.#present, name, text),
      ended: (how, again) => this.#evaluatorEnded(how, again),
    });
  }

  /** Starts a kernel that listens where `connection` says. @param folder where its notebook lies. */
  static async open(connection: Connection, folder: string, mode: DiagnosticsMode = "error"): Promise<Front> {
    const front = new Front(folder, mode);
    front.#sockets = await Sockets.open(connection, new Wire(connection.key), {
      request: (request) => front.#request(request),
      crowded: (crowded) => (crowded ? front.#evaluator.pause() : front.#evaluator.resume()),
    });
    front.#sockets.publish("status", { execution_state: "starting" }, NO_PARENT);
    return front;
  }

  /** What ctrl-C means: the present cell is interrupted. */
  interrupt(): void {
    if (this.#asking) this.#evaluator.input(null);
    this.#asking = false;
    this.#interrupted = this.#present;
    this.#evaluator.interrupt(this.#present);
  }

  /** Ends the kernel with all that belongs to it. */
  async end(): Promise<void> {
    if (this.#ending) return this.ended;
    this.#ending = true;
    await this.#evaluator.end();
    this.#flush();
    await this.#sockets.close();
    this.#tellEnded();
  }

  // ------------------------------------------------------------------------------------------------------------ requests

  #request(request: Request): void {
    const { header, content } = request.message;
    if (header.msg_type === "execute_request") {
      this.#queue.push(request);
      void this.#runQueue();
      return;
    }
    if (header.msg_type === "input_reply") {
      if (this.#asking) this.#evaluator.input(String(content["value"] ?? ""));
      this.#asking = false;
      return;
    }
    void this.#during(header, () => this.#answer(request));
  }

  /** Between `busy` and `idle`. */
  async #during(header: Header, work: () => Promise<void> | void): Promise<void> {
    this.#sockets.publish("status", { execution_state: "busy" }, header);
    try {
      await work();
    } catch (error) {
      process.stderr.write(`drey kernel: ${(error as Error).stack ?? String(error)}\n`);
    } finally {
      this.#flush();
      this.#sockets.publish("status", { execution_state: "idle" }, header);
    }
  }

  async #answer(request: Request): Promise<void> {
    const { message } = request;
    const { content } = message;
    const code = String(content["code"] ?? "");
    const cursor = utf16Offset(code, Number(content["cursor_pos"] ?? code.length));
    const type = message.header.msg_type;
    const reply = (answer: Json): void => this.#sockets.reply(request, type.replace("_request", "_reply"), { status: "ok", ...answer });
    switch (type) {
      case "kernel_info_request":
        return reply(kernelInfo());
      case "complete_request": {
        const magic = /^%%?(\w*)$/.exec(code.slice(0, cursor));
        if (magic !== null) return reply(magicCompletions(magic[1] as string, cursor));
        const { matches, start, end } = await this.#compiler.ask("complete", { code, cursor });
        const [cursorStart, cursorEnd] = [codePoints(code, start), codePoints(code, end)];
        const types = matches.map(({ text, type: kind }) => ({ start: cursorStart, end: cursorEnd, text, type: kind }));
        return reply({
          matches: matches.map(({ text }) => text),
          cursor_start: cursorStart,
          cursor_end: cursorEnd,
          metadata: { _jupyter_types_experimental: types },
        });
      }
      case "inspect_request": {
        const text = await this.#compiler.ask("inspect", { code, cursor });
        return reply({ found: text !== undefined, data: text === undefined ? {} : { "text/plain": text }, metadata: {} });
      }
      case "is_complete_request": {
        const status = /^\s*[%?]/.test(code) ? { status: "complete" } : await this.#compiler.ask("isComplete", { code });
        return this.#sockets.reply(request, "is_complete_reply", status as unknown as Json);
      }
      case "history_request":
        return reply({ history: this.#history.find(content) });
      case "comm_info_request": {
        const wanted = content["target_name"];
        const comms = [...this.#comms].filter(([, target]) => wanted === undefined || wanted === null || wanted === target);
        return reply({ comms: Object.fromEntries(comms.map(([id, target]) => [id, { target_name: target }])) });
      }
      case "comm_open":
      case "comm_msg":
      case "comm_close":
        return this.#commIn(type, request);
      case "interrupt_request":
        this.interrupt();
        return reply({});
      case "shutdown_request":
        await this.#evaluator.end();
        reply({ restart: content["restart"] === true });
        this.#sockets.publish("shutdown_reply", { status: "ok", restart: content["restart"] === true }, message.header);
        // After `idle` has been said.
        setImmediate(() => void this.end());
        return;
      default:
        process.stderr.write(`drey kernel: a ${type} is not answered.\n`);
    }
  }

  #commIn(type: CommMessage["type"], { message }: Request): void {
    const { comm_id: id, target_name: target, data } = message.content as { comm_id: string; target_name?: string; data?: unknown };
    if (type === "comm_open") this.#comms.set(id, String(target));
    else if (type === "comm_close") this.#comms.delete(id);
    const request = this.#number({ channel: "shell", message });
    const opened = target === undefined ? {} : { target };
    const { metadata, buffers } = message;
    this.#evaluator.order({
      kind: "comm",
      request,
      type,
      id,
      data: data ?? {},
      metadata,
      buffers: buffers.map((one) => Buffer.from(one)),
      ...opened,
    });
  }

  // --------------------------------------------------------------------------------------------------------------- cells

  async #runQueue(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let request = this.#queue.shift(); request !== undefined; request = this.#queue.shift()) await this.#execute(request);
    this.#running = false;
  }

  async #execute(request: Request): Promise<void> {
    const { header, content } = request.message;
    const code = String(content["code"] ?? "");
    const silent = content["silent"] === true;
    const number = this.#number(request);
    this.#present = number;
    await this.#during(header, async () => {
      if (!silent) {
        this.#cells++;
        this.#sockets.publish("execute_input", { code, execution_count: this.#cells }, header);
        if (content["store_history"] !== false) this.#history.add(this.#cells, code);
      }
      const { outcome, payload } = await this.#evaluate(number, code, silent);
      this.#flush();
      const { failure, result } = outcome;
      if (failure !== undefined) {
        if (!silent) this.#sockets.publish("error", { ...failure }, header);
        this.#sockets.reply(request, "execute_reply", {
          status: "error",
          execution_count: this.#cells,
          ...failure,
          user_expressions: {},
          payload,
        });
        if (content["stop_on_error"] !== false && !silent) await this.#abortQueue();
        return;
      }
      if (result !== undefined && !silent)
        this.#sockets.publish("execute_result", { execution_count: this.#cells, data: result, metadata: {} }, header);
      const user_expressions = await this.#userExpressions(number, (content["user_expressions"] ?? {}) as Json);
      this.#sockets.reply(request, "execute_reply", { status: "ok", execution_count: this.#cells, payload, user_expressions });
    });
  }

  async #evaluate(request: RequestNumber, code: string, silent: boolean): Promise<{ outcome: Outcome; payload: readonly Json[] }> {
    const help = /^\s*\?+\s*([\w$.]+)\s*$|^\s*([\w$.]+)\s*\?+\s*$/.exec(code);
    if (help !== null) {
      const name = (help[1] ?? help[2]) as string;
      const text = (await this.#compiler.ask("inspect", { code: name, cursor: name.length })) ?? `Nothing is known of ${name}.`;
      return { outcome: {}, payload: [{ source: "page", data: { "text/plain": text }, start: 0 }] };
    }
    const magic = /^\s*%%?(\w+)[ \t]*([^\n]*)(?:\n([^]*))?$/.exec(code);
    const outcome = await (magic === null ? this.#runCell(request, code, silent) : this.#runMagic(request, magic as unknown as string[]));
    return { outcome, payload: [] };
  }

  #runMagic(request: RequestNumber, [, name = "", argument = "", body = ""]: readonly string[]): Promise<Outcome> {
    if (name === "diagnostics" && (argument === "error" || argument === "warning" || argument === "off")) this.#mode = argument;
    return this.#outcomeOf(request, () =>
      this.#evaluator.order({ kind: "magic", request, magic: { name, argument: argument.trim(), body } }),
    );
  }

  async #runCell(request: RequestNumber, code: string, silent: boolean): Promise<Outcome> {
    const number = this.#cells;
    const run = ++this.#runs;
    let compiled: Compiled;
    try {
      compiled = await this.#compiler.ask("compile", { cell: run, code, mode: this.#mode });
    } catch (error) {
      return { failure: { ename: "CompilerError", evalue: String(error), traceback: [String((error as Error).stack ?? error)] } };
    }
    if (this.#interrupted === request) {
      const evalue = "the cell was interrupted before it ran.";
      return { failure: { ename: "Interrupted", evalue, traceback: [`Interrupted: ${evalue}`] } };
    }
    const { script, diagnostics } = compiled;
    const label = `Cell [${number}]`;
    if (script === undefined) return { failure: failureOfDiagnostics(diagnostics, label) };
    if (diagnostics.length > 0 && !silent)
      this.#gather(request, "stderr", `${diagnostics.map((one) => textOfDiagnostic(one, label)).join("\n")}\n`);
    const { javascript, sourceMap, declares } = script;
    const url = `Cell[${run}].js`;
    const cell = { label, url, typescript: code, javascript, sourceMap, declares };
    return this.#outcomeOf(request, () => this.#evaluator.order({ kind: "run", request, cell, show: !silent }));
  }

  async #userExpressions(request: RequestNumber, expressions: Json): Promise<Json> {
    const answered: Record<string, unknown> = {};
    for (const [name, expression] of Object.entries(expressions)) {
      const { result, failure } = await this.#runCell(request, String(expression), false);
      answered[name] = failure === undefined ? { status: "ok", data: result ?? {}, metadata: {} } : { status: "error", ...failure };
    }
    return answered;
  }

  #outcomeOf(request: RequestNumber, give: () => void): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#outcomes.set(request, resolve);
      give();
    });
  }

  /** Cells that were sent together with one that failed are not run. */
  async #abortQueue(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ABORT_MS));
    for (const request of this.#queue.splice(0)) {
      const { header } = request.message;
      await this.#during(header, () => this.#sockets.reply(request, "execute_reply", { status: "aborted", execution_count: this.#cells }));
    }
  }

  // ------------------------------------------------------------------------------------------------------------- outputs

  #take(answer: Answer): void {
    if (answer.kind === "stream") return this.#gather(answer.request, answer.name, answer.text);
    this.#flush();
    switch (answer.kind) {
      case "ready":
      case "interrupting":
        return;
      case "display": {
        const { data, id, update } = answer;
        const transient = id === undefined ? {} : { display_id: id };
        return this.#output(answer.request, update ? "update_display_data" : "display_data", { data, metadata: {}, transient });
      }
      case "clear":
        return this.#output(answer.request, "clear_output", { wait: answer.wait });
      case "done": {
        const tell = this.#outcomes.get(answer.request);
        this.#outcomes.delete(answer.request);
        return tell?.({
          ...(answer.result === undefined ? {} : { result: answer.result }),
          ...(answer.failure === undefined ? {} : { failure: answer.failure }),
        });
      }
      case "comm": {
        const { type, id, target, data, metadata, buffers } = answer;
        if (type === "comm_open") this.#comms.set(id, target ?? "");
        else if (type === "comm_close") this.#comms.delete(id);
        const opened = target === undefined ? {} : { target_name: target };
        return this.#sockets.publish(type, { comm_id: id, data, ...opened }, this.#parentOf(answer.request), metadata, buffers);
      }
      case "ask":
        return this.#ask(answer.request, answer.prompt, answer.password);
    }
  }

  #ask(number: RequestNumber, prompt: string, password: boolean): void {
    const request = this.#parents.get(number);
    if (request?.message.content["allow_stdin"] !== true) return this.#evaluator.input(null);
    this.#asking = true;
    this.#sockets.ask(request, { prompt, password });
  }

  #output(request: RequestNumber, type: string, content: Json): void {
    this.#sockets.publish(type, content, this.#parentOf(request));
  }

  /** Prints that follow each other closely become one message. */
  #gather(request: RequestNumber, name: string, text: string): void {
    if (this.#gathered !== undefined && (this.#gathered.request !== request || this.#gathered.name !== name)) this.#flush();
    if (this.#gathered === undefined) this.#gathered = { request, name, text };
    else this.#gathered.text += text;
    if (this.#gathered.text.length > GATHER_CHARACTERS) this.#flush();
    else this.#gathering ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #flush(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    const gathered = this.#gathered;
    this.#gathered = undefined;
    if (gathered !== undefined) this.#output(gathered.request, "stream", { name: gathered.name, text: gathered.text });
  }

  #number(request: Request): RequestNumber {
    const number = this.#nextRequest++;
    this.#parents.set(number, request);
    if (this.#parents.size > MOST_PARENTS) this.#parents.delete(this.#parents.keys().next().value as RequestNumber);
    return number;
  }

  #parentOf(request: RequestNumber): Header | typeof NO_PARENT {
    return this.#parents.get(request)?.message.header ?? NO_PARENT;
  }

  #evaluatorEnded(how: string, again: boolean): void {
    const next = again
      ? "A new one has started, without the notebook's variables: run the cells again from the top."
      : "It does not start any more.";
    const evalue = `the process that runs the cells has ended (${how}). ${next}`;
    this.#flush();
    void this.#compiler.ask("forget", {});
    this.#asking = false;
    const failure = { ename: "EvaluatorEnded", evalue, traceback: [`\u001b[31mThe kernel's process has ended\u001b[0m: ${evalue}`] };
    if (this.#outcomes.size === 0) this.#gather(this.#present, "stderr", `${evalue}\n`);
    for (const tell of this.#outcomes.values()) tell({ failure });
    this.#outcomes.clear();
    if (!again) void this.end();
  }
}

function kernelInfo(): Json {
  return {
    protocol_version: PROTOCOL_VERSION,
    implementation: "drey",
    implementation_version: VERSION,
    language_info: {
      name: "typescript",
      version: "5.9",
      mimetype: "application/typescript",
      file_extension: ".ts",
      pygments_lexer: "typescript",
      codemirror_mode: "typescript",
      nbconvert_exporter: "script",
    },
    banner: `drey ${VERSION}: TypeScript cells, and jobs on a cluster of processes. %help says more.`,
    help_links: [],
    debugger: false,
    supported_features: [],
  };
}

const MAGICS = ["%cluster", "%jobs", "%cancel", "%savepoint", "%diagnostics", "%interrupts", "%help", "%%sql"];

function magicCompletions(begun: string, cursor: number): Json {
  const matches = MAGICS.filter((magic) => magic.replace(/^%+/, "").startsWith(begun));
  return { matches, cursor_start: 0, cursor_end: cursor, metadata: {} };
}

function textOfDiagnostic({ message, line, column, text, length, code }: Diagnostic, label: string): string {
  const indent = text.slice(0, column - 1).replace(/[^\t]/g, " ");
  const place = `\u001b[2m${label}:${line}:${column}\u001b[0m`;
  return `${place} ${message}${code === undefined ? "" : ` (${code})`}\n    ${text}\n    ${indent}\u001b[31m${"~".repeat(length)}\u001b[0m`;
}

function failureOfDiagnostics(diagnostics: readonly Diagnostic[], label: string): Failure {
  const [first] = diagnostics;
  const ename = first?.syntax === true ? "SyntaxError" : "TypeScriptError";
  const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : "";
  return {
    ename,
    evalue: `${label}:${first?.line}:${first?.column} ${first?.message}${more}`,
    traceback: [`\u001b[31m${ename}\u001b[0m`, ...diagnostics.map((one) => textOfDiagnostic(one, label))],
  };
}

/** Jupyter counts code points, JavaScript UTF-16 units. */
const utf16Offset = (text: string, points: number): number => [...text].slice(0, points).join("").length;
const codePoints = (text: string, offset: number): number => [...text.slice(0, offset)].length;
