import { createNextAnalytics } from '@analytics/client/next/server';
import type { NextFetchEvent, NextRequest } from 'next/server';
import { site } from './lib/site';

const analytics = createNextAnalytics({
  apiBaseUrl: process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000',
  appName: site,
  token: process.env.TOKEN ?? ''
});

export const middleware = (request: NextRequest, event: NextFetchEvent): void => {
  if (request.headers.get('sec-fetch-dest') !== 'document') return;
  analytics.forRequest(request).track('asked');
  event.waitUntil(analytics.flush(5000));
};

export const config = { matcher: '/blog/:path*' };
