/**
 * What becomes of a question whose connection breaks before the answer, decided for each method in one table. The client does not know then
 * whether the JobManager heard it. What only reads, and what comes to the same when it is done twice, is asked again over the next
 * connection (`connection.ts`); of everything else the program is told what is not known, and how it finds out.
 */
import type { CallName } from "../protocol/conversation.ts";
import type { ClientConversation } from "../protocol/messages.ts";

/** What a client asks by itself. Greetings, and where a reader stopped, are matters of one session, and mean nothing in the next. */
export type AskedCall = Exclude<CallName<ClientConversation>, "hello" | "closeResult">;

/** May be asked again, or a sentence that says what is not known. */
type AfterLoss = { readonly repeated: true } | { readonly repeated: false; readonly unknown: string };

const repeated: AfterLoss = { repeated: true };
const once = (unknown: string): AfterLoss => ({ repeated: false, unknown });

/** By method. */
export const afterLoss: Readonly<Record<AskedCall, AfterLoss>> = {
  // The client names the job: a JobManager that has it answers as it did before.
  submit: repeated,
  jobs: repeated,
  job: repeated,
  cancel: repeated,
  watchJob: repeated,
  unwatchJob: repeated,
  metricsHistory: repeated,
  queryState: repeated,
  profile: once("Nothing was learned about the task; ask again."),
  checkpoints: repeated,
  // One more harms nobody: the job keeps the latest.
  triggerCheckpoint: repeated,
  savepoint: once("It is not known whether the savepoint was taken; if it was, its folder has a file `_metadata`."),
  stopWithSavepoint: once("It is not known whether the job ends with a savepoint; see whether it still runs before you ask again."),
  disposeSavepoint: once("It is not known whether the savepoint was removed; ask again: when there is none any more, it was."),
  rescale: once("It is not known whether the job is rescaled; its details say with how many subtasks it runs."),
  overview: repeated,
  watchCluster: repeated,
  // A reader that was lost with its connection gave its place back.
  openResult: repeated,
  shutdownCluster: once("It is not known whether the cluster ends."),
};
