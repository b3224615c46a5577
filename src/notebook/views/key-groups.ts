/**
 * Where keyed state lies: a heat map of bytes by key group and subtask, out of the manifests of checkpoints or savepoints. Several are
 * drawn one above the other on the same key groups, so that before and after a rescale one sees ranges of groups move, and no group split.
 *
 * Only manifests are read; the state itself is not. Counted are keyed state and timers, as the snapshot stores them.
 */
import path from "node:path";
import { type CheckpointManifest, loadManifest } from "../../cluster/storage/manifest.ts";
import { storageAt } from "../../cluster/storage/storages.ts";
import type { SnapshotSection } from "../../core/state/snapshot.ts";
import { keyGroupRange } from "../../core/data/key-groups.ts";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { Picture } from "../picture.ts";
import { bytes } from "./numbers.ts";
import { type Drawing, type Markup, drawing, element, group, line, rectangle, textAt, words } from "./svg.ts";
import { type Pen, aligned, cut, plainText, sparkline } from "./terminal.ts";

export interface KeyGroupsOptions {
  readonly title?: string;
  /** Only this vertex, by its id or name; default: every vertex with keyed state. */
  readonly vertex?: string;
  readonly width?: number;
}

/** A checkpoint or savepoint: its place (a path, `file://` or `s3://`), or what `job.checkpoints()` tells of it. */
export type StoredCheckpoint = string | { readonly location?: string };

/**
 * State by key group, of one checkpoint or savepoint, or of several to be compared, in this order.
 * @throws ConfigurationError for one without a place; CorruptCheckpointError where there is none, or none that can be read.
 */
export async function keyGroups(of: StoredCheckpoint | readonly StoredCheckpoint[], options: KeyGroupsOptions = {}): Promise<Picture> {
  const manifests: CheckpointManifest[] = [];
  for (const it of typeof of === "string" || !Array.isArray(of) ? [of as StoredCheckpoint] : (of as readonly StoredCheckpoint[])) {
    const location = typeof it === "string" ? it : it.location;
    if (location === undefined) throw new ConfigurationError(`keyGroups() got ${describe(it)}, which says no place: a checkpoint that failed has none.`);
    const place = /^[a-z0-9]+:\/\//i.test(location) ? location : path.resolve(location);
    manifests.push(await loadManifest(storageAt(place)));
  }
  return keyGroupPicture(manifests, options);
}

/** The same of manifests that are at hand. */
export function keyGroupPicture(manifests: readonly CheckpointManifest[], options: KeyGroupsOptions = {}): Picture {
  const title = options.title ?? "State by key group";
  const maps = manifests.flatMap((it) => mapsOf(it, options.vertex));
  return new Picture({
    title,
    text: (pen) => keyGroupText(maps, pen),
    svg: () => drawKeyGroups(maps, title, options.width ?? 820),
  });
}

/** One vertex in one checkpoint. */
interface KeyGroupMap {
  readonly checkpoint: string;
  readonly vertex: string;
  readonly name: string;
  readonly parallelism: number;
  readonly groups: number;
  /** Bytes by subtask, then by key group. */
  readonly bytes: readonly Float64Array[];
}

function mapsOf(manifest: CheckpointManifest, only: string | undefined): KeyGroupMap[] {
  return manifest.vertices.flatMap(({ id, name, parallelism, maxParallelism, subtasks }) => {
    if (only !== undefined && only !== id && only !== name) return [];
    let keyed = false;
    const counted = subtasks.map(({ operators }) => {
      const own = new Float64Array(maxParallelism);
      for (const { sections } of operators) {
        for (const section of sections as readonly SnapshotSection[]) {
          if (section.kind !== "keyed" && section.kind !== "timers") continue;
          keyed = true;
          const { blocks } = section;
          for (let i = 0; i + 2 < blocks.length; i += 3) {
            const at = blocks[i] as number;
            if (at < maxParallelism) own[at] = (own[at] as number) + (blocks[i + 2] as number);
          }
        }
      }
      return own;
    });
    const checkpoint = `${manifest.kind} ${manifest.checkpoint}`;
    return keyed ? [{ checkpoint, vertex: id, name, parallelism, groups: maxParallelism, bytes: counted }] : [];
  });
}

const totalOf = (own: Float64Array): number => own.reduce((sum, it) => sum + it, 0);
const NOTHING = "No keyed state is stored there.";

function rangeText(map: KeyGroupMap, subtask: number): string {
  const { start, end } = keyGroupRange(subtask, map.parallelism, map.groups);
  return end - start === 1 ? `key group ${start}` : `key groups ${start}–${end - 1}`;
}

function summaryOf(map: KeyGroupMap): string {
  const sizes = map.bytes.map(totalOf);
  const total = sizes.reduce((sum, it) => sum + it, 0);
  const used = Array.from({ length: map.groups }, (_, at) => map.bytes.some((own) => (own[at] as number) > 0)).filter(Boolean).length;
  return `${map.checkpoint} · ×${map.parallelism} · ${bytes(total)} in ${used} of ${map.groups} key groups`;
}

// ---------------------------------------------------------------------------------------------------------------- text

