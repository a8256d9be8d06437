import { createAnalyticsProxy } from '@analytics/client/next/server';
import { server } from '../../../../lib/server';

export const { GET, POST } = createAnalyticsProxy(server);
