/** Times of events as the server reads them, within what it allows senders without a token. */
const MAX_PAST_MS = 86_400_000;
const MAX_FUTURE_MS = 300_000;
const EPOCH = /^\d{9,16}(?:\.\d{1,9})?$/;
const ISO = /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)([Zz]|[+-]\d\d(?::?\d\d)?)?)?$/;

/** Milliseconds since 1970 of an epoch number, whose unit its size tells, or of a text: in UTC where it has no offset. */
export const epochMs = (value: unknown): number | undefined => {
  if (typeof value === 'string') {
    if (EPOCH.test(value)) return epochMs(Number(value));
    const [, day, time = '00:00', offset = 'Z'] = ISO.exec(value) ?? [];
    const full = offset.replace(/^([+-]\d\d):?(\d\d)?$/, (_, hours: string, minutes = '00') => `${hours}:${minutes}`);
    const ms = Date.parse(`${day}T${time}${full.toUpperCase()}`);
    return Number.isNaN(ms) ? undefined : ms;
  }
  const size = typeof value === 'number' ? Math.abs(value) : Infinity;
  if (size >= 2 ** 53) return undefined;
  const number = value as number;
  if (size < 946_684_800 || (size >= 1e11 && size < 1e14)) return number;
  return size < 1e11 ? number * 1000 : number / 1000;
};

/**
 * When an event was, by this machine's clock; `sentAt` is by the same clock as `timestamp`. Undefined for now. A text that
 * the server refuses for a time that can't be read.
 */
export const allowedTime = (timestamp: unknown, sentAt: unknown): number | string | undefined => {
  if (timestamp === undefined || timestamp === null) return undefined;
  const time = epochMs(timestamp);
  if (time === undefined) return '';
  const now = Date.now();
  const sent = epochMs(sentAt);
  const meant = sent === undefined ? time : now - Math.max(sent - time, 0);
  return Math.trunc(Math.min(Math.max(meant, now - MAX_PAST_MS), now + MAX_FUTURE_MS));
};
