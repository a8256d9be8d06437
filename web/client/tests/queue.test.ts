/** The queue: nothing lost, nothing counted twice, order kept, whatever the server answers. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Entry } from '../src/core/event.js';
import { type Transport, createQueue } from '../src/core/queue.js';

const KEEPALIVE_BYTES = 64 << 10;
const HOUR_MS = 3_600_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const entry = (id: number, text = ''): Entry => ({
  time_: Date.now(),
  event_: { site: 's', event_id: String(id), name: 'n', url: 'https://s/', title: text }
});

type Sent = { event_id: string; title: string; timestamp?: number; sent_at?: number };
const read = (body: string): Sent[] => [JSON.parse(body)].flat() as Sent[];

type Answer = number | 'lost' | 'hangs' | 'late';

/** A server: keeps what it takes, in order, each event_id once. */
class Server {
  readonly kept: string[] = [];
  readonly bodies: string[] = [];

  constructor(readonly answers: Answer[]) {}

  readonly transport: Transport = (body) => {
    this.bodies.push(body);
    const answer = this.answers.shift() ?? 202;
    const take = () => {
      for (const { event_id } of read(body)) if (!this.kept.includes(event_id)) this.kept.push(event_id);
    };
    if (answer === 'hangs') return new Promise(() => {});
    if (answer === 'lost') return Promise.reject(new Error('no answer'));
    if (answer === 'late') {
      take(); // It arrived, and only the answer is lost.
      return Promise.reject(new Error('no answer'));
    }
    if (answer < 500 && answer !== 429) take();
    return Promise.resolve(answer);
  };
}

const answers = fc.array(fc.constantFrom<Answer>(202, 503, 500, 429, 'lost', 'hangs', 'late'), { maxLength: 12 });
const step = fc.oneof(
  fc.record({ push: fc.nat({ max: 80 }), size: fc.constantFrom(0, 10, 3_000, 70_000) }),
  fc.record({ wait: fc.nat({ max: 40_000 }) })
);

