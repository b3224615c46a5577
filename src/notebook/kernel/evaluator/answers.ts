/** The evaluator's way out: answers are written to a pipe, synchronously and in order. */
import { writeSync } from "node:fs";
import { type Answer, DESCRIPTORS, encodeAnswer } from "./protocol.ts";

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Sends an answer; returns when the pipe has it. Where the front process is gone there is nobody to tell, and nothing happens. Main
 * thread.
 */
export function answer(what: Answer): void {
  const bytes = encodeAnswer(what);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(DESCRIPTORS.answers, bytes, at);
    } catch (error) {
      // A pipe that does not block says so when it is full.
      if ((error as { code?: unknown }).code !== "EAGAIN") return;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}
