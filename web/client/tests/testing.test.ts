/** The recorder and the matchers, as users of the package use them. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Transport, createQueue } from '../src/core/queue.js';
import { ServerAnalytics } from '../src/node/index.js';
import { type AnalyticsMatchers, Recorder, matchers } from '../src/testing/index.js';

declare module 'vitest' {
  // eslint-disable-next-line
  interface Matchers<T = any> extends AnalyticsMatchers<T> {}
}
expect.extend(matchers);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const make = (recorder: Recorder) =>
  new ServerAnalytics({
    apiBaseUrl: 'https://stats.example.com',
    appName: 'shop.example',
    token: 't',
    flushOnExit: false,
    fetch: recorder.fetch
  });

describe('the recorder', () => {
  it('takes what a server-side client sends, once each', async () => {
    const recorder = new Recorder();
    recorder.answerWith(503);
    const analytics = make(recorder);
    analytics.track('signup', { plan: 'pro', seats: 3, tags: ['a', 'b'] });
    analytics.trackView({ pageUrl: 'https://shop.example/cart' });
    await vi.advanceTimersByTimeAsync(500);
    expect(recorder.events).toEqual([]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(recorder).toHaveTracked('signup');
    expect(recorder).toHaveTracked('signup', { plan: 'pro', seats: expect.any(Number), tags: ['a', 'b'] });
    expect(recorder).toHaveTrackedTimes('signup', 1);
    expect(recorder).toHaveViewed('/cart');
    expect(recorder).not.toHaveTracked('signup', { plan: 'free' });
    expect(recorder).not.toHaveTracked('signup', { tags: ['a'] });
    expect(recorder).not.toHaveTracked('logout');
    expect(() => expect(recorder).toHaveTracked('logout')).toThrow(/event logout with \{\}; these events arrived: signup \{"plan":"pro"/);
    expect(() => expect(recorder).toHaveTrackedTimes('signup', 2)).toThrow('expected 2 events signup, there are 1');
    recorder.clear();
    expect(() => expect(recorder).toHaveViewed('/cart')).toThrow('expected page view of /cart; no event arrived');
  });

  it('takes what a page sends', async () => {
    const recorder = new Recorder();
    const [push] = createQueue('', () => {}, recorder.transport satisfies Transport);
    push({ time_: Date.now(), event_: { site: 's', event_id: '1', name: 'a', url: 'https://s/', title: '' } });
    push({ time_: Date.now(), event_: { site: 's', event_id: undefined, name: 'b', url: 'https://s/', title: '' } });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(recorder.events.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('waits for an event, and says what came instead', async () => {
    const recorder = new Recorder();
    const analytics = make(recorder);
    const waits = recorder.waitFor('late');
    analytics.track('early');
    await vi.advanceTimersByTimeAsync(1_000);
    analytics.track('late', { n: 1 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect((await waits).props).toEqual({ n: 1 });
    expect((await recorder.waitFor('early')).name).toBe('early');
    const never = expect(recorder.waitFor('never', 100)).rejects.toThrow('No event never within 100 ms; these events arrived: early, late');
    await vi.advanceTimersByTimeAsync(100);
    await never;
  });
});
