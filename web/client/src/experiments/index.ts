/**
 * Who is shown which variant, computed where it is needed: the server's assignment (docs/experiments.md), by the same
 * hash, without asking it. Pages and servers that know the same definitions and subject agree.
 */
import type { Assign } from '../types.js';
import { sha256Head } from './sha256.js';

/** The variants of an experiment by its key: equal parts of a list, or each with its weight. */
export type Experiments = Readonly<Record<string, readonly string[] | Readonly<Record<string, number>>>>;

const encoder = /* @__PURE__ */ new TextEncoder();

const score = (key: string, variant: string, subject: string, weight: number): number => {
  const [high, low] = sha256Head(encoder.encode(`${key}\0${variant}\0${subject}`));
  const bits = high * 2 ** 20 + (low >>> 12);
  return -Math.log((bits + 0.5) / 2 ** 52) / weight;
};

/** The variant with the lowest score. */
const assign = (definitions: Experiments, key: string, subject: string): string | null => {
  const variants = Object.prototype.hasOwnProperty.call(definitions, key) ? definitions[key]! : [];
  let best: string | null = null;
  let lowest = Infinity;
  const weighted = Array.isArray(variants) ? variants.map((name: string) => [name, 1] as const) : Object.entries(variants);
  for (const [name, weight] of weighted as [string, number][]) {
    if (!(weight > 0)) continue;
    const scored = score(key, name, subject, weight);
    if (scored < lowest || (scored === lowest && best! > name)) {
      lowest = scored;
      best = name;
    }
  }
  return best;
};

/**
 * The assignment of these experiments: `new AnalyticsClient({ …, experiments: experiments({ cta: ['control', 'b'] }) })`.
 * On a page, a variant whose exposure was reported stays, whatever becomes of the subject.
 */
export const experiments = (definitions: Experiments): Assign => {
  const shown = new Map<string, string>();
  return (key, subject, client) => {
    const before = typeof window === 'undefined' ? undefined : shown.get(key); // A server serves many.
    if (before !== undefined) return before;
    const variant = subject === undefined || subject === null || subject === '' ? null : assign(definitions, key, String(subject));
    if (client && variant !== null) {
      shown.set(key, variant);
      client.exposure(key, variant);
    }
    return variant;
  };
};
