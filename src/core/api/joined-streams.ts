/**
 * Joins on windows, as users write them (Flink: JoinedStreams, CoGroupedStreams):
 * `rides.join(fares).where((r) => r.id).equalTo((f) => f.ride).window(tumbling("1 h")).apply((r, f) => …)`.
 *
 * Both streams become one of marked records, keyed and cut into windows like any other; so windows, triggers, lateness and state are the
 * window operator's. A window keeps the records of both sides until it fires.
 */
import type { Evictor } from "../operators/evictor.ts";
import type { SideOutput } from "../operators/function.ts";
import type { Trigger } from "../operators/trigger.ts";
import type { ProcessWindowContext } from "../operators/window-function.ts";
import type { WindowDescription } from "../time/window.ts";
import type { Duration } from "../types/duration.ts";
import type { DataStream } from "./data-stream.ts";
import { functionOf } from "./spec.ts";
import type { WindowedStream } from "./windowed-stream.ts";

/** A record of either stream, marked with its side. */
export type Sided<A, B> = { readonly left: A } | { readonly right: B };

/** Which records without a partner have a result: of neither side, the left one, the right one, both. */
export type JoinKind = "inner" | "left" | "right" | "full";

/** Two streams to be joined; `where` and `equalTo` say by what. */
export class JoinedStreams<A, B, Kind extends JoinKind | "coGroup"> {
  readonly #left: DataStream<A>;
  readonly #right: DataStream<B>;
  readonly #kind: Kind;

  constructor(left: DataStream<A>, right: DataStream<B>, kind: Kind) {
    this.#left = left;
    this.#right = right;
    this.#kind = kind;
  }

  /** The key of records of the first stream. */
  where<K>(key: (value: A) => K): { equalTo(key: (value: B) => K): JoinedKeys<A, B, K, Kind> } {
    const [left, right] = [this.#left, this.#right];
    const kind: Kind = this.#kind;
    const leftKey = functionOf(key, "where()");
    return {
      equalTo(rightKey) {
        functionOf(rightKey, "equalTo()");
        const sided = left
          .map<Sided<A, B>>((value) => ({ left: value }))
          .name("left side")
          .union(right.map<Sided<A, B>>((value) => ({ right: value })).name("right side"));
        return new JoinedKeys<A, B, K, Kind>(
          (window) => sided.keyBy<K>(((it: Sided<A, B>) => ("left" in it ? leftKey(it.left) : rightKey(it.right))) as never).window(window),
          kind,
        );
      },
    };
  }
}

/** Two streams with their keys; `window` says how long records wait for each other. */
export class JoinedKeys<A, B, K, Kind extends JoinKind | "coGroup"> {
  readonly #window: (window: WindowDescription<Sided<A, B>>) => WindowedStream<Sided<A, B>, K>;
  readonly #kind: Kind;

  constructor(window: (window: WindowDescription<Sided<A, B>>) => WindowedStream<Sided<A, B>, K>, kind: Kind) {
    this.#window = window;
    this.#kind = kind;
  }

  /** @throws GraphError for windows of event time when a stream has no timestamps. */
  window(window: WindowDescription<Sided<A, B>>): JoinedWindows<A, B, K, Kind> {
    return new JoinedWindows(this.#window(window), this.#kind);
  }
}

/** What `apply` takes. */
type JoinFunction<A, B, K, Kind, Out> = Kind extends "coGroup"
  ? (left: readonly A[], right: readonly B[], context: ProcessWindowContext<K>) => Iterable<Out>
  : (
      left: Kind extends "right" | "full" ? A | undefined : A, right: Kind extends "left" | "full" ? B | undefined : B,
      context: ProcessWindowContext<K>,
    ) => Out;

/** Two streams cut into windows by key. Settings are those of `WindowedStream`; each method that sets something returns a new one. */
export class JoinedWindows<A, B, K, Kind extends JoinKind | "coGroup"> {
  readonly #windows: WindowedStream<Sided<A, B>, K>;
  readonly #kind: Kind;

  constructor(windows: WindowedStream<Sided<A, B>, K>, kind: Kind) {
    this.#windows = windows;
    this.#kind = kind;
  }

  /** See `WindowedStream.trigger`. */
  trigger(trigger: Trigger<Sided<A, B>>): JoinedWindows<A, B, K, Kind> {
    return new JoinedWindows(this.#windows.trigger(trigger), this.#kind);
  }

  /** See `WindowedStream.evictor`. */
  evictor(evictor: Evictor<Sided<A, B>>): JoinedWindows<A, B, K, Kind> {
    return new JoinedWindows(this.#windows.evictor(evictor), this.#kind);
  }

  /** See `WindowedStream.allowedLateness`. */
  allowedLateness(lateness: Duration): JoinedWindows<A, B, K, Kind> {
    return new JoinedWindows(this.#windows.allowedLateness(lateness), this.#kind);
  }

  /** See `WindowedStream.lateTo`. Late records are marked with their side: `{ left }` or `{ right }`. */
  lateTo(tag: SideOutput<Sided<A, B>>): JoinedWindows<A, B, K, Kind> {
    return new JoinedWindows(this.#windows.lateTo(tag), this.#kind);
  }

  /**
   * Per key and window, whenever it fires: of a join one result per pair, and per record without a partner where the join is an outer one
   * (the partner is undefined); of `coGroup` the results for all records of both sides.
   */
  apply<Out>(apply: JoinFunction<A, B, K, Kind, Out>): DataStream<Out> {
    const [kind, results] = [this.#kind, functionOf(apply, "apply()") as (left: unknown, right: unknown, context: unknown) => unknown];
    const joined = this.#windows.apply<Out>((records, context) => {
      const left: A[] = [];
      const right: B[] = [];
      for (const it of records) {
        if ("left" in it) left.push(it.left);
        else right.push(it.right);
      }
      if (kind === "coGroup") return results(left, right, context) as Iterable<Out>;
      const lefts: readonly (A | undefined)[] = left.length === 0 && (kind === "right" || kind === "full") ? [undefined] : left;
      const rights: readonly (B | undefined)[] = right.length === 0 && (kind === "left" || kind === "full") ? [undefined] : right;
      return lefts.flatMap((a) => rights.map((b) => results(a, b, context) as Out));
    });
    return joined.name(kind === "inner" ? "join" : kind === "coGroup" ? kind : `${kind} join`);
  }
}
