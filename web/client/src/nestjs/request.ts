/** What is read of a request and its response: Express, Fastify, and Node.js beneath both. Structural: nothing is imported. */
import { type RequestLike, contextOf } from '../node/context.js';
import type { EventContext } from '../node/types.js';

/** A request of Express, Fastify or Node.js. */
export interface HttpRequest extends RequestLike {
  readonly method?: string;
  readonly url?: string;
  readonly originalUrl?: string;
  readonly protocol?: string;
  readonly baseUrl?: string;
  readonly route?: { readonly path?: unknown };
  readonly routeOptions?: { readonly url?: string };
}

/** Its response. */
export interface HttpResponse {
  readonly statusCode: number;
  /** Whether all of it was handed to the system: not so where the visitor went away before. */
  readonly writableFinished?: boolean;
  /** Fastify's reply: the response of Node.js. */
  readonly raw?: HttpResponse;
  once?(event: 'close', listener: () => void): unknown;
  getHeader?(name: string): unknown;
  writeHead?(...given: never[]): unknown;
}

/** How requests are read. */
export interface RequestOptions {
  /** How many proxies of yours stand before the application; see `contextOf`. */
  readonly proxies?: number;
  /** The application's own origin, `https://shop.example`; read from the request if left out. */
  readonly origin?: string;
  /** Who the application says a request is from. */
  readonly userId?: (request: never) => string | number | null | undefined;
}

const header = (request: HttpRequest, name: string): string => {
  const value = (request.headers as Record<string, string | undefined>)[name];
  return value ?? '';
};

/** The address of the page that is asked for. */
export const addressOf = (request: HttpRequest, { origin, proxies = 0 }: RequestOptions): string => {
  const path = request.originalUrl ?? request.url ?? '/';
  if (origin) return origin.replace(/\/*$/, '') + path;
  const secure = (request.socket as { encrypted?: boolean } | undefined)?.encrypted;
  const forwarded = proxies ? header(request, 'x-forwarded-proto').split(',').at(-1)!.trim() : '';
  return `${forwarded || request.protocol || (secure ? 'https' : 'http')}://${header(request, 'host')}${path}`;
};

/** The route's pattern, `/orders/:id`; empty where no route was found. */
export const routeOf = (request: HttpRequest): string => {
  const path = request.route?.path ?? request.routeOptions?.url;
  return typeof path === 'string' ? (request.baseUrl ?? '') + path : '';
};

/** Whose request it is; `url` and `referrer` are those of a page view. */
export const requestContext = (request: HttpRequest, options: RequestOptions): EventContext => ({
  ...contextOf(request, options.proxies === undefined ? {} : { proxies: options.proxies }),
  userId: options.userId?.(request as never),
  url: addressOf(request, options),
  referrer: header(request, 'referer') || undefined
});

/** The page on which a request was made, where the browser says so: the request's own address where it is a navigation. */
export const pageOf = (request: HttpRequest, { url, referrer }: EventContext): string | undefined => {
  const mode = header(request, 'sec-fetch-mode');
  if (!referrer || !URL.canParse(referrer)) return url;
  const isOfAPage = mode ? mode !== 'navigate' : false;
  return isOfAPage || new URL(referrer).host === new URL(url!).host ? referrer : url;
};

/** Calls back with the content type when a response's head is written: Fastify hands its headers over only then. */
export const whenTyped = (response: HttpResponse, tell: (type: string) => void): void => {
  const { writeHead } = response;
  if (!writeHead) return;
  (response as { writeHead: HttpResponse['writeHead'] }).writeHead = function (this: HttpResponse, ...given: never[]) {
    const headers: Record<string, unknown> = Object(given.at(-1));
    const name = Object.keys(headers).find((one) => one.toLowerCase() === 'content-type');
    tell(String((name && headers[name]) ?? this.getHeader?.('content-type') ?? ''));
    return writeHead.apply(this, given);
  };
};

/** The response of Node.js. */
export const rawOf = (response: HttpResponse): HttpResponse => response.raw ?? response;

/** Calls back once a response has ended. Nothing that goes wrong reaches the request. */
export const afterwards = (response: HttpResponse, report: () => unknown): void => {
  rawOf(response).once?.('close', () => {
    try {
      report();
    } catch {
      // Tracking never fails a request.
    }
  });
};
