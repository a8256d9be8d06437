import type { Metadata } from 'next';
import Link from 'next/link';

export const metadata: Metadata = { title: 'Shop' };

const Home = () => (
  <main>
    <h1>Shop</h1>
    <p>
      <Link href="/products/lamp">Lamp</Link> <Link href="/products/chair">Chair</Link>
    </p>
    <p>
      <Link href="/newsletter">Newsletter</Link> <a href="/help">Help</a>
    </p>
  </main>
);

export default Home;
