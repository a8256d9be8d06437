/**
 * Delivery of server-side events: a queue bounded in events and bytes, and one request at a time, so that events arrive
 * in their order. An event leaves the queue when the server has said what became of it, and not before; every other
 * answer (a proxy's error page, a redirect) is a fault on the way, after which the same events, with the same
 * `event_id`, are sent again. Full, the queue drops its oldest events that are not under way, and counts them.
 *
 * Web APIs only. Where timers can be unreferenced, they keep a process alive only while somebody waits for delivery.
 */
import type { DeliveryStats, Problem } from './types.js';

const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 60_000;
const MAX_RETRY_AFTER_MS = 600_000; // No answer of a broken proxy silences us for longer.
const MAX_MESSAGE = 300;
const COMPACT_AT = 1024;

/** Answers after which the same request may do: no fault of the events. */
const isPassing = (status: number): boolean =>
  status < 200 || (status > 299 && status < 400) || [401, 403, 408, 425, 429].includes(status) || status > 499;

/** An event, encoded. */
export interface Item {
  readonly json: string;
  readonly bytes: number;
}

export interface DeliveryOptions {
  readonly endpoint: string;
  readonly token: string;
  readonly batchEvents: number;
  readonly batchBytes: number;
  readonly flushIntervalMs: number;
  readonly maxQueueEvents: number;
  readonly maxQueueBytes: number;
  readonly requestTimeoutMs: number;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly tell: (problem: Problem) => void;
}

interface Waiter {
  readonly isOver: () => boolean;
  readonly resolve: () => void;
}

interface Answer {
  accepted?: unknown;
  rejected?: { index: number; code: string; message?: string }[];
  error?: { code?: unknown; message?: unknown };
}

type Timer = ReturnType<typeof setTimeout> & { ref?: () => void; unref?: () => void };

/** `Retry-After` in milliseconds: seconds or a date; undefined where there is none. */
export const retryAfterMs = (value: string | null, now: number): number | undefined => {
  if (!value) return undefined;
  const wait = /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(wait) ? Math.min(Math.max(wait, 0), MAX_RETRY_AFTER_MS) : undefined;
};

export class Delivery {
  private items: Item[] = [];
  private head = 0; // Items before it are gone: taking from the front of a long array is slow.
  private underWay = 0; // Items from the head on that the current request holds.
  private bytes = 0;
  private most: number; // Events of the next request: fewer after one was refused as a whole.
  private pushed = 0;
  private settled = 0;
  private delivered = 0;
  private rejected = 0;
  private dropped = 0;
  private fullDrops = 0; // Dropped for want of space, and not told yet.
  private failures = 0;
  private running = false;
  private ended = false;
  private waiters: Waiter[] = [];
  private timer: Timer | undefined;
  private wake: (() => void) | undefined;
  private request: AbortController | undefined;

  constructor(private readonly options: DeliveryOptions) {
    this.most = options.batchEvents;
  }

  get stats(): DeliveryStats {
    const { bytes, delivered, rejected, dropped } = this;
    return { queued: this.length, queuedBytes: bytes, delivered, rejected, dropped };
  }

  /** Whether more than half of the queue is taken: who makes events faster than they leave should wait. */
  get isFilling(): boolean {
    return this.length * 2 > this.options.maxQueueEvents || this.bytes * 2 > this.options.maxQueueBytes;
  }

  /** Adds an event. */
  push(item: Item): void {
    const { batchBytes, batchEvents, flushIntervalMs, maxQueueBytes, maxQueueEvents } = this.options;
    this.pushed++;
    if (this.ended || item.bytes > Math.min(batchBytes, maxQueueBytes)) {
      this.settled++;
      this.drop(1, this.ended ? 'closed' : 'too_large');
      return;
    }
    this.items.push(item);
    this.bytes += item.bytes;
    while (this.length > maxQueueEvents || this.bytes > maxQueueBytes) {
      // What is under way may have arrived already. Several at once: each cut moves all that is behind it.
      const gone = this.items.splice(this.head + this.underWay, 1 + (this.length >> 7));
      if (!gone[0]) break;
      for (const one of gone) this.bytes -= one.bytes;
      this.settled += gone.length;
      this.dropped += gone.length;
      this.fullDrops += gone.length;
    }
    if (!this.running) void this.run();
    else if (!this.failures && (this.length >= batchEvents || this.bytes >= batchBytes) && flushIntervalMs) this.hurry();
  }

