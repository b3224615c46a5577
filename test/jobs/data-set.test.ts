/** Data sets on a real cluster: what a loop leaves for its next step crosses processes. */
import { environment } from "drey";
import { expect, test } from "vitest";

test("a data set is grouped, joined and looped over by real TaskManagers", async () => {
  await using env = environment({ taskManagers: 2, slots: 2, parallelism: 4, configuration: { "taskmanager.memory.managed.size": "64 kb" } });
  const people = env.dataSet(env.generate((id) => ({ id, city: `city ${id % 10}`, age: (id * 7) % 90 }), { count: 20_000 }));
  const cities = env.dataSet(Array.from({ length: 10 }, (_, i) => ({ name: `city ${i}`, country: i % 2 === 0 ? "even" : "odd" })));
  const oldest = await people
    .join(cities)
    .where("city")
    .equalTo("name")
    .with(({ age }, { country }) => ({ country, age }))
    .groupBy("country")
    .maxBy("age")
    .collect();
  const ageOf = (id: number): number => (id * 7) % 90;
  const ids = Array.from({ length: 20_000 }, (_, id) => id);
  expect(oldest.sort((a, b) => (a.country < b.country ? -1 : 1))).toEqual([
    { country: "even", age: Math.max(...ids.filter((id) => id % 2 === 0).map(ageOf)) },
    { country: "odd", age: Math.max(...ids.filter((id) => id % 2 === 1).map(ageOf)) },
  ]);
  const doubled = await env.dataSet([1, 2, 3]).iterate(4, (rows) => rows.map((n) => n * 2)).collect();
  expect(doubled.sort((a, b) => a - b)).toEqual([16, 32, 48]);
}, 60_000);
