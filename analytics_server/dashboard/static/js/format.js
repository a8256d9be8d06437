// How values read: numbers, shares, durations, dates and the names behind codes.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const oneOrTwo = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });

const NOTHING = '–';
const missing = (value) => value === null || value === undefined || Number.isNaN(value);

export const count = (value) => (missing(value) ? NOTHING : whole.format(value));
export const counted = (visitors) => `${count(visitors)} ${visitors === 1 ? 'visitor' : 'visitors'}`;
/** What rows are called that a share link does not show by themselves. */
export const fewer = (threshold) => `Fewer than ${threshold} visitors each`;
export const compact = (value) => (missing(value) ? NOTHING : Math.abs(value) < 10_000 ? whole.format(value) : short.format(value));
export const decimal = (value) => (missing(value) ? NOTHING : oneOrTwo.format(value));
export const percent = (value) => (missing(value) ? NOTHING : `${value > 0 && value < 10 ? Math.round(value * 10) / 10 : Math.round(value)}%`);

/** A part of a whole as per cent. */
export function share(part, total) {
  if (!total) return '';
  const value = Math.min(100, (100 * part) / total);
  return value > 0 && value < 0.1 ? '<0.1%' : percent(value);
}

/** Seconds as "1m 05s". */
export function duration(seconds) {
  if (missing(seconds)) return NOTHING;
  const total = Math.round(seconds);
  if (total < 60) return `${total}s`;
  if (total < 3600) return `${Math.floor(total / 60)}m ${String(total % 60).padStart(2, '0')}s`;
  return `${Math.floor(total / 3600)}h ${String(Math.floor((total % 3600) / 60)).padStart(2, '0')}m`;
}

/** Seconds on an axis: "90s" reads "1m 30s", whole minutes and hours have no rest. */
export function axisDuration(seconds) {
  return duration(seconds).replace(/ 00[ms]$/, '').replace(/^0s$/, '0');
}

let regionNames = null;

/** A country's name in the reader's language, or its code where there is none. */
export function countryName(code) {
  try {
    regionNames ??= new Intl.DisplayNames(undefined, { type: 'region' });
    return regionNames.of(code) ?? code;
  } catch {
    return code;
  }
}

/** The text of a dimension's value; empty ones get the name of what is missing. */
export function valueName(dimension, value) {
  if (value === '' || value === null || value === undefined) return emptyName(dimension);
  if (dimension === 'visit:country') return countryName(value);
  if (dimension === 'visit:screen') return String(value).replace(/^(\d+)x(\d+)$/, '$1 × $2');
  return ADDRESSES.has(dimension) ? readable(String(value)) : String(value);
}

/** The dimensions whose values may be percent-encoded: reserved characters, and what older versions stored. */
export const ADDRESSES = new Set(['event:page', 'visit:entry_page', 'visit:exit_page', 'visit:referrer']);

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;
const JOINERS = '\u200c\u200d'; // Scripts and emoji need them.

/** A path as people read it. What is no UTF-8, would not be seen, or has a meaning in addresses stays encoded. */
export function readable(path) {
  return path.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    try {
      return [...decodeURI(run)].map((char) => (UNSEEN.test(char) && !JOINERS.includes(char) ? encodeURIComponent(char) : char)).join('');
    } catch {
      return run;
    }
  });
}

/** What is shown where a dimension has no value. */
export const emptyName = (dimension) => EMPTY_NAMES[dimension] ?? '(not set)';

const EMPTY_NAMES = {
  'visit:source': 'Direct / none',
  'visit:referrer': 'Direct / none',
  'visit:channel': 'Direct',
  'visit:country': 'Unknown',
  'visit:region': 'Unknown',
  'visit:city': 'Unknown',
  'visit:browser': 'Unknown',
  'visit:os': 'Unknown',
  'visit:device': 'Unknown',
  'visit:screen': 'Unknown',
};

const DIMENSION_NAMES = {
  'event:page': 'Page', 'event:name': 'Event', 'event:hostname': 'Host', 'visit:entry_page': 'Entry page', 'visit:exit_page': 'Exit page',
  'visit:source': 'Source', 'visit:referrer': 'Referrer', 'visit:channel': 'Channel', 'visit:country': 'Country',
  'visit:region': 'Region', 'visit:city': 'City', 'visit:browser': 'Browser', 'visit:os': 'Operating system',
  'visit:device': 'Device', 'visit:screen': 'Screen size', 'visit:utm_source': 'UTM source', 'visit:utm_medium': 'UTM medium',
  'visit:utm_campaign': 'UTM campaign', 'visit:utm_content': 'UTM content', 'visit:utm_term': 'UTM term',
};

export const dimensionName = (dimension) => DIMENSION_NAMES[dimension] ?? dimension.replace(/^.*:/, '');

/** Do dates without their year repeat among these buckets? */
export function needYears(labels) {
  const [first, last] = [labels[0] ?? '', labels.at(-1) ?? ''];
  const years = last.slice(0, 4) - first.slice(0, 4);
  return years > 1 || (years === 1 && last.slice(5, 10) >= first.slice(5, 10));
}

/** A bucket's name. Dates are calendar dates; times carry their own offset, so they read as the site's clock. */
export function bucketName(label, interval, { long = false, year = long } = {}) {
  if (label.length > 10) {
    const wall = new Date(`${label.slice(0, 16)}:00Z`);
    const options = long
      ? { weekday: 'short', day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit', timeZone: 'UTC' }
      : { hour: 'numeric', minute: interval === 'hour' ? undefined : '2-digit', timeZone: 'UTC' };
    return new Intl.DateTimeFormat(undefined, options).format(wall);
  }
  const day = new Date(`${label}T00:00:00Z`);
  if (interval === 'month') return new Intl.DateTimeFormat(undefined, { month: long ? 'long' : 'short', year: year ? 'numeric' : undefined, timeZone: 'UTC' }).format(day);
  const options = long ? { weekday: interval === 'week' ? undefined : 'short', day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' } : { day: 'numeric', month: 'short', year: year ? 'numeric' : undefined, timeZone: 'UTC' };
  const text = new Intl.DateTimeFormat(undefined, options).format(day);
  return long && interval === 'week' ? `Week of ${text}` : text;
}
