/**
 * Packs Plotly for notebooks and reports: the bundle of `plotly.js-dist`, minified and gzipped, beside the built file that puts it into
 * pages (src/notebook/views/plotly.ts). Part of `npm run build`; does nothing when the packed bundle is of the installed version.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, gunzipSync, gzipSync } from "node:zlib";
import { minifySync } from "vite";

const require = createRequire(import.meta.url);
const { version } = require("plotly.js-dist/package.json");
const target = new URL("../dist/notebook/views/plotly.min.js.gz", import.meta.url);
// Minifying takes the licence away; its terms ask that it stays.
const licence = `/*! plotly.js v${version}, (c) Plotly, Inc., MIT licence: https://github.com/plotly/plotly.js/blob/master/LICENSE */\n`;

const isPacked = () => existsSync(target) && gunzipSync(readFileSync(target)).subarray(0, licence.length).toString() === licence;

if (!isPacked()) {
  const { code, errors } = minifySync("plotly.js", readFileSync(require.resolve("plotly.js-dist"), "utf8"), {
    module: false,
    compress: true,
    mangle: true,
  });
  if (errors.length > 0) throw new Error(`plotly.js-dist ${version} could not be minified: ${errors[0].message}`);
  const packed = gzipSync(licence + code, { level: constants.Z_BEST_COMPRESSION });
  // Whoever reads at this moment sees the old file or the new one, never half of it.
  const unfinished = new URL(`./plotly.${process.pid}.tmp`, target);
  writeFileSync(unfinished, packed);
  renameSync(unfinished, target);
}
