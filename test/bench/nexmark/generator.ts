/**
 * The events of the Nexmark benchmark: an auction house, where persons join (1 of 50 events), open auctions (3) and bid (46).
 *
 * Event `i` is a pure function of seed, base time, rate and `i`: 32-bit mixing of a counter, and integers below 2^53. So every reader can
 * compute its share, any run can be repeated, and the same function in Java feeds Apache Flink with the same bytes. Proportions, hot keys
 * and sizes follow the public generators (nexmark/nexmark, Apache Beam).
 */

/** Somebody who joined the auction house. */
export interface Person {
  readonly kind: "person";
  readonly id: number;
  readonly name: string;
  readonly emailAddress: string;
  readonly creditCard: string;
  readonly city: string;
  readonly state: string;
  /** Event time, milliseconds since the epoch. */
  readonly dateTime: number;
  readonly extra: string;
}

/** Something that a person sells until `expires`. */
export interface Auction {
  readonly kind: "auction";
  readonly id: number;
  readonly itemName: string;
  readonly description: string;
  readonly initialBid: number;
  readonly reserve: number;
  readonly dateTime: number;
  /** Milliseconds since the epoch. */
  readonly expires: number;
  readonly seller: number;
  readonly category: number;
  readonly extra: string;
}

/** A person's offer for an auction, which may not be open yet, or not any more. */
export interface Bid {
  readonly kind: "bid";
  readonly auction: number;
  readonly bidder: number;
  readonly price: number;
  readonly channel: string;
  readonly url: string;
  readonly dateTime: number;
  readonly extra: string;
}

/** What some jobs need of a bid. */
export interface BidFigures {
  readonly auction: number;
  readonly price: number;
  /** Event time, milliseconds since the epoch. */
  readonly time: number;
}

export type NexmarkEvent = Person | Auction | Bid;

export interface GeneratorOptions {
  /** Default 42. */
  readonly seed?: number;
  /** Event time of event 0, milliseconds since the epoch. Default 2015-07-14T23:59:00Z, so that midnight is crossed after a minute. */
  readonly baseMs?: number;
  /** Events per second of event time. Default 10,000. */
  readonly rate?: number;
  /** Events come out of order within groups of so many: `eventAt`. Coprime to 953. Default 1: in order. */
  readonly outOfOrderGroup?: number;
}

const EVENTS_PER_ROUND = 50;
const AUCTIONS_PER_ROUND = 3;
const FIRST_ID = 1_000;
const FIRST_CATEGORY = 10;
const HOT_GROUP = 100;
const ACTIVE_PERSONS = 1_000;
const AUCTIONS_IN_FLIGHT = 100;
/** Ids reach so far beyond those that exist. */
const LEAD = 10;
const POOL_LENGTH = 2 ** 20;
const CHANNELS = 10_000;

const FIRST_NAMES = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES = ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const HOT_CHANNELS = ["Google", "Facebook", "Baidu", "Apple"];

/** round(10^(j/16) · 10^6): prices are log-uniform from 100 to 10^8, in 16 straight pieces per decade. */
const PRICE_STEPS = [
  1_000_000, 1_154_782, 1_333_521, 1_539_927, 1_778_279, 2_053_525, 2_371_374, 2_738_420, 3_162_278, 3_651_741, 4_216_965, 4_869_675,
  5_623_413, 6_493_816, 7_498_942, 8_659_643, 10_000_000,
];
const POWERS_OF_TEN = [1, 10, 100, 1_000, 10_000, 100_000];

/** Texts that many events share; they depend on the seed only. */
interface Texts {
  /** What `extra` is cut from. */
  readonly pool: string;
  /** The ordinary channels, then the hot ones. */
  readonly channels: readonly string[];
  readonly urls: readonly string[];
  /** The numbers below 10,000 with four digits. */
  readonly digits: readonly string[];
}

/** Computes events. An instance travels to the subtasks that use it, and builds its tables there, with the first event. */
export class NexmarkGenerator {
  readonly seed: number;
  readonly baseMs: number;
  readonly rate: number;
  readonly outOfOrderGroup: number;
  /** The part of an event's seed that is the same for all numbers below 2^32. */
  readonly lowSeed: number;
  texts: Texts | undefined = undefined;

  constructor({ seed = 42, baseMs = 1_436_918_340_000, rate = 10_000, outOfOrderGroup = 1 }: GeneratorOptions = {}) {
    this.seed = seed;
    this.baseMs = baseMs;
    this.rate = rate;
    this.outOfOrderGroup = outOfOrderGroup;
    this.lowSeed = mix((seed + GAMMA) | 0);
  }

  /** The event at a position of the stream: event number `position`, or another of its group when they come out of order. */
  eventAt(position: number): NexmarkEvent {
    const group = this.outOfOrderGroup;
    if (group === 1) return this.event(position);
    const first = Math.floor(position / group) * group;
    return this.event(first + (((position - first) * 953) % group));
  }

