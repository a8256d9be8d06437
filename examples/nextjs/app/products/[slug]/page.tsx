import type { Metadata } from 'next';
import Link from 'next/link';
import { Buy } from './buy';

type Props = { params: Promise<{ slug: string }> };

export const generateStaticParams = () => [{ slug: 'lamp' }, { slug: 'chair' }];

export const generateMetadata = async ({ params }: Props): Promise<Metadata> => ({ title: `A ${(await params).slug}` });

const Product = async ({ params }: Props) => {
  const { slug } = await params;
  return (
    <main>
      <h1>{slug}</h1>
      <Buy product={slug} />
      <p>
        <Link href="/products/lamp?colour=red">Lamp</Link> <Link href="/products/chair">Chair</Link>{' '}
        <Link href="/">Shop</Link>
      </p>
    </main>
  );
};

export default Product;
