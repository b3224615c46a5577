/**
 * A file for rows that don't fit into memory, of one process. Where the system allows it has no name from the start, so it is gone with the
 * process, however that ends.
 */
import { openSync, unlinkSync } from "node:fs";

/** An open file. Who opened it closes it, and then removes what has a name. */
export interface NamelessFile {
  readonly file: number;
  /** Its name, where open files keep theirs (Windows). */
  readonly path: string | undefined;
}

/** Makes a file that only this user may read. @param path does not exist; its folder does. @throws what the file system says. */
export function openNameless(path: string): NamelessFile {
  const file = openSync(path, "wx+", 0o600);
  try {
    unlinkSync(path);
    return { file, path: undefined };
  } catch {
    return { file, path };
  }
}
