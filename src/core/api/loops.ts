/**
 * Loops over data sets, and data sets that are computed once. Each superstep is a job; its rows wait on disk for the next one, and the
 * program decides in between whether to go on. (In Flink a loop is one job, whose tasks keep the solution in memory; here a superstep costs
 * a submission, some tens of milliseconds, and a failure repeats the superstep and not the loop.)
 */
import type { KeySelector, StreamNode } from "../graph/stream-graph.ts";
import { DataSet } from "./data-set.ts";
import { DataStream } from "./data-stream.ts";
import type { Environment } from "./environment.ts";
import { specOf } from "./spec.ts";

/** What a superstep may say besides its result. */
export interface IterationStep<T> {
  readonly result: DataSet<T>;
  /** The loop goes on as long as this has rows. */
  readonly until?: DataSet<unknown>;
  /** Rows for `converged`. */
  readonly aggregate?: DataSet<unknown>;
  /** Whether the loop ends after this superstep. */
  readonly converged?: (aggregate: readonly never[], superstep: number) => boolean;
}

/** What a superstep of a delta iteration does; `superstep` counts from 1. */
export type DeltaStep<T, W> = (solution: DataSet<T>, workset: DataSet<W>, superstep: number) => {
  /** Rows that replace those of their keys in the solution. */
  readonly delta: DataSet<T>;
  /** What the next superstep works on; the loop ends when it is empty. */
  readonly workset: DataSet<W>;
};

/** A data set that is read from the environment's work folder, where `prepare` puts it before the first job that needs it. */
function prepared<T>(environment: Environment, name: string, compute: (folder: string) => Promise<void>): DataSet<T> {
  const folder = environment.workFolder.place("rows");
  const rows = materialized<T>(environment, folder, name);
  let computed: Promise<void> | undefined;
  environment.prepare(rows.stream, () => (computed ??= compute(folder)));
  return rows;
}

const materialized = <T>(environment: Environment, folder: string, name: string): DataSet<T> =>
  new DataSet<T>(
    new DataStream<T>(environment, [
      { from: environment.add({ name, spec: specOf("materialized", { folder }) }), partitioning: undefined, sideOutput: undefined },
    ]),
  );

const materialize = (rows: DataSet<never> | DataSet<unknown>, folder: string): StreamNode =>
  rows.environment.add({ name: "materialize", spec: specOf("materialize", { folder }), inputs: rows.stream.edges(0) });

/** See `DataSet.persist`. */
export function persisted<T>(rows: DataSet<T>): DataSet<T> {
  const { environment } = rows;
  return prepared(environment, "persisted", async (folder) => {
    await environment.runAhead("persist", [materialize(rows as DataSet<unknown>, folder)], {});
  });
}

/** See `DataSet.iterate`. */
export function bulkIteration<T>(
  initial: DataSet<T>,
  most: number,
  step: (rows: DataSet<T>, superstep: number) => DataSet<T> | IterationStep<T>,
): DataSet<T> {
  const { environment } = initial;
  return prepared(environment, "iteration", async (last) => {
    let rows = initial;
    let from: string | undefined;
    for (let superstep = 1; ; superstep++) {
      const made = step(rows, superstep);
      const { result, until, aggregate, converged } = made instanceof DataSet ? ({ result: made } as IterationStep<T>) : made;
      const to = environment.workFolder.place("superstep");
      const asked = {
        ...(until === undefined ? {} : { until: until.first(1).stream }),
        ...(aggregate === undefined ? {} : { aggregate: aggregate.stream }),
      };
      const told = await environment.runAhead(`superstep ${superstep}`, [materialize(result as DataSet<unknown>, to)], asked);
      if (from !== undefined) environment.workFolder.discard(from);
      const over =
        superstep === most || told["until"]?.length === 0 || converged?.((told["aggregate"] ?? []) as never, superstep) === true;
      if (over) return environment.workFolder.rename(to, last);
      from = to;
      rows = materialized<T>(environment, to, `rows of superstep ${superstep}`);
    }
  });
}

/** See `DataSet.iterateDelta`. */
export function deltaIteration<T, W>(
  initial: DataSet<T>,
  initialWorkset: DataSet<W>,
  most: number,
  key: KeySelector,
  step: DeltaStep<T, W>,
): DataSet<T> {
  const { environment } = initial;
  const select = key as (row: T) => unknown;
  return prepared(environment, "deltaIteration", async (last) => {
    let solution = initial;
    let workset = initialWorkset;
    let from: readonly string[] = [];
    for (let superstep = 1; ; superstep++) {
      const { delta, workset: next } = step(solution, workset, superstep);
      const replaced = solution
        .coGroup(delta)
        .where(select)
        .equalTo(select)
        .with<T>((old, fresh, out) => {
          let any = false;
          for (const row of fresh) {
            any = true;
            out.collect(row);
          }
          if (!any) for (const row of old) out.collect(row);
        });
      const to = [environment.workFolder.place("solution"), environment.workFolder.place("workset")] as const;
      const sinks = [materialize(replaced as DataSet<unknown>, to[0]), materialize(next as DataSet<unknown>, to[1])];
      const { more } = await environment.runAhead(`superstep ${superstep}`, sinks, { more: next.first(1).stream });
      for (const folder of from) environment.workFolder.discard(folder);
      if (superstep === most || more?.length === 0) {
        environment.workFolder.discard(to[1]);
        return environment.workFolder.rename(to[0], last);
      }
      from = to;
      solution = materialized<T>(environment, to[0], `solution of superstep ${superstep}`);
      workset = materialized<W>(environment, to[1], `workset of superstep ${superstep}`);
    }
  });
}
