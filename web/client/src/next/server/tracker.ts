/** Server-side tracking in Next.js: route handlers, server actions, middleware, and errors of the server. Web APIs only. */
import { ContextAnalytics, ServerAnalytics } from '../../node/index.js';
import type { EventContext, ServerConfig } from '../../node/types.js';
import type { EventMap, Props } from '../../types.js';
import { isBuild } from './phase.js';
import { type HeadersLike, type RequestOptions, type WebRequest, requestContext } from './request.js';

/** The configuration of `createNextAnalytics`. */
export interface NextAnalyticsConfig extends ServerConfig, RequestOptions {
  /**
   * `after` of `next/server` (Next.js 15.1 and newer). With it events are sent as soon as their request is answered, and
   * functions that are frozen then, and servers that are stopped, wait for that.
   */
  readonly after?: ((task: () => Promise<unknown>) => void) | undefined;
}

/** A request, as Next.js tells `onRequestError` of it. */
interface FailedRequest {
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Where a request failed, as Next.js tells it. */
interface FailedPlace {
  readonly routePath: string;
  readonly routeType: string;
}

export class NextAnalytics<Events extends EventMap = Record<string, Props | undefined>> extends ServerAnalytics<Events> {
  private readonly options: NextAnalyticsConfig;

  /** Throws where a value of the configuration can't be used; not while `next build` loads the application. */
  constructor(config: NextAnalyticsConfig) {
    super(isBuild() ? { ...config, enabled: false } : config);
    this.options = config;
  }

  /**
   * The calls about the visitor whose request this is; in server actions of its headers: `forRequest(await headers())`.
   * `more` adds what only the application knows, such as `userId`.
   */
  forRequest(request: WebRequest | HeadersLike, more: EventContext = {}): ContextAnalytics<Events> {
    let waits = false;
    const emit: typeof this.sender.emit = (...event) => {
      if (!waits) this.deliver();
      waits = true;
      return this.sender.emit(...event);
    };
    return new ContextAnalytics<Events>({ ...this.sender, emit }, { ...requestContext(request, this.options), ...more });
  }

  /**
   * For `instrumentation.ts`: `export const onRequestError = analytics.onRequestError`. Reports the event `server_error`, with
   * the properties `route`, `method`, `type`, `error` (the error's name) and `digest`; never its message.
   */
  readonly onRequestError = (error: unknown, request: FailedRequest, { routePath, routeType }: FailedPlace): void => {
    const headers: HeadersLike = { get: (name) => request.headers[name]?.toString() ?? null };
    const { name, digest } = Object(error) as { name?: unknown; digest?: unknown };
    const props = { route: routePath, method: request.method, type: routeType, error: name, digest };
    const asked = { headers, url: new URL(request.path, 'http://localhost').href };
    const visitor = this.forRequest(asked) as unknown as ContextAnalytics;
    visitor.track('server_error', props);
  };

  /** Has the events of the request that is handled now sent when it is answered. */
  private deliver(): void {
    try {
      this.options.after?.(() => this.flush(this.closeTimeoutMs));
    } catch {
      // Outside of a request: they leave with the next batch.
    }
  }
}

/** A client whose events are typed: `createNextAnalytics<{ signup: { plan: string } }>({…})`. */
export const createNextAnalytics = <Events extends EventMap = Record<string, Props | undefined>>(
  config: NextAnalyticsConfig
): NextAnalytics<Events> => new NextAnalytics<Events>(config);
