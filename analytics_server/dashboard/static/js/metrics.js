// The headline metrics: names, how a value reads, and whether more is better.

import { count, decimal, duration, percent } from './format.js';

export const METRICS = [
  { id: 'visitors', label: 'Visitors', format: count, whole: true, about: 'Distinct visitors. Over several days: the sum of each day’s distinct visitors, because visitor ids live for one day only.' },
  { id: 'sessions', label: 'Sessions', format: count, whole: true, about: 'Visits: all of a visitor’s activity until half an hour without any.' },
  { id: 'pageviews', label: 'Pageviews', format: count, whole: true, about: 'Pages viewed.' },
  { id: 'views_per_session', label: 'Views per session', format: decimal, about: 'Mean number of pages viewed in a session.' },
  { id: 'bounce_rate', label: 'Bounce rate', format: percent, lowerIsBetter: true, about: 'Sessions with one pageview and no interaction, out of all sessions with a pageview.' },
  { id: 'session_duration', label: 'Session duration', format: duration, seconds: true, about: 'Mean time from the first to the last event of a session.' },
];

export const metricById = (id) => METRICS.find((metric) => metric.id === id);

/** The change against an earlier value: {text, direction, trend} or null where it can't be said. */
export function change(metric, now, before) {
  if (now === null || before === null || now === undefined || before === undefined) return null;
  if (before === 0) return now === 0 ? { text: '0%', direction: 'flat', trend: 'flat' } : null;
  const ratio = metric.id === 'bounce_rate' ? (now - before) / 100 : (now - before) / before;
  const rounded = Math.round(ratio * (Math.abs(ratio) < 0.1 ? 1000 : 100)) / (Math.abs(ratio) < 0.1 ? 10 : 1);
  if (rounded === 0) return { text: '0%', direction: 'flat', trend: 'flat' };
  const direction = rounded > 0 ? 'up' : 'down';
  const unit = metric.id === 'bounce_rate' ? ' pts' : '%';
  const size = Math.abs(rounded);
  const text = size >= 1000 ? `${decimal(size / 100 + 1)}×` : `${new Intl.NumberFormat().format(size)}${unit}`;
  return { text, direction, trend: (direction === 'up') === !metric.lowerIsBetter ? 'good' : 'bad' };
}
