// What came and was not counted: each reason in a sentence, with what it was about and what to do.

import { fill, h } from './dom.js';
import { count } from './format.js';

const MOST_SHOWN = 6;

/**
 * One reason. `site`: the site that the page is about; of another name it is said which. A drop is that of a live
 * snapshot, or of GET /api/v1/drops: {site_id, reason, rejected, events, about, remedy, examples: [{value, events}]}.
 */
export function dropNotice(drop, site) {
  const { site_id: named, reason, rejected, events } = drop;
  const where = named === site ? '' : named ? ` for the site “${named}”` : ' that names no site';
  return h('p', {},
    h('strong', {}, `A visit${where} came and was ${rejected ? 'refused' : 'not counted'}. `), ...explanation(drop), ' ',
    h('span', { className: 'reason' }, `${reason}, ${countEvents(events)}`));
}

/** One reason of a period. */
function periodNotice(drop) {
  const { reason, rejected, events } = drop;
  return h('p', {},
    h('strong', {}, `${countEvents(events)} ${events === 1 ? 'was' : 'were'} ${rejected ? 'refused' : 'not counted'}. `), ...explanation(drop), ' ',
    h('span', { className: 'reason' }, reason));
}

function explanation({ about, remedy, examples = [] }) {
  const seen = examples.map(({ value }) => value).filter((value) => !about.includes(value));
  return [about, ' ', seen.length > 0 && `Seen: ${seen.join(', ')}. `, remedy];
}

const countEvents = (events) => `${count(events)} ${events === 1 ? 'event' : 'events'}`;

/** Of the answer to GET /api/v1/drops: what the owner can do something about, most events first. */
export function explained({ drops }) {
  return drops.filter(({ reason }) => reason !== 'duplicate').slice(0, MOST_SHOWN);
}

/** Drops of a live snapshot, with the examples of those that are kept; then what is kept and not live. */
export function merged(live, kept) {
  const key = ({ site_id: site, reason }) => `${reason} ${site}`;
  const byKey = new Map(kept.map((drop) => [key(drop), drop]));
  const known = new Set(live.map(key));
  const more = (drop) => ({ ...drop, examples: byKey.get(key(drop))?.examples ?? [] });
  return [...live.map(more), ...kept.filter((drop) => !known.has(key(drop)))];
}

/** The block above an empty report. `show(drops)` hides it when there is nothing to say. */
export function leftOut() {
  const list = h('div', { className: 'dropped' });
  const element = h('section', { className: 'left-out', 'aria-label': 'Not counted', hidden: true },
    h('h2', {}, 'Nothing was counted in this period'), list);
  const show = (drops) => {
    element.hidden = drops.length === 0;
    fill(list, drops.map(periodNotice));
  };
  return { element, show };
}
