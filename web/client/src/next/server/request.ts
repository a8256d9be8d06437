/** What is read of a web `Request`, or of its headers alone, as server actions get them. */
import { type RequestLike, contextOf } from '../../node/context.js';
import type { EventContext } from '../../node/types.js';
import { parsed } from './address.js';

/** Headers of a request, as `headers()` of Next.js gives them. */
export interface HeadersLike {
  get(name: string): string | null;
}

/** A request, as a route handler or a middleware gets it. */
export interface WebRequest {
  readonly headers: HeadersLike;
  readonly url?: string;
}

/** How requests are read. */
export interface RequestOptions {
  /**
   * How many proxies of yours stand before the application; 1, if left out. Next.js itself writes the address into
   * `X-Forwarded-For` where there is none, so 1 is right without a proxy too, but then visitors can make it up.
   */
  readonly proxies?: number;
  /** The application's own origin, `https://shop.example`; read from the request if left out. */
  readonly origin?: string;
}

const last = (value: string | null): string => value?.split(',').at(-1)!.trim() ?? '';

/** The address that was asked for, as the visitor's browser has it; undefined where only headers are known. */
const addressOf = ({ headers, url }: WebRequest, origin: string | undefined): string | undefined => {
  const asked = url && parsed(url);
  if (!asked) return undefined;
  const { pathname, search, protocol, host } = asked;
  const seen = last(headers.get('x-forwarded-host')) || headers.get('host') || host;
  const scheme = last(headers.get('x-forwarded-proto')) || protocol.slice(0, -1);
  return (origin?.replace(/\/*$/, '') ?? `${scheme}://${seen}`) + pathname + search;
};

/**
 * Whose request it is, and about which page: the one that made it (`Referer`), unless the request is for a page itself.
 */
export const requestContext = (given: WebRequest | HeadersLike, { origin, proxies = 1 }: RequestOptions): EventContext => {
  const request: WebRequest = 'get' in given && typeof given.get === 'function' ? { headers: given } : (given as WebRequest);
  const { headers } = request;
  const asked = addressOf(request, origin);
  const referrer = headers.get('referer') ?? undefined;
  const isOfPage = referrer && (!asked || (headers.get('sec-fetch-mode') ?? 'navigate') !== 'navigate');
  return {
    ...contextOf(request as RequestLike, { proxies }),
    ...(isOfPage ? { url: referrer } : { url: asked, referrer })
  };
};
