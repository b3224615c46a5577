/**
 * What the functions of a job may need of drey where they run: base classes, descriptors, aggregates, units of time, errors. A thread of a
 * job loads this instead of the whole door, and so neither the API nor rxjs (measured: 110 of the 125 ms of CPU that such a thread took
 * to start).
 */
export { average, count, sum } from "./operators/aggregates.ts";
export { BroadcastProcessFunction, KeyedBroadcastProcessFunction } from "./operators/broadcast-process.ts";
export { top } from "./operators/top-n.ts";
export { AsyncFunction } from "./operators/map-async.ts";
export { ProcessJoinFunction } from "./operators/interval-join.ts";
export { CoProcessFunction, KeyedProcessFunction, ProcessFunction, sideOutput } from "./operators/function.ts";
export { ProcessWindowFunction } from "./operators/window-function.ts";
export { aggregatingState, listState, mapState, reducingState, valueState } from "./state/descriptors.ts";
export { days, durationMs, formatDuration, hours, milliseconds, minutes, seconds } from "./types/duration.ts";
export {
  CaptureError, ConfigurationError, ConnectionError, DeadlineError, DreyError, GraphError, InvariantError, JobCanceledError, JobFailedError,
  NotFoundError, OutOfMemoryError, ProtocolError, RecordError, StateError, TaskManagerLostError, UserFunctionError,
} from "./types/errors.ts";
