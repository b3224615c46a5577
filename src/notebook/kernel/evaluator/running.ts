/**
 * Which cell does what now. The number of a request travels with its asynchronous work, so that what a timer or a job of cell 3 says lands
 * under cell 3 while cell 5 runs.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { RequestNumber } from "./protocol.ts";

const requests = new AsyncLocalStorage<RequestNumber>();
let latest: RequestNumber = 0;

/** The request that the present code belongs to; that of the latest cell for code that belongs to none. */
export const presentRequest = (): RequestNumber => requests.getStore() ?? latest;

/** Runs `work` as part of a request. */
export function within<T>(request: RequestNumber, work: () => T): T {
  return requests.run(request, work);
}

/** From now on what belongs to no cell is shown under this one. */
export function setLatestRequest(request: RequestNumber): void {
  latest = request;
}
