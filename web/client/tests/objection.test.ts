/** Visitors who object: the option `optOut` is asked before each event, and nothing leaves once it says so. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AnalyticsClient } from '../src/index.js';
import { Recorder } from '../src/testing/index.js';
import { NOW, stubPage } from './page.js';

beforeEach(() => void vi.useFakeTimers({ now: NOW }));
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const setUp = (optOut: () => boolean) => {
  const leave = stubPage('https://shop.example/');
  const recorder = new Recorder();
  const client = new AnalyticsClient({
    apiBaseUrl: 'https://stats.example.com',
    appName: 'shop.example',
    optOut,
    transport: recorder.transport
  });
  return { leave, recorder, client, names: () => recorder.events.map(({ name }) => name) };
};

it('keeps back all that follows, what waits, and what goes when the page is left', async () => {
  let objects = false;
  const { leave, client, names } = setUp(() => objects);
  client.track('before');
  await vi.advanceTimersByTimeAsync(5_000);
  client.track('waits');
  objects = true;
  client.track('after');
  client.trackView({ pageUrl: '/next' });
  leave();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(names()).toEqual(['pageview', 'before']);
});

it('keeps back what happened while the visitor objected, and nothing that comes later', async () => {
  let objects = true;
  const { client, names } = setUp(() => objects);
  client.track('objected');
  objects = false;
  client.track('agreed');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(names()).toEqual(['agreed']);
});

it.each([
  [
    'throws',
    () => {
      throw new Error('not ready');
    }
  ],
  ['answers later', (async () => false) as unknown as () => boolean]
])('takes it for an objection if the function %s', async (_, optOut) => {
  const { leave, client, names } = setUp(optOut);
  client.track('called');
  await vi.advanceTimersByTimeAsync(5_000);
  leave();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(names()).toEqual([]);
});
