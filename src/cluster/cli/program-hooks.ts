/**
 * How modules of a user's program are found and read, beyond what every Node does: TypeScript, by erasing its types, and `drey` itself for
 * programs that lie outside of any package that depends on it (`npx drey run job.ts`). Runs in Node's hooks thread or in the main thread.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

interface Resolved {
  readonly url: string;
  readonly format?: string | null;
  readonly shortCircuit?: boolean;
}

interface Loaded {
  readonly format: string;
  readonly source: string;
  readonly shortCircuit: true;
}

type Next<Context, Result> = (what: string, context: Context) => Result;

/** Node's asynchronous resolve hook. */
export async function resolve<Context>(specifier: string, context: Context, next: Next<Context, Promise<Resolved>>): Promise<Resolved> {
  try {
    return await next(specifier, context);
  } catch (error) {
    return ours(specifier, error);
  }
}

/** Node's asynchronous load hook. */
export async function load<Context, Result>(url: string, context: Context, next: Next<Context, Promise<Result>>): Promise<Result | Loaded> {
  return isTypeScript(url) ? erased(url) : next(url, context);
}

/** The same hooks for `module.registerHooks`, which are synchronous. */
export const hooksInThread: object = {
  resolve<Context>(specifier: string, context: Context, next: Next<Context, Resolved>): Resolved {
    try {
      return next(specifier, context);
    } catch (error) {
      return ours(specifier, error);
    }
  },
  load<Context, Result>(url: string, context: Context, next: Next<Context, Result>): Result | Loaded {
    return isTypeScript(url) ? erased(url) : next(url, context);
  },
};

const isTypeScript = (url: string): boolean => url.startsWith("file:") && /\.m?ts$/.test(new URL(url).pathname);

/** The door of this package that a specifier names; throws `error` for any other specifier. */
function ours(specifier: string, error: unknown): Resolved {
  if (!/^drey(?:\/[\w-]+)?$/.test(specifier)) throw error;
  const manifest = new URL("../../../package.json", import.meta.url);
  const { exports } = JSON.parse(readFileSync(manifest, "utf8")) as { exports: Readonly<Record<string, { readonly default?: string }>> };
  const door = exports[specifier.replace("drey", ".")]?.default;
  if (door === undefined) throw error;
  return { url: new URL(door, manifest).href, shortCircuit: true };
}

interface Eraser {
  transformSync(source: string, options: { mode: "strip-only"; module: boolean; filename: string }): { code: string };
}
let eraser: Eraser | undefined;

function erased(url: string): Loaded {
  const file = fileURLToPath(url);
  // Loaded when it is needed: it takes a tenth of a second.
  eraser ??= createRequire(import.meta.url)("@swc/wasm-typescript") as Eraser;
  try {
    const { code } = eraser.transformSync(readFileSync(file, "utf8"), { mode: "strip-only", module: true, filename: file });
    return { format: "module", source: code, shortCircuit: true };
  } catch (problem) {
    throw syntaxError(problem, file);
  }
}

/** What the eraser throws are plain objects; an Error says the same in the form of a compiler's message. */
function syntaxError(problem: unknown, file: string): Error {
  const { message, code, startLine, startColumn, snippet } = problem as {
    message?: string;
    code?: string;
    startLine?: number;
    startColumn?: number;
    snippet?: string;
  };
  if (message === undefined || (problem instanceof Error && code === "ENOENT")) return problem as Error;
  const cure =
    code === "UnsupportedSyntax"
      ? " Types are erased, not compiled, as Node itself does: write it in JavaScript, or compile the file first."
      : "";
  return new SyntaxError(
    `${file}:${startLine ?? 1}:${(startColumn ?? 0) + 1}: ${message}.${cure}${snippet === undefined ? "" : `\n\n${snippet.trimEnd()}`}`,
  );
}
