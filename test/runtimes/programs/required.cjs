/** CommonJS: every door through require(), which gives the same modules as import(). */
const { strict: assert } = require("node:assert");
const drey = require("drey");
const { localEnvironment } = require("drey/core");
const { chart } = require("drey/notebook");
const { testHarness } = require("drey/testing");

assert.equal(typeof drey.environment, "function");
assert.equal(typeof chart, "function");
assert.equal(typeof testHarness, "function");
assert.equal(typeof require("drey/package.json").version, "string");

void localEnvironment()
  .of(1, 2, 3)
  .map((n) => n * 2)
  .collect()
  .then(async (rows) => {
    assert.equal((await import("drey")).DataStream, drey.DataStream);
    console.log(JSON.stringify(rows));
  });
