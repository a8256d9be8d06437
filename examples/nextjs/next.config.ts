import { withAnalytics } from '@analytics/client/next/server';
import type { NextConfig } from 'next';

const config: NextConfig = { reactStrictMode: true, turbopack: { root: import.meta.dirname } };

// Pages send to /stats/track; the route handler in app/api/analytics passes it on.
export default withAnalytics(config, { source: '/stats', destination: '/api/analytics' });