  /** Event time of an event. */
  timeOf(number: number): number {
    return this.baseMs + Math.floor((number * 1_000) / this.rate);
  }

  /** Event `number`, from 0. */
  event(number: number): NexmarkEvent {
    const texts = this.texts ?? (this.texts = textsOf(this.seed));
    const round = Math.floor(number / EVENTS_PER_ROUND);
    const place = number - round * EVENTS_PER_ROUND;
    const seed = this.#seedOf(number);
    if (place > AUCTIONS_PER_ROUND) return bid(seed, round, this.timeOf(number), texts);
    return place === 0 ? person(seed, round, this.timeOf(number), texts) : this.#auction(number, seed, round, place, texts);
  }

  /** Of event `number` what a count of bids per auction needs: auction and price of a bid, −1 and 0 of any other event, and its time. */
  bidFigures(number: number): BidFigures {
    const round = Math.floor(number / EVENTS_PER_ROUND);
    const time = this.timeOf(number);
    if (number - round * EVENTS_PER_ROUND <= AUCTIONS_PER_ROUND) return { auction: -1, price: 0, time };
    const seed = this.#seedOf(number);
    return { auction: auctionOfBid(seed, round * AUCTIONS_PER_ROUND + AUCTIONS_PER_ROUND - 1), price: price(draw(seed, 5)), time };
  }

  #seedOf(number: number): number {
    const inner = number < 2 ** 32 ? this.lowSeed : mix((Math.floor(number / 2 ** 32) + this.seed + GAMMA) | 0);
    return mix((number | 0) ^ inner);
  }

  #auction(number: number, seed: number, round: number, place: number, { pool }: Texts): Auction {
    const dateTime = this.timeOf(number);
    const itemName = text(draw(seed, 6), 20, SPACE);
    const description = text(draw(seed, 7), 100, SPACE);
    const initialBid = price(draw(seed, 4));
    const lifetime = 2 * (this.timeOf(number + Math.floor((AUCTIONS_IN_FLIGHT * EVENTS_PER_ROUND) / AUCTIONS_PER_ROUND)) - dateTime);
    return {
      kind: "auction",
      id: FIRST_ID + round * AUCTIONS_PER_ROUND + place - 1,
      itemName,
      description,
      initialBid,
      reserve: initialBid + price(draw(seed, 8)),
      dateTime,
      expires: dateTime + 1 + below(draw(seed, 5), Math.max(lifetime, 1)),
      seller: FIRST_ID + (!rarely(draw(seed, 1), 2) ? hot(round) : activePerson(draw(seed, 2), round)),
      category: FIRST_CATEGORY + below(draw(seed, 3), 5),
      extra: extra(seed, 9, 48 + itemName.length + description.length, 500, pool),
    };
  }
}

function bid(seed: number, round: number, dateTime: number, { pool, channels, urls }: Texts): Bid {
  const lastAuction = round * AUCTIONS_PER_ROUND + AUCTIONS_PER_ROUND - 1;
  const channel = !rarely(draw(seed, 6), 1) ? CHANNELS + below(draw(seed, 7), HOT_CHANNELS.length) : below(draw(seed, 7), CHANNELS);
  return {
    kind: "bid",
    auction: auctionOfBid(seed, lastAuction),
    bidder: FIRST_ID + (!rarely(draw(seed, 3), 2) ? hot(round) + 1 : activePerson(draw(seed, 4), round)),
    price: price(draw(seed, 5)),
    channel: channels[channel] as string,
    url: urls[channel] as string,
    dateTime,
    extra: extra(seed, 8, 32, 100, pool),
  };
}

/** The auction that a bid is for. */
function auctionOfBid(seed: number, lastAuction: number): number {
  if (!rarely(draw(seed, 1), 1)) return FIRST_ID + hot(lastAuction);
  const oldest = Math.max(lastAuction - AUCTIONS_IN_FLIGHT, 0);
  return FIRST_ID + oldest + below(draw(seed, 2), lastAuction - oldest + 1 + LEAD);
}

function person(seed: number, round: number, dateTime: number, { pool, digits }: Texts): Person {
  const name = `${FIRST_NAMES[below(draw(seed, 1), FIRST_NAMES.length)]} ${LAST_NAMES[below(draw(seed, 2), LAST_NAMES.length)]}`;
  const emailAddress = `${text(draw(seed, 3), 7, SPACE)}@${text(draw(seed, 4), 5, SPACE)}.com`;
  const group = (index: number): string => digits[below(draw(seed, index), digits.length)] as string;
  const creditCard = `${group(5)} ${group(6)} ${group(7)} ${group(8)}`;
  const city = CITIES[below(draw(seed, 9), CITIES.length)] as string;
  const state = STATES[below(draw(seed, 10), STATES.length)] as string;
  const length = 8 + name.length + emailAddress.length + creditCard.length + city.length + state.length;
  const rest = extra(seed, 11, length, 200, pool);
  return { kind: "person", id: FIRST_ID + round, name, emailAddress, creditCard, city, state, dateTime, extra: rest };
}

