/**
 * React: a provider and hooks. Safe in StrictMode, with Suspense, in concurrent and in server rendering: nothing happens
 * while rendering, and on a server nothing happens at all.
 */
import {
  Children,
  type MouseEvent,
  type ReactElement,
  type ReactNode,
  cloneElement,
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore
} from 'react';
import type { AnalyticsClient } from '../index.js';
import type { AnalyticsConfig, EventMap, Props, View } from '../types.js';
import { type Handle, makeHandle } from './handle.js';

type Open = Record<string, Props | undefined>;

const Context = /* @__PURE__ */ createContext<AnalyticsClient<never> | undefined>(undefined);
let none: Handle | undefined;

export interface AnalyticsProviderProps {
  /** Makes a client when the provider is mounted, and ends it when it is unmounted. Later changes have no effect. */
  readonly config?: AnalyticsConfig;
  /** A client of your own, whose life is up to you. */
  readonly client?: AnalyticsClient<never>;
  readonly children?: ReactNode;
}

/** Gives its children the client. */
export const AnalyticsProvider = ({ config, client, children }: AnalyticsProviderProps): ReactElement => {
  const [handle] = useState(() => (config && !client ? makeHandle(config) : undefined));
  useEffect(() => handle?.start_(), [handle]);
  return createElement(Context.Provider, { value: client ?? (handle as AnalyticsClient<never> | undefined) }, children);
};

/** The client, the same object at each rendering. Without a provider its calls do nothing. */
export const useAnalytics = <Events extends EventMap = Open>(): AnalyticsClient<Events> => {
  const client: unknown = useContext(Context) ?? (none ??= makeHandle({ apiBaseUrl: '', appName: '' }, false));
  return client as AnalyticsClient<Events>;
};

/** The function `track` of the client, the same at each rendering. */
export const useTrack = <Events extends EventMap = Open>(): AnalyticsClient<Events>['track'] => {
  const analytics = useAnalytics<Events>();
  return useCallback((...given: Parameters<typeof analytics.track>) => analytics.track(...given), [analytics]) as never;
};

/** Reports a page view when the component is shown, and when the view changes: for `autoPageviews: false`. */
export const usePageview = (view: View = {}): void => {
  const analytics = useAnalytics();
  const key = JSON.stringify(view);
  const reported = useRef<string>(undefined);
  useEffect(() => {
    if (reported.current === key) return; // Effects that run twice report once.
    reported.current = key;
    analytics.trackView(JSON.parse(key));
  }, [analytics, key]);
};

/**
 * The variant to show, `null` where there is none; reports that it was shown. On a server and while its page is hydrated it
 * follows from the configured `subject` alone, so both render the same.
 */
export const useExperiment = (experiment: string): string | null => {
  const analytics = useAnalytics();
  const variant = useSyncExternalStore(
    useCallback((listener) => (analytics as Handle).watch_?.(listener) ?? (() => {}), [analytics]),
    () => analytics.variant(experiment, false),
    () => analytics.config.experiments?.(experiment, analytics.config.subject) ?? null
  );
  useEffect(() => {
    if (variant !== null) analytics.variant(experiment);
  }, [analytics, experiment, variant]);
  return variant;
};

export interface TrackClickProps {
  readonly name: string;
  readonly props?: Props;
  /** One element that takes `onClick`; its own handler is called first. */
  readonly children: ReactElement<{ onClick?: (event: MouseEvent) => void }>;
}

/** Reports a click on its child as an event. */
export const TrackClick = ({ name, props, children }: TrackClickProps): ReactElement => {
  const track = useTrack();
  const child = Children.only(children);
  return cloneElement(child, {
    onClick: (event: MouseEvent) => {
      child.props.onClick?.(event);
      track(name, props);
    }
  });
};

export interface OptOutProps {
  /** What else to do: nothing is stored here, so the choice lasts as long as the page does. */
  readonly onOptOut?: () => void;
  readonly className?: string;
  readonly children?: ReactNode;
}

/** A button that ends tracking on this load of the page. */
export const OptOut = ({ onOptOut, className, children }: OptOutProps): ReactElement => {
  const analytics = useAnalytics();
  const [disabled, disable] = useState(false);
  const onClick = () => {
    analytics.optOut();
    disable(true);
    onOptOut?.();
  };
  return createElement('button', { type: 'button', className, disabled, onClick }, children);
};
