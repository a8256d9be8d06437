/** Next.js on the server: the proxy, the rewrites, and server-side tracking. Nothing of Next.js or React is imported. */
export type { Assign, EventMap, Interaction, Props, TrackedEvent, View } from '../../types.js';
export type { DeliveryStats, EventContext, Problem, ServerConfig } from '../../node/types.js';
export { type ContextOptions, type RequestLike, contextOf } from '../../node/context.js';
export { type Experiments, experiments } from '../../experiments/index.js';
export { type AnalyticsRewriteOptions, withAnalytics } from './config.js';
export { type AnalyticsProxy, type AnalyticsProxyOptions, createAnalyticsProxy } from './proxy.js';
export type { HeadersLike, RequestOptions, WebRequest } from './request.js';
export { NextAnalytics, type NextAnalyticsConfig, createNextAnalytics } from './tracker.js';
