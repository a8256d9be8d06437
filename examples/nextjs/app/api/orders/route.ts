import { analytics } from '../../../lib/analytics';

export const POST = async (request: Request): Promise<Response> => {
  const { product } = (await request.json()) as { product: string };
  const visitor = analytics.forRequest(request);
  visitor.track('order_placed', { product });
  visitor.revenue(49.5, 'EUR', { product });
  return new Response('done');
};