function keyGroupText(maps: readonly KeyGroupMap[], pen: Pen): string {
  if (maps.length === 0) return NOTHING;
  return maps
    .map((map) => {
      const most = Math.max(1, ...map.bytes.flatMap((own) => [...own]));
      const rows = map.bytes.map((own, subtask) => {
        const { start, end } = keyGroupRange(subtask, map.parallelism, map.groups);
        const line = sparkline([...own.subarray(start, end)], 48, 0, most);
        return [`${map.vertex}/${subtask}`, rangeText(map, subtask), bytes(totalOf(own)), line];
      });
      return [`${pen.strong(cut(plainText(map.name), 60))}  ${summaryOf(map)}`, ...aligned(rows, "llrl", "  ")].join("\n");
    })
    .join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const LEFT = 196;
const RIGHT = 96;
/** Key groups side by side; of more, neighbours are drawn as one. */
const MOST_COLUMNS = 256;
/** Subtasks of one map that have a row. */
const MOST_ROWS = 32;
const SHADES = 6;

function drawKeyGroups(maps: readonly KeyGroupMap[], title: string, width: number): Drawing {
  const pieces: Markup[] = [textAt(20, 28, title, { size: 14, weight: 600, maxWidth: width - 40 })];
  if (maps.length === 0) return drawing(width, 66, title, NOTHING, ...pieces, textAt(20, 50, NOTHING, { colour: "muted" }));
  // One scale for all, else before and after could not be compared.
  const columnsOf = (map: KeyGroupMap): number => Math.min(MOST_COLUMNS, map.groups);
  const cellsOf = (map: KeyGroupMap, own: Float64Array): number[] => {
    const columns = columnsOf(map);
    const cells = new Array<number>(columns).fill(0);
    own.forEach((value, at) => {
      const column = Math.floor((at * columns) / map.groups);
      cells[column] = (cells[column] as number) + value;
    });
    return cells;
  };
  const most = Math.max(1, ...maps.flatMap((map) => map.bytes.flatMap((own) => cellsOf(map, own))));
  let y = 44;
  for (const map of maps) {
    const columns = columnsOf(map);
    const cell = (width - LEFT - RIGHT) / columns;
    const rows = map.bytes.slice(0, MOST_ROWS);
    const height = rows.length > 12 ? 12 : 20;
    pieces.push(
      textAt(20, y + 14, map.name, { size: 12, weight: 600, maxWidth: 300 }),
      textAt(width - 20, y + 14, summaryOf(map), { size: 11, colour: "muted", anchor: "end", maxWidth: width - 360 }),
    );
    y += 24;
    rows.forEach((own, subtask) => {
      const { start, end } = keyGroupRange(subtask, map.parallelism, map.groups);
      const left = LEFT + (start * (width - LEFT - RIGHT)) / map.groups;
      const right = LEFT + (end * (width - LEFT - RIGHT)) / map.groups;
      pieces.push(
        textAt(20, y + height / 2 + 4, `${map.vertex}/${subtask}`, { size: 11, weight: 600, maxWidth: 50 }),
        textAt(LEFT - 10, y + height / 2 + 4, rangeText(map, subtask), { size: 10.5, colour: "muted", anchor: "end", maxWidth: 126 }),
        rectangle(LEFT, y, width - LEFT - RIGHT, height - 2, { fill: "panel" }),
        // What the subtask owns, empty groups too.
        rectangle(left, y, right - left, height - 2, { fill: "idle" }),
        ...cellsOf(map, own).flatMap((value, column) =>
          value <= 0
            ? []
            : [
                element(
                  "rect",
                  {
                    x: LEFT + column * cell,
                    y,
                    width: Math.max(0.6, cell - (cell > 3 ? 0.6 : 0)),
                    height: height - 2,
                    fill: "busy",
                    "fill-opacity": shadeOf(value, most),
                  },
                  element("title", {}, words(`${columnText(map, column, columns)} of ${map.vertex}/${subtask}: ${bytes(value)}`)),
                ),
              ],
        ),
        textAt(width - 20, y + height / 2 + 4, bytes(totalOf(own)), { size: 10.5, colour: "muted", anchor: "end" }),
      );
      y += height;
    });
    if (map.bytes.length > MOST_ROWS) {
      pieces.push(textAt(20, y + 12, `and ${map.bytes.length - MOST_ROWS} more subtasks`, { size: 10.5, colour: "muted" }));
      y += 16;
    }
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * map.groups));
    pieces.push(
      ...ticks.map((tick) => {
        const x = LEFT + (tick * (width - LEFT - RIGHT)) / map.groups;
        return group(
          line(x, y, x, y + 4, "line"),
          textAt(x, y + 16, String(tick), { size: 10.5, colour: "muted", anchor: "middle" }),
        );
      }),
    );
    y += 30;
  }
  pieces.push(
    textAt(LEFT - 10, y + 11, "bytes", { size: 11, colour: "muted", anchor: "end" }),
    // Shades lie upon the colour of what is owned, here as in the map.
    rectangle(LEFT, y + 1, (SHADES + 1) * 22, 12, { fill: "idle" }),
  );
  for (let shade = 1; shade <= SHADES; shade++) {
    pieces.push(rectangle(LEFT + shade * 22, y + 1, 22, 12, { fill: "busy", "fill-opacity": shade / SHADES }));
  }
  pieces.push(textAt(LEFT + (SHADES + 1) * 22 + 8, y + 11, `0 to ${bytes(most)}`, { size: 11, colour: "muted" }));
  const spoken = maps.map((map) => {
    const subtasks = map.bytes.map((own, at) => `${rangeText(map, at)} ${bytes(totalOf(own))}`);
    return `${map.name}, ${summaryOf(map)}: ${subtasks.join("; ")}`;
  });
  return drawing(width, y + 26, title, `${spoken.join(". ")}.`, ...pieces);
}

/** Shades are few, so that they can be told apart and read against the legend. */
const shadeOf = (value: number, most: number): number => Math.ceil((value / most) * SHADES) / SHADES;

function columnText(map: KeyGroupMap, column: number, columns: number): string {
  const first = Math.ceil((column * map.groups) / columns);
  const last = Math.ceil(((column + 1) * map.groups) / columns) - 1;
  return first >= last ? `key group ${first}` : `key groups ${first}–${last}`;
}
