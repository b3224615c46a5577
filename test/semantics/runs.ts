/** How many random sequences a property is tried on: few in `npm test`, thousands in `npm run test:semantics`. A failure prints its seed. */
import type fc from "fast-check";

/** @param quick runs in `npm test`; @param heavy how many times fewer runs than others a costly property has with `test:semantics`. */
export function runs<T>(quick: number, heavy = 1): fc.Parameters<T> {
  const wanted = process.env["SEMANTICS_RUNS"];
  return { numRuns: wanted === undefined ? quick : Math.max(quick, Math.round(Number(wanted) / heavy)), endOnFailure: false };
}
