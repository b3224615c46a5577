/** Where a savepoint lies, as programs say it: a folder of this machine, seen from the program's own, or a place in an object store. */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { MANIFEST_NAME } from "../storage/manifest.ts";

const SCHEME = /^([a-z][a-z0-9+.-]+):/i;

/**
 * The place as `storageAt` takes it: an absolute path, or an address like `s3://bucket/path`. The manifest in it stands for its folder.
 * @param where the call, for messages.
 * @throws ConfigurationError for what is no place.
 */
export function savepointPlace(location: string | URL, where: string): string {
  const text = String(location);
  const scheme = SCHEME.exec(text)?.[1]?.toLowerCase();
  if (text === "" || (scheme !== undefined && scheme !== "file" && scheme !== "s3" && scheme !== "memory")) {
    throw new ConfigurationError(
      `${where} got ${describe(text)}; give the folder of a savepoint: a path, file:///path or s3://bucket/path.`,
    );
  }
  if (scheme === "s3" || scheme === "memory") return text.replace(new RegExp(`/+(?:${MANIFEST_NAME})?/*$`), "");
  const folder = scheme === undefined ? path.resolve(text) : fileURLToPath(text);
  return path.basename(folder) === MANIFEST_NAME ? path.dirname(folder) : path.normalize(folder);
}
