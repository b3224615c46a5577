/** Two data sets about to be joined or co-grouped: `a.join(b).where(key).equalTo(key).with(f)`. */
import type { KeySelector } from "../graph/stream-graph.ts";
import type { JoinStrategy, JoinType } from "../operators/bounded/bounded-join.ts";
import type { Collector } from "../operators/function.ts";
import { GraphError, describe } from "../types/errors.ts";
import { DataSet, type KeyOf, operatorOn, selectorOf } from "./data-set.ts";
import type { DataStream } from "./data-stream.ts";
import { functionOf, specOf } from "./spec.ts";

/** How a join is done (Flink: JoinHint). */
export interface JoinOptions {
  /**
   * `auto` (default): by the sizes that the inputs turn out to have. `broadcast-first`, `broadcast-second`: that input comes to every
   * subtask in full and the other stays where it is, which is good when one is small (inner joins, and outer joins that keep the other).
   * `hash`, `sort-merge`: both are distributed by key, and joined in this way.
   */
  readonly hint?: "auto" | "broadcast-first" | "broadcast-second" | "hash" | "sort-merge";
}

const HINTS = ["auto", "broadcast-first", "broadcast-second", "hash", "sort-merge"];

/** Waits for its keys. `L` and `R` are rows as the result has them: undefined where an outer join has no partner. */
export class JoinedDataSets<A, B, L, R> {
  readonly #first: DataStream<A>;
  readonly #second: DataStream<B>;
  readonly #type: JoinType;
  readonly #hint: NonNullable<JoinOptions["hint"]>;

  constructor(first: DataStream<A>, second: DataStream<B>, type: JoinType, { hint = "auto" }: JoinOptions) {
    if (!HINTS.includes(hint)) throw new GraphError(`join(…, { hint }) is ${describe(hint)}; it is one of ${HINTS.join(", ")}.`);
    // A row without partner in one subtask may have one in another.
    const kept = type === "full" || (hint === "broadcast-first" && type === "left") || (hint === "broadcast-second" && type === "right");
    if (hint.startsWith("broadcast") && kept) {
      throw new GraphError(`A ${type} outer join can't be done with the hint "${hint}": the broadcast input is the one whose rows it keeps.`);
    }
    this.#first = first;
    this.#second = second;
    this.#type = type;
    this.#hint = hint;
  }

  /** The key of the first. */
  where(key: KeyOf<A>): { readonly equalTo: (key: KeyOf<B>) => KeyedJoin<L, R> } {
    const first = selectorOf(key, "where()");
    return { equalTo: (other) => this.#keyed(first, selectorOf(other, "equalTo()")) };
  }

  #keyed(key: KeySelector, key2: KeySelector): KeyedJoin<L, R> {
    const [type, hint] = [this.#type, this.#hint];
    const strategy: JoinStrategy = hint === "hash" || hint === "sort-merge" ? hint : "auto";
    const [first, second] =
      hint === "broadcast-first"
        ? [this.#first.broadcast(), this.#second]
        : hint === "broadcast-second"
          ? [this.#first, this.#second.broadcast()]
          : [this.#first.keyBy(key as never), this.#second.keyBy(key2 as never)];
    const joined = <Out>(join: (left: L, right: R) => Out): DataSet<Out> => {
      const spec = specOf("boundedJoin", { key, key2, type, strategy, join: functionOf(join, "with()") });
      const name = type === "inner" ? "join" : `${type} outer join`;
      return new DataSet<Out>(operatorOn<Out>(this.#first.environment, { name, spec }, first, second));
    };
    return { with: joined, pairs: () => joined((left, right): [L, R] => [left, right]) };
  }
}

/** Two data sets with their keys. */
export interface KeyedJoin<L, R> {
  /** A result for each pair. */
  with<Out>(join: (left: L, right: R) => Out): DataSet<Out>;
  /** The pairs themselves. */
  pairs(): DataSet<[L, R]>;
}

/** Waits for its keys. */
export class CoGroupedDataSets<A, B> {
  readonly #first: DataStream<A>;
  readonly #second: DataStream<B>;

  constructor(first: DataStream<A>, second: DataStream<B>) {
    this.#first = first;
    this.#second = second;
  }

  /** The key of the first. */
  where(key: KeyOf<A>): { readonly equalTo: (key: KeyOf<B>) => KeyedCoGroup<A, B> } {
    const first = selectorOf(key, "where()");
    return {
      equalTo: (other) => {
        const second = selectorOf(other, "equalTo()");
        return {
          with: <Out>(coGroup: (left: Iterable<A>, right: Iterable<B>, out: Collector<Out>) => void): DataSet<Out> => {
            const spec = specOf("boundedCoGroup", { key: first, key2: second, coGroup: functionOf(coGroup, "with()") });
            const [left, right] = [this.#first.keyBy(first as never), this.#second.keyBy(second as never)];
            return new DataSet<Out>(operatorOn<Out>(this.#first.environment, { name: "coGroup", spec }, left, right));
          },
        };
      },
    };
  }
}

/** Two data sets with their keys. */
export interface KeyedCoGroup<A, B> {
  /** Called once for each key that either has, with its rows of both. Each side can be gone through once. */
  with<Out>(coGroup: (left: Iterable<A>, right: Iterable<B>, out: Collector<Out>) => void): DataSet<Out>;
}
