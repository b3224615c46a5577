/**
 * Who wants to be told about what, and when it is due. Changes come in bursts (a deployment changes every task several times), so they are
 * told together: the first at once, the next not before the interval has passed. A job that ended is told at once.
 *
 * Invariant: after the last change every watcher is told once more, with the state after it.
 */
import type { JobId } from "../../core/types/ids.ts";
import type { JobTopic } from "../protocol/messages.ts";

/** The least time between two tellings of the same job, and of the cluster, in milliseconds. */
export const JOB_INTERVAL_MS = 50;
export const CLUSTER_INTERVAL_MS = 100;

interface Telling {
  changed: boolean;
  /** When it may be told again. */
  notBeforeMs: number;
}

/** The watches of all clients. */
export class Watches {
  readonly #jobs = new Map<JobId, Map<string, Set<JobTopic>>>();
  readonly #cluster = new Set<string>();
  readonly #tellings = new Map<JobId, Telling>();
  readonly #clusterTelling: Telling = { changed: false, notBeforeMs: 0 };

  /** Adds topics of a job to what a client is told. Returns those that are new to it. */
  watchJob(client: string, job: JobId, topics: readonly JobTopic[]): ReadonlySet<JobTopic> {
    const watchers = this.#jobs.get(job) ?? new Map<string, Set<JobTopic>>();
    this.#jobs.set(job, watchers);
    const watched = watchers.get(client) ?? new Set<JobTopic>();
    watchers.set(client, watched);
    const fresh = new Set(topics.filter((topic) => !watched.has(topic)));
    for (const topic of fresh) watched.add(topic);
    return fresh;
  }

  unwatchJob(client: string, job: JobId): void {
    const watchers = this.#jobs.get(job);
    watchers?.delete(client);
    if (watchers?.size === 0) this.#jobs.delete(job);
  }

  watchCluster(client: string, on: boolean): void {
    if (on) this.#cluster.add(client);
    else this.#cluster.delete(client);
  }

  /** A client is gone. */
  forgetClient(client: string): void {
    this.#cluster.delete(client);
    for (const job of this.#jobs.keys()) this.unwatchJob(client, job);
  }

  /** A job is forgotten. */
  forgetJob(job: JobId): void {
    this.#jobs.delete(job);
    this.#tellings.delete(job);
  }

  /** The clients that are told about this topic of a job. */
  watchers(job: JobId, topic: JobTopic): readonly string[] {
    return [...(this.#jobs.get(job) ?? [])].flatMap(([client, topics]) => (topics.has(topic) ? [client] : []));
  }

  get clusterWatchers(): readonly string[] {
    return [...this.#cluster];
  }

  /** A job changed; `atOnce`: in a way that should not wait. */
  jobChanged(job: JobId, atOnce: boolean): void {
    const telling = this.#tellings.get(job) ?? { changed: false, notBeforeMs: 0 };
    this.#tellings.set(job, telling);
    telling.changed = true;
    if (atOnce) telling.notBeforeMs = 0;
    this.clusterChanged();
  }

  clusterChanged(): void {
    this.#clusterTelling.changed = true;
  }

  /** What has to be told now. It counts as told. */
  due(nowMs: number): { readonly jobs: readonly JobId[]; readonly cluster: boolean } {
    const jobs = [...this.#tellings].flatMap(([job, telling]) => (isDue(telling, nowMs, JOB_INTERVAL_MS) ? [job] : []));
    const cluster = isDue(this.#clusterTelling, nowMs, CLUSTER_INTERVAL_MS);
    return { jobs, cluster: cluster && this.#cluster.size > 0 };
  }

  /** When something has to be told next; Infinity when nothing has changed. */
  get nextDueMs(): number {
    return [this.#clusterTelling, ...this.#tellings.values()].reduce(
      (next, { changed, notBeforeMs }) => (changed ? Math.min(next, notBeforeMs) : next),
      Number.POSITIVE_INFINITY,
    );
  }
}

function isDue(telling: Telling, nowMs: number, intervalMs: number): boolean {
  if (!telling.changed || nowMs < telling.notBeforeMs) return false;
  telling.changed = false;
  telling.notBeforeMs = nowMs + intervalMs;
  return true;
}
