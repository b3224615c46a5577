/** The two ends of a job at its client: `feed` brings the client's rows in, `result` sends rows out. What carries them is an edge. */
import { FEED_KIND, RESULT_KIND } from "../graph/chaining.ts";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "./operator.ts";

/** Rows of the client, which come in on an edge of their own. */
export interface FeedSpec extends OperatorSpec {
  readonly kind: typeof FEED_KIND;
  /** Its rows come with timestamps and watermarks. Default false. */
  readonly timestamped?: boolean;
}

/** Rows for the client, which go out under this name. */
export interface ResultSpec extends OperatorSpec {
  readonly kind: typeof RESULT_KIND;
  readonly name: string;
}

const pass = {
  inline: (code: { emit(value: string, timestamp: string): string }, value: string, timestamp: string): string =>
    code.emit(value, timestamp),
};

/** The two hand on what they get: they only give such an edge an operator to end at. */
export const feedOperator: OperatorKind<FeedSpec> = { kind: FEED_KIND, inputs: 1, create: () => pass };
export const resultOperator: OperatorKind<ResultSpec> = { kind: RESULT_KIND, inputs: 1, create: () => pass };
