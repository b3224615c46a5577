/**
 * A bell wakes a thread that ran out of work. Every thread that waits has one; whoever gives it work (a segment, room in a ring, a
 * control message) rings it, from any thread. A bell is three words of shared memory:
 *
 *     SEQUENCE   rises with every wake-up; the sleeper waits for it to change
 *     ASLEEP     1 from "I am about to sleep" until somebody rings or the sleeper wakes by itself
 *     FLAG       1 while a control message waits
 *
 * Invariant: no wake-up is lost. The sleeper reads SEQUENCE, then raises ASLEEP, then looks for work, then waits; the ringer first makes
 * the work visible, then looks at ASLEEP. All of these are sequentially consistent (Atomics), so one of the two sees the other: either
 * the sleeper finds the work, or the ringer finds it asleep and changes SEQUENCE, which was read before and so ends the wait.
 * Taking ASLEEP down is an exchange that one ringer wins: a thousand segments cost one system call.
 *
 * Trusts callers to look for work after each wake-up: a wake-up may come early, and many rings may be one wake-up.
 * Worker threads load this file; it knows neither sockets nor rings.
 */
import { InvariantError } from "../../core/types/errors.ts";
import type { Doorbell } from "../../core/runtime/channel.ts";

/** A bell as plain data: pass it to other threads in `workerData` or a message; all copies are the same bell. */
export interface BellDescriptor {
  readonly words: Int32Array;
}

// 128 bytes apart: neighbouring lines are fetched in pairs, and ringers only read ASLEEP.
const SEQUENCE = 0;
const ASLEEP = 32;
const FLAG = 64;
const WORDS = 96;

// Falling asleep and being woken costs two system calls and about 10 µs. Looking for work for a few microseconds first doubled the rate
// of tiny segments through a ring, per CPU-second too (test/bench/micro/exchange.mjs).
const LOOK_MS = 0.003;
const LOOKS = 16;

/** A new bell, silent. Any thread. */
export function createBell(): BellDescriptor {
  return { words: new Int32Array(new SharedArrayBuffer(WORDS * 4)) };
}

/** Wakes the bell's thread if it sleeps; costs one read of shared memory if it doesn't. Any thread. Make the work visible first. */
export function ringBell(bell: BellDescriptor): void {
  const words = bell.words;
  if (Atomics.load(words, ASLEEP) === 0 || Atomics.exchange(words, ASLEEP, 0) === 0) return;
  Atomics.add(words, SEQUENCE, 1);
  Atomics.notify(words, SEQUENCE);
}

/** Tells the bell's thread that a control message waits, and wakes it. Any thread. Post the message first. */
export function raiseFlag(bell: BellDescriptor): void {
  Atomics.store(bell.words, FLAG, 1);
  ringBell(bell);
}

/** True if the flag was raised since it was last taken. The bell's thread; a false answer costs one read. */
export function takeFlag(bell: BellDescriptor): boolean {
  return Atomics.load(bell.words, FLAG) !== 0 && Atomics.exchange(bell.words, FLAG, 0) !== 0;
}

/** True while the flag is raised; does not take it. Any thread. */
export function flagRaised(bell: BellDescriptor): boolean {
  return Atomics.load(bell.words, FLAG) !== 0;
}

/** The flag itself, for code that looks at it between records: one word, not 0 while a control message waits. The bell's thread. */
export function controlWord(bell: BellDescriptor): Int32Array {
  return bell.words.subarray(FLAG, FLAG + 1);
}

/** How a worker thread without asynchronous operators waits: parked in `Atomics.wait`, so its event loop stands still meanwhile. */
export class ThreadDoorbell implements Doorbell {
  readonly bell: BellDescriptor;
  private readonly words: Int32Array;

  constructor(bell: BellDescriptor) {
    this.bell = bell;
    this.words = bell.words;
  }

  /** As the contract says; also returns at once while the control flag is raised, and ends when it is. */
  park(timeoutMs: number, ready: () => boolean): void {
    const words = this.words;
    const lookUntil = performance.now() + LOOK_MS;
    do {
      for (let i = 0; i < LOOKS; i += 1) if (ready()) return;
    } while (performance.now() < lookUntil);
    const sequence = Atomics.load(words, SEQUENCE);
    Atomics.store(words, ASLEEP, 1);
    try {
      if (Atomics.load(words, FLAG) !== 0 || ready()) return;
      Atomics.wait(words, SEQUENCE, sequence, timeoutMs);
    } finally {
      Atomics.store(words, ASLEEP, 0);
    }
  }
}

/** TypeScript's library knows `waitAsync` from es2024 on; every Node that drey runs on has it. */
interface AsyncWaiting {
  waitAsync(words: Int32Array, index: number, value: number): { readonly async: boolean; readonly value: Promise<string> | string };
}

/**
 * How a thread that must keep its event loop turning waits (a TaskManager's main thread, a task with asynchronous operators). Resolves
 * when the bell rings, the flag is raised, `timeoutMs` passed, or `signal` is aborted; never rejects. The bell is armed when the call
 * returns.
 *
 * A finite timeout keeps the process alive as any timer does; a wait for ever does not (V8's waiters hold no event loop open).
 * @param ready asked once after the bell is armed; true ends the wait at once.
 * @throws InvariantError when this bell is waited for already: a thread waits for one thing at a time.
 */
export function waitForBell(bell: BellDescriptor, timeoutMs: number, signal?: AbortSignal, ready?: () => boolean): Promise<void> {
  const words = bell.words;
  const sequence = Atomics.load(words, SEQUENCE);
  if (Atomics.exchange(words, ASLEEP, 1) !== 0) {
    throw new InvariantError("Two waits for the same bell at the same time; each thread has a bell of its own.");
  }
  if (signal?.aborted === true || Atomics.load(words, FLAG) !== 0 || ready?.() === true) {
    Atomics.store(words, ASLEEP, 0);
    return Promise.resolve();
  }
  const waiting = (Atomics as unknown as AsyncWaiting).waitAsync(words, SEQUENCE, sequence);
  if (!waiting.async) {
    Atomics.store(words, ASLEEP, 0);
    return Promise.resolve();
  }
  // A waiter can't be taken back, so a timeout or an abort rings the bell. Our own timer, because V8's would not keep the loop alive.
  const wake = (): void => ringBell(bell);
  const timer = timeoutMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(wake, timeoutMs);
  signal?.addEventListener("abort", wake, { once: true });
  return (waiting.value as Promise<string>).then(() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", wake);
    Atomics.store(words, ASLEEP, 0);
  });
}
