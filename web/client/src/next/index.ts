/**
 * Next.js: page views of the app router and of the pages router, with the route's pattern. The client counts them by the
 * page's address, as everywhere; of Next only path and parameters are read, never the query, so pages that are rendered
 * ahead of time stay so. What reads them renders nothing, in a Suspense boundary of its own.
 */
import { type ReactElement, type ReactNode, Suspense, createElement, useEffect, useLayoutEffect, useState } from 'react';
import { useRouter } from 'next/compat/router.js';
import { useParams, usePathname } from 'next/navigation.js';
import { AnalyticsProvider } from '../react/index.js';
import type { InnerConfig } from '../core/tracker.js';
import type { AnalyticsConfig } from '../types.js';
import { RouteNames, routeOf } from './route.js';

export type { AnalyticsConfig, Assign, EventMap, Interaction, Props, TrackedEvent, View } from '../types.js';
export {
  AnalyticsProvider,
  type AnalyticsProviderProps,
  OptOut,
  type OptOutProps,
  TrackClick,
  type TrackClickProps,
  useAnalytics,
  useExperiment,
  usePageview,
  useTrack
} from '../react/index.js';

export interface AnalyticsProps extends AnalyticsConfig {
  /** What may use the hooks. */
  readonly children?: ReactNode;
}

// React 18 warns of layout effects on a server, where neither runs.
const afterRender = typeof window === 'undefined' ? useEffect : useLayoutEffect;

const Route = ({ names }: { names: RouteNames }): null => {
  const router = useRouter();
  const path = usePathname();
  const params = useParams();
  const route = router ? router.pathname : path && routeOf(path, params ?? {});
  const shown = router ? router.asPath : path;
  // With the change of the page itself: later the view may have left without it, and the address be another one.
  afterRender(() => {
    if (route) names.learn(location.pathname, route);
  }, [names, route, shown]);
  return null;
};

/**
 * Tracks an application; stands once, in the root layout or in `_app`, around what uses the hooks. Its properties are the
 * client's configuration; later changes have no effect.
 */
export const Analytics = ({ children, ...config }: AnalyticsProps): ReactElement => {
  const [made] = useState(() => {
    const names = new RouteNames();
    const { beforeSend } = config;
    const named: InnerConfig = {
      ...config,
      waits_: names.missing,
      beforeSend: (event) => (beforeSend ? beforeSend(names.name(event)) : names.name(event))
    };
    return { names, config: named };
  });
  const route = createElement(Suspense, { fallback: null }, createElement(Route, { names: made.names }));
  return createElement(AnalyticsProvider, { config: made.config }, route, children);
};
