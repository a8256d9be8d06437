/**
 * A route handler that serves script and beacons from the site's own address. What the server behind it learns of a
 * request is listed here; cookies and credentials are not on the list.
 *
 * With a token of role `collect` the visitor is told in the events; without one in `X-Forwarded-For`, which the server
 * believes if the application is one of its `trusted_proxies`.
 */
import { type RequestLike, contextOf } from '../../node/context.js';
import { parsed } from './address.js';
import { isBuild } from './phase.js';
import type { RequestOptions } from './request.js';
import { allowedTime } from './time.js';

const ALWAYS = ['user-agent', 'accept-language', 'dnt', 'sec-gpc', 'sec-purpose', 'purpose', 'content-type', 'if-none-match'];
const HINT = /^sec-ch-ua\b/;
const BACK = ['content-type', 'cache-control', 'etag', 'last-modified', 'retry-after'];
const EVENT_ID = /^[\da-f]{8}(-?)(?:[\da-f]{4}\1){3}[\da-f]{12}$/i;
const SITE_CHARS = 128;
const LIMITED = 'too_many_requests';
const KEPT_KEYS = 10_000; // Of events that were taken while others of their request are still to come.

export interface AnalyticsProxyOptions extends Pick<RequestOptions, 'proxies'> {
  /** Where the server is: `https://stats.example.com`. */
  apiBaseUrl: string;
  /** A token of role `collect`, best for one site only. Without it the server must trust the application's address. */
  token?: string;
  /** The script's name on the server; `/a.js` if left out. */
  scriptPath?: string;
  /** The endpoint's name on the server; `/track` if left out. */
  collectPath?: string;
  /** Bytes of one beacon; 1 MiB if left out. */
  maxBodyBytes?: number;
  /** The server has failed without an answer after so many milliseconds; 10,000 if left out. */
  requestTimeoutMs?: number;
  /** Takes the place of the platform's `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** What a route handler's file exports. */
export interface AnalyticsProxy {
  GET(request: Request): Promise<Response>;
  POST(request: Request): Promise<Response>;
}

const refuse = (status: number, code: string, message: string, more?: Record<string, string>): Response =>
  new Response(JSON.stringify({ error: { code, message } }), { status, headers: { 'content-type': 'application/json', ...more } });

const taken = (accepted: number, dropped = {}): Response =>
  new Response(JSON.stringify({ accepted, dropped, rejected: [] }), {
    status: 202,
    headers: { 'content-type': 'application/json' }
  });

/** Whether nobody has seen the page yet: of senders with a token the server does not ask that. */
const isAhead = ({ headers }: Request): boolean =>
  ['sec-purpose', 'purpose', 'x-moz'].some((name) => /prefetch|prerender|preview/i.test(headers.get(name) ?? ''));

/** A request's body; undefined where it is larger than allowed, of which no more is read than that. */
const read = async ({ body }: Request, most: number): Promise<string | undefined> => {
  const reader = body?.getReader();
  if (!reader) return '';
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > most) {
      await reader.cancel();
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
};

/** What tells a repeated event from another, if it has what the server knows it by. */
const keyOf = (event: unknown): string | undefined => {
  const { site, event_id: id } = Object(event) as { site?: unknown; event_id?: unknown };
  const isKnown = typeof id === 'string' && EVENT_ID.test(id) && typeof site === 'string' && site.length <= SITE_CHARS;
  return isKnown ? id + site : undefined;
};

/** The indices of the events that the server refused because their site sends more than it may. */
const limitedIn = (answer: string): Set<number> => {
  try {
    const { rejected } = JSON.parse(answer) as { rejected: { index: number; code: string }[] };
    return new Set(rejected.filter(({ code }) => code === LIMITED).map(({ index }) => index));
  } catch {
    return new Set(); // An answer of something else than the server.
  }
};

/**
 * The beacon's events, each with its visitor. What a token allows and a page must not do is taken out: a visitor of the
 * page's choosing, and times of long ago. Throws where it can't be read: what the server alone can read is not passed on
 * with a token.
 */
const tell = (text: string, visitor: object): unknown[] => {
  const beacon: unknown = JSON.parse(text);
  const { events, sent_at: sent } = Object(beacon) as { events?: unknown; sent_at?: unknown };
  const told: unknown[] = Array.isArray(beacon) ? beacon : Array.isArray(events) ? events : [beacon];
  return told.map((event) => {
    if (typeof event !== 'object' || event === null) return event;
    const { timestamp, sent_at, ...rest } = event as Record<string, unknown>;
    return { ...rest, ...visitor, timestamp: allowedTime(timestamp, sent_at ?? sent) };
  });
};

/** Makes the handler: `export const { GET, POST } = createAnalyticsProxy({…})` in `app/stats/[...path]/route.ts`. */
export const createAnalyticsProxy = (options: AnalyticsProxyOptions): AnalyticsProxy => {
  const { token, scriptPath = '/a.js', collectPath = '/track', proxies = 1 } = options;
  const { maxBodyBytes = 1 << 20, requestTimeoutMs = 10_000 } = options;
  const base = options.apiBaseUrl?.replace(/\/*$/, '');
  if (!isBuild() && !parsed(base)) throw new TypeError('apiBaseUrl must be the address of the server.');
  const settled = new Set<string>();

  /**
   * A server is told which of its events to send again; the tracker sends a request again as a whole. So it is asked to,
   * where each event can be told from another, and what is settled then is left out: it would use the rate up again.
   */
  const again = (events: unknown[], answer: string): Response | undefined => {
    const limited = limitedIn(answer);
    const keys = events.map(keyOf);
    if (!limited.size || keys.includes(undefined)) return undefined;
    keys.forEach((key, index) => limited.has(index) || settled.add(key!));
    for (const key of settled) {
      if (settled.size <= KEPT_KEYS) break;
      settled.delete(key);
    }
    return refuse(429, LIMITED, 'The site sends more events than it may. Send the request again later.', { 'retry-after': '1' });
  };

  const ask = async (request: Request, path: string, init: RequestInit): Promise<Response> => {
    const visitor = contextOf(request as unknown as RequestLike, { proxies });
    const headers = new Headers();
    request.headers.forEach((value, name) => {
      if (ALWAYS.includes(name) || HINT.test(name)) headers.set(name, value);
    });
    let { body } = init;
    let events: unknown[] | undefined;
    if (token && body !== undefined) {
      headers.set('authorization', `Bearer ${token}`);
      try {
        const told = tell(body as string, { ip: visitor.ip, user_agent: visitor.userAgent });
        if (isAhead(request)) return taken(0, { prefetch: told.length });
        events = told.filter((event) => !settled.has(keyOf(event)!));
        if (told.length && !events.length) return taken(told.length);
        body = JSON.stringify(events);
      } catch {
        return refuse(400, 'bad_json', 'The body is not valid JSON, or it is nested too deeply.');
      }
    } else if (visitor.ip) headers.set('x-forwarded-for', visitor.ip);
    try {
      const call = options.fetch ?? fetch;
      const answer = await call(base + path, {
        ...init,
        ...(body !== undefined && { body }),
        headers,
        cache: 'no-store',
        redirect: 'manual',
        signal: AbortSignal.timeout(requestTimeoutMs)
      });
      const back = new Headers();
      for (const name of BACK) {
        const value = answer.headers.get(name);
        if (value !== null) back.set(name, value);
      }
      if (events && answer.status === 202) {
        const text = await answer.text();
        return again(events, text) ?? new Response(text, { status: 202, headers: back });
      }
      return new Response(answer.status === 304 ? null : answer.body, { status: answer.status, headers: back });
    } catch {
      return refuse(502, 'no_answer', 'The analytics server did not answer.'); // The tracker sends the same again.
    }
  };

  const isFor = (url: URL, path: string) => url.pathname.replace(/\/+$/, '').endsWith(path);
  const missing = () => refuse(404, 'not_found', 'Neither the script nor the endpoint has this name.');
  return {
    async GET(request) {
      const url = new URL(request.url);
      return isFor(url, scriptPath) ? ask(request, scriptPath + url.search, { method: 'GET' }) : missing();
    },
    async POST(request) {
      if (!isFor(new URL(request.url), collectPath)) return missing();
      const body = await read(request, maxBodyBytes);
      if (body === undefined) return refuse(413, 'too_large', `The body is larger than ${maxBodyBytes} bytes.`);
      return ask(request, collectPath, { method: 'POST', body });
    }
  };
};
