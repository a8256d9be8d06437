// Date ranges: what they are called, which intervals suit them, and the range before.

export const RANGES = [
  { id: 'realtime', label: 'Last 30 minutes', days: 0.02 },
  { id: 'day', label: 'Today', days: 1 },
  { id: 'yesterday', label: 'Yesterday', days: 1 },
  { id: '24h', label: 'Last 24 hours', days: 1 },
  { id: '7d', label: 'Last 7 days', days: 7 },
  { id: '28d', label: 'Last 28 days', days: 28 },
  { id: '30d', label: 'Last 30 days', days: 30 },
  { id: '91d', label: 'Last 91 days', days: 91 },
  { id: 'month', label: 'This month', days: 30 },
  { id: '6mo', label: 'Last 6 months', days: 182 },
  { id: '12mo', label: 'Last 12 months', days: 365 },
  { id: 'year', label: 'This year', days: 365 },
  { id: 'all', label: 'All time', days: null },
];

const INTERVALS = ['minute', 'hour', 'day', 'week', 'month'];
const BY_ID = new Map(RANGES.map((range) => [range.id, range]));
const CUSTOM = /^(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)$/;
const DAY_MS = 86_400_000;

const asUtc = (day) => Date.parse(`${day}T00:00:00Z`);
const asDay = (ms) => new Date(ms).toISOString().slice(0, 10);
const isDay = (day) => !Number.isNaN(asUtc(day)) && asDay(asUtc(day)) === day;

/** Is this one of the names, or two real days "2026-10-01..2026-10-31" in order? */
export function isRange(id) {
  if (BY_ID.has(id)) return true;
  const days = customDays(id);
  return days !== null && days.every(isDay) && days[0] <= days[1];
}

export function customDays(id) {
  const match = CUSTOM.exec(id);
  return match && [match[1], match[2]];
}

/** The local date of an instant in a time zone, as 2026-10-05. */
export function dayIn(timezone, instant = Date.now()) {
  return new Intl.DateTimeFormat('en-CA', { timeZone: timezone, year: 'numeric', month: '2-digit', day: '2-digit' }).format(instant);
}

/** The `date_range` of a query. */
export function queryRange(id, timezone) {
  if (id === 'yesterday') {
    const day = asDay(asUtc(dayIn(timezone)) - DAY_MS);
    return [day, day];
  }
  return customDays(id) ?? id;
}

export function rangeLabel(id) {
  const days = customDays(id);
  if (!days) return BY_ID.get(id).label;
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' });
  return days[0] === days[1] ? format.format(asUtc(days[0])) : format.formatRange(asUtc(days[0]), asUtc(days[1]));
}

function lengthInDays(id) {
  const days = customDays(id);
  return days ? (asUtc(days[1]) - asUtc(days[0])) / DAY_MS + 1 : BY_ID.get(id).days;
}

/** Does the range cover more than one day, so that visitors are a sum of daily uniques? */
export const spansDays = (id) => (lengthInDays(id) ?? 2) > 1 || id === '24h';

/** The intervals that suit a range, the default first. */
export function intervalsFor(id) {
  const days = lengthInDays(id);
  if (days === null) return ['month', 'week', 'day'];
  if (days < 1) return ['minute'];
  if (days <= 1) return ['hour', 'minute'];
  if (days <= 2) return ['hour', 'day'];
  if (days <= 7) return ['day', 'hour'];
  if (days <= 31) return ['day', 'week', 'hour'];
  if (days <= 100) return ['day', 'week', 'month'];
  if (days <= 200) return ['week', 'day', 'month'];
  return ['month', 'week', 'day'];
}

/** The intervals longer than this one, the next first. */
export const longerIntervals = (id) => INTERVALS.slice(INTERVALS.indexOf(id) + 1);

/** Is a `date_range` of days or instants one that the server answers? Nothing was measured before 2000. */
export const isAnswered = ([start]) => start >= '2000';

/**
 * The range before a resolved one ([start, end) as ISO instants): by whole months for whole
 * calendar months, by whole days for whole days, else by its length. As a `date_range`.
 */
export function rangeBefore([start, end], timezone) {
  const { first, whole, months, days } = wholeRange([start, end], timezone);
  if (!whole) {
    const startMs = Date.parse(start);
    return [new Date(2 * startMs - Date.parse(end)).toISOString(), new Date(startMs).toISOString()];
  }
  return [months ? moveMonths(first, -months) : moveDays(first, -days), moveDays(first, -1)];
}

/**
 * The local days of a resolved range: its `first`, the one `after` it, how many `days`, and whether it holds each of
 * them `whole`; `months`: how many, if it is made of whole calendar months, else 0.
 */
export function wholeRange([start, end], timezone) {
  const startMs = Date.parse(start);
  const endMs = Date.parse(end);
  const first = dayIn(timezone, startMs);
  const after = dayIn(timezone, endMs);
  const whole = dayIn(timezone, startMs - 1) < first && dayIn(timezone, endMs - 1) < after;
  const calendar = whole && first.endsWith('-01') && after.endsWith('-01');
  return {
    first, after, whole, days: (asUtc(after) - asUtc(first)) / DAY_MS,
    months: calendar ? (after.slice(0, 4) - first.slice(0, 4)) * 12 + (after.slice(5, 7) - first.slice(5, 7)) : 0,
  };
}

export const moveDays = (day, days) => asDay(asUtc(day) + days * DAY_MS);

/** The same day of another month, or that month's last one. */
export function moveMonths(day, months) {
  const moved = new Date(asUtc(`${day.slice(0, 8)}01`));
  moved.setUTCMonth(moved.getUTCMonth() + months + 1, 0);
  return `${asDay(moved).slice(0, 8)}${String(Math.min(day.slice(8), moved.getUTCDate())).padStart(2, '0')}`;
}
