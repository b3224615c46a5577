/**
 * Every state of a job and every way between them. Nothing else changes a job's state.
 *
 *                   ┌─── RESTARTING ◀─┐
 *                   ▼                 │
 *     CREATED ─▶ WAITING ──────▶ RUNNING ─▶ FINISHED
 *                   │ │             │ │
 *                   │ └─────────────┼─┴──▶ CANCELLING ─▶ CANCELED
 *                   └───────────────┴────▶ FAILING ────▶ FAILED
 *
 * WAITING can go to RESTARTING too, and RESTARTING to CANCELLING and FAILING.
 */
import type { JobState } from "../../../core/graph/job-status.ts";
import { canceled } from "./canceled.ts";
import { cancelling } from "./cancelling.ts";
import { created } from "./created.ts";
import { failed } from "./failed.ts";
import { failing } from "./failing.ts";
import { finished } from "./finished.ts";
import { restarting } from "./restarting.ts";
import { running } from "./running.ts";
import type { StateOfJob } from "./state.ts";
import { waiting } from "./waiting.ts";

/** How a job behaves in each state. */
export const states: Readonly<Record<JobState, StateOfJob>> = {
  CREATED: created,
  WAITING: waiting,
  RUNNING: running,
  RESTARTING: restarting,
  FINISHED: finished,
  CANCELLING: cancelling,
  CANCELED: canceled,
  FAILING: failing,
  FAILED: failed,
};

/** Which state may follow which. */
export const transitions: Readonly<Record<JobState, readonly JobState[]>> = {
  CREATED: ["WAITING"],
  WAITING: ["RUNNING", "RESTARTING", "CANCELLING", "FAILING"],
  RUNNING: ["FINISHED", "RESTARTING", "CANCELLING", "FAILING"],
  RESTARTING: ["WAITING", "CANCELLING", "FAILING"],
  FINISHED: [],
  CANCELLING: ["CANCELED"],
  CANCELED: [],
  FAILING: ["FAILED"],
  FAILED: [],
};
