/**
 * What decisions of the control plane want done, as data. The dispatcher and its job masters only return effects;
 * `job-manager-endpoint.ts` performs them in order. An effect that fails comes back to the dispatcher as a fact (`deployed`, `released`) or
 * as the loss of its addressee; effects for somebody who is gone are dropped.
 */
import type { WatermarkLimit } from "../../core/graph/watermark-alignment.ts";
import type { JobId, TaskManagerId } from "../../core/types/ids.ts";
import type { Attachments, RequestOf } from "../protocol/conversation.ts";
import type { CheckpointTrigger } from "../protocol/checkpoint-messages.ts";
import type { BlockCopy } from "../storage/block-copy.ts";
import type { CheckpointManifest } from "../storage/manifest.ts";
import type { ArchivedJob } from "./job-archive.ts";
import type { ChannelGrant, ChannelSegments, ClientEvents, ExecutionAddress, TaskDeployment } from "../protocol/messages.ts";

/** Tells a client something. */
export type Tell = {
  readonly [E in keyof ClientEvents]: {
    readonly kind: "tell";
    readonly client: string;
    readonly event: E;
    readonly message: RequestOf<ClientEvents, E>;
    readonly attachments?: Attachments;
  };
}[keyof ClientEvents];

/** One thing to do. */
export type Effect =
  /** Start tasks; the answer goes to `Dispatcher.deployed`. */
  | { readonly kind: "deploy"; readonly taskManager: TaskManagerId; readonly job: JobId; readonly tasks: readonly TaskDeployment[] }
  /** Cancel executions; each reports its end. Repeated by the job until it did. */
  | { readonly kind: "cancel"; readonly taskManager: TaskManagerId; readonly executions: readonly ExecutionAddress[] }
  /** End what is left of a job on a TaskManager; the answer goes to `Dispatcher.released`. */
  | { readonly kind: "release"; readonly taskManager: TaskManagerId; readonly job: JobId }
  /** Tell a TaskManager to end itself. */
  | { readonly kind: "dismiss"; readonly taskManager: TaskManagerId; readonly reason: string }
  | { readonly kind: "grantResult"; readonly taskManager: TaskManagerId; readonly grant: ChannelGrant }
  | { readonly kind: "feed"; readonly taskManager: TaskManagerId; readonly message: ChannelSegments; readonly segments: Attachments }
  | Tell
  /** Barriers start at these executions; every TaskManager of the job is told where the checkpoint's files go. */
  | {
      readonly kind: "triggerCheckpoint";
      readonly taskManager: TaskManagerId;
      readonly job: JobId;
      readonly trigger: CheckpointTrigger;
      readonly executions: readonly ExecutionAddress[];
      readonly folder: string;
    }
  | { readonly kind: "checkpointCompleted"; readonly taskManager: TaskManagerId; readonly job: JobId; readonly checkpoint: number }
  | { readonly kind: "checkpointAborted"; readonly taskManager: TaskManagerId; readonly job: JobId; readonly checkpoint: number }
  | {
      readonly kind: "limitWatermarks";
      readonly taskManager: TaskManagerId;
      readonly job: JobId;
      readonly limits: readonly WatermarkLimit[];
    }
  /**
   * Make a checkpoint exist, with the files that are to be copied into its folder. The answer goes to `Dispatcher.manifestStored` once it
   * is certain whether it does, however long that takes. A JobManager that was overtaken meanwhile gets none.
   */
  | {
      readonly kind: "storeManifest";
      readonly job: JobId;
      readonly checkpoint: number;
      readonly folder: string;
      readonly manifest: CheckpointManifest;
      /** Of a savepoint: what tasks that have ended stored in checkpoints, which are in the folder `from`. */
      readonly copies?: { readonly from: string; readonly files: readonly BlockCopy[] };
    }
  /** Remove folders of checkpoints that nobody needs. Not answered. */
  | { readonly kind: "discard"; readonly job: JobId; readonly folders: readonly string[] }
  /** Keep a job for the next leader, where there may be one. Till that is done its client is not answered. */
  | { readonly kind: "archiveJob"; readonly record: ArchivedJob }
  /** The job has ended: the next leader need not know it. */
  | { readonly kind: "forgetJob"; readonly job: JobId }
  /** Answer a request that a client waits with. */
  | { readonly kind: "reply"; readonly request: number; readonly value: unknown }
  | { readonly kind: "refuse"; readonly request: number; readonly error: Error }
  /** A line for whoever runs the cluster. */
  | { readonly kind: "note"; readonly text: string };

/** Takes effects as they are decided. */
export type Emit = (effect: Effect) => void;
