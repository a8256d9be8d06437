import Link from 'next/link';
import { Buy } from '../../../lib/tracked';

export const metadata = { title: 'A post' };
export const generateStaticParams = () => [{ slug: 'first' }];

const Page = () => (
  <>
    <Buy product="lamp" />
    <Link href="/">Shop</Link>
  </>
);

export default Page;
