import { type NextRequest, NextResponse } from 'next/server';
import { analytics } from '../../../lib/server';

export const POST = async (request: NextRequest): Promise<Response> => {
  analytics.forRequest(request, { userId: 'u-42' }).track('ordered', { product: 'lamp' });
  return NextResponse.json({ delivered: await analytics.flush(5000) });
};
