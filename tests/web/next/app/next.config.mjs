import { withAnalytics } from '@analytics/client/next/server';
import next from 'next/package.json' with { type: 'json' };

const isOldest = next.version.startsWith('13.'); // Where server actions are to be asked for.

/** @type {import('next').NextConfig} */
const config = {
  reactStrictMode: true,
  typescript: { ignoreBuildErrors: true }, // The test checks them, and faster.
  ...(isOldest && { experimental: { serverActions: true } })
};

// Pages send to /stats/track; the route handler in app/api/stats passes it on.
export default withAnalytics(config, { source: '/stats', destination: '/api/stats' });
