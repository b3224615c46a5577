/**
 * The rows of one feed on their way from the submitting client to the task that reads them. The JobManager keeps none of them: the task
 * grants, the client sends only what was granted, and each message is passed on as it comes. So the only bound needed is the task's own.
 *
 * Invariant: the task sees every segment once and in order. A gap or a segment without grant fails the job. Each attempt of the task has
 * a relay of its own, which begins with the row after those that the checkpoint covers from which the attempt starts; the client keeps
 * the rows that no checkpoint covers, and sends them again.
 */
import { type DreyError, ProtocolError } from "../../core/types/errors.ts";
import type { Attachments } from "../protocol/conversation.ts";

/** One feed of one execution. */
export class FeedRelay {
  readonly #name: string;
  #granted = 0;
  #passed = 0;

  /** Number of the row that it begins with, counted since the job began. */
  readonly from: number;

  /** @param name the feed and its job, for messages. */
  constructor(name: string, from: number) {
    this.#name = name;
    this.from = from;
  }

  /** How many segments the client may have sent in all. */
  get granted(): number {
    return this.#granted;
  }

  /**
   * The task can take `granted` segments in all. Returns whether the client should hear it: a late grant says less, a repeated one heals.
   */
  grant(granted: number): boolean {
    if (granted < this.#granted) return false;
    this.#granted = granted;
    return true;
  }

  /** Segments from the client, the first numbered `sequence`. Returns those to pass on, numbered from `sequence` of the answer. */
  pass(
    sequence: number,
    segments: Attachments,
  ): { readonly sequence: number; readonly segments: Attachments } | { readonly failure: DreyError } {
    if (sequence > this.#passed) {
      return {
        failure: new ProtocolError(`${sequence - this.#passed} segments of ${this.#name} got lost on their way to the JobManager.`),
      };
    }
    const fresh = segments.slice(this.#passed - sequence);
    if (this.#passed + fresh.length > this.#granted) {
      return {
        failure: new ProtocolError(`the client sent more than the ${this.#granted} segments of ${this.#name} that its task has room for.`),
      };
    }
    const first = this.#passed;
    this.#passed += fresh.length;
    return { sequence: first, segments: fresh };
  }
}
