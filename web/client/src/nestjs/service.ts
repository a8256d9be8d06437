/** The service that is injected: the server-side client, which knows how to read a request and when the application ends. */
import { type ContextAnalytics, ServerAnalytics } from '../node/index.js';
import type { ServerConfig } from '../node/types.js';
import type { EventMap, Props } from '../types.js';
import { type HttpRequest, type HttpResponse, type RequestOptions, afterwards, pageOf, rawOf, requestContext, whenTyped } from './request.js';

/** The configuration of `AnalyticsModule`. */
export interface AnalyticsModuleOptions extends ServerConfig, RequestOptions {
  /** Report each request to a controller as the event `request`: method, route, status and duration. */
  requests?: boolean;
}

type Next = (error?: unknown) => void;

export class AnalyticsService<Events extends EventMap = Record<string, Props | undefined>> extends ServerAnalytics<Events> {
  /** What the module was configured with. */
  readonly options: AnalyticsModuleOptions;

  constructor(options: AnalyticsModuleOptions) {
    super(options);
    this.options = options;
  }

  /** The calls about the visitor whose request this is. */
  forRequest(request: HttpRequest): ContextAnalytics<Events> {
    const context = requestContext(request, this.options);
    return this.for({ ...context, url: pageOf(request, context), referrer: undefined });
  }

  /** Reports a page view of the page that this request asks for. */
  viewOf(request: HttpRequest): void {
    this.for(requestContext(request, this.options)).trackView();
  }

  /**
   * Middleware that counts pages without any script in them: `app.use(app.get(AnalyticsService).pageviews())`. A view is
   * an answer to GET that succeeds with HTML.
   */
  pageviews(): (request: HttpRequest, response: HttpResponse, next: Next) => void {
    return (request, response, next) => {
      let isPage = false;
      try {
        if (request.method === 'GET') whenTyped(rawOf(response), (type) => (isPage = /^text\/html\b/i.test(type)));
      } catch {
        // Tracking never fails a request.
      }
      afterwards(response, () => isPage && response.statusCode < 300 && this.viewOf(request));
      next();
    };
  }

  /** Called by Nest when the application ends. */
  async onApplicationShutdown(): Promise<void> {
    await this.close();
  }
}
