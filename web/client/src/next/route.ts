/** Route patterns, `/blog/[slug]`: of the app router worked out, because it tells its components only path and parameters. */
import type { Entry } from '../core/event.js';
import type { TrackedEvent } from '../types.js';

const MAX_PATHS = 100; // An event leaves soon after its view began, so the last few would do.
const ROUTE_MS = 10_000; // So long a view waits for its route, unless the page is left or shows another one.

type Params = Readonly<Record<string, string | readonly string[] | undefined>>;

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/**
 * The pattern of a path of the app router. Parameters are looked for from the end of the path, the innermost first: what
 * stands in front is more often fixed. One that is not in the path (a rewrite put it there) is left out.
 */
export const routeOf = (path: string, params: Params): string => {
  const parts = path.split('/').map(decoded);
  let end = parts.length;
  for (const [name, value] of Object.entries(params).reverse()) {
    if (value === undefined) continue;
    const values = typeof value === 'string' ? [value] : value;
    const wanted = values.map(decoded);
    let at = end - wanted.length;
    while (at > 0 && !wanted.every((part, index) => part === parts[at + index])) at--;
    if (at < 1 || !wanted.length) continue;
    parts.splice(at, wanted.length, typeof value === 'string' ? `[${name}]` : `[...${name}]`);
    end = at;
  }
  return parts.join('/');
};

/** The patterns of the paths that were shown last. */
export class RouteNames {
  private readonly names = new Map<string, string>();

  /** Keeps the pattern of a path. */
  learn(path: string, route: string): void {
    this.names.delete(path);
    this.names.set(path, route);
    for (const oldest of this.names.keys()) {
      if (this.names.size <= MAX_PATHS) break;
      this.names.delete(oldest);
    }
  }

  /**
   * Whether a view still waits for its route. Once the page has come React may take its time to make it one that can be
   * worked with, part by part, and this part of it comes last.
   */
  readonly missing = ({ event_, time_ }: Entry): boolean =>
    !this.names.has(new URL(event_.url).pathname) && Date.now() - time_ < ROUTE_MS;

  /** The event with its page's pattern as the property `route`, where that is known and the event has none of its own. */
  name(event: TrackedEvent): TrackedEvent {
    const route = this.names.get(new URL(event.url).pathname);
    return route === undefined ? event : { ...event, props: { route, ...event.props } };
  }
}
