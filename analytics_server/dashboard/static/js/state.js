// What is being looked at. It lives in the query string, so a view can be bookmarked and
// shared and Back works; the token never does.

import { DEFAULT_COMPARISON, isComparison } from './comparisons.js';
import { intervalsFor, isRange } from './ranges.js';
import { METRICS } from './metrics.js';

const DEFAULT_RANGE = '7d';
const DEFAULT_METRIC = 'visitors';
const OPERATORS = new Set(['is', 'is_not', 'contains', 'contains_not']);
const DIMENSION = /^(event|visit|experiment):[\w:. -]{1,140}$/;
const MAX_FILTERS = 20;

/** The view an address stands for; whatever can't be read falls back to its default. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const range = isRange(query.get('range') ?? '') ? query.get('range') : DEFAULT_RANGE;
  const metric = METRICS.some(({ id }) => id === query.get('metric')) ? query.get('metric') : DEFAULT_METRIC;
  const interval = intervalsFor(range).includes(query.get('interval')) ? query.get('interval') : intervalsFor(range)[0];
  const filters = query.getAll('filter').slice(0, MAX_FILTERS).map(readFilter).filter(Boolean);
  const compare = isComparison(query.get('compare') ?? '') ? query.get('compare') : DEFAULT_COMPARISON;
  return { site: query.get('site') ?? '', range, metric, interval, compare, weekday: query.get('weekday') === 'same', filters };
}

/** The query string of a view; defaults are left out. */
export function writeState({ site, range, metric, interval, compare, weekday, filters }) {
  const query = new URLSearchParams();
  if (site) query.set('site', site);
  if (range !== DEFAULT_RANGE) query.set('range', range);
  if (metric !== DEFAULT_METRIC) query.set('metric', metric);
  if (interval !== intervalsFor(range)[0]) query.set('interval', interval);
  if (compare !== DEFAULT_COMPARISON) query.set('compare', compare);
  if (weekday) query.set('weekday', 'same');
  for (const [operator, dimension, [value]] of filters) query.append('filter', `${operator},${dimension},${value}`);
  const text = query.toString().replaceAll('%3A', ':').replaceAll('%2C', ',').replaceAll('%2F', '/');
  return text ? `?${text}` : '';
}

function readFilter(text) {
  const [operator, dimension, ...rest] = text.split(',');
  return OPERATORS.has(operator) && DIMENSION.test(dimension) && rest.length > 0 ? [operator, dimension, [rest.join(',')]] : null;
}

export class State {
  #listeners = [];

  constructor() {
    this.current = readState(location.search);
    window.addEventListener('popstate', () => {
      const before = this.current;
      this.current = { ...readState(location.search) };
      this.current.site ||= before.site;
      this.#announce(before);
    });
  }

  /** Call `listener(now, before)` after each change. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Change the view. `replace` leaves no step for the Back button. */
  set(patch, { replace = false } = {}) {
    const before = this.current;
    const next = { ...before, ...patch };
    if (!intervalsFor(next.range).includes(next.interval) || ('range' in patch && !('interval' in patch))) {
      next.interval = intervalsFor(next.range)[0];
    }
    this.current = next;
    const address = location.pathname + writeState(next);
    if (address !== location.pathname + location.search) {
      history[replace ? 'replaceState' : 'pushState'](null, '', address);
    }
    this.#announce(before);
  }

  /** Filter by one value of a dimension; it takes the place of an earlier filter of that dimension. */
  filterBy(dimension, value, operator = 'is') {
    const kept = this.current.filters.filter(([, name]) => name !== dimension);
    this.set({ filters: [...kept, [operator, dimension, [value]]] });
  }

  #announce(before) {
    for (const listener of this.#listeners) listener(this.current, before);
  }
}