/** The first of its hundred. */
function hot(id: number): number {
  return Math.floor(id / HOT_GROUP) * HOT_GROUP;
}

/** One of the last thousand persons, or one of the next ten. */
function activePerson(random: number, round: number): number {
  const active = Math.min(round + 1, ACTIVE_PERSONS);
  return round + 1 - active + below(random, active + LEAD);
}

function price(random: number): number {
  const place = below(random, 6 * 2 ** 18);
  const step = (place >> 14) & 15;
  const from = PRICE_STEPS[step] as number;
  const exact = from + Math.floor((((PRICE_STEPS[step + 1] as number) - from) * (place & 0x3fff)) / 2 ** 14);
  return Math.floor((exact * (POWERS_OF_TEN[place >> 18] as number) + 5_000) / 10_000);
}

/** Fills an event up to about `average` characters. */
function extra(seed: number, index: number, length: number, average: number, pool: string): string {
  if (length > average) return "";
  const wanted = average - length;
  const spread = Math.floor((2 * wanted + 5) / 10);
  const size = wanted - spread + (spread === 0 ? 0 : below(draw(seed, index), 2 * spread));
  const start = below(draw(seed, index + 1), POOL_LENGTH - size);
  return pool.substring(start, start + size);
}

// ---------------------------------------------------------------------------------------------------------- random numbers

const GAMMA = 0x9e3779b9;

/** Scrambles 32 bits. */
function mix(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return bits ^ (bits >>> 16);
}

/** The random number `index` of a seed: 32 bits, with a sign. The body is that of `mix`: V8 inlines one call where it would not two. */
function draw(seed: number, index: number): number {
  let bits = seed + Math.imul(index, GAMMA);
  bits = Math.imul(bits ^ (bits >>> 16), 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return bits ^ (bits >>> 16);
}

/** True once in `2 ** bits` draws: `below(random, 2 ** bits) === 0`. */
function rarely(random: number, bits: number): boolean {
  return random >>> (32 - bits) === 0;
}

/** A number from 0 to `limit` − 1; `limit` < 2^21. */
function below(random: number, limit: number): number {
  return ((random >>> 0) * limit * 2 ** -32) | 0;
}

// --------------------------------------------------------------------------------------------------------------- texts

const SPACE = " ".charCodeAt(0);
const UNDERSCORE = "_".charCodeAt(0);
const LETTER_A = "a".charCodeAt(0);
/** Of 338 equally likely draws, 26 are the special character, the others letters. */
const LETTER_DRAWS = 338;
const SPECIAL_DRAWS = 26;

/** 3 … longest − 1 letters, one of 13 the special character; no space at either end. */
function text(random: number, longest: number, special: number): string {
  const length = 3 + below(draw(random, 1), longest - 3);
  const codes = new Array<number>(length);
  for (let index = 0; index < length; index++) {
    const letter = below(draw(random, index + 2), LETTER_DRAWS);
    codes[index] = letter < SPECIAL_DRAWS ? special : LETTER_A + (letter % 26);
  }
  // Faster than a Buffer up to some 40 letters.
  const made = String.fromCharCode.apply(null, codes);
  return codes[0] === SPACE || codes[length - 1] === SPACE ? made.replace(/^ +| +$/g, "") : made;
}

function baseUrl(random: number): string {
  const part = (index: number): string => text(draw(random, index), 5, UNDERSCORE);
  return `https://www.nexmark.com/${part(1)}/${part(2)}/${part(3)}/item.htm?query=1`;
}

function textsOf(seed: number): Texts {
  const poolSeed = mix((seed ^ 0x0badcafe) | 0);
  const pool = Buffer.allocUnsafe(POOL_LENGTH);
  for (let index = 0; index < POOL_LENGTH; index++) pool[index] = LETTER_A + below(draw(poolSeed, index + 1), 26);
  const urlSeed = mix((seed ^ 0x00c0ffee) | 0);
  const channels: string[] = [];
  const urls: string[] = [];
  for (let channel = 0; channel < CHANNELS; channel++) {
    const random = draw(urlSeed, channel + 1);
    channels.push(`channel-${channel}`);
    urls.push(baseUrl(random) + (below(draw(random, 4), 10) > 0 ? `&channel_id=${mix(channel + 1) >>> 1}` : ""));
  }
  for (const [index, channel] of HOT_CHANNELS.entries()) {
    channels.push(channel);
    urls.push(baseUrl(draw(urlSeed, CHANNELS + 1 + index)));
  }
  const digits = Array.from({ length: 10_000 }, (_, number) => String(number).padStart(4, "0"));
  // In two parts: Node keeps a text of a million characters outside of V8's heap, where cutting it is slower.
  const half = POOL_LENGTH / 2;
  return { pool: pool.toString("latin1", 0, half) + pool.toString("latin1", half), channels, urls, digits };
}
