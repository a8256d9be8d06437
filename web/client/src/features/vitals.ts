/** Web vitals, once for each page load; not of a page that was seen only later than painted. */
import { safe } from '../core/guard.js';
import type { Call } from '../core/tracker.js';

const WINDOW_GAP_MS = 1000; // A session window of layout shifts ends after such a gap,
const WINDOW_MS = 5000; // and is no longer than this.

interface Shift extends PerformanceEntry {
  hadRecentInput: boolean;
  value: number;
}

/** The entry of the page's own navigation, if the page lets us see it. */
export const navigationEntry = (): Partial<PerformanceNavigationTiming & { activationStart: number }> =>
  safe(() => performance.getEntriesByType('navigation')[0] as PerformanceNavigationTiming)() || {};

/** Begins to measure where `enabled`; what it returns reports, the first time it is called. */
export const createVitals = (enabled: unknown, call: Call): (() => void) => {
  const found: Record<string, number> = {};

  const observe = safe((type: string, handler: (entry: any) => void) =>
    new PerformanceObserver((list) => list.getEntries().forEach(safe(handler))).observe({
      type,
      buffered: true,
      durationThreshold: 40
    } as PerformanceObserverInit)
  );

  if (enabled && (document.hidden !== true || document.prerendering === true)) {
    let shift = 0; // The sum of the session window we are in.
    let start = 0;
    let last = -1e4;
    const origin = navigationEntry().activationStart || 0; // Prerendered pages start late.
    found.CLS = 0;
    observe('largest-contentful-paint', (entry) => (found.LCP = Math.max(0, entry.startTime - origin)));
    observe('layout-shift', (entry: Shift) => {
      if (entry.hadRecentInput) return;
      if (entry.startTime - last > WINDOW_GAP_MS || entry.startTime - start > WINDOW_MS) {
        shift = 0;
        start = entry.startTime;
      }
      last = entry.startTime;
      shift += entry.value;
      found.CLS = Math.max(found.CLS!, shift);
    });
    observe('event', (entry) => {
      if (entry.interactionId) found.INP = Math.max(found.INP || 0, entry.duration);
    });
  }

  let told = false;
  return () => {
    if (told) return;
    told = true;
    for (const name of Object.keys(found)) {
      call('web_vital', { props: { name, value: Math.round(found[name]! * 1000) / 1000 } });
    }
  };
};
