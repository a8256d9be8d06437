import { TrackClick } from '@analytics/client/next';
import Head from 'next/head';
import Link from 'next/link';

const Help = () => (
  <main>
    <Head>
      <title>Help</title>
    </Head>
    <TrackClick name="called">
      <button id="call">Call us</button>
    </TrackClick>
    <p>
      <Link href="/help/returns">Returns</Link> <Link href="/help/delivery">Delivery</Link>
    </p>
  </main>
);

export default Help;
