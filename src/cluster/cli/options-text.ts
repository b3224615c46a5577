/** Every option of the engine, for people: `drey --options`. */
import { formatDuration } from "../../core/types/duration.ts";
import { type Option, allOptions } from "../../core/types/options.ts";
import { environmentVariable } from "../configuration-file.ts";

/** One paragraph per option: key, default, meaning, environment variable. */
export function optionsText(): string {
  return allOptions
    .map((option) => `${option.key} = ${defaultText(option)}\n    ${option.description}\n    ${environmentVariable(option.key)}`)
    .join("\n");
}

function defaultText({ type, default: value }: Option): string {
  if (type === "duration") return formatDuration(value as number);
  if (type === "bytes") return bytesText(value as number);
  return value === "" ? '""' : String(value);
}

function bytesText(bytes: number): string {
  if (bytes >= 1024 * 1024 && bytes % (1024 * 1024) === 0) return `${bytes / (1024 * 1024)} mb`;
  return bytes >= 1024 && bytes % 1024 === 0 ? `${bytes / 1024} kb` : `${bytes}`;
}
