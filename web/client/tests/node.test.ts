/** Server-side delivery: nothing lost, nothing counted twice, order kept, memory bounded, whatever the server answers. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Problem, type ServerConfig, ServerAnalytics, contextOf } from '../src/node/index.js';
import { retryAfterMs } from '../src/node/delivery.js';

const HOUR_MS = 3_600_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface Sent {
  event_id: string;
  name: string;
  timestamp: number;
  [field: string]: unknown;
}

type Answer = number | 'lost' | 'late' | 'hangs' | 'proxy' | 'moved' | 'full';

/** A server: keeps what it takes, in order, each event_id once. Refuses events named `bad`, and with 400 what holds a `poison`. */
class Server {
  readonly kept: string[] = [];
  readonly ids = new Set<string>();
  readonly requests: { at: number; names: string[]; bytes: number }[] = [];
  retryAfter: string | undefined;

  constructor(
    readonly answers: Answer[] = [],
    readonly maxEvents = Infinity
  ) {}

  readonly fetch: NonNullable<ServerConfig['fetch']> = async (_, { body, signal }) => {
    const { events } = JSON.parse(String(body)) as { events: Sent[] };
    const names = events.map((event) => event.name);
    this.requests.push({ at: Date.now(), names, bytes: new TextEncoder().encode(String(body)).length });
    const answer = this.answers.shift() ?? 202;
    if (answer === 'hangs') {
      return new Promise((_, reject) => signal!.addEventListener('abort', () => reject(new Error('aborted'))));
    }
    if (answer === 'lost') throw new Error('no answer');
    if (answer === 'proxy') return new Response('<p>Not found', { status: 404 });
    if (answer === 'moved') return new Response(null, { status: 301 });
    if (typeof answer === 'number' && answer !== 202) {
      const headers = this.retryAfter ? { 'retry-after': this.retryAfter } : {};
      return Response.json({ error: { code: `status_${answer}`, message: 'M' } }, { status: answer, headers });
    }
    if (events.length > this.maxEvents) return Response.json({ error: { code: 'too_large' } }, { status: 413 });
    if (names.includes('poison')) return Response.json({ error: { code: 'bad_json' } }, { status: 400 });
    const rejected: { index: number; code: string }[] = [];
    events.forEach((event, index) => {
      if (event.name === 'bad') rejected.push({ index, code: 'bad_name' });
      else if (answer === 'full' && index % 2) rejected.push({ index, code: 'too_many_requests' });
      else if (!this.ids.has(event.event_id)) {
        this.ids.add(event.event_id);
        this.kept.push(event.name);
      }
    });
    if (answer === 'late') throw new Error('no answer'); // It arrived, and only the answer is lost.
    return Response.json({ accepted: events.length - rejected.length, rejected, dropped: {} }, { status: 202 });
  };
}

const make = (server: Server, more: Partial<ServerConfig> = {}) =>
  new ServerAnalytics({
    apiBaseUrl: 'https://stats.example.com/',
    appName: 'shop.example',
    token: 't',
    flushOnExit: false,
    fetch: server.fetch,
    ...more
  });

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `e${index}`);

const answers = fc.array(fc.constantFrom<Answer>(202, 503, 500, 429, 401, 'lost', 'late', 'hangs', 'proxy', 'moved'), {
  maxLength: 10
});
const step = fc.oneof(fc.record({ push: fc.nat({ max: 60 }) }), fc.record({ wait: fc.nat({ max: 40_000 }) }));

