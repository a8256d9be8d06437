'use client';
import {
  Analytics,
  type AnalyticsConfig,
  AnalyticsProvider,
  type AnalyticsProviderProps,
  type Assign,
  type EventMap,
  type Interaction,
  OptOut,
  type OptOutProps,
  type Props,
  TrackClick,
  type TrackClickProps,
  type TrackedEvent,
  type View,
  useAnalytics,
  useExperiment,
  usePageview,
  useTrack
} from '@analytics/client/next';
import { experiments } from '@analytics/client';
import type { ReactNode } from 'react';
import { site } from './site';

type Events = { bought: { product: string } };

const assign: Assign = experiments({ cta: ['control', 'b'] });
const config: AnalyticsConfig = {
  apiBaseUrl: '/stats',
  appName: site,
  local: true,
  experiments: assign,
  beforeSend: (event: TrackedEvent) => event
};

export const Tracked = ({ children }: { children: ReactNode }) => <Analytics {...config}>{children}</Analytics>;

export const Buy = ({ product }: { product: string }) => {
  const track = useTrack<Events>();
  const click: TrackClickProps = { name: 'clicked', props: { product } satisfies Props, children: <i>Click</i> };
  return (
    <>
      <button id="buy" className={useExperiment('cta') ?? 'none'} onClick={() => track('bought', { product })}>
        Buy
      </button>
      <TrackClick {...click} />
    </>
  );
};

/** What no page of this application needs, and the types of all of it. */
export const Rest = ({ optOut, view, ...given }: AnalyticsProviderProps & { optOut: OptOutProps; view: View }) => {
  const analytics = useAnalytics<EventMap>();
  const interaction: Interaction = { type: 'click', data: { elementId: 'x' } };
  usePageview(view);
  return (
    <AnalyticsProvider {...given}>
      <OptOut {...optOut}>Don’t count me</OptOut>
      <button onClick={() => analytics.trackInteraction(interaction)}>Other</button>
    </AnalyticsProvider>
  );
};
