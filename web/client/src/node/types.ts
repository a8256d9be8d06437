/** The public types of the server-side part. */
import type { Assign, TrackedEvent } from '../types.js';

/** Who and where an event is about: what the server can't read from your server's own request. */
export interface EventContext {
  /** The visitor's address: place and visitor are derived from it, then it is forgotten. */
  readonly ip?: string | undefined;
  readonly userAgent?: string | undefined;
  /** A language tag, or a whole `Accept-Language`. */
  readonly language?: string | undefined;
  /** The user that your application knows. */
  readonly userId?: string | number | null | undefined;
  /** The session that the event belongs to; formed from address and user agent if left out. */
  readonly sessionId?: string | undefined;
  /** The page. */
  readonly url?: string | undefined;
  readonly referrer?: string | undefined;
  /** Properties of all its events. */
  readonly props?: Readonly<Record<string, unknown>> | undefined;
  /** Nothing is sent: the visitor asks not to be tracked, or has not seen the page (prefetch). */
  readonly untracked?: boolean | undefined;
}

/** What became of events that did not arrive at once. */
export interface Problem {
  /** `retry`: they are sent again. `rejected`: the server refused them. `dropped`: they were given up here. */
  readonly kind: 'retry' | 'rejected' | 'dropped';
  /** The server's error code, or `no_answer`, `bad_answer`, `queue_full`, `too_large`, `before_send`, `closed`. */
  readonly code: string;
  readonly message: string;
  readonly events: number;
}

export interface ServerConfig {
  /** Where the server is: `https://stats.example.com`. */
  apiBaseUrl: string;
  /** The site that the events belong to. */
  appName: string;
  /** A token of role `collect`. */
  token: string;
  /** `false`: nothing is sent. */
  enabled?: boolean;
  /** Events of one request; 1,000 if left out. */
  batchEvents?: number;
  /** UTF-8 bytes of one request; 1 MiB if left out. */
  batchBytes?: number;
  /** How long an event waits for company, in milliseconds; 500 if left out. */
  flushIntervalMs?: number;
  /** Events that wait at most; 100,000 if left out. The oldest are dropped first. */
  maxQueueEvents?: number;
  /** UTF-8 bytes of the events that wait at most; 64 MiB if left out. */
  maxQueueBytes?: number;
  /** A request without an answer has failed after so many milliseconds; 30,000 if left out. */
  requestTimeoutMs?: number;
  /** How long `close()`, a signal and the end of the process wait for delivery; 5,000 milliseconds if left out. */
  closeTimeoutMs?: number;
  /** `false`: SIGTERM, SIGINT, SIGHUP and the end of the process are left alone, and `close()` is up to you. */
  flushOnExit?: boolean;
  /** Which variants there are: `experiments({ cta: ['control', 'b'] })`. */
  experiments?: Assign;
  /** Changes an event before it is queued; `null` keeps it back. An event for which it throws is kept back. */
  beforeSend?: (event: TrackedEvent) => TrackedEvent | null | undefined;
  /** Told of what does not arrive at once; once for a request, never for an event alone. */
  onProblem?: (problem: Problem) => void;
  /** Takes the place of the platform's `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Counts since the start. */
export interface DeliveryStats {
  /** Events that wait or are under way. */
  readonly queued: number;
  readonly queuedBytes: number;
  readonly delivered: number;
  readonly rejected: number;
  readonly dropped: number;
}