describe('server-side delivery', () => {
  it('delivers every event once and in order, in batches below both limits', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 10 }),
        answers,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1024, max: 6_000 }),
        async (steps, given, batchEvents, batchBytes) => {
          const server = new Server([...given]);
          const analytics = make(server, { batchEvents, batchBytes });
          let pushed = 0;
          for (const one of steps) {
            if ('wait' in one) await vi.advanceTimersByTimeAsync(one.wait);
            else for (let i = 0; i < one.push; i++) analytics.track(`e${pushed++}`, { text: '\u65e5'.repeat(pushed % 50) });
          }
          await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
          expect(server.kept).toEqual(names(pushed));
          expect(analytics.stats).toEqual({ queued: 0, queuedBytes: 0, delivered: pushed, rejected: 0, dropped: 0 });
          for (const request of server.requests) {
            expect(request.names.length).toBeLessThanOrEqual(batchEvents);
            expect(request.bytes).toBeLessThanOrEqual(batchBytes);
          }
        }
      ),
      { numRuns: 30 }
    );
  });

  it('keeps its bounds while the server is away, and counts what it drops: the oldest', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300 }), fc.nat({ max: 900 }), async (maxQueueEvents, count) => {
        const problems: Problem[] = [];
        const server = new Server(['hangs', 503, 'lost']);
        const analytics = make(server, { maxQueueEvents, batchEvents: 20, onProblem: (problem) => problems.push(problem) });
        for (let i = 0; i < count; i++) {
          analytics.track(`e${i}`);
          if (i === 30) await vi.advanceTimersByTimeAsync(1_000); // Some are under way, and stay.
          expect(analytics.stats.queued).toBeLessThanOrEqual(maxQueueEvents);
        }
        await vi.advanceTimersByTimeAsync(HOUR_MS);
        const { delivered, dropped } = analytics.stats;
        expect(delivered + dropped).toBe(count);
        expect(server.kept).toHaveLength(delivered);
        if (count && maxQueueEvents > 20) expect(server.kept.at(-1)).toBe(`e${count - 1}`);
        if (count <= maxQueueEvents) expect(dropped).toBe(0);
        const told = problems.filter(({ code }) => code === 'queue_full').reduce((sum, { events }) => sum + events, 0);
        expect(told).toBe(dropped);
      }),
      { numRuns: 20 }
    );
  });

  it('bounds bytes as well as events', async () => {
    const analytics = make(new Server(['hangs']), { maxQueueBytes: 10_000 });
    for (let i = 0; i < 100; i++) analytics.track('e', { text: '\u65e5'.repeat(100) });
    expect(analytics.stats.queuedBytes).toBeLessThanOrEqual(10_000);
    expect(analytics.stats.queued).toBeGreaterThan(10);
    expect(analytics.stats.queued + analytics.stats.dropped).toBe(100);
  });

  it('says when to wait, and when to go on', async () => {
    const analytics = make(new Server([503]), { maxQueueEvents: 10 });
    expect([1, 2, 3, 4, 5].map(() => analytics.track('e'))).toEqual([true, true, true, true, true]);
    expect(analytics.track('e')).toBe(false);
    let isReady = false;
    void analytics.ready().then(() => (isReady = true));
    await vi.advanceTimersByTimeAsync(500);
    expect(isReady).toBe(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(isReady).toBe(true);
    expect(analytics.track('e')).toBe(true);
  });

  it('waits as long as the server says, and longer after each failure in a row', async () => {
    const server = new Server([503, 503, 503, 429]);
    const analytics = make(server);
    analytics.track('e');
    await vi.advanceTimersByTimeAsync(500);
    server.retryAfter = '30';
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    const waits = server.requests.slice(1).map((request, index) => request.at - server.requests[index]!.at);
    expect(waits[0]).toBeGreaterThanOrEqual(250);
    expect(waits[0]).toBeLessThanOrEqual(500);
    for (const wait of waits.slice(1)) expect(wait).toBeGreaterThan(30_000);
    expect(server.kept).toEqual(['e']);
  });

  it('reads both forms of Retry-After, within bounds', () => {
    const now = Date.parse('2026-11-29T10:00:00Z');
    expect(retryAfterMs('2', now)).toBe(2_000);
    expect(retryAfterMs('Sun, 29 Nov 2026 10:00:07 GMT', now)).toBe(7_000);
    expect(retryAfterMs('Sun, 29 Nov 2026 09:00:00 GMT', now)).toBe(0);
    expect(retryAfterMs('999999999', now)).toBe(600_000);
    expect(retryAfterMs('soon', now)).toBeUndefined();
    expect(retryAfterMs(null, now)).toBeUndefined();
  });

  it('loses neighbours of what the server refuses neither in the answer nor as a whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('good', 'good', 'good', 'bad', 'poison'), { maxLength: 60 }),
        fc.integer({ min: 1, max: 30 }),
        async (kinds, maxEvents) => {
          const server = new Server([], maxEvents);
          const analytics = make(server);
          kinds.forEach((kind) => analytics.track(kind));
          await vi.advanceTimersByTimeAsync(HOUR_MS);
          const good = kinds.filter((kind) => kind === 'good');
          expect(server.kept).toEqual(good);
          expect(analytics.stats).toMatchObject({ queued: 0, delivered: good.length, rejected: kinds.length - good.length });
        }
      ),
      { numRuns: 20 }
    );
  });

  it('sends again what the server has no room for at the moment', async () => {
    const server = new Server(['full', 'full', 202]);
    const analytics = make(server);
    for (const name of names(9)) analytics.track(name);
    expect(await Promise.all([analytics.flush(), vi.advanceTimersByTimeAsync(HOUR_MS)])).toContain(true);
    expect([...server.kept].sort()).toEqual(names(9));
    expect(analytics.stats).toMatchObject({ delivered: 9, rejected: 0 });
  });

  it('resolves a flush when all is answered, and says whether all arrived', async () => {
    const server = new Server(['late', 202]);
    const analytics = make(server);
    analytics.track('good');
    const [arrived] = await Promise.all([analytics.flush(), vi.advanceTimersByTimeAsync(HOUR_MS)]);
    expect([arrived, server.kept]).toEqual([true, ['good']]);
    analytics.track('bad');
    expect((await Promise.all([analytics.flush(), vi.advanceTimersByTimeAsync(HOUR_MS)]))[0]).toBe(false);
    server.answers.push('hangs');
    analytics.track('good');
    expect((await Promise.all([analytics.flush(1_000), vi.advanceTimersByTimeAsync(1_000)]))[0]).toBe(false);
  });

  it('keeps no process alive once nobody waits any more', async () => {
    const timers: { ms: number; isRef: boolean }[] = [];
    const set = globalThis.setTimeout;
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((work: () => void, ms: number) => {
      const timer = { ms, isRef: true };
      timers.push(timer);
      return Object.assign(set(work, ms), { ref: () => (timer.isRef = true), unref: () => (timer.isRef = false) });
    }) as never);
    const analytics = make(new Server(['lost', 'lost', 'lost']), { flushIntervalMs: 1 });
    analytics.track('e');
    await vi.advanceTimersByTimeAsync(10);
    const retry = timers.at(-1)!;
    expect(retry).toMatchObject({ isRef: false });
    const flushes = [analytics.flush(50), analytics.flush(100)];
    expect(retry.isRef).toBe(true);
    await vi.advanceTimersByTimeAsync(60);
    expect(retry.isRef).toBe(true); // One still waits.
    await vi.advanceTimersByTimeAsync(60);
    expect(retry).toMatchObject({ isRef: false });
    expect(await Promise.all(flushes)).toEqual([false, false]);
    vi.restoreAllMocks();
  });

  it('keeps the id of an event that beforeSend makes anew, unless it is changed on purpose', async () => {
    const server = new Server(['late', 202]);
    const analytics = make(server, {
      beforeSend: ({ site, name, url, title }) => ({ site, name, url, title, ...(name === 'own' ? { event_id: 'mine' } : {}) })
    });
    analytics.track('made');
    analytics.track('own');
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(server.requests).toHaveLength(2);
    expect(server.kept).toEqual(['made', 'own']);
    expect([...server.ids].map((id) => id.length)).toEqual([36, 4]);
  });

  it('gives up what is left when it is closed and time runs out', async () => {
    const problems: Problem[] = [];
    const analytics = make(new Server(['lost', 'hangs']), { onProblem: (problem) => problems.push(problem) });
    analytics.track('e');
    await vi.advanceTimersByTimeAsync(500);
    expect((await Promise.all([analytics.close(2_000), vi.advanceTimersByTimeAsync(2_000)]))[0]).toBe(false);
    analytics.track('after');
    expect(analytics.stats).toMatchObject({ queued: 0, delivered: 0, dropped: 2 });
    expect(problems.map(({ kind, code }) => `${kind} ${code}`)).toEqual(['retry no_answer', 'dropped closed', 'dropped closed']);
  });

  it('sends an event that cannot be sent as a whole to nobody, and the next one as ever', async () => {
    const server = new Server();
    const problems: Problem[] = [];
    const analytics = make(server, {
      batchBytes: 2_000,
      beforeSend: (event) => {
        if (event.name === 'broken') throw new Error('x');
        return event.name === 'secret' ? null : event;
      },
      onProblem: (problem) => {
        problems.push(problem);
        throw new Error('y');
      }
    });
    for (const name of ['broken', 'secret', 'good']) analytics.track(name);
    analytics.track('large', { text: 'x'.repeat(2_000) });
    analytics.track('odd', { n: BigInt(10), list: [1], at: new Date(0) });
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(server.kept).toEqual(['good', 'odd']);
    expect(problems.map(({ code }) => code)).toEqual(['before_send', 'too_large']);
  });
});

