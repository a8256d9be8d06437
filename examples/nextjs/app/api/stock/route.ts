import { analytics } from '../../../lib/analytics';

export const runtime = 'edge';

export const GET = (request: Request): Response => {
  analytics.forRequest(request).track('stock_asked');
  return Response.json({ lamp: 3, chair: 0 });
};
