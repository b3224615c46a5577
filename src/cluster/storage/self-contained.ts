/**
 * What makes a savepoint self-contained: its folder can be moved, and outlives the job's checkpoints. Tasks write all of their state into
 * it, but those that had come to their ends before have stored theirs in a checkpoint, once, and the manifest names it there
 * (`../chk-3/…`). Such parts are copied into the savepoint's folder before its manifest is written. Only metadata is looked at here.
 */
import type { SnapshotSection } from "../../core/state/snapshot.ts";
import { BlockCopy, type FileRange } from "./block-copy.ts";
import type { CheckpointManifest, ManifestSubtask } from "./manifest.ts";

const ELSEWHERE = "../";

/** A manifest that names files of its own folder only, and the copies that it needs there. */
export interface SelfContained {
  readonly manifest: CheckpointManifest;
  /** From the folder that the job's checkpoints are in to the manifest's folder. */
  readonly copies: readonly BlockCopy[];
}

/** How a manifest becomes self-contained. Without files elsewhere it stays as it is. */
export function selfContained(manifest: CheckpointManifest): SelfContained {
  const copies: BlockCopy[] = [];
  const vertices = manifest.vertices.map((vertex, number) => ({
    ...vertex,
    subtasks: vertex.subtasks.map((part, subtask): ManifestSubtask => {
      if (!isElsewhere(part)) return part;
      const copy = new BlockCopy(`ended-${number}-${subtask}`);
      copies.push(copy);
      const operators = part.operators.map((state) => ({
        ...state,
        sections: (state.sections as readonly SnapshotSection[]).map((it) => (isThere(it) ? copy.section(fromBelow(it)) : it)),
      }));
      const channels = channelsOf(part).map((it) => (isThere(it) ? copy.range(fromBelow(it)) : it));
      return { ...part, operators, ...(part.channels === undefined ? {} : { channels }) };
    }),
  }));
  return copies.length === 0 ? { manifest, copies } : { manifest: { ...manifest, vertices }, copies };
}

const isThere = ({ file }: { readonly file: string }): boolean => file.startsWith(ELSEWHERE);

/** Its file, seen from the folder that all checkpoints of the job are in. */
const fromBelow = <T extends { readonly file: string }>(part: T): T => ({ ...part, file: part.file.slice(ELSEWHERE.length) });

const channelsOf = ({ channels }: ManifestSubtask): readonly FileRange[] => (channels ?? []) as readonly FileRange[];

const isElsewhere = (part: ManifestSubtask): boolean =>
  channelsOf(part).some(isThere) || part.operators.some(({ sections }) => sections.some(isThere));
