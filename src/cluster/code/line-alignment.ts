/**
 * Which line of one text is which line of another, when both are compiled from the same source by different means: most lines are
 * equal and all come in the same order. The longest common subsequence pairs them; lines between two pairs at equal distance are
 * paired in order.
 */

/** Longer texts are not compared: the table grows with the product of their lengths. */
const MAX_COMPARISONS = 4_000_000;

/**
 * Pairs lines.
 * @param left lines in a form in which equal means the same; empty lines are never paired by themselves.
 * @returns for each line of `left` the index of its line in `right`, or undefined.
 */
export function alignLines(left: readonly string[], right: readonly string[]): (number | undefined)[] {
  const partner: (number | undefined)[] = left.map(() => undefined);
  if (left.length * right.length > MAX_COMPARISONS) return partner;
  const width = right.length + 1;
  // longest[i, j]: length of the longest common subsequence of what begins at i and at j.
  const longest = new Uint32Array((left.length + 1) * width);
  const isPair = (i: number, j: number): boolean => left[i] === right[j] && left[i] !== "";
  const at = (i: number, j: number): number => longest[i * width + j] as number;
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--)
      longest[i * width + j] = isPair(i, j) ? 1 + at(i + 1, j + 1) : Math.max(at(i + 1, j), at(i, j + 1));
  }
  for (let i = 0, j = 0; i < left.length && j < right.length;) {
    if (isPair(i, j)) partner[i++] = j++;
    else if (at(i + 1, j) >= at(i, j + 1)) i++;
    else j++;
  }
  fillGaps(partner);
  return partner;
}

function fillGaps(partner: (number | undefined)[]): void {
  for (let i = 1; i < partner.length; i++) {
    const before = partner[i - 1];
    if (partner[i] !== undefined || before === undefined) continue;
    let next = i;
    while (next < partner.length && partner[next] === undefined) next++;
    if (partner[next] !== before + (next - i) + 1) continue;
    for (let k = i; k < next; k++) partner[k] = before + (k - i) + 1;
  }
}
