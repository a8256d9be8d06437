/**
 * For tests of an application's own tracking: a recorder in the place of the network, and matchers for Vitest and Jest.
 * It takes what a client sends and nothing of the client itself, so batching, repeats and `beforeSend` are the real ones.
 */
import type { TrackedEvent } from '../types.js';

export type { TrackedEvent } from '../types.js';

const WAIT_MS = 2000;

/** Takes the place of the network, and remembers. */
export class Recorder {
  private readonly found = new Map<unknown, TrackedEvent>();
  private readonly answers: number[] = [];
  private watchers: (() => void)[] = [];

  /** What the next requests are answered with, one each; 202 after that. Nothing of a request with an error is kept. */
  answerWith(...statuses: number[]): void {
    this.answers.push(...statuses);
  }

  /** All events that arrived, in order; a repeated `event_id` counts once, as it does at the server. */
  get events(): TrackedEvent[] {
    return [...this.found.values()];
  }

  /** The events of a name. */
  named(name: string): TrackedEvent[] {
    return this.events.filter((event) => event.name === name);
  }

  /** Forgets what arrived. */
  clear(): void {
    this.found.clear();
  }

  /** The first event of a name, as soon as it has arrived; rejects after `timeoutMs`, 2,000 if left out. */
  async waitFor(name: string, timeoutMs = WAIT_MS): Promise<TrackedEvent> {
    const [before] = this.named(name);
    if (before) return before;
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.watchers = this.watchers.filter((one) => one !== look);
        reject(new Error(`No event ${name} within ${timeoutMs} ms; ${this.describe()}`));
      }, timeoutMs);
      const look = () => {
        const [event] = this.named(name);
        if (!event) return;
        clearTimeout(limit);
        this.watchers = this.watchers.filter((one) => one !== look);
        resolve(event);
      };
      this.watchers.push(look);
    });
  }

  /** What arrived, in words. */
  describe(): string {
    const told = this.events.map(({ name, props }) => (props ? `${name} ${JSON.stringify(props)}` : name));
    return told.length ? `these events arrived: ${told.join(', ')}` : 'no event arrived';
  }

  /** For `transport` of the browser's client. */
  readonly transport = async (body: string): Promise<number> => this.take(body);

  /** For `fetch` of the server's client. */
  readonly fetch = async (_url: string, { body }: { body?: unknown }): Promise<Response> => {
    const status = this.take(String(body));
    const answer =
      status < 300
        ? { accepted: eventsOf(String(body)).length, dropped: {}, rejected: [] }
        : { error: { code: 'test', message: `The test answers with ${status}.` } };
    return new Response(JSON.stringify(answer), { status, headers: { 'content-type': 'application/json' } });
  };

  private take(body: string): number {
    const status = this.answers.shift() ?? 202;
    if (status >= 300) return status;
    for (const event of eventsOf(body)) {
      const id = event.event_id ?? Symbol('none');
      if (!this.found.has(id)) this.found.set(id, event);
    }
    for (const look of [...this.watchers]) look();
    return status;
  }
}

const eventsOf = (body: string): TrackedEvent[] => {
  const read = JSON.parse(body) as TrackedEvent | TrackedEvent[] | { events: TrackedEvent[] };
  return 'events' in read && Array.isArray(read.events) ? read.events : ([read].flat() as TrackedEvent[]);
};

/** Whether a value is as expected: the listed keys of an object, and what `expect.any` and its like decide. */
const fits = (value: unknown, expected: unknown): boolean => {
  const asks = expected as { asymmetricMatch?: (value: unknown) => boolean } | null | undefined;
  if (typeof asks?.asymmetricMatch === 'function') return asks.asymmetricMatch(value);
  if (typeof expected !== 'object' || expected === null) return Object.is(value, expected);
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(expected) && (!Array.isArray(value) || value.length !== expected.length)) return false;
  return Object.entries(expected).every(([key, one]) => fits((value as Record<string, unknown>)[key], one));
};

interface Verdict {
  pass: boolean;
  message: () => string;
}

const verdict = (recorder: Recorder, pass: boolean, wanted: string): Verdict => ({
  pass,
  message: () => `expected ${pass ? 'no ' : ''}${wanted}; ${recorder.describe()}`
});

/** For `expect.extend(matchers)` of Vitest and Jest; the type `AnalyticsMatchers` declares them. */
export const matchers = {
  /** An event of this name arrived, with at least these properties. */
  toHaveTracked: (recorder: Recorder, name: string, props: object = {}): Verdict =>
    verdict(
      recorder,
      recorder.named(name).some((event) => fits(event.props ?? {}, props)),
      `event ${name} with ${JSON.stringify(props)}`
    ),

  /** So many events of this name arrived. */
  toHaveTrackedTimes: (recorder: Recorder, name: string, times: number): Verdict =>
    verdict(recorder, recorder.named(name).length === times, `${times} events ${name}, there are ${recorder.named(name).length}`),

  /** A page view arrived whose address ends so. */
  toHaveViewed: (recorder: Recorder, path: string): Verdict =>
    verdict(
      recorder,
      recorder.named('pageview').some((event) => event.url.endsWith(path)),
      `page view of ${path}`
    )
};

/** The matchers' types: `declare module 'vitest' { interface Matchers<T = any> extends AnalyticsMatchers<T> {} }`. */
export interface AnalyticsMatchers<Result = unknown> {
  toHaveTracked(name: string, props?: object): Result;
  toHaveTrackedTimes(name: string, times: number): Result;
  toHaveViewed(path: string): Result;
}
