/** Programs as processes of their own, for tests of what is left when they end. They import the built package. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

const folder = (): string => mkdtempSync(join(tmpdir(), "dreyt-"));

/** A folder in which `drey` is installed, and whose programs see nobody else's clusters. */
export class ProgramFolder {
  readonly path: string = folder();
  readonly env: NodeJS.ProcessEnv;
  readonly #programs: Program[] = [];

  constructor() {
    const { DREY_JOBMANAGER: _, NODE_OPTIONS: __, ...env } = process.env;
    this.env = { ...env, DREY_RUNTIME_DIR: folder(), TMPDIR: folder() };
    mkdirSync(join(this.path, "node_modules"));
    symlinkSync(root, join(this.path, "node_modules", "drey"));
  }

  write(name: string, text: string): string {
    writeFileSync(join(this.path, name), text);
    return join(this.path, name);
  }

  /** Runs a program with Node. */
  node(name: string, text: string, ...args: string[]): Program {
    return this.#start([this.write(name, text), ...args]);
  }

  /** Processes that were started in this folder's environment, by whomever, as "pid: command line". Linux tells; elsewhere there are none. */
  get processes(): readonly string[] {
    return processesOf(this.env["TMPDIR"] as string);
  }

  /** Runs the command line. */
  drey(...args: string[]): Program {
    return this.#start([join(root, "dist", "cluster", "cli.js"), ...args]);
  }

  /** Ends what still runs and removes everything. */
  async remove(): Promise<void> {
    for (const program of this.#programs) program.kill("SIGKILL");
    await Promise.all(this.#programs.map((program) => program.ended));
    for (const folder of [this.path, this.env["DREY_RUNTIME_DIR"] as string, this.env["TMPDIR"] as string])
      rmSync(folder, { recursive: true, force: true });
  }

  #start(args: string[]): Program {
    const program = new Program(args, this.path, this.env);
    this.#programs.push(program);
    return program;
  }
}

/** A running program. */
export class Program {
  stdout = "";
  stderr = "";
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<() => void>();

  constructor(args: string[], cwd: string, env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#heard("stdout", text));
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#heard("stderr", text));
    // Its own end and not that of its pipes, which its children might have inherited.
    this.ended = new Promise((resolve) => this.#child.once("exit", (code, signal) => setImmediate(() => resolve({ code, signal }))));
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** As a terminal does: the program is the head of a process group of its own. */
  killGroup(signal: NodeJS.Signals): void {
    process.kill(-(this.#child.pid as number), signal);
  }

  /** Resolves with the match once the program has said it. */
  said(pattern: RegExp, where: "stdout" | "stderr" = "stdout"): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(this[where]);
        if (found === null) return;
        this.#listeners.delete(look);
        resolve(found);
      };
      this.#listeners.add(look);
      void this.ended.then(() => {
        look();
        reject(new Error(`it ended without saying ${pattern}; it said:\n${this.stdout}\n${this.stderr}`));
      });
      look();
    });
  }

  #heard(where: "stdout" | "stderr", text: string): void {
    this[where] += text;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Whether a process runs; one that has ended and waits to be reaped does not. */
export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Processes with this folder for temporary files, which children inherit, however their parents end. */
export function processesOf(temporaryFolder: string): readonly string[] {
  const all = existsSync("/proc/self/environ") ? readdirSync("/proc").filter((name) => /^\d+$/.test(name)) : [];
  return all.flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`TMPDIR=${temporaryFolder}`) || !runs(Number(pid))) return [];
      return [`${pid}: ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()}`];
    } catch {
      // It has just ended, or is somebody else's.
      return [];
    }
  });
}
