/**
 * Mistakes that the compiler can tell as a sentence. A parameter of type `F & Misuse<"…">` accepts nothing, and the editor shows the
 * sentence as the reason.
 */
declare const misuse: unique symbol;

/** A type without values, whose name is what the user reads. */
export interface Misuse<Sentence extends string> {
  readonly [misuse]: Sentence;
}

/** Nothing, or the sentence when a function's result is a promise. */
export type Synchronous<Result, Name extends string> = Result extends PromiseLike<unknown>
  ? Misuse<`${Name} takes a synchronous function; mapAsync() takes an asynchronous one`>
  : unknown;
