/**
 * Time for RxJS pipelines (RxJS: VirtualTimeScheduler). Its clock stands where the operator puts it: at watermarks and timestamps, or at
 * the wall clock of the task. Actions run in order of their time, within one time in the order in which they were scheduled.
 *
 * Invariant: while an action runs, `now()` is the time it was scheduled for, however late the clock is moved there.
 */
import { type SchedulerAction, type SchedulerLike, Subscription } from "rxjs";
import { GraphError } from "../types/errors.ts";

type Work<T> = (this: SchedulerAction<T>, state?: T) => void;

/** So many actions at one point of time are a loop, not work. */
const MAX_ACTIONS_AT_ONE_TIME = 100_000;

/** The scheduler of one subtask. */
export class TimeScheduler implements SchedulerLike {
  #nowMs = Number.NEGATIVE_INFINITY;
  /** Binary min-heap by time, then by number. An action that was ended stays until it comes up. */
  readonly #heap: Entry[] = [];
  #scheduled = 0;
  #atThisTime = 0;

  /** Milliseconds since the epoch; -Infinity before anything has happened. */
  now(): number {
    return this.#nowMs;
  }

  schedule<T>(work: Work<T>, delay = 0, state?: T): Subscription {
    return new TimeAction<T>(this, work).schedule(state, delay);
  }

  /** Time of the next action; Infinity without any. */
  get nextTime(): number {
    this.#skipEnded();
    return this.#heap[0]?.time ?? Number.POSITIVE_INFINITY;
  }

  /** Runs all actions before `time`, and puts the clock there. The clock never goes back. */
  moveTo(time: number): void {
    while (this.nextTime < time) this.#runNext();
    this.#set(time);
  }

  /** Runs all actions up to and including `time`, and puts the clock there. */
  runTo(time: number): void {
    while (this.nextTime <= time) this.#runNext();
    this.#set(time);
  }

  /** Runs the next action. @returns false when there is none. */
  runNext(): boolean {
    if (this.nextTime === Number.POSITIVE_INFINITY) return false;
    this.#runNext();
    return true;
  }

  /** For actions: to run `delay` milliseconds from now. What is due never is not kept. */
  add(action: TimeAction<never>, delay: number): void {
    const time = Math.max(this.#nowMs, this.#nowMs + delay);
    if (Number.isFinite(time)) this.#push({ time, number: this.#scheduled++, action, run: action.run });
  }

  #runNext(): void {
    const { time, action } = this.#pop();
    this.#set(time);
    if (++this.#atThisTime > MAX_ACTIONS_AT_ONE_TIME) {
      throw new GraphError(
        `The pipeline of rx() schedules without end at one point of time (${time}); give interval(), timer() or repeat() a period above 0.`,
      );
    }
    action.execute();
  }

  #set(time: number): void {
    if (time <= this.#nowMs || time === Number.POSITIVE_INFINITY) return;
    this.#nowMs = time;
    this.#atThisTime = 0;
  }

  #skipEnded(): void {
    for (let first = this.#heap[0]; first !== undefined && (first.action.closed || first.action.run !== first.run); first = this.#heap[0]) {
      this.#pop();
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let child = heap.push(entry) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!before(entry, heap[parent] as Entry)) break;
      heap[child] = heap[parent] as Entry;
      child = parent;
    }
    heap[child] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const first = heap[0] as Entry;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return first;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      if (!before(heap[child] as Entry, last)) break;
      heap[hole] = heap[child] as Entry;
      hole = child;
    }
    heap[hole] = last;
    return first;
  }
}

interface Entry {
  readonly time: number;
  readonly number: number;
  readonly action: TimeAction<never>;
  /** The scheduling that this entry stands for: an action that was scheduled again left its earlier entries void. */
  readonly run: number;
}

const before = (a: Entry, b: Entry): boolean => a.time < b.time || (a.time === b.time && a.number < b.number);

/** Work that runs at its time, and may schedule itself again. */
class TimeAction<T> extends Subscription implements SchedulerAction<T> {
  readonly #scheduler: TimeScheduler;
  readonly #work: Work<T>;
  #state: T | undefined;
  /** How often it was scheduled. */
  run = 0;

  constructor(scheduler: TimeScheduler, work: Work<T>) {
    super();
    this.#scheduler = scheduler;
    this.#work = work;
  }

  schedule(state?: T, delay = 0): Subscription {
    if (this.closed) return this;
    this.#state = state;
    this.run++;
    this.#scheduler.add(this as unknown as TimeAction<never>, delay);
    return this;
  }

  execute(): void {
    this.#work.call(this, this.#state as T);
  }
}
