/**
 * What only some pages ask of the tracker: excluded paths, objections, routes in the fragment, clicks and forms, pages
 * that were not found, web vitals. It must never do what the core must never do.
 */
import type { MakeFeatures } from '../core/tracker.js';
import { createClicks } from './clicks.js';
import { createObjection } from './objection.js';
import { excluder, routed } from './paths.js';
import { createVitals, navigationEntry } from './vitals.js';

export const makeFeatures: MakeFeatures = (on, option, listen, call) => {
  if (IS_SCRIPT && on('404')) {
    const status = document.documentElement.dataset.status;
    if (status === '404' || navigationEntry().responseStatus === 404) call('not_found');
  }
  const excluded = excluder(option('exclude'));
  const objects = IS_SCRIPT && createObjection(on, option); // The package asks by itself.
  return {
    x: objects ? (...given) => objects() || excluded(...given) : excluded,
    a: createClicks(on, option, listen, call),
    v: createVitals(on(IS_SCRIPT ? 'vitals' : 'webVitals'), call),
    ...(on(IS_SCRIPT ? 'hash' : 'hashRouting') ? { h: routed } : {})
  };
};
