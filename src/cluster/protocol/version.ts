/** The version of drey that this process runs; processes of different versions don't work together. */
import { readFileSync } from "node:fs";

/** As in package.json, which lies beside both `src` and `dist`. */
export const VERSION: string = (JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string })
  .version;
