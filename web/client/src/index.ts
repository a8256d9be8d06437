/**
 * The client for browsers: a thin object in front of the tracker of the page. There is one tracker on a page, whoever
 * starts it first: another client, a second copy of this package and the script `/a.js` all use the one that runs.
 *
 * Nothing here touches a browser's global when it is imported, and without a browser every call does nothing.
 */
import { uuid } from './core/event.js';
import { COPY, safe } from './core/guard.js';
import { interactionFields, viewFields } from './core/interaction.js';
import { type Hooks, type InnerConfig, type Running, createTracker } from './core/tracker.js';
import type { AnalyticsConfig, EventMap, Interaction, Props, View } from './types.js';

export type { AnalyticsConfig, Assign, EventMap, Interaction, Props, TrackedEvent, View } from './types.js';
export { type Experiments, experiments } from './experiments/index.js';

// Pages of a developer, which count only when told to.
const LOCAL = /^((.*\.)?localhost|127\..*|\[::1])?$/;

// Attention is not needed for the first view, so its code may come later, or not at all.
const attention = (wanted: boolean): Hooks['attention_'] => (tell) => {
  let real: ReturnType<Hooks['attention_']> | undefined;
  if (wanted) {
    import('./core/attention.js').then(({ createAttention }) => {
      real = createAttention(tell);
      real[3]();
      real[1]();
    }).catch(String);
  }
  return [0, 1, 2, 3].map((index) => (final?: number) => real?.[index]!(final)) as never;
};

const start = (config: InnerConfig): Running | undefined => {
  if (config.enabled === false) return;
  const before = window[COPY]; // Ends this where there is no browser.
  if (before && before.s == null) return before;
  if (!config.local && LOCAL.test(location.hostname)) return;
  const hooks: Hooks = {
    ...config,
    manual: config.autoPageviews === false,
    unmarked: config.clickTracking === false,
    // What fails to decide keeps the event back.
    accept_: safe(config.beforeSend || ((event) => event)) as Hooks['accept_'],
    // Who can't say counts as one who objects.
    objects_: () => config.optOut && !safe(() => !config.optOut!())(),
    attention_: attention(config.scrollTracking?.enabled !== false),
    tell_: (...given) => config.debug && console.debug('analytics', ...given),
    seen_: before?.s
  };
  const option = (name: string) => String(hooks[name as 'appName'] || '');
  createTracker(
    option,
    option,
    config.apiBaseUrl.replace(/\/*$/, '/track'),
    (call) => import('./features/index.js').then(({ makeFeatures }) => call.m!(makeFeatures), String),
    (call) => config.session !== 'server' && call('set', { session_id: uuid() }),
    hooks
  );
  return window[COPY];
};

/** Tracks the page it runs on. `Events` names the events that may be tracked, and their properties. */
export class AnalyticsClient<Events extends EventMap = Record<string, Props | undefined>> {
  private readonly running_: Running | undefined;

  /** `config` is not to be changed later. */
  constructor(readonly config: AnalyticsConfig) {
    this.running_ = safe(start)(config);
  }

  /** Reports a page view; in its own right, beside those that are counted by themselves. */
  trackView(view: View = {}): void {
    this.call_('pageview', viewFields(view));
  }

  /** Reports what a visitor did with an element. */
  trackInteraction(interaction: Interaction): void {
    this.call_(interaction.type, interactionFields(interaction));
  }

  /** Reports an event of your own. */
  track<Name extends keyof Events & string>(
    name: Name,
    ...[props]: undefined extends Events[Name] ? [props?: Events[Name]] : [props: Events[Name]]
  ): void {
    this.call_(name, { props });
  }

  /** Reports money that came in, by default as the event `purchase`. */
  revenue(amount: number, currency: string, props?: Props, name = 'purchase'): void {
    this.call_(name, { props, revenue: { amount, currency } });
  }

  /** Names the user that the application knows, from now until the page is left; `null` takes it back. */
  identify(userId: string | number | null): void {
    this.call_('set', { user_id: userId });
  }

  /** Lays these properties under every event from now on. */
  set(props: Props): void {
    this.call_('set', { props });
  }

  /** Reports that a variant of an experiment was shown. */
  exposure(experiment: string, variant: string): void {
    this.call_('exposure', { experiment: { id: experiment, variant } });
  }

  /**
   * The variant that is to be shown: the same at each call, computed here, `null` where there is none. The first call
   * reports that it was shown, unless `expose` is false.
   */
  variant(experiment: string, expose = true): string | null {
    const { experiments, subject } = this.config;
    const running = this.running_;
    return experiments?.(experiment, subject ?? running?.i?.(), running && expose && this) ?? null;
  }

  /** Sends what waits now. */
  flush(): void {
    this.running_?.f?.();
  }

  /** Forgets what waits and tracks no more on this load of the page. Nothing is stored, so ask for it on each load. */
  optOut(): void {
    this.end_(true);
  }

  /** Sends what waits and ends the tracker; a client made later goes on without counting the same view again. */
  destroy(): void {
    this.end_();
  }

  private call_(name: string, more: unknown): void {
    this.running_?.(name, more);
  }

  private end_(drop?: boolean): void {
    const running = this.running_;
    void (running?.s ?? running?.d?.(drop)); // Unless it has ended.
  }
}

/** A client whose events are typed: `createAnalytics<{ signup: { plan: string } }>({…})`. */
export const createAnalytics = <Events extends EventMap = Record<string, Props | undefined>>(
  config: AnalyticsConfig
): AnalyticsClient<Events> => new AnalyticsClient<Events>(config);
