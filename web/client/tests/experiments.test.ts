/** Assignment: the same as the server's, to the last subject, and reported once. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { experiments } from '../src/experiments/index.js';
import { sha256Head } from '../src/experiments/sha256.js';
import { ServerAnalytics } from '../src/node/index.js';
import { Recorder } from '../src/testing/index.js';
import assignments from './golden/assignments.json' with { type: 'json' };

interface Assigned {
  key: string;
  variants: [name: string, weight: number][];
  subjects: Record<string, string | null>;
}
// Written by tests/web/test_golden.py from what the server assigns.
const golden = assignments as unknown as Assigned[];

describe('assignment', () => {
  it('is the one of the server', () => {
    expect(golden.length).toBeGreaterThan(3);
    for (const { key, variants, subjects } of golden) {
      const assign = experiments({ [key]: Object.fromEntries(variants) });
      const found = Object.fromEntries(Object.keys(subjects).map((subject) => [subject, assign(key, subject)]));
      expect(found).toEqual(subjects);
    }
  });

  it('hashes as the platform does, at every length', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const hash = new DataView(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes)));
        expect(sha256Head(bytes)).toEqual([hash.getUint32(0), hash.getUint32(4)]);
      }),
      { numRuns: 300 }
    );
  });

  it('gives a list equal parts, and none where there is nothing to give', () => {
    const assign = experiments({ cta: ['a', 'b'], off: { a: 0 }, weighted: { a: 1, b: 1 } });
    expect(assign('cta', 'u')).toMatch(/^[ab]$/);
    expect(experiments({ cta: { a: 1, b: 1 } })('cta', 'u')).toBe(assign('cta', 'u'));
    expect([assign('off', 'u'), assign('constructor', 'u'), assign('cta', ''), assign('cta', undefined)]).toEqual([null, null, null, null]);
    expect(assign('cta', 7)).toBe(assign('cta', '7'));
  });

  it('is reported once, and stays on a page whoever signs in', () => {
    const assign = experiments({ cta: { a: 1, b: 1 } });
    vi.stubGlobal('window', {});
    const shown: string[] = [];
    const client = { exposure: (_: string, variant: string) => shown.push(variant) };
    const first = assign('cta', 'u-1', client);
    for (let i = 0; i < 20; i++) expect(assign('cta', `u-${i}`, client)).toBe(first);
    expect(shown).toEqual([first]);
    vi.unstubAllGlobals();
    const found = new Set(Array.from({ length: 20 }, (_, i) => assign('cta', `u-${i}`, client)));
    expect([...found].sort()).toEqual(['a', 'b']); // On a server, each has its own.
  });

  it('of a server is reported once for each context', async () => {
    const recorder = new Recorder();
    const analytics = new ServerAnalytics({
      apiBaseUrl: 'https://stats.example.com',
      appName: 'shop.example',
      token: 't',
      flushOnExit: false,
      fetch: recorder.fetch,
      experiments: experiments({ cta: ['a', 'b'] })
    });
    const visitor = analytics.for({ userId: 'u-1' });
    const variant = visitor.variant('cta');
    expect(visitor.variant('cta')).toBe(variant);
    expect([visitor.variant('none'), analytics.variant('cta')]).toEqual([null, null]);
    await analytics.flush();
    expect(recorder.named('exposure').map(({ experiment, user_id }) => [experiment, user_id])).toEqual([
      [{ id: 'cta', variant }, 'u-1']
    ]);
  });
});
