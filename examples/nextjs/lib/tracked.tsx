import { Analytics } from '@analytics/client/next';
import type { ReactNode } from 'react';

/** `local`: events of localhost count too. Leave that out where the shop is real. */
export const Tracked = ({ children }: { children: ReactNode }) => (
  <Analytics apiBaseUrl="/stats" appName={process.env.NEXT_PUBLIC_SITE ?? 'shop.example'} local>
    {children}
  </Analytics>
);
