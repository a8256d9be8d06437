import Head from 'next/head';
import Link from 'next/link';

export const getStaticPaths = () => ({ paths: ['/help/returns', '/help/delivery'], fallback: false });
export const getStaticProps = () => ({ props: {} });

const Topic = () => (
  <>
    <Head>
      <title>Help</title>
    </Head>
    <Link href="/help/delivery">Delivery</Link>
  </>
);

export default Topic;