describe('the configuration', () => {
  it('names the value that cannot be used', () => {
    expect(() => make(new Server(), { token: ' ' })).toThrow('token is missing');
    expect(() => make(new Server(), { apiBaseUrl: 'stats' })).toThrow(/invalid url/i);
    expect(() => make(new Server(), { batchEvents: 0 })).toThrow('batchEvents must be a number from 1 on, not 0.');
    expect(() => make(new Server(), { batchEvents: 1 })).not.toThrow();
    expect(() => make(new Server(), { token: '', enabled: false })).not.toThrow();
  });
});

describe('the context of a request', () => {
  const headers = { 'user-agent': 'UA', 'accept-language': 'de-AT,de;q=0.9', 'x-forwarded-for': '9.9.9.9, 1.2.3.4, 10.0.0.2' };
  const socket = { remoteAddress: '10.0.0.1' };

  it('believes as many proxies as it is told to', () => {
    expect(contextOf({ headers, socket }).ip).toBe('10.0.0.1');
    expect(contextOf({ headers, socket, ip: '5.5.5.5' }).ip).toBe('5.5.5.5');
    expect([1, 2, 3, 4].map((proxies) => contextOf({ headers, socket }, { proxies }).ip)).toEqual([
      '10.0.0.2',
      '1.2.3.4',
      '9.9.9.9',
      undefined
    ]);
    expect(contextOf(new Request('https://a.example/', { headers }), { proxies: 1 }).ip).toBe('10.0.0.2');
  });

  it('reaches the event, and nothing does of a visitor who is not to be tracked', async () => {
    const bodies: Sent[] = [];
    const analytics = make(new Server(), {
      beforeSend: (event) => {
        bodies.push(event as unknown as Sent);
        return event;
      }
    });
    analytics.for({ ...contextOf({ headers, socket }), userId: 7, url: 'https://shop.example/', props: { a: 1, b: 1 } }).track('x', { b: 2 });
    expect(bodies[0]).toMatchObject({ ip: '10.0.0.1', user_agent: 'UA', language: 'de-AT', user_id: 7, props: { a: 1, b: 2 } });
    for (const asks of [{ dnt: '1' }, { 'sec-gpc': '1' }, { 'sec-purpose': 'prefetch;prerender' }]) {
      analytics.for(contextOf({ headers: { ...headers, ...asks } })).trackView({ pageUrl: 'https://shop.example/' });
    }
    expect(bodies).toHaveLength(1);
  });
});
