import Link from 'next/link';
import { headers } from 'next/headers';
import { analytics } from '../lib/server';

const subscribe = async (): Promise<void> => {
  'use server';
  analytics.forRequest(await headers()).track('subscribed');
};

const Page = () => (
  <>
    <Link href="/blog/first">First</Link>
    <form action={subscribe}>
      <button id="subscribe">Subscribe</button>
    </form>
  </>
);

export default Page;
