/** Every source and sink by its kind. */
import type { OperatorKind } from "../operators/operator.ts";
import { collectionSource } from "./collection.ts";
import { fileSource } from "./file.ts";
import { fileSink } from "./file-sink.ts";
import { discardSink, functionSink } from "./function-sink.ts";
import { generatorSource } from "./generator.ts";
import { iterableSource } from "./iterable.ts";
import { materializeSink, materializedSource } from "./materialized.ts";
import { printSink } from "./print.ts";
import { savepointSink } from "./savepoint-sink.ts";
import { savepointSource } from "./savepoint-source.ts";
import { twoPhaseSink } from "./two-phase.ts";

/** The registry; a new connector is a line here. */
export const connectorKinds: readonly OperatorKind[] = [
  collectionSource,
  generatorSource,
  iterableSource,
  fileSource,
  printSink,
  functionSink,
  fileSink,
  twoPhaseSink,
  discardSink,
  materializeSink,
  materializedSource,
  savepointSource,
  savepointSink,
];
