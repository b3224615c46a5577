/** How busy something is, as a bar: the same in graphs, slots and panels. */
import type { Load } from "./load.ts";
import { type Markup, group, rectangle, textAt, textWidth } from "./svg.ts";

/** Shares of time side by side: busy, back-pressured, idle. */
export function bar(x: number, y: number, width: number, height: number, load: Pick<Load, "busy" | "backPressured">): Markup {
  const busy = width * load.busy;
  const blocked = width * load.backPressured;
  return group(
    rectangle(x, y, width, height, { rx: height / 2, fill: "idle" }),
    ...(busy > 0.5 ? [rectangle(x, y, busy, height, { rx: height / 2, fill: "busy" })] : []),
    ...(blocked > 0.5 ? [rectangle(x + busy, y, blocked, height, { rx: height / 2, fill: "backPressured" })] : []),
  );
}

/** The three shares of time and their colours. */
export function drawLegend(x: number, y: number): Markup {
  let at = x;
  return group(
    ...(
      [
        ["busy", "busy"],
        ["backPressured", "back-pressured"],
        ["idle", "idle"],
      ] as const
    ).map(([colour, text]) => {
      const piece = group(
        rectangle(at, y - 8, 10, 10, { rx: 2.5, fill: colour }),
        textAt(at + 15, y + 1, text, { size: 11, colour: "muted" }),
      );
      at += 15 + textWidth(text, 11) + 18;
      return piece;
    }),
  );
}
