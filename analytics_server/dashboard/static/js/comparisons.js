// What the numbers are compared with: the choices, how an address and a query name them, and the range that the chart
// draws beside its own. The last follows the server's rules, but for ranges that are not over, which are drawn whole.

import { customDays, dayIn, isAnswered, isRange, moveDays, moveMonths, rangeBefore, rangeLabel, wholeRange } from './ranges.js';

export const COMPARISONS = [
  { id: 'previous', label: 'Previous period', mode: 'previous_period' },
  { id: 'year', label: 'Previous year', mode: 'previous_year' },
  { id: 'own', label: 'Other days' },
  { id: 'off', label: 'Nothing' },
];
export const DEFAULT_COMPARISON = 'previous';

const BY_ID = new Map(COMPARISONS.map((comparison) => [comparison.id, comparison]));
const WEEK_DAYS = 7;
const WEEK_MS = 604_800_000;

/** Which of the choices is it? An own one is written as two days, "2026-10-01..2026-10-31". */
export const kindOf = (compare) => (customDays(compare) ? 'own' : compare);

/** Is this a choice's name, or two real days in order that the server answers? */
export function isComparison(compare) {
  const days = customDays(compare);
  return days ? isRange(compare) && isAnswered(days) : compare !== 'own' && BY_ID.has(compare);
}

/** Is anything compared in this view? */
export const compares = ({ compare, range }) => compare !== 'off' && range !== 'all';

/** Does it start on the same day of the week? Days of one's own stand as they are. */
export const matchesWeekday = ({ compare, weekday }) => weekday && Boolean(BY_ID.get(compare)?.mode);

export function comparisonLabel(view) {
  const label = customDays(view.compare) ? rangeLabel(view.compare) : BY_ID.get(view.compare).label;
  return matchesWeekday(view) ? `${label}, same weekdays` : label;
}

/** What a query includes to compare; null for nothing. */
export function comparisonQuery(view) {
  if (!compares(view)) return null;
  return { comparison: customDays(view.compare) ?? BY_ID.get(view.compare).mode, ...(matchesWeekday(view) && { match_day_of_week: true }) };
}

/** The range that a resolved one ([start, end) as instants) is compared with, as a `date_range`. */
export function comparedRange(view, range, timezone) {
  const own = customDays(view.compare);
  if (own) return own;
  const yearly = view.compare === 'year';
  const matched = matchesWeekday(view);
  if (!yearly && !matched) return rangeBefore(range, timezone);
  const { first, after, whole, months, days } = wholeRange(range, timezone);
  const moved = (day) => (yearly ? moveMonths(day, -12) : months ? moveMonths(day, -months) : moveDays(day, -days));
  if (!whole && !yearly) {
    const weeks = Math.ceil((Date.parse(range[1]) - Date.parse(range[0])) / WEEK_MS);
    return range.map((instant) => localTime(instant, timezone, (day) => moveDays(day, -weeks * WEEK_DAYS)));
  }
  const more = matched ? toSameWeekday(first, moved(first), yearly) : 0;
  if (!whole) return range.map((instant) => localTime(instant, timezone, (day) => moveDays(moved(day), -more)));
  // A year before by the last day, of which that year may have none.
  const last = yearly && !after.endsWith('-01') ? moved(moveDays(after, -1)) : moveDays(moved(after), -1);
  return [moveDays(moved(first), -more), moveDays(last, -more)];
}

/** So many days more to the nearest start on the same day of the week; the period before is moved back only. */
function toSameWeekday(day, compared, eitherWay) {
  const earlier = (weekdayOf(compared) - weekdayOf(day) + WEEK_DAYS) % WEEK_DAYS;
  const later = WEEK_DAYS - earlier;
  return !eitherWay || earlier < later ? earlier : -later;
}

const weekdayOf = (day) => new Date(`${day}T00:00:00Z`).getUTCDay();

/** An instant as the site's clock shows it, on another day. */
function localTime(instant, timezone, move) {
  const ms = Date.parse(instant);
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone: timezone, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(ms);
  return `${move(dayIn(timezone, ms))}T${clock}`;
}