  /** Counts events that are given up, and tells of them. */
  drop(events: number, code: string): void {
    this.dropped += events;
    this.tell('dropped', code, DROPS[code] ?? '', events);
  }

  /** Until all that waits now has left the queue; false where some of it did not arrive, or time ran out. */
  async flush(timeoutMs?: number): Promise<boolean> {
    const target = this.pushed;
    const lost = this.dropped + this.rejected;
    if (!this.failures) this.hurry();
    await this.until(() => this.settled >= target, timeoutMs);
    return this.settled >= target && this.dropped + this.rejected === lost;
  }

  /** Until the queue is filling no more. */
  async ready(): Promise<void> {
    await this.until(() => !this.isFilling || this.ended);
  }

  /** Takes no more events, delivers what waits, and gives up what is left when time runs out. */
  async close(timeoutMs: number): Promise<boolean> {
    this.ended = true;
    this.hurry(); // Also after failures: there may be no other chance.
    const arrived = await this.flush(timeoutMs);
    const left = this.length;
    this.items = [];
    this.head = this.underWay = this.bytes = 0;
    this.settled = this.pushed;
    this.request?.abort();
    this.hurry();
    if (left) this.drop(left, 'closed');
    this.release();
    return arrived;
  }

  private get length(): number {
    return this.items.length - this.head;
  }

  private tell(kind: Problem['kind'], code: string, message: string, events: number): void {
    try {
      this.options.tell({ kind, code, message: message.slice(0, MAX_MESSAGE), events });
    } catch {
      // Nobody's fault in telling may stop delivery.
    }
  }

  private async run(): Promise<void> {
    this.running = true;
    await this.pause(this.options.flushIntervalMs);
    while (this.length) {
      if (this.fullDrops) {
        this.tell('dropped', 'queue_full', DROPS.queue_full!, this.fullDrops);
        this.fullDrops = 0;
      }
      const wait = await this.send();
      this.release();
      if (wait) await this.pause(wait);
      else if (this.length && this.length < this.options.batchEvents && !this.waiters.length && !this.ended) {
        await this.pause(this.options.flushIntervalMs);
      }
    }
    this.running = false;
    this.release();
  }

