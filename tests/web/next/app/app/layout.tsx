import type { ReactNode } from 'react';
import { Tracked } from '../lib/tracked';

export const metadata = { title: 'Shop' };

const Layout = ({ children }: { children: ReactNode }) => (
  <html lang="en">
    <body>
      <Tracked>{children}</Tracked>
    </body>
  </html>
);

export default Layout;
