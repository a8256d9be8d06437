/** The Next.js part without Next.js: patterns, rewrites, and the proxy in front of a real HTTP server. */
import { type IncomingMessage, type Server, createServer } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { RouteNames, routeOf } from '../src/next/route.js';
import { requestContext } from '../src/next/server/request.js';
import { allowedTime, epochMs } from '../src/next/server/time.js';
import { type AnalyticsProxyOptions, createAnalyticsProxy, createNextAnalytics, withAnalytics } from '../src/next/server/index.js';

describe('route patterns', () => {
  it.each([
    ['/', {}, '/'],
    ['/about', {}, '/about'],
    ['/blog/first', { slug: 'first' }, '/blog/[slug]'],
    ['/blog/blog', { slug: 'blog' }, '/blog/[slug]'],
    ['/de/products/7', { lang: 'de', id: '7' }, '/[lang]/products/[id]'],
    ['/7/7', { first: '7', second: '7' }, '/[first]/[second]'],
    ['/docs/a/b/edit', { path: ['a', 'b'] }, '/docs/[...path]/edit'],
    ['/%C3%BCber/a%20b', { slug: 'a%20b' }, '/über/[slug]'],
    ['/b%C3%BCcher/x', { slug: 'bücher', id: 'x' }, '/[slug]/[id]'],
    ['/100%/x', { slug: '100%' }, '/[slug]/x'],
    ['/shown', { hidden: 'elsewhere' }, '/shown'],
    ['/docs', { path: undefined, rest: [] }, '/docs']
  ] as [string, Record<string, string | string[]>, string][])('%s with %o is %s', (path, params, pattern) => {
    expect(routeOf(path, params)).toBe(pattern);
  });

  const event = (path: string, props?: Record<string, unknown>) => ({ site: 's', name: 'n', title: '', url: `https://s.example${path}`, props });

  it('are told of the last 100 paths, and never in the place of the event’s own', () => {
    const names = new RouteNames();
    for (let n = 0; n < 101; n++) names.learn(`/${n}`, '/[n]');
    expect(names.name(event('/0')).props).toBeUndefined();
    expect(names.name(event('/1?q#f', { a: 1 })).props).toEqual({ route: '/[n]', a: 1 });
    expect(names.name(event('/100', { route: 'mine' })).props).toEqual({ route: 'mine' });
  });
});

describe('the rewrites', () => {
  const options = { source: '/stats/', destination: '/api/analytics/' };
  const ours = [
    { source: '/stats/a.js', destination: '/api/analytics/a.js' },
    { source: '/stats/track', destination: '/api/analytics/track' }
  ];
  const other = { source: '/x', destination: '/y' };
  const of = async (config: object) => (config as { rewrites(): Promise<unknown> }).rewrites();

  it('stand in front of those that a configuration has, in each of its forms', async () => {
    expect(await of(withAnalytics({}, options))).toEqual({ beforeFiles: ours, afterFiles: [], fallback: [] });
    const list = withAnalytics({ rewrites: async () => [other] }, options);
    expect(await of(list)).toEqual({ beforeFiles: ours, afterFiles: [other], fallback: [] });
    const groups = withAnalytics({ rewrites: async () => ({ beforeFiles: [other], fallback: [other] }) }, options);
    expect(await of(groups)).toEqual({ beforeFiles: [...ours, other], afterFiles: [], fallback: [other] });
    const made = await withAnalytics(async (phase: string) => ({ distDir: phase }), options)('phase');
    expect(made.distDir).toBe('phase');
    expect(await of(made)).toEqual({ beforeFiles: ours, afterFiles: [], fallback: [] });
  });

  it('take names of the server’s own, and refuse what leads nowhere', async () => {
    const named = withAnalytics({}, { source: '/s', destination: 'https://x.example', scriptPath: '/p.js', collectPath: '/p' });
    expect(await of(named)).toMatchObject({
      beforeFiles: [
        { source: '/s/p.js', destination: 'https://x.example/p.js' },
        { source: '/s/p', destination: 'https://x.example/p' }
      ]
    });
    expect(() => withAnalytics({}, { source: 'stats', destination: '/x' })).toThrow(/^source /);
    expect(() => withAnalytics({}, { source: '/stats', destination: 'x.example' })).toThrow(/^destination /);
  });
});

