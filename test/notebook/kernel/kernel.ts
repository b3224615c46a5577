/** A kernel of our own for a test: started from the built package, ended with the test. */
import { fileURLToPath } from "node:url";
import { type ExecuteOptions, KernelSession, type Output, type Ran } from "../execute-notebook.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** How our kernel is started. */
export const ourKernel: Pick<ExecuteOptions, "kernel" | "separator"> = {
  kernel: [process.execPath, `${ROOT}dist/notebook/kernel/main.js`, "{connection}"],
  separator: "-",
};

/** Starts a kernel in a folder; by default the project's. @param env beside the environment of this process. */
export async function startKernel(cwd: string = ROOT, env: Readonly<Record<string, string>> = {}): Promise<KernelSession> {
  const session = new KernelSession({ ...ourKernel, cwd, timeoutMs: 60_000, env });
  try {
    await session.ready();
    // The compiler has read its libraries by then, however busy the machine is.
    await session.execute("0");
  } catch (error) {
    await session.end();
    throw error;
  }
  return session;
}

/** What a cell printed. */
export const printed = ({ outputs }: Ran, name = "stdout"): string =>
  outputs.map((it) => (it.output_type === "stream" && it.name === name ? it.text : "")).join("");

/** The text of a cell's value. */
export const valueOf = ({ outputs }: Ran): unknown => {
  const result = outputs.find((it) => it.output_type === "execute_result");
  return result?.output_type === "execute_result" ? result.data["text/plain"] : undefined;
};

/** How a cell failed, without colours. */
export function errorOf({ outputs }: Ran): { ename: string; evalue: string; traceback: string } | undefined {
  const error = outputs.find((it): it is Extract<Output, { output_type: "error" }> => it.output_type === "error");
  // eslint-disable-next-line no-control-regex
  return error && { ename: error.ename, evalue: error.evalue, traceback: error.traceback.join("\n").replace(/\u001b\[\d+m/g, "") };
}
