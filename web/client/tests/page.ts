/** A page for unit tests: as much of a browser as the tracker touches, with nothing in it that differs from run to run. */
import { vi } from 'vitest';

export const NOW = Date.parse('2026-11-23T10:15:00Z');

/** Puts the page in place; `vi.unstubAllGlobals()` takes it away. Returns what hides it, as when a visitor leaves. */
export const stubPage = (address: string, referrer = ''): (() => void) => {
  const page = new EventTarget();
  const location = new URL(address);
  const element = { scrollTop: 0, scrollHeight: 3000, clientHeight: 800, clientWidth: 1000 };
  const document = {
    title: 'Pricing',
    referrer,
    hidden: false,
    readyState: 'complete',
    documentElement: element,
    body: element,
    scrollingElement: element,
    hasFocus: () => true,
    querySelector: () => null,
    querySelectorAll: () => []
  };
  let random = 0;
  vi.stubGlobal('window', Object.assign(page, { screen: { width: 1440, height: 900 } }));
  vi.stubGlobal('document', document);
  vi.stubGlobal('location', location);
  vi.stubGlobal('history', { pushState() {}, replaceState() {} });
  vi.stubGlobal('innerHeight', 800);
  vi.stubGlobal('getComputedStyle', () => ({ overflowY: 'visible' }));
  vi.stubGlobal('navigator', { language: 'en-GB', platform: 'Linux x86_64', sendBeacon: () => true });
  vi.stubGlobal('crypto', {
    // By number, and no two alike.
    getRandomValues: (bytes: Uint8Array) => (random++, bytes.forEach((_, at) => (bytes[at] = (random * (at + 3) * 37) >> 3)), bytes),
    randomUUID: () => `018f6f0e-7d3c-4c41-9d0a-${String(random++).padStart(12, '0')}`
  });
  return () => {
    document.hidden = true;
    page.dispatchEvent(new Event('visibilitychange'));
    page.dispatchEvent(new Event('pagehide'));
  };
};
