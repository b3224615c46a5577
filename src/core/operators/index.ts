/** Every operator by its kind. */
import { feedOperator, resultOperator } from "./client.ts";
import { filterOperator } from "./filter.ts";
import { flatMapOperator } from "./flat-map.ts";
import { mapOperator } from "./map.ts";
import type { OperatorKind } from "./operator.ts";
import { coProcessOperator, processOperator } from "./process.ts";
import { reduceOperator } from "./reduce.ts";
import { timestampsOperator } from "./timestamps.ts";
import { windowOperator } from "./window.ts";

/** The registry; a new operator is a line here. */
export const operatorKinds: readonly OperatorKind[] = [
  mapOperator,
  filterOperator,
  flatMapOperator,
  timestampsOperator,
  reduceOperator,
  windowOperator,
  processOperator,
  coProcessOperator,
  feedOperator,
  resultOperator,
];
