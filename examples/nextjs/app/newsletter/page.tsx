import { headers } from 'next/headers';
import Link from 'next/link';
import { analytics } from '../../lib/analytics';

const subscribe = async () => {
  'use server';
  analytics.forRequest(await headers()).track('newsletter');
};

const Newsletter = () => (
  <main>
    <title>Newsletter</title>
    <form action={subscribe}>
      <button id="subscribe">Subscribe</button>
    </form>
    <Link href="/">Shop</Link>
  </main>
);

export default Newsletter;