  /** One request; returns how long to wait before the next one. */
  private async send(): Promise<number> {
    const { batchBytes, batchEvents, endpoint, fetch, requestTimeoutMs, token } = this.options;
    const batch: string[] = [];
    let bytes = 64;
    for (let i = this.head; i < this.items.length && batch.length < Math.min(batchEvents, this.most); i++) {
      const item = this.items[i]!;
      bytes += item.bytes + 1;
      if (batch[0] && bytes > batchBytes) break;
      batch.push(item.json);
    }
    this.underWay = batch.length;
    const request = (this.request = new AbortController());
    const deadline = setTimeout(() => request.abort(), requestTimeoutMs) as Timer;
    let status = 0;
    let answer: Answer = {};
    let fault = '';
    let retryAfter: string | null = null;
    try {
      const response = await fetch(endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: `{"sent_at":${Date.now()},"events":[${batch}]}`,
        redirect: 'manual',
        signal: request.signal
      });
      ({ status } = response);
      retryAfter = response.headers.get('retry-after');
      // Read in any case: a connection is used again only after that.
      const text = await response.text();
      fault = `status ${status}`;
      answer = Object(JSON.parse(text));
    } catch (error) {
      fault ||= String((error as { cause?: unknown }).cause ?? error);
    }
    clearTimeout(deadline);
    this.request = undefined;
    this.underWay = 0;
    if (!this.length) return 0; // Closed meanwhile.
    return this.judge(batch.length, status, answer, fault, retryAfter);
  }

  private judge(sent: number, status: number, answer: Answer, fault: string, retryAfter: string | null): number {
    const { code, message } = answer.error ?? {};
    if (status >= 200 && status < 300 && typeof answer.accepted === 'number') {
      return this.accept(sent, Array.isArray(answer.rejected) ? answer.rejected : [], retryAfter);
    }
    if (status === 413 || (status === 400 && typeof code === 'string')) {
      // One of them spoils the request: the halves tell which.
      if (sent > 1) this.most = sent >> 1;
      else {
        this.take(1);
        this.reject([{ code: typeof code === 'string' ? code : 'too_large', message: String(message ?? fault) }]);
      }
      return 0;
    }
    if (typeof code === 'string' && !isPassing(status)) {
      this.take(sent);
      this.reject(Array.from({ length: sent }, () => ({ code, message: String(message) })));
      return 0;
    }
    const passing = typeof code === 'string' ? code : status ? 'bad_answer' : 'no_answer';
    return this.retry(sent, passing, message === undefined ? fault : String(message), retryAfter);
  }

  /** The server took the request: it says which events it refused, and which it has no room for at the moment. */
  private accept(sent: number, rejected: NonNullable<Answer['rejected']>, retryAfter: string | null): number {
    const later = new Set(rejected.filter((one) => one.code === 'too_many_requests').map((one) => one.index));
    const refused = rejected.filter((one) => one.code !== 'too_many_requests');
    const batch = this.take(sent);
    this.delivered += sent - rejected.length;
    this.reject(refused);
    this.most += (this.most >> 2) + 1; // A single large event leaves no mark for long.
    if (!later.size) {
      this.failures = 0;
      return 0;
    }
    const again = batch.filter((_, index) => later.has(index));
    this.items = again.concat(this.items.slice(this.head));
    this.head = 0;
    this.settled -= again.length;
    for (const item of again) this.bytes += item.bytes;
    return this.retry(again.length, 'too_many_requests', 'The site sends more events than it may.', retryAfter);
  }

  private reject(refused: { code: string; message?: string }[]): void {
    this.rejected += refused.length;
    for (const code of new Set(refused.map((one) => one.code))) {
      const same = refused.filter((one) => one.code === code);
      this.tell('rejected', code, same[0]!.message ?? '', same.length);
    }
  }

  private retry(events: number, code: string, message: string, retryAfter: string | null): number {
    this.tell('retry', code, message, events);
    const backOff = Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** Math.min(this.failures++, 10));
    // Jitter, so that many processes do not come back at the same moment.
    return (retryAfterMs(retryAfter, Date.now()) ?? 0) + backOff * (0.5 + Math.random() / 2);
  }

  private take(count: number): Item[] {
    const taken = this.items.slice(this.head, this.head + count);
    this.head += taken.length;
    this.settled += taken.length;
    for (const item of taken) this.bytes -= item.bytes;
    if (this.head > COMPACT_AT && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return taken;
  }

  // ---- Waiting. ----

  /** Waits, unless somebody is in a hurry. */
  private async pause(ms: number): Promise<void> {
    if (ms <= 0 || (this.waiters.length && !this.failures)) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      this.timer = setTimeout(resolve, ms) as Timer;
      if (!this.waiters.length) this.timer.unref?.();
    });
    clearTimeout(this.timer);
    this.wake = this.timer = undefined;
  }

  private hurry(): void {
    this.wake?.();
  }

  private async until(isOver: () => boolean, timeoutMs?: number): Promise<void> {
    if (isOver()) return;
    let limit: Timer | undefined;
    await new Promise<void>((resolve) => {
      const waiter = { isOver, resolve };
      this.waiters.push(waiter);
      this.timer?.ref?.();
      if (timeoutMs !== undefined) {
        limit = setTimeout(() => {
          this.waiters = this.waiters.filter((one) => one !== waiter);
          if (!this.waiters.length) this.timer?.unref?.();
          resolve();
        }, timeoutMs) as Timer;
      }
    });
    clearTimeout(limit);
  }

  private release(): void {
    this.waiters = this.waiters.filter((waiter) => !waiter.isOver() || waiter.resolve());
  }
}

const DROPS: Record<string, string> = {
  queue_full: 'More events came than could be delivered: raise maxQueueEvents, or await ready() between events.',
  too_large: 'An event is larger than batchBytes.',
  closed: 'The client was closed before they were delivered.',
  before_send: 'beforeSend failed for them.'
};
