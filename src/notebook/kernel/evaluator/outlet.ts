/**
 * Where `display` finds the kernel: an outlet that is bound to the cell that asks for it, so that a live picture stays under its own cell
 * whoever redraws it.
 */
import type { DisplayOutlet } from "../../display.ts";
import { answer } from "./answers.ts";
import type { Comms } from "./comms.ts";
import type { Bundle, RequestNumber } from "./protocol.ts";
import { presentRequest } from "./running.ts";

/** Makes the outlet known to all copies of the package in this process. @param cellOf the text of a request's cell. */
export function installOutlet(cellOf: (request: RequestNumber) => string | undefined, comms: Comms): void {
  Object.defineProperty(globalThis, Symbol.for("drey.display"), {
    configurable: true,
    get(): DisplayOutlet {
      const request = presentRequest();
      return {
        cell: cellOf(request),
        execution: request,
        comms,
        send(data, { id, update }) {
          answer({ kind: "display", request, data: data as Bundle, id, update });
          return undefined;
        },
      };
    },
  });
}
