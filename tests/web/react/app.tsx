/** An application that uses all of the React part. */
import { Suspense, useEffect, useState } from 'react';
import { type AnalyticsConfig, type View, experiments } from '@analytics/client';
import {
  AnalyticsProvider,
  OptOut,
  TrackClick,
  useAnalytics,
  useExperiment,
  usePageview,
  useTrack
} from '@analytics/client/react';

declare global {
  interface Window {
    clients: Set<unknown>;
    /** How often the effect of the page ran: it tracks once each time. */
    effects: number;
    go: (path: string) => void;
    show: (shown: boolean) => void;
    manual?: boolean;
    late?: boolean;
  }
}

export const config = (origin: string): AnalyticsConfig => ({
  apiBaseUrl: origin,
  appName: 'shop.example',
  local: true,
  subject: 'u-42',
  experiments: experiments({ cta: ['control', 'b'] })
});

let pending: Promise<void> | undefined;
let isLoaded = typeof window !== 'undefined' && !window.late;

/** Suspends the first rendering in a browser, as data or code that is still on its way does. */
const Late = () => {
  if (typeof window !== 'undefined' && !isLoaded) {
    pending ??= new Promise((resolve) => setTimeout(resolve, 50)).then(() => void (isLoaded = true));
    throw pending;
  }
  return <p id="late">Late</p>;
};

const Page = () => {
  const analytics = useAnalytics<{ ready: undefined; shown: { path: string } }>();
  const track = useTrack();
  const [path, go] = useState('/');
  const variant = useExperiment('cta');
  useEffect(() => {
    // Before the provider's own effect, and thus before the client has started.
    (window.clients ??= new Set()).add(analytics).add(track);
    window.go = go;
    window.effects = (window.effects ?? 0) + 1;
    analytics.track('ready');
  }, [analytics, track]);
  return (
    <main>
      <p id="variant">{variant}</p>
      <p id="path">{path}</p>
      <TrackClick name="buy" props={{ path }}>
        <button id="buy" onClick={() => void go('/bought')}>Buy</button>
      </TrackClick>
      <OptOut className="out">No</OptOut>
      <button id="after" onClick={() => track('after')}>After</button>
    </main>
  );
};

const Manual = ({ view }: { view: View }) => {
  usePageview(view);
  return null;
};

const Routes = () => {
  const [path, go] = useState('/one');
  useEffect(() => void (window.go = go), []);
  return <Manual view={{ pageUrl: path, pageTitle: path.slice(1) }} />;
};

const Outside = () => {
  useAnalytics().track('nobody');
  return <i>{useExperiment('cta')}</i>;
};

export const App = ({ origin, manual }: { origin: string; manual?: boolean }) => {
  const [shown, show] = useState(true);
  useEffect(() => void (window.show = show), []);
  return (
    <>
      <Outside />
      {shown && (
        <AnalyticsProvider config={{ ...config(origin), autoPageviews: !manual }}>
          {manual ? <Routes /> : <Page />}
          <Suspense fallback={null}>
            <Late />
          </Suspense>
        </AnalyticsProvider>
      )}
    </>
  );
};