describe('the queue', () => {
  it('delivers every event once and in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), answers, async (steps, given) => {
        const server = new Server([...given]);
        const [push] = createQueue('', () => {}, server.transport);
        let pushed = 0;
        for (const one of steps) {
          if ('wait' in one) await vi.advanceTimersByTimeAsync(one.wait);
          else for (let i = 0; i < one.push; i++) push(entry(pushed++, '\u65e5'.repeat(one.size / 3)));
        }
        await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
        expect(server.kept).toEqual(Array.from({ length: pushed }, (_, id) => String(id)));
      }),
      { numRuns: 30 }
    );
  });

  it('loses nothing when the page is hidden or left at any moment', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 8 }),
        answers,
        fc.nat({ max: 8 }),
        async (steps, given, hidden) => {
          const server = new Server([...given]);
          const [push, flush] = createQueue('', () => {}, server.transport);
          let pushed = 0;
          for (const [index, one] of steps.entries()) {
            if (index === hidden) flush(1);
            if ('wait' in one) await vi.advanceTimersByTimeAsync(one.wait);
            else for (let i = 0; i < one.push; i++) push(entry(pushed++, 'x'.repeat(one.size)));
          }
          server.answers.length = 0; // The beacons that go out with the page are taken.
          flush(2);
          await vi.advanceTimersByTimeAsync(HOUR_MS);
          expect([...server.kept].sort()).toEqual(Array.from({ length: pushed }, (_, id) => String(id)).sort());
        }
      ),
      { numRuns: 30 }
    );
  });

  it('keeps the order of requests that fail together, in whichever order that becomes known', async () => {
    const bodies: string[] = [];
    const fail: (() => void)[] = [];
    const transport: Transport = (body) => {
      bodies.push(body);
      return bodies.length > 3 ? Promise.resolve(202) : new Promise((_, reject) => fail.push(() => reject(new Error('no answer'))));
    };
    const [push, flush] = createQueue('', () => {}, transport);
    for (let id = 0; id < 3; id++) {
      push(entry(id));
      flush(1); // Hidden: all that waits leaves at once.
    }
    expect(fail.length).toBe(3);
    for (const index of [1, 0, 2]) {
      fail[index]!();
      await vi.advanceTimersByTimeAsync(0);
    }
    push(entry(3));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(bodies.slice(3).flatMap((body) => read(body).map(({ event_id }) => event_id))).toEqual(['0', '1', '2', '3']);
  });

  it('keeps the order of what is under way when the page goes', async () => {
    const beacons: string[] = [];
    const transport: Transport = (body, leaving) => {
      if (leaving) beacons.push(body);
      return new Promise(() => {});
    };
    const [push, flush] = createQueue('', () => {}, transport);
    for (let id = 0; id < 3; id++) {
      push(entry(id));
      flush(1);
    }
    flush(2);
    expect(beacons.flatMap((body) => read(body).map(({ event_id }) => event_id))).toEqual(['0', '1', '2']);
  });

  it('loses nothing where the browser’s own call throws at once', async () => {
    const server = new Server([]);
    let calls = 0;
    const transport: Transport = (body, leaving) => {
      if (++calls % 2) throw new Error('patched');
      return server.transport(body, leaving);
    };
    const [push, flush] = createQueue('', () => {}, transport);
    for (let id = 0; id < 120; id++) push(entry(id));
    flush(1);
    for (let id = 120; id < 240; id++) push(entry(id));
    flush(1);
    await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
    expect(server.kept.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 240 }, (_, id) => id));
  });

  it('counts bytes, not characters', async () => {
    const server = new Server([]);
    const [push] = createQueue('', () => {}, server.transport);
    for (let i = 0; i < 21; i++) push(entry(i, '\u65e5'.repeat(1_000)));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(server.kept).toHaveLength(21);
    for (const body of server.bodies) expect(new TextEncoder().encode(body).length).toBeLessThan(KEEPALIVE_BYTES / 2);
  });

  it('sends an event that is too large for a single one as a batch', async () => {
    const server = new Server([]);
    const [push] = createQueue('', () => {}, server.transport);
    push(entry(0, 'x'.repeat(70_000)));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(server.bodies[0]!.startsWith('[')).toBe(true);
  });

  it('tells the age of what it sends late', async () => {
    const server = new Server([503]);
    const [push] = createQueue('', () => {}, server.transport);
    push(entry(0));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    const [first, second] = server.bodies.map((body) => read(body)[0]!);
    expect(first!.timestamp).toBeUndefined();
    expect(second!.sent_at! - second!.timestamp!).toBeGreaterThanOrEqual(2_500);
  });

  it('forgets what is under way too', async () => {
    const bodies: string[] = [];
    let answer!: (status: number) => void;
    const [push, flush, clear] = createQueue('', () => {}, (body) => {
      bodies.push(body);
      return new Promise((resolve) => (answer = resolve));
    });
    push(entry(1));
    flush(1);
    clear!();
    answer(503);
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(bodies.length).toBe(1);
  });

  it.each([
    [0, [5, 15, 35]],
    [1 - 2 ** -53, [2.5, 7.6, 17.6]] // Half of it at least.
  ])('waits longer after each failure in a row, and not all pages the same time', async (random, expected) => {
    vi.spyOn(Math, 'random').mockReturnValue(random);
    const server = new Server([503, 503, 503]);
    const [push] = createQueue('', () => {}, server.transport);
    push(entry(0));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    const ages = server.bodies.slice(1).map((body) => read(body)[0]!.sent_at! - read(body)[0]!.timestamp!);
    expect(ages.map((age) => age / 1_000)).toEqual(expected.map((age) => expect.closeTo(age, 0)));
  });

  const answered = (status: number, headers = {}) => ({ status, headers: new Headers(headers), text: async () => '' });
  /** Each way of sending, and how it hears what the first request is answered with. */
  const ways: Record<string, (refusal: ReturnType<typeof answered>, sent: () => number) => Transport | undefined> = {
    fetch: (refusal, sent) => {
      const fetch = async () => (sent() > 1 ? answered(202) : refusal);
      vi.stubGlobal('window', { fetch });
      vi.stubGlobal('fetch', fetch);
      return undefined;
    },
    XMLHttpRequest: ({ status, headers }, sent) => {
      vi.stubGlobal('window', {});
      vi.stubGlobal(
        'XMLHttpRequest',
        class {
          status = 0;
          onloadend = () => {};
          open() {}
          send() {
            this.status = sent() > 1 ? 202 : status;
            queueMicrotask(() => this.onloadend());
          }
          getResponseHeader(name: string) {
            return headers.get(name);
          }
        }
      );
      return undefined;
    },
    'a transport that gives the answer': (refusal, sent) => async () => (sent() > 1 ? 202 : refusal)
  };
  const begun = Date.UTC(2026, 10, 29, 10);

  it.each([
    ['nothing', undefined, 2],
    ['null', null, 2],
    ['headers that are a plain object', { status: 202, headers: {} }, 1]
  ])('takes %s of a transport for what it is', async (_, answer, requests) => {
    let sent = 0;
    const [push] = createQueue('', () => {}, (async () => (++sent > 1 ? 202 : answer)) as unknown as Transport);
    push(entry(0));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(sent).toBe(requests);
  });

  it.each(
    Object.keys(ways).flatMap((way) =>
      (
        [
          [null, 5],
          ['60', 65],
          ['599', 604],
          ['601', 605], // Bounded.
          ['0', 5],
          ['-60', 5],
          ['soon', 5],
          ['Sun, 29 Nov 2026 10:01:00 GMT', 65],
          ['Sun, 29 Nov 2026 11:01:00 GMT', 605],
          ['Sun, 29 Nov 2026 09:00:00 GMT', 5] // The device's clock is fast, or the answer old.
        ] as const
      ).map(([retryAfter, seconds]) => [way, retryAfter, seconds] as const)
    )
  )('waits as long as Retry-After says, and its own pause on top of it: by %s %s', async (way, retryAfter, seconds) => {
    vi.setSystemTime(begun);
    vi.spyOn(Math, 'random').mockReturnValue(0);
    const at: number[] = [];
    const refusal = answered(503, retryAfter ? { 'Retry-After': retryAfter } : {});
    const [push] = createQueue('https://stats/track', () => {}, ways[way]!(refusal, () => at.push(Date.now())));
    push(entry(0));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(at).toHaveLength(2);
    expect(Math.round((at[1]! - at[0]!) / 1_000)).toBe(seconds);
  });

  it('forgets what waits once nothing may leave, and so what failed before', async () => {
    const server = new Server([503]);
    let objects = false;
    const [push, flush] = createQueue('', () => objects, server.transport);
    push(entry(0));
    await vi.advanceTimersByTimeAsync(1_000);
    expect(server.bodies).toHaveLength(1); // It was refused, and waits to be sent again.
    objects = true;
    push(entry(1));
    flush(2);
    objects = false;
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect([server.bodies.length, server.kept]).toEqual([1, []]);
    push(entry(2));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(server.kept).toEqual(['2']);
  });

  it('drops the oldest when the server stays away, and counts them', async () => {
    const server = new Server(Array.from({ length: 10 }, () => 503));
    const told: unknown[] = [];
    const [push] = createQueue('', () => {}, server.transport, undefined, ({ event_id }, ...what) => told.push([event_id, ...what]));
    for (let i = 0; i < 10_100; i++) push(entry(i));
    expect(told.length).toBeGreaterThan(0);
    expect(told).toEqual(told.map((_, id) => [String(50 + id), 'dropped', id + 1])); // The first 50 are under way.
    await vi.advanceTimersByTimeAsync(4 * HOUR_MS);
    expect(server.kept.at(-1)).toBe('10099');
    expect(server.kept.length + told.length).toBe(10_100);
    expect(server.kept.length).toBeGreaterThanOrEqual(10_000);
  });
});

describe('what the user changes', () => {
  it('keeps its id, unless that is changed on purpose', async () => {
    const server = new Server(['late', 202]);
    const accept = ({ event_id, ...event }: Entry['event_']) => (event_id === '1' ? { ...event, event_id: 'own' } : event) as Entry['event_'];
    const [push] = createQueue('', () => {}, server.transport, accept, () => {});
    for (let id = 0; id < 3; id++) push(entry(id));
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(server.bodies).toHaveLength(2);
    expect(server.kept).toEqual(['0', 'own', '2']);
  });
});

describe('what the user keeps back', () => {
  it('is not sent, and blocks nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 120 }), answers, async (kept, given) => {
        const server = new Server([...given]);
        const accept = (event: Entry['event_']) => (kept[Number(event.event_id)] ? event : null);
        const [push] = createQueue('', () => {}, server.transport, accept, () => {});
        kept.forEach((_, id) => push(entry(id)));
        await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
        expect(server.kept).toEqual(kept.flatMap((one, id) => (one ? [String(id)] : [])));
      }),
      { numRuns: 20 }
    );
  });
});
