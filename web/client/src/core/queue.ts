/**
 * Delivery: events that wait, requests under way, and what becomes of both when the page goes.
 *
 * Nothing is lost while the page lives, order is kept, and what may arrive twice carries the same `event_id`. One
 * request at a time, so that events arrive in their order. Bodies are counted in bytes, as browsers and the server do.
 */
import { type Entry, type WireEvent, uuid } from './event.js';
import { safe } from './guard.js';
import {
  ANSWER_MS,
  BATCH_BYTES,
  BATCH_DELAY_MS,
  BATCH_EVENTS,
  KEEPALIVE_BYTES,
  LATE_MS,
  QUEUE_EVENTS,
  RETRY_AFTER_MS,
  RETRY_POWER,
  SMALL_BYTES
} from './limits.js';
import type { AnalyticsConfig } from '../types.js';

/** A request without an answer, or about to be one. */
interface Flight {
  entries_: Entry[];
  body_: string;
  bytes_: number;
  /** Whether the browser keeps the request alive when the page goes. */
  keepalive_: boolean;
}

/** What the package's user may put in the place of requests; rejects without an answer. */
export type Transport = NonNullable<AnalyticsConfig['transport']>;

/** What a tracker does with its queue: `[push, flush, clear]`; the script never clears it. */
export type Queue = readonly [
  /** Adds an event and sees to it that it is sent. */
  push: (entry: Entry) => void,
  /**
   * Sends what waits: one request at a time, or with `now` all of it at once. `now` is 2 when the page goes for good:
   * then also what is under way leaves in a way that outlives the page.
   */
  flush: (now?: number) => void,
  /** Forgets what waits. */
  clear?: () => void
];

/**
 * `prepare` is called before events leave, so that a view can take its title as late as possible; where it returns true,
 * none may leave, and what waits is forgotten.
 */
