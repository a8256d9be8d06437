import type { AppProps } from 'next/app';
import { Tracked } from '../lib/tracked';

const App = ({ Component, pageProps }: AppProps) => (
  <Tracked>
    <Component {...pageProps} />
  </Tracked>
);

export default App;
