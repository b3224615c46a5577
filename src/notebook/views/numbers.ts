/**
 * Numbers as people read them, the same in every picture: counts, rates, bytes, durations, moments (always UTC).
 */

/** `1,234`, `56.7 k`, `8.91 M`: three digits that matter. */
export function shortNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  if (size < 10_000) return group(Number.isInteger(value) ? value : Number(value.toPrecision(3)));
  for (const [unit, letter] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    // 999,950 would read "1000 k"; it is 1 M.
    if (size >= unit * 0.9995) return `${Number((value / unit).toPrecision(3))} ${letter}`;
  }
  return group(value);
}

/** All digits, grouped by threes. */
export const group = (value: number): string => value.toLocaleString("en-US", { maximumFractionDigits: 6 });

/** `12 B`, `3.4 KiB`, `5.6 GiB`. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let rest = value;
  let unit = 0;
  while (Math.abs(rest) >= 1_024 && unit < units.length - 1) {
    rest /= 1_024;
    unit++;
  }
  return `${Number(rest.toPrecision(3))} ${units[unit]}`;
}

/** Milliseconds as `340 ms`, `12.3 s`, `4 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 0) return `-${duration(-ms)}`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${Number((ms / 1_000).toFixed(1))} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `72%`; a share above 0 is never shown as 0%, one below 1 never as 100%. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return "–";
  const rounded = Math.round(share * 100);
  if (rounded === 0 && share > 0) return "<1%";
  if (rounded === 100 && share < 1) return "99%";
  return `${rounded}%`;
}

/** `2026-11-22 20:37:39`, UTC. */
export const moment = (ms: number): string => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString().slice(0, 19).replace("T", " ") : "–");

const two = (value: number): string => String(value).padStart(2, "0");
