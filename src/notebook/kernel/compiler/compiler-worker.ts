/**
 * The thread that compiles, in the front process: while it thinks, the front process goes on answering, and completion works while a cell
 * runs.
 */
import { parentPort, workerData } from "node:worker_threads";
import { erasingCompiler } from "./erasing-compiler.ts";
import type { Questions } from "./protocol.ts";
import { typedCompiler } from "./typed-compiler.ts";
import { loadTypeScript } from "./typescript.ts";

const folder = workerData as string;
const found = loadTypeScript(folder);
const compiler = found === undefined ? erasingCompiler(folder) : typedCompiler(found, folder);

type Answers = { readonly [Name in keyof Questions]: (asked: Questions[Name][0]) => Questions[Name][1] };

const answers: Answers = {
  compile: ({ cell, code, mode }) => compiler.compile(cell, code, mode),
  complete: ({ code, cursor }) => compiler.complete(code, cursor),
  inspect: ({ code, cursor }) => compiler.inspect(code, cursor),
  isComplete: ({ code }) => compiler.isComplete(code),
  forget: () => {
    compiler.forget();
    return undefined;
  },
  about: () => compiler.about,
};

parentPort?.on("message", ({ id, name, asked }: { id: number; name: keyof Questions; asked: never }) => {
  try {
    parentPort?.postMessage({ id, answered: answers[name](asked) });
  } catch (error) {
    parentPort?.postMessage({ id, error });
  }
});

// The libraries' types are read now, and not when the first cell waits for them.
compiler.complete("Promise.", "Promise.".length);
