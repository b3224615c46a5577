/** The front process's end of the compiling thread: questions, each with one answer. */
import { Worker } from "node:worker_threads";
import { InvariantError } from "../../../core/types/errors.ts";
import type { Questions } from "./protocol.ts";

interface Reply {
  readonly id: number;
  readonly answered?: unknown;
  readonly error?: unknown;
}

/** A compiler in a thread of its own, which ends with the process. */
export class CompilerThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { readonly resolve: (answer: never) => void; readonly reject: (error: unknown) => void }>();
  #next = 0;

  /** @param folder where the notebook lies. */
  constructor(folder: string) {
    this.#worker = new Worker(new URL("./compiler-worker.js", import.meta.url), { workerData: folder });
    this.#worker.on("message", ({ id, answered, error }: Reply) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(answered as never);
      else waiting?.reject(error);
    });
    this.#worker.on("error", (error) => this.#lost(error));
    this.#worker.on("exit", () => this.#lost(new InvariantError("the compiling thread has ended; restart the kernel.")));
  }

  /** Asks; questions are answered in order. @throws what the compiler throws, and InvariantError once its thread has ended. */
  ask<Name extends keyof Questions>(name: Name, asked: Questions[Name][0]): Promise<Questions[Name][1]> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (answer: never) => void, reject });
      this.#worker.postMessage({ id, name, asked });
    });
  }

  #lost(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
