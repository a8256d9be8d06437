import type { NextRequest } from 'next/server';
import { analytics } from './lib/analytics';

/** Who asks for the page itself, with or without a script. (Next.js also loads parts of it, some ahead of time.) */
export const proxy = (request: NextRequest): void => {
  if (request.headers.get('sec-fetch-dest') === 'document') analytics.forRequest(request).track('page_asked');
};

export const config = { matcher: '/newsletter' };
