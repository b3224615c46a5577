/** `prompt`, `confirm` and `alert`, as browsers and Deno have them: the cell stands still until the user has answered. */
import { readSync } from "node:fs";
import { answer } from "./answers.ts";
import { DESCRIPTORS } from "./protocol.ts";
import { presentRequest } from "./running.ts";

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Reads exactly that many bytes; undefined when the front process has gone. */
function read(length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length;) {
    try {
      const count = readSync(DESCRIPTORS.input, bytes, at, length - at, null);
      if (count === 0) return undefined;
      at += count;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EAGAIN") return undefined;
      Atomics.wait(pause, 0, 0, 10);
    }
  }
  return bytes;
}

/** Asks the user. @returns null when the front end can't ask, or the question was interrupted. Blocks the main thread. */
function ask(prompt: string, password: boolean): string | null {
  answer({ kind: "ask", request: presentRequest(), prompt, password });
  const length = read(4)?.readInt32LE(0) ?? -1;
  return length < 0 ? null : (read(length)?.toString() ?? null);
}

/** Puts the three on globalThis. */
export function installPrompts(): void {
  const given = {
    prompt: (message = "", initial: string | null = null): string | null => {
      const text = ask(`${String(message)} `, false);
      return text === "" ? (initial ?? "") : text;
    },
    confirm: (message = ""): boolean => /^y(es)?$/i.test(ask(`${String(message)} [y/N] `, false) ?? ""),
    alert: (message = ""): void => void ask(`${String(message)} [Enter] `, false),
  };
  for (const [name, value] of Object.entries(given))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: false });
}
