/**
 * What is the same in several pictures of a page lights up together: an operator in the program, in its chain and among the executions.
 * Pointing at one of them, or reaching it with the keyboard, lights them all, in whichever pictures they stand.
 *
 * This is a style sheet and no script: each picture brings a rule per name, and a rule that is inside an inline SVG is the whole page's.
 * So pictures need not know each other, and it holds in a report that forbids scripts. Marked elements must not lie inside one another,
 * since whoever points at the inner one points at the outer one too.
 */
import { COLOURS, type Markup, element, fingerprint, words } from "./svg.ts";

/** Names that get a rule; pictures of more parts than that can't be read anyway. */
const MOST_NAMES = 200;

declare const brand: unique symbol;
/** The name of a thing on the whole page. */
export type LinkName = string & { readonly [brand]: "link" };

/** The name of a part of a job: the same in every picture of a job that is called so. */
export const linkName = (job: string, part: string): LinkName =>
  `drey-is-${fingerprint(job).slice(0, 6)}-${/^[\w-]{1,16}$/.test(part) ? part : fingerprint(part)}` as LinkName;

/**
 * An element that lights up with all that share one of its names. Its first rectangle is its frame.
 * @param hint told on hover, and its name for who can't see it. @param reachable by the keyboard.
 */
export function linked(names: readonly LinkName[], hint: string, reachable: boolean, ...content: readonly Markup[]): Markup {
  const attributes = { class: names.join(" "), ...(reachable ? { tabindex: 0, role: "img" } : {}) };
  return element("g", attributes, element("title", {}, words(hint)), ...content);
}

/** The style sheet for elements with these names, to stand in the same picture. */
export function linkStyle(names: Iterable<LinkName>): Markup {
  const selectors = [...new Set(names)]
    .slice(0, MOST_NAMES)
    .map((it) => `:root:has(.${it}:is(:hover,:focus-visible)) .${it}>rect:first-of-type`);
  const [light, dark] = COLOURS.series3;
  return element("style", {}, `${selectors.join(",")}{stroke:${light};stroke:light-dark(${light},${dark});stroke-width:2.5px}` as Markup);
}
