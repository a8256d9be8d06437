/**
 * The bodies that clients send, byte for byte. The tests in Python decode the same files, so neither side can change the
 * wire alone. `npx vitest run -u` rewrites them.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AnalyticsClient, experiments } from '../src/index.js';
import { ServerAnalytics } from '../src/node/index.js';
import { Recorder } from '../src/testing/index.js';
import { NOW, stubPage } from './page.js';

beforeEach(() => void vi.useFakeTimers({ now: NOW }));
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it('a page sends what is recorded', async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5); // Jitter.
  const leave = stubPage('https://shop.example/pricing?utm_source=newsletter', 'https://www.google.com/');
  const bodies: string[] = [];
  const answers = [202, 202, 202, 503];
  const client = new AnalyticsClient({
    apiBaseUrl: 'https://stats.example.com',
    appName: 'shop.example',
    experiments: experiments({ cta: ['control', 'b'] }),
    transport: async (body) => {
      bodies.push(body);
      return answers.shift() ?? 202;
    }
  });
  await vi.advanceTimersByTimeAsync(5_000);
  client.set({ tier: 'free' });
  client.track('signup', { plan: 'pro', seats: 3, trial: true, tags: ['a', 'b'], none: null, text: 'größe ✓ 🎉' });
  client.trackInteraction({ type: 'click', data: { elementId: 'cta', elementTag: 'button', elementText: 'Buy', colour: 'red' } });
  await vi.advanceTimersByTimeAsync(5_000);
  client.identify(42);
  client.variant('cta');
  client.revenue(12.5, 'EUR', { items: 2 });
  client.trackView({ pageUrl: '/virtual', pageTitle: 'Virtual', referrer: 'https://partner.example/' });
  await vi.advanceTimersByTimeAsync(5_000);
  client.track('late');
  await vi.advanceTimersByTimeAsync(20_000);
  leave();
  await vi.advanceTimersByTimeAsync(5_000);
  await expect(`${bodies.join('\n')}\n`).toMatchFileSnapshot('./golden/page.jsonl');
});

it('a server sends what is recorded', async () => {
  stubPage('https://unused.example/');
  vi.spyOn(Math, 'random').mockReturnValue(0.5); // Jitter.
  const bodies: string[] = [];
  const recorder = new Recorder();
  recorder.answerWith(202, 503);
  const analytics = new ServerAnalytics({
    apiBaseUrl: 'https://stats.example.com',
    appName: 'shop.example',
    token: 't',
    flushOnExit: false,
    experiments: experiments({ cta: { control: 1, b: 2.5 } }),
    fetch: (url, init) => {
      bodies.push(String(init.body));
      return recorder.fetch(url, init);
    }
  });
  const visitor = analytics.for({
    ip: '198.51.100.7',
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    language: 'de-AT,de;q=0.9',
    userId: 'u-1',
    sessionId: 's-1',
    url: 'https://shop.example/cart',
    props: { tenant: 'acme' }
  });
  visitor.trackView({ pageTitle: 'Cart', referrer: 'https://www.google.com/' });
  await vi.advanceTimersByTimeAsync(100);
  visitor.track('trial', { plan: 'pro', text: 'größe ✓ 🎉' });
  visitor.revenue(99, 'EUR');
  visitor.trackInteraction({ type: 'submit', data: { elementId: 'order', pageTitle: 'Order' } });
  visitor.variant('cta');
  await vi.advanceTimersByTimeAsync(2_000);
  analytics.track('backup_done');
  await vi.advanceTimersByTimeAsync(500);
  await vi.advanceTimersByTimeAsync(60_000);
  await expect(`${bodies.join('\n')}\n`).toMatchFileSnapshot('./golden/server.jsonl');
});

it('makes each event’s id once, when it is sent first', async () => {
  stubPage('https://shop.example/');
  const asked = vi.spyOn(crypto, 'getRandomValues');
  const ids: unknown[] = [];
  const answers = [503];
  const client = new AnalyticsClient({
    apiBaseUrl: 'https://stats.example.com',
    appName: 'shop.example',
    transport: async (body) => {
      ids.push(...[JSON.parse(body)].flat().map((event) => event.event_id));
      return answers.shift() ?? 202;
    }
  });
  const before = asked.mock.calls.length;
  for (let i = 0; i < 40; i++) client.track('e');
  expect(asked.mock.calls.length).toBe(before);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(asked.mock.calls.length - before).toBe(41); // With the page view.
  expect(ids.length).toBeGreaterThan(41); // What was refused came again, under the same ids.
  expect(new Set(ids).size).toBe(41);
  client.destroy();
});