describe('the page of a request', () => {
  const page = 'https://shop.example/cart';
  const read = (headers: Record<string, string>, url?: string, options = {}) => {
    const { url: told, referrer } = requestContext(url ? { url, headers: new Headers(headers) } : new Headers(headers), options);
    return [told, referrer];
  };

  it('is the one that made it, or the one that it asks for', () => {
    const asked = 'http://localhost:3000/api/x?y=1';
    const forwarded = { host: 'shop.example', 'x-forwarded-proto': 'http, https' };
    expect(read({ referer: page, 'sec-fetch-mode': 'cors' }, asked)).toEqual([page, undefined]);
    expect(read({ referer: page, 'sec-fetch-mode': 'navigate', ...forwarded }, asked)).toEqual(['https://shop.example/api/x?y=1', page]);
    expect(read(forwarded, asked)).toEqual(['https://shop.example/api/x?y=1', undefined]);
    expect(read({}, asked)).toEqual([asked, undefined]);
    expect(read({}, asked, { origin: 'https://own.example/' })).toEqual(['https://own.example/api/x?y=1', undefined]);
    expect(read({ referer: page })).toEqual([page, undefined]); // A server action: only its headers are known.
    expect(read({})).toEqual([undefined, undefined]);
  });
});

describe('the time of an event behind the proxy', () => {
  const now = Date.UTC(2026, 5, 1, 12);
  beforeAll(() => void vi.useFakeTimers({ now, toFake: ['Date'] }));
  afterAll(() => void vi.useRealTimers());

  it.each([
    [1000, 1000],
    [946684799, 946684799],
    [946684800, 946684800000],
    [1780315200.5, 1780315200500],
    [99999999999, 99999999999000],
    [1780315200000, now],
    [1780315200000000, now],
    [2 ** 53, undefined],
    [Infinity, undefined],
    ['1780315200', now],
    ['2026-06-01', now - 12 * 3_600_000],
    ['2026-06-01T12:00', now],
    ['2026-06-01 12:00:00.250', now + 250],
    ['2026-06-01t12:00:00z', now],
    ['2026-06-01T14:00:00+02:00', now],
    ['2026-06-01T14:00:00+0200', now],
    ['2026-06-01T10:00:00-02', now],
    ['2026-06-31T99:00', undefined],
    ['1 June 2026', undefined],
    ['', undefined],
    [true, undefined],
    [{}, undefined]
  ])('reads %o', (value, ms) => expect(epochMs(value)).toBe(ms));

  it('is told by its age, or kept within what the server allows pages', () => {
    const day = 86_400_000;
    const [soon, ago] = [now + 300_000, now - day];
    expect(allowedTime(undefined, now)).toBeUndefined();
    expect(allowedTime(null, undefined)).toBeUndefined();
    expect([allowedTime(1780315100, 1780315130), allowedTime('2001-01-01T10:00', '2001-01-01T10:01')]).toEqual([now - 30_000, now - 60_000]);
    expect([allowedTime(now - 5, undefined), allowedTime(now - 5, 'x'), allowedTime(now + 5, now)]).toEqual([now - 5, now - 5, now]);
    expect([soon, soon + 1, ago, ago - 1].map((time) => allowedTime(time, undefined))).toEqual([soon, soon, ago, ago]);
    expect(['x', true, '2026-W23-1'].map((time) => allowedTime(time, now))).toEqual(['', '', '']); // Which the server refuses.
  });
});

