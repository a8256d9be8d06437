/**
 * NestJS: a global module with a service, decorators and an interceptor, for Express and Fastify. Its types are structural:
 * nothing of Nest is imported. Events are reported when the response has ended, so no request waits, and the status is the
 * one that was sent, after guards, pipes and exception filters.
 */
import { safe } from '../core/guard.js';
import { marksOf } from './decorators.js';
import { type HttpRequest, type HttpResponse, afterwards, rawOf, routeOf } from './request.js';
import { type AnalyticsModuleOptions, AnalyticsService } from './service.js';

export type { Assign, EventMap, Interaction, Props, TrackedEvent, View } from '../types.js';
export type { DeliveryStats, EventContext, Problem, ServerConfig } from '../node/types.js';
export { type Experiments, experiments } from '../experiments/index.js';
export { NoTrack, type Outcome, type PropsOf, Track, type TrackOptions, TrackView } from './decorators.js';
export type { HttpRequest, HttpResponse, RequestOptions } from './request.js';
export { type AnalyticsModuleOptions, AnalyticsService } from './service.js';

const OPTIONS = Symbol.for('analytics-server.nestjs.options');
const GLOBAL_INTERCEPTOR = 'APP_INTERCEPTOR'; // Nest's token for interceptors of the whole application.

/** An execution context of Nest. */
export interface ExecutionContextLike {
  getType(): string;
  getHandler(): object;
  getClass(): object;
  switchToHttp(): { getRequest(): unknown; getResponse(): unknown };
}

/** Reports what the decorators, and the option `requests`, ask for. */
export class AnalyticsInterceptor {
  constructor(private readonly analytics: AnalyticsService) {}

  /** Called by Nest around each handler. */
  intercept<Handled>(context: ExecutionContextLike, next: { handle(): Handled }): Handled {
    try {
      if (context.getType() === 'http') this.watch(context);
    } catch {
      // Tracking never fails a request.
    }
    return next.handle();
  }

  private watch(context: ExecutionContextLike): void {
    const { analytics } = this;
    const { requests } = analytics.options;
    const marks = marksOf(context.getHandler(), context.getClass());
    if (marks.isSilent || !(requests || marks.isView || marks.events[0])) return;
    const http = context.switchToHttp();
    const request = http.getRequest() as HttpRequest;
    const response = rawOf(http.getResponse() as HttpResponse);
    const began = performance.now();
    afterwards(response, () => {
      const { statusCode: status } = response;
      const durationMs = Math.round(performance.now() - began);
      const isDone = response.writableFinished !== false;
      const hasSucceeded = isDone && status < 400;
      if (marks.isView && hasSucceeded) analytics.viewOf(request);
      const visitor = analytics.forRequest(request);
      for (const { name, props, always } of marks.events) {
        if (!hasSucceeded && !always) continue;
        // A function that fails costs its own event.
        safe(() => visitor.track(name, typeof props === 'function' ? props({ request, status, durationMs }) : props))();
      }
      if (requests) {
        const { method } = request;
        visitor.track('request', {
          method,
          route: routeOf(request),
          status,
          outcome: isDone ? (hasSucceeded ? 'ok' : 'error') : 'aborted',
          duration_ms: durationMs
        });
      }
    });
  }
}

/** The options of a module that are made by other providers. */
export interface AnalyticsModuleAsyncOptions {
  readonly imports?: readonly unknown[];
  readonly inject?: readonly unknown[];
  readonly useFactory: (...injected: never[]) => AnalyticsModuleOptions | Promise<AnalyticsModuleOptions>;
}

/** A dynamic module of Nest; its lists are as loosely typed as Nest's own. */
export interface DynamicModuleLike {
  module: typeof AnalyticsModule;
  global: boolean;
  imports: any[];
  providers: any[];
  exports: any[];
}

const makeModule = (imports: readonly unknown[], options: object): DynamicModuleLike => ({
  module: AnalyticsModule,
  global: true,
  imports: [...imports],
  providers: [
    { provide: OPTIONS, ...options },
    {
      provide: AnalyticsService,
      inject: [OPTIONS],
      useFactory: (given: AnalyticsModuleOptions) => new AnalyticsService(given)
    },
    {
      provide: GLOBAL_INTERCEPTOR,
      inject: [AnalyticsService],
      useFactory: (analytics: AnalyticsService) => new AnalyticsInterceptor(analytics)
    }
  ],
  exports: [AnalyticsService]
});

/** Global: imported once, its service can be injected everywhere. */
export class AnalyticsModule {
  /** With options that are known. */
  static forRoot(options: AnalyticsModuleOptions): DynamicModuleLike {
    return makeModule([], { useValue: options });
  }

  /** With options that other providers make. */
  static forRootAsync({ imports = [], inject = [], useFactory }: AnalyticsModuleAsyncOptions): DynamicModuleLike {
    return makeModule(imports, { inject: [...inject], useFactory });
  }
}
