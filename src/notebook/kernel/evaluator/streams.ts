/**
 * What a cell prints: to the front end, under that cell. What child processes and native code print goes through the process's own pipes.
 */
import { answer } from "./answers.ts";
import { presentRequest } from "./running.ts";

/** From now on stdout, stderr and `console.clear` of this process speak to the front end. */
export function installStreams(): void {
  for (const name of ["stdout", "stderr"] as const) {
    const stream = process[name];
    const decoder = new TextDecoder();
    stream.write = ((chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
      const text = typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
      if (text !== "") answer({ kind: "stream", request: presentRequest(), name, text });
      const written = rest.findLast((one) => typeof one === "function") as (() => void) | undefined;
      if (written !== undefined) process.nextTick(written);
      return true;
    }) as typeof stream.write;
  }
  console.clear = () => answer({ kind: "clear", request: presentRequest(), wait: false });
}