describe('the proxy', () => {
  let server: Server;
  let base = '';
  let seen: { request: IncomingMessage; body: string }[] = [];
  let answer: (request: IncomingMessage) => [status: number, headers?: Record<string, string>, body?: string] | undefined;

  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => (body += part));
      request.on('end', () => {
        seen.push({ request, body });
        const [status, headers, text] = answer(request) ?? [];
        if (status) response.writeHead(status, headers).end(text);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${server.address().port}`;
  });
  beforeEach(() => {
    seen = [];
    answer = () => [202, { 'content-type': 'application/json', 'set-cookie': 'a=b', 'retry-after': '7' }, '{}'];
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const sent = {
    'content-type': 'text/plain',
    'user-agent': 'A browser',
    'accept-language': 'de',
    'sec-ch-ua': '"Brave"',
    'sec-ch-ua-mobile': '?0',
    'sec-gpc': '1',
    'x-forwarded-for': '203.0.113.1, 198.51.100.9',
    cookie: 'session=secret',
    authorization: 'Basic secret',
    referer: 'https://shop.example/private'
  };
  const post = (body: unknown, options: Partial<AnalyticsProxyOptions> = {}, path = '/stats/track', more = {}) => {
    const raw = typeof body === 'string' || body instanceof Blob ? body : JSON.stringify(body);
    const request = new Request(`https://shop.example${path}`, { method: 'POST', headers: { ...sent, ...more }, body: raw });
    return createAnalyticsProxy({ apiBaseUrl: `${base}/`, ...options }).POST(request);
  };

  it('without a token tells the visitor in headers, and leaves the body alone', async () => {
    const body = '{"name":"x", "ip": "192.0.2.1"}';
    const response = await post(body);
    expect([response.status, response.headers.get('retry-after'), response.headers.get('set-cookie')]).toEqual([202, '7', null]);
    expect(seen[0]!.body).toBe(body);
    expect(seen[0]!.request.url).toBe('/track');
    const { headers } = seen[0]!.request;
    expect(headers).toMatchObject({ 'user-agent': 'A browser', 'accept-language': 'de', 'sec-ch-ua': '"Brave"', 'sec-ch-ua-mobile': '?0', 'sec-gpc': '1' });
    expect(headers['x-forwarded-for']).toBe('198.51.100.9');
    expect(JSON.stringify(headers)).not.toContain('secret');
    expect(headers['referer']).toBeUndefined();
  });

  it('with a token tells it in the events, whatever they claim, and no times of long ago', async () => {
    const day = 86_400_000;
    const events = [
      { name: 'a', ip: '192.0.2.1', user_agent: 'x' },
      { name: 'late', timestamp: 1000, sent_at: 4000 },
      { name: 'old', timestamp: 0, sent_at: 3 * day },
      { name: 'ahead', timestamp: 9000, sent_at: 1000 },
      { name: 'import', timestamp: '2001-01-01' },
      7
    ];
    const before = Date.now();
    for (const body of [events, { events }, { sent_at: 5000, events: [{ name: 'shared', timestamp: 1000 }] }, events[0]]) {
      await post(body, { token: 'ast_x' });
    }
    const after = Date.now();
    const [list, wrapped, shared, alone] = seen.map(({ body }) => JSON.parse(body));
    const visitor = { ip: '198.51.100.9', user_agent: 'A browser' };
    expect(list[0]).toEqual({ name: 'a', ...visitor });
    expect(alone).toEqual([{ name: 'a', ...visitor }]);
    expect(wrapped.map((event: { name?: string }) => event.name)).toEqual(['a', 'late', 'old', 'ahead', 'import', undefined]);
    const ages = [...list.slice(1, 5), shared[0]].map(({ timestamp }) => [before - timestamp, after - timestamp]);
    for (const [index, age] of [3000, day, 0, day, 4000].entries()) {
      expect(ages[index]![0]).toBeLessThanOrEqual(age);
      expect(ages[index]![1]).toBeGreaterThanOrEqual(age);
    }
    expect(list[4]).toMatchObject({ name: 'import', ...visitor });
    expect(list[5]).toBe(7);
    const { headers } = seen[0]!.request;
    expect(headers.authorization).toBe('Bearer ast_x');
    expect([headers['x-forwarded-for'], headers['cookie'], headers['sec-gpc']]).toEqual([undefined, undefined, '1']);
  });

  it('with a token passes nothing on that it can’t read, though the server could', async () => {
    const forged = JSON.stringify({ name: 'x', ip: '192.0.2.1', timestamp: 946684800001 });
    const mark = new Uint8Array([0xef, 0xbb, 0xbf]);
    expect((await post(new Blob([mark, forged]), { token: 'ast_x' })).status).toBe(202);
    expect(JSON.parse(seen[0]!.body)[0].ip).toBe('198.51.100.9');
    for (const body of [new Blob([mark, mark, forged]), '\v' + forged, '', '['.repeat(200_000) + ']'.repeat(200_000)]) {
      const response = await post(body, { token: 'ast_x' });
      expect([response.status, (await response.json()).error.code]).toEqual([400, 'bad_json']);
    }
    expect(seen.length).toBe(1);
    await post('no JSON'); // Without a token the server says what it is.
    expect(seen[1]!.body).toBe('no JSON');
  });

  it('with a token has the tracker send a request again of which a part came too fast, and passes each event on once', async () => {
    const events = [0, 1, 2, 3].map((n) => ({ site: 'shop.example', name: `n${n}`, event_id: `0198c0de-0000-7000-8000-00000000000${n}` }));
    const rejected = (...given: [number, string][]) => JSON.stringify({ accepted: 1, dropped: {}, rejected: given.map(([index, code]) => ({ index, code })) });
    const { POST } = createAnalyticsProxy({ apiBaseUrl: base, token: 'ast_x' });
    const send = (body: unknown) => POST(new Request('https://shop.example/stats/track', { method: 'POST', body: JSON.stringify(body) }));
    const names = () => seen.splice(0).map(({ body }) => JSON.parse(body).map(({ name }: { name: string }) => name));
    const limited = 'too_many_requests';

    answer = () => [202, {}, rejected([1, 'bad_url'], [2, limited], [3, limited])];
    const refused = await send(events);
    expect([refused.status, refused.headers.get('retry-after'), (await refused.json()).error.code]).toEqual([429, '1', limited]);
    answer = () => [202, {}, rejected([1, limited])];
    expect((await send({ events })).status).toBe(429);
    answer = () => [202, {}, rejected()];
    expect((await send(events)).status).toBe(202);
    expect(names()).toEqual([['n0', 'n1', 'n2', 'n3'], ['n2', 'n3'], ['n3']]);
    expect((await send(events[0])).status).toBe(202);
    expect(names()).toEqual([]);
    await send({ ...events[0], site: 'other.example' });
    expect(names()).toEqual([['n0']]);

    // What can't be told from another would count twice: the answer says what is missing.
    for (const change of [{ event_id: undefined }, { event_id: 'x' }, { site: 's'.repeat(129) }]) {
      answer = () => [202, {}, rejected([1, limited])];
      const partly = await send([{ ...events[2], ...change }, { ...events[3], site: 'third.example' }]);
      expect([partly.status, (await partly.json()).rejected.length]).toEqual([202, 1]);
    }
    answer = () => [202, {}, 'no JSON'];
    expect(await (await send({ name: 'x' })).text()).toBe('no JSON');
  });

  it('with a token drops what a page sends that is loaded ahead of time; without one the server does', async () => {
    const ahead = { 'sec-purpose': 'prefetch;prerender' };
    const dropped = await post([{ name: 'a' }, { name: 'b' }], { token: 'ast_x' }, '/stats/track', ahead);
    expect([dropped.status, await dropped.json()]).toEqual([202, { accepted: 0, dropped: { prefetch: 2 }, rejected: [] }]);
    expect(seen.length).toBe(0);
    await post('{}', { token: 'ast_x' }, '/stats/track', { 'sec-purpose': 'none', purpose: '' });
    await post('{}', {}, '/stats/track', ahead);
    expect(seen.map(({ request }) => request.headers['sec-purpose'])).toEqual(['none', ahead['sec-purpose']]);
  });

  it('takes bodies up to its limit, counted in bytes', async () => {
    const exact = JSON.stringify({ name: 'ü'.repeat(20) });
    const maxBodyBytes = new TextEncoder().encode(exact).length;
    expect((await post(exact, { maxBodyBytes })).status).toBe(202);
    const refused = await post(exact, { maxBodyBytes: maxBodyBytes - 1 });
    expect([refused.status, (await refused.json()).error.code]).toEqual([413, 'too_large']);
    expect(seen.length).toBe(1);
  });

  it('answers so that the tracker sends again where the server fails', async () => {
    answer = () => [503, {}, 'busy'];
    expect((await post('{}')).status).toBe(503);
    answer = () => undefined;
    const late = await post('{}', { requestTimeoutMs: 20 });
    expect([late.status, (await late.json()).error.code]).toEqual([502, 'no_answer']);
    expect((await post('{}', { apiBaseUrl: 'http://127.0.0.1:9' })).status).toBe(502);
  });

  it('serves the script under its names, and nothing else', async () => {
    answer = ({ headers }) => (headers['if-none-match'] ? [304, { etag: '"1"' }] : [200, { etag: '"1"', 'content-type': 'text/javascript' }, 'script']);
    const { GET } = createAnalyticsProxy({ apiBaseUrl: base, scriptPath: '/p.js', collectPath: '/p' });
    const get = (path: string, headers = {}) => GET(new Request(`https://shop.example${path}`, { headers }));
    const full = await get('/stats/p.js?more');
    expect([full.status, full.headers.get('etag'), await full.text()]).toEqual([200, '"1"', 'script']);
    expect(seen[0]!.request.url).toBe('/p.js?more');
    expect((await get('/stats/p.js/', { 'if-none-match': '"1"' })).status).toBe(304);
    expect((await get('/stats/a.js')).status).toBe(404);
    expect((await post('{}', {}, '/stats/api/v1/query')).status).toBe(404);
    expect(seen.length).toBe(2);
  });
});

