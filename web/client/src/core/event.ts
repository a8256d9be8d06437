/**
 * An event on the wire, and what of a page's values can travel in it. What kind of value a field wants is the server's
 * business: what can't be used costs that value, never the event.
 */
import { safe } from './guard.js';

/** Fields of an event, named as in the HTTP contract (docs/beacons.md). */
export interface Fields {
  readonly [name: string]: unknown;
  readonly url?: unknown;
  readonly title?: unknown;
  readonly props?: unknown;
}

export interface WireEvent {
  site: string;
  /** In the package false until the event is first sent. */
  event_id: string | undefined | false;
  name: string;
  url: string;
  title: string;
  [name: string]: unknown;
}

/** An event that waits to be sent. */
export interface Entry {
  event_: WireEvent;
  /** When it happened, in epoch milliseconds of the device's clock. */
  readonly time_: number;
  /** Whether a page view still waits for its title or for a redirect; 0 once the event may be sent as it is. */
  waits_?: 0 | (() => unknown) | undefined;
}

/**
 * A copy of an event's fields: the page may go on changing its objects. What JSON can't hold is left out, and costs
 * nothing else.
 */
export const fields = (given: unknown, inner?: number): Record<string, unknown> => {
  const found: Record<string, unknown> = {};
  Object.keys(Object(given)).forEach(
    safe((key) => {
      found[key] =
        key == 'props' && !inner ? fields((given as Fields).props, 1) : JSON.parse(JSON.stringify((given as Fields)[key]));
    })
  );
  return found;
};

/**
 * A random UUID of version 4 in 32 digits, none where the page has taken away what makes one. Pages without TLS have no
 * `crypto.randomUUID`, and there is no room for two ways. A byte makes a digit from 0 to 9, which is a hexadecimal one
 * too and takes the least code; 93 random bits tell the events of a site apart.
 */
export const uuid = safe(() =>
  crypto
    .getRandomValues(new Uint8Array(32))
    .map((byte, place) => (place % 12 ? (place % 16 ? byte % 10 : 8 /* the variant */) : 4) /* the version */)
    .join('')
);
