/** Every operator by its kind. */
import { broadcastProcessOperator } from "./broadcast-process.ts";
import { changesOperator } from "./changes.ts";
import { batchOperator } from "./batch.ts";
import { feedOperator, resultOperator } from "./client.ts";
import { distinctOperator } from "./distinct.ts";
import { filterOperator } from "./filter.ts";
import { flatMapOperator } from "./flat-map.ts";
import { intervalJoinOperator } from "./interval-join.ts";
import { iterateOperator, loopExitOperator } from "./iterate.ts";
import { mapOperator } from "./map.ts";
import { mapAsyncOperator } from "./map-async.ts";
import type { OperatorKind } from "./operator.ts";
import { pairwiseOperator } from "./pairwise.ts";
import { broadcastVariablesOperator } from "./bounded/broadcast-variables.ts";
import { boundedCoGroupOperator, boundedJoinOperator } from "./bounded/bounded-join.ts";
import { crossOperator } from "./bounded/cross.ts";
import { firstOperator } from "./bounded/first.ts";
import { groupReduceOperator } from "./bounded/group-reduce.ts";
import { mapPartitionOperator } from "./bounded/map-partition.ts";
import { sortPartitionOperator } from "./bounded/sort-partition.ts";
import { coProcessOperator, processOperator } from "./process.ts";
import { reduceOperator } from "./reduce.ts";
import { rollingOperator } from "./rolling.ts";
import { rxOperator } from "./rx.ts";
import { scanOperator } from "./scan.ts";
import { startWithOperator } from "./start-with.ts";
import { takeOperator } from "./take.ts";
import { takeUntilOperator } from "./take-until.ts";
import { throttleOperator } from "./throttle.ts";
import { timestampsOperator } from "./timestamps.ts";
import { topNOperator } from "./top-n.ts";
import { triggeredWindowOperator } from "./triggered-window.ts";
import { windowOperator } from "./window.ts";

/** The registry; a new operator is a line here. */
export const operatorKinds: readonly OperatorKind[] = [
  mapOperator,
  filterOperator,
  flatMapOperator,
  timestampsOperator,
  reduceOperator,
  windowOperator,
  triggeredWindowOperator,
  batchOperator,
  processOperator,
  coProcessOperator,
  broadcastProcessOperator,
  intervalJoinOperator,
  iterateOperator,
  loopExitOperator,
  mapAsyncOperator,
  rxOperator,
  scanOperator,
  rollingOperator,
  distinctOperator,
  changesOperator,
  throttleOperator,
  pairwiseOperator,
  startWithOperator,
  takeOperator,
  takeUntilOperator,
  topNOperator,
  mapPartitionOperator,
  groupReduceOperator,
  sortPartitionOperator,
  firstOperator,
  boundedJoinOperator,
  boundedCoGroupOperator,
  crossOperator,
  broadcastVariablesOperator,
  feedOperator,
  resultOperator,
];