describe('Node.js before 18.17', () => {
  const { canParse } = URL;
  beforeAll(() => void Reflect.deleteProperty(URL, 'canParse'));
  afterAll(() => void Object.assign(URL, { canParse }));

  it('has all that is used', () => {
    const apiBaseUrl = 'https://stats.example.com';
    createAnalyticsProxy({ apiBaseUrl });
    expect(() => createAnalyticsProxy({ apiBaseUrl: 'stats' })).toThrow(/^apiBaseUrl /);
    withAnalytics({}, { source: '/s', destination: apiBaseUrl });
    expect(() => withAnalytics({}, { source: '/s', destination: 'stats' })).toThrow(/^destination /);
    const told = (url: string) => requestContext({ url, headers: new Headers() }, {}).url;
    expect([told('https://shop.example/x'), told('/x')]).toEqual(['https://shop.example/x', undefined]);
  });
});

describe('next build', () => {
  afterEach(() => void delete process.env.NEXT_PHASE);

  it('needs no environment; a server does', () => {
    const missing = { apiBaseUrl: '', appName: 'shop.example', token: '' };
    expect(() => createNextAnalytics(missing)).toThrow(/apiBaseUrl|token/);
    expect(() => createAnalyticsProxy(missing)).toThrow(/apiBaseUrl/);
    process.env.NEXT_PHASE = 'phase-production-build';
    createAnalyticsProxy(missing);
    expect(createNextAnalytics(missing).track('x')).toBe(true);
  });
});
