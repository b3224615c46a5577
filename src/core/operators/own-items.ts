/**
 * Items that each subtask keeps for itself, and that find a new owner when the parallelism changes: positions in a source's input, mostly.
 *
 * They lie in a union list, so that every subtask sees all of them and all come to the same division: at the same parallelism each gets its
 * own again, at another one the n-th item goes to subtask n modulo parallelism. A subtask that gets none although there are some has
 * nothing to do, which is not the same as beginning anew.
 */
import type { OperatorList, OperatorStates } from "../state/operator-states.ts";

/** Whose items: see OperatorContext. */
export interface Place {
  readonly subtask: number;
  readonly parallelism: number;
  readonly states: OperatorStates;
}

interface Owned<T> {
  readonly subtask: number;
  readonly parallelism: number;
  readonly item: T;
}

/** The items of one subtask under a name. One thread. */
export class OwnItems<T> {
  readonly #list: OperatorList<Owned<T>>;
  readonly #place: Place;

  constructor(place: Place, name: string) {
    this.#place = place;
    this.#list = place.states.list<Owned<T>>(name, "union");
  }

  /** What this subtask is to go on with; undefined: it begins anew. To be asked before the first `keep`. */
  get restored(): readonly T[] | undefined {
    const all = this.#list.get();
    if (all.length === 0) return undefined;
    const { subtask, parallelism } = this.#place;
    const same = all.every((it) => it.parallelism === parallelism);
    return all.filter((it, index) => (same ? it.subtask : index % parallelism) === subtask).map(({ item }) => item);
  }

  /** What other subtasks are to go on with. */
  get others(): readonly T[] {
    const own = new Set(this.restored);
    return this.#list.get().flatMap(({ item }) => (own.has(item) ? [] : [item]));
  }

  /** What all former subtasks kept, if there were more or fewer of them; undefined: as many as now, or none. */
  get restoredOfOthers(): readonly T[] | undefined {
    const all = this.#list.get();
    return all.every(({ parallelism }) => parallelism === this.#place.parallelism) ? undefined : all.map(({ item }) => item);
  }

  /** Keeps these items in place of the ones before. Keep at least one, or the next attempt begins anew. */
  keep(items: readonly T[]): void {
    const { subtask, parallelism } = this.#place;
    this.#list.update(items.map((item) => ({ subtask, parallelism, item })));
  }
}
