import {
  type AnalyticsProxy,
  type AnalyticsProxyOptions,
  type AnalyticsRewriteOptions,
  type Assign,
  type ContextOptions,
  type DeliveryStats,
  type EventContext,
  type Experiments,
  type HeadersLike,
  type Interaction,
  NextAnalytics,
  type NextAnalyticsConfig,
  type Problem,
  type Props,
  type RequestLike,
  type RequestOptions,
  type ServerConfig,
  type TrackedEvent,
  type View,
  type WebRequest,
  contextOf,
  createAnalyticsProxy,
  createNextAnalytics,
  experiments,
  withAnalytics
} from '@analytics/client/next/server';
import { headers } from 'next/headers';
import type { NextRequest } from 'next/server';
import { after } from './after';
import { site } from './site';

export type Events = { ordered: { product: string }; subscribed: undefined; asked: undefined };

const defined: Experiments = { cta: ['control', 'b'] };
const assign: Assign = experiments(defined);
const server: ServerConfig = {
  apiBaseUrl: process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000',
  appName: site,
  token: process.env.TOKEN ?? '',
  experiments: assign,
  beforeSend: (event: TrackedEvent) => event,
  onProblem: ({ kind, code, events }: Problem) => console.log(kind, code, events)
};
const reading: RequestOptions & ContextOptions = { proxies: 1 };
const config: NextAnalyticsConfig = { ...server, ...reading, after };

export const analytics: NextAnalytics<Events> = createNextAnalytics<Events>(config);
export const untyped = new NextAnalytics({ ...config, enabled: false });

const proxied: AnalyticsProxyOptions = { apiBaseUrl: server.apiBaseUrl, token: server.token };
export const proxy: AnalyticsProxy = createAnalyticsProxy(proxied);

/** What takes the request of each kind that there is. */
export const report = async (request: NextRequest): Promise<DeliveryStats> => {
  const context: EventContext = contextOf(request as RequestLike, { proxies: 1 });
  const asked: WebRequest = request;
  const known: HeadersLike = await headers();
  const view: View = { pageTitle: 'API' };
  const props: Props = { from: 'types' };
  const interaction: Interaction = { type: 'click', data: { elementId: 'x', ...props } };
  untyped.for(context).trackView(view);
  untyped.forRequest(asked).trackInteraction(interaction);
  analytics.forRequest(known).track('subscribed');
  // @ts-expect-error there is no such event
  analytics.forRequest(known).track('nothing');
  return untyped.stats;
};

const rewritten: AnalyticsRewriteOptions = { source: '/more', destination: '/api/stats' };
export const configured = withAnalytics({ reactStrictMode: true } satisfies import('next').NextConfig, rewritten);