export const createQueue = (
  endpoint: string,
  prepare: () => unknown,
  transport?: Transport,
  accept?: (event: WireEvent) => WireEvent | null | undefined,
  tell?: (event: WireEvent, became: WireEvent | 'dropped', count?: number) => unknown
): Queue => {
  let queue: Entry[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined | void;
  let failures = 0;
  let dropped = 0;
  let broken!: boolean; // The last request did not even get an answer.
  let flights: Flight[] = []; // The latest first.

  const schedule = (delay = BATCH_DELAY_MS) => {
    if (!timer) timer = setTimeout(flush, delay);
  };

  // Puts requests' events back, in their order. What arrives twice for that is counted once, by its event_id.
  const takeBack = (which: (flight: Flight) => unknown) =>
    (flights = flights.filter((flight) => !(which(flight) && queue.unshift(...flight.entries_))));

  const post = async (flight: Flight) => {
    flights.unshift(flight);
    let status!: number;
    let retryAfter: string | null | undefined; // Seconds, or a date.
    try {
      // Nothing can be read of no answer, which throws.
      [status, retryAfter] = await new Promise<any>((resolve) => {
        setTimeout(resolve, ANSWER_MS);
        if (!IS_SCRIPT && transport) {
          Promise.resolve(transport(flight.body_, false))
            .then((answer: any) => resolve([answer.status ?? answer, answer.headers?.get?.('retry-after')]))
            .catch(resolve);
        } else if (broken || !window.fetch) {
          // Where there is no fetch, or the page's own does not work.
          const request = new XMLHttpRequest();
          // Only of a refusal, of which browsers write to the console anyway: so they do where a header is kept from the page.
          request.onloadend = () =>
            resolve([request.status, request.status > 428 && request.getResponseHeader('retry-after')]);
          request.open('POST', endpoint);
          request.send(flight.body_);
        } else {
          // A string goes out as text/plain, which needs no CORS preflight. Browsers give the budget for keepalive
          // requests back once the answer's body has been read, and no sooner.
          fetch(endpoint, { credentials: 'omit', keepalive: flight.keepalive_, method: 'POST', body: flight.body_ })
            .then((answer) => answer.text().then(() => resolve([answer.status, answer.headers.get('retry-after')])))
            .catch(resolve);
        }
      });
    } catch {
      await 0; // As good as no answer; and what was thrown at once has not left the queue yet.
    }
    if (!flights.includes(flight)) return; // It was taken back meanwhile.
    broken = !status && !broken;
    if (!status || status == 429 || status > 499) {
      takeBack(() => 1); // All, or an earlier one would come after a later one.
      timer = clearTimeout(timer!); // What came meanwhile waits too.
      // Jitter, so that many pages do not come back at the same moment.
      schedule(
        2 ** (RETRY_POWER - Math.random() + Math.min(failures++, 6)) +
          Math.min(Math.max(0, (retryAfter as never) * 1e3 || Date.parse(retryAfter!) - Date.now() || 0), RETRY_AFTER_MS)
      );
    } else {
      failures = 0;
      flights = flights.filter((one) => one != flight);
      schedule(queue[BATCH_EVENTS] && 0);
    }
  };

  const flush = safe((now?: number): void => {
    timer = clearTimeout(timer!);
    let used = 0;
    if (now! > 1) {
      // Requests that do not outlive the page are given up and sent again by a beacon. Small ones that do are repeated
      // too, because a beacon may overtake them, and the first event tells where a session came from.
      takeBack((flight) => !flight.keepalive_ || ((used += flight.bytes_), flight.bytes_ < SMALL_BYTES));
    }
    if (prepare()) queue = [];
    while (queue[0] && (now || !flights[0])) {
      // The next entries for one request: at least one, at most so many bytes. They stay in the queue until the browser
      // has taken the request, because it may end a script of a page that goes at any point.
      const parts: string[] = [];
      const time = Date.now();
      let bytes_ = 2;
      for (const entry of queue.slice(0, BATCH_EVENTS)) {
        if (!now && entry.waits_ && entry.waits_()) break;
        if (!IS_SCRIPT && accept && entry.waits_ !== 0) {
          // As late as possible, when nothing of the event changes any more.
          entry.event_.event_id = entry.event_.event_id || uuid();
          const event = accept(JSON.parse(JSON.stringify(entry.event_)));
          tell!(entry.event_, event || 'dropped');
          entry.waits_ = 0;
          if (!event) {
            queue.splice(parts.length, 1);
            continue;
          }
          entry.event_ = { event_id: entry.event_.event_id, ...(event as object) } as WireEvent; // Without one, a repeat would count twice.
        }
        // The server reads `timestamp` relative to `sent_at`: a device's clock may be hours off.
        const late = time - entry.time_ > LATE_MS && { timestamp: entry.time_, sent_at: time };
        const part = JSON.stringify({ ...late, ...entry.event_ });
        // A Blob takes far longer, but the script has no room for more.
        const bytes = (IS_SCRIPT ? new Blob([part]).size : new TextEncoder().encode(part).length) + 1;
        if (parts[0] && bytes_ + bytes > (now! > 1 ? KEEPALIVE_BYTES - used : BATCH_BYTES)) break;
        bytes_ += bytes;
        parts.push(part);
      }
      if (!parts[0]) {
        if (!IS_SCRIPT && now) continue; // All of them are kept back.
        return schedule();
      }
      const flight = {
        // Two of them fill the budget at most. What failed once is better off without.
        keepalive_: !flights[1] && bytes_ <= BATCH_BYTES && !failures,
        // One event goes without an array, unless it is larger than a request with one event may be.
        body_: parts[1] || bytes_ > KEEPALIVE_BYTES ? '[' + parts + ']' : parts[0],
        bytes_
      } as Flight;
      // A beacon outlives its page everywhere.
      if (
        now! > 1 &&
        safe(() =>
          !IS_SCRIPT && transport
            ? (transport(flight.body_, true).catch(String), true)
            : navigator.sendBeacon(endpoint, flight.body_)
        )()
      ) {
        used += bytes_;
      } else post(flight);
      // Entries leave the queue once the browser has them.
      (flight.entries_ = queue.splice(0, parts.length)).forEach((entry) => (entry.waits_ = 0));
    }
  });

  const push = (entry: Entry) => {
    if (queue.push(entry) > QUEUE_EVENTS) {
      if (IS_SCRIPT) queue.shift();
      else tell!(queue.shift()!.event_, 'dropped', ++dropped);
    }
    if (queue[BATCH_EVENTS] && !failures) flush();
    else schedule();
  };

  const clear = () => {
    queue = [];
    flights = []; // What is under way is not sent again when it fails.
  };
  return IS_SCRIPT ? [push, flush] : [push, flush, clear];
};
