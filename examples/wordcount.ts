/** Counts words, the "hello world" of stream processing: `npx drey run examples/wordcount.ts`. */
import { environment } from "drey";

const env = environment({ parallelism: 2 });

env
  .of("to be or not to be", "that is the question", "whether tis nobler in the mind to suffer")
  .flatMap((line) => line.split(" "))
  .map((word) => ({ word, count: 1 }))
  .keyBy((it) => it.word)
  .reduce((a, b) => ({ word: a.word, count: a.count + b.count }))
  .print();

await env.execute("word count");
