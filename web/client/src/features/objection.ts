/** Whether the visitor objects to being counted, as the site knows it: it is asked each time, and nothing is stored here. */
import { safe } from '../core/guard.js';
import type { ReadOption } from '../core/options.js';

const SWITCH = /^(true|1|yes|on|(data-)?opt-out|)$/i;

/** Who can't say counts as one who objects. */
export const createObjection = (on: (name: string) => unknown, option: ReadOption): (() => unknown) => {
  if (!on('optOut') && !on('opt-out')) return () => false;
  const name = option('optOut') || option('opt-out');
  const page = window as unknown as Record<string, () => unknown>;
  const objects = () => document.querySelector('meta[name=analytics i][content~=off i]') || (!SWITCH.test(name) && page[name]!());
  return () => !safe(() => !objects())();
};
