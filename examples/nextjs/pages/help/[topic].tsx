import type { GetStaticPaths, GetStaticProps } from 'next';
import Head from 'next/head';
import Link from 'next/link';

type Props = { topic: string };

export const getStaticPaths: GetStaticPaths = () => ({
  paths: ['returns', 'delivery'].map((topic) => ({ params: { topic } })),
  fallback: false
});

export const getStaticProps: GetStaticProps<Props> = ({ params }) => ({ props: { topic: String(params?.topic) } });

const Topic = ({ topic }: Props) => (
  <main>
    <Head>
      <title>{`About ${topic}`}</title>
    </Head>
    <p>
      <Link href="/help">Help</Link> <Link href="/help/returns">Returns</Link>
    </p>
  </main>
);

export default Topic;
