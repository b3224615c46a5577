/**
 * Runs cells. What a cell declares at its top level becomes a variable of the script scope, which all cells share: functions of earlier
 * cells see what later cells assign, and a function that is shipped to the cluster captures such a variable like any other. A cell itself
 * is an asynchronous function, so it may await.
 *
 * A cell ends when its promise settles or when it is interrupted, whichever comes first. What an interrupted cell was waiting for goes on;
 * nobody listens any more.
 */
import { Script, constants } from "node:vm";
import { registerCell } from "../../../cluster/code/notebook-cells.ts";
import { setLatestRequest, within } from "./running.ts";
import type { CellToRun, RequestNumber } from "./protocol.ts";

/** What ends an interrupted cell. */
export class Interruption extends Error {
  override readonly name = "Interrupted";
}

const declared = new Set<string>();
let running: { readonly request: RequestNumber; readonly interrupt: (reason: Interruption) => void } | undefined;

/** The request whose cell runs now. */
export const runningRequest = (): RequestNumber | undefined => running?.request;

/** Ends the cell that runs now, with this reason. @returns false when none runs. */
export function interruptCell(reason: Interruption): boolean {
  if (running === undefined) return false;
  running.interrupt(reason);
  return true;
}

/** How a cell ended. */
export type Ended = { readonly value: unknown } | { readonly thrown: unknown };

/** Runs a cell. @param ended is called once: with the value of its last expression, with what it threw, or with its Interruption. */
export function runCell(request: RequestNumber, cell: CellToRun, ended: (how: Ended) => void): void {
  runInterruptibly(
    request,
    () => {
      registerCell(cell);
      const fresh = cell.declares.filter((name) => !declared.has(name));
      if (fresh.length > 0) new Script(`let ${fresh.join(", ")};`).runInThisContext();
      for (const name of fresh) declared.add(name);
      const script = new Script(cell.javascript, {
        filename: cell.url,
        importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      });
      return (script.runInThisContext() as () => Promise<unknown>).call(undefined);
    },
    ended,
  );
}

/**
 * Runs anything as a cell: its outputs and an interrupt belong to that request. No promise stands between an interrupt and `ended`: a loop
 * that is dropped takes along every promise that waits for its turn.
 */
export function runInterruptibly(request: RequestNumber, work: () => Promise<unknown>, ended: (how: Ended) => void): void {
  setLatestRequest(request);
  const settle = (how: Ended): void => {
    if (running !== me) return;
    running = undefined;
    ended(how);
  };
  const me = { request, interrupt: (reason: Interruption) => settle({ thrown: reason }) };
  running = me;
  try {
    const promise = within(request, work);
    promise.then(
      (value) => settle({ value }),
      (thrown: unknown) => settle({ thrown }),
    );
  } catch (thrown) {
    settle({ thrown });
  }
}
