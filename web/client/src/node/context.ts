/** Reads what a request tells of its visitor: a web `Request`, or one of Node.js, Express, Fastify. */
import type { EventContext } from './types.js';

type HeaderValue = string | readonly string[] | undefined;

/** A request, as far as it is read here. */
export interface RequestLike {
  readonly headers: { get(name: string): string | null } | Readonly<Record<string, HeaderValue>>;
  /** As Express and Fastify find it by their own `trust proxy`. */
  readonly ip?: string | undefined;
  readonly socket?: { readonly remoteAddress?: string | undefined } | null | undefined;
}

export interface ContextOptions {
  /**
   * How many proxies of yours stand before the server: the address is the one that the outermost of them wrote into
   * `X-Forwarded-For`. 0, if left out: the header is not believed.
   */
  readonly proxies?: number;
}

const header = ({ headers }: RequestLike, name: string): string => {
  const found = typeof headers.get === 'function' ? (headers.get(name) as string | null) : (headers as Record<string, HeaderValue>)[name];
  return (typeof found === 'string' ? found : (found ?? []).join(', ')).trim();
};

const addressOf = (request: RequestLike, proxies: number): string | undefined => {
  const peer = request.socket?.remoteAddress;
  if (!proxies) return request.ip ?? peer;
  const hops = [peer, ...header(request, 'x-forwarded-for').split(',').reverse().map((hop) => hop.trim())];
  return hops[proxies] || undefined;
};

/**
 * The context of events that a request is about: address, user agent and language, and whether its visitor asks not to be
 * tracked (Do Not Track, Global Privacy Control) or has not seen the page yet (prefetch).
 */
export const contextOf = (request: RequestLike, { proxies = 0 }: ContextOptions = {}): EventContext => ({
  ip: addressOf(request, proxies),
  userAgent: header(request, 'user-agent'),
  language: header(request, 'accept-language'),
  untracked:
    header(request, 'dnt') === '1' ||
    header(request, 'sec-gpc') === '1' ||
    /prefetch|prerender|preview/i.test(header(request, 'sec-purpose') + header(request, 'purpose') + header(request, 'x-moz'))
});
