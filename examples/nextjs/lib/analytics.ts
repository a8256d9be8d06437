import { createNextAnalytics } from '@analytics/client/next/server';
import { after } from 'next/server';
import { server } from './server';

type Events = {
  order_placed: { product: string };
  newsletter: undefined;
  page_asked: undefined;
  stock_asked: undefined;
};

export const analytics = createNextAnalytics<Events>({
  ...server,
  appName: process.env.NEXT_PUBLIC_SITE ?? 'shop.example',
  after
});
