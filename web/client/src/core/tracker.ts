/**
 * The tracker: page views, attention and the page's own events, from the first sight of a page until it is left. The
 * script `/a.js` and the package are both made of it, so there is one behaviour on the wire.
 *
 * What it must never do: write to any storage (cookie, localStorage, sessionStorage, IndexedDB, Cache), read anything
 * that tells one browser from another, throw into the page, or send anywhere but to its endpoint. It is small because
 * what only some pages ask for stands in `features/`, which is loaded when an option or a marked element asks for it.
 */
import { type Attention, type Tell, createAttention } from './attention.js';
import { type Entry, type Fields, type WireEvent, fields, uuid } from './event.js';
import { COPY, safe } from './guard.js';
import { LOAD_MS, POLL_MS, SETTLE_MS, TITLE_MS } from './limits.js';
import type { ReadOption } from './options.js';
import { createQueue } from './queue.js';
import type { AnalyticsConfig } from '../types.js';

/** The public function: `analytics('signup', {props: {plan: 'pro'}})`. */
export type Call = (name?: unknown, more?: unknown) => void;
export type Listen = (names: string, handler: (event: any) => unknown, target?: EventTarget) => void;

/** What the features add to a tracker. The names are short and stay as they are: two built files share them. */
export interface Features {
  /** Is a URL excluded, or all of them because the visitor objects? With `onlyHere` only if it is of this host. */
  x(url: string, onlyHere?: number): unknown;
  /** The address to report for the page. */
  h(): string;
  /** Reports what is reported once, when the page is hidden or left. */
  v(): unknown;
  /** Acts on what the visitor does. */
  a(event: Event, path: EventTarget[]): unknown;
}

export type MakeFeatures = (on: (name: string) => unknown, option: ReadOption, listen: Listen, call: Call) => Partial<Features>;

/** Under `COPY` of the window: how the features' file and further copies find the tracker that runs. */
export interface Running extends Call {
  /** Installs the features. */
  m?(make: MakeFeatures): void;
  /** The package's: sends what waits. */
  f?(): void;
  /** The package's: ends the tracker, and with `drop` what waits too. */
  d?(drop?: boolean): void;
  /** The package's: the user that is named, else the session of this load of the page. */
  i?(): unknown;
  /** The path that was counted last, once the tracker was ended. */
  s?: string;
}

/** What other parts of the package may configure beside what its users may. */
export interface InnerConfig extends AnalyticsConfig {
  /** Whether a page view is to wait though its title is there. */
  readonly waits_?: ((view: Entry) => unknown) | undefined;
}

/** What the package lets its user decide: the configuration, with what follows from it. The script has none of it. */
export interface Hooks extends InnerConfig {
  /** No page view is counted by itself. */
  readonly manual: boolean;
  /** Marked elements are left alone. */
  readonly unmarked: boolean;
  /** The event to send in the place of this one; none to send nothing. */
  accept_(event: WireEvent): WireEvent | null | undefined;
  /** Writes to the console, if that is asked for. */
  tell_(...what: unknown[]): unknown;
  /** Whether the visitor objects to being counted. */
  objects_(): unknown;
  /** Attention, whose code may still be on its way. */
  attention_(tell: Tell): Attention;
  /** The path that a tracker of this page load counted last before it was stopped. */
  readonly seen_: string | undefined;
}

declare global {
  interface Window {
    analyticsServer?: Running;
  }
  interface Document {
    prerendering?: boolean;
  }
  interface Navigator {
    globalPrivacyControl?: boolean;
  }
}

/**
 * Starts the tracker of a page, which then stands under `COPY` of the window. `load` brings the features' code, which then
 * calls `m` of what it is given; `install` puts the public function where the page finds it. `on` tells whether an option is on.
 */
export const createTracker = (
  on: (name: string) => unknown,
  option: ReadOption,
  endpoint: string,
  load: (call: Running) => unknown,
  install: (call: Running) => unknown,
  hooks?: Hooks
): void => {
  const ending = IS_SCRIPT ? undefined : new AbortController();
  const atEnd = (act: () => unknown) => ending!.signal.addEventListener('abort', act);
  const listen: Listen = (names, handler, target = window) =>
    names
      .split(' ')
      .forEach((name) =>
        target.addEventListener(name, safe(handler), IS_SCRIPT || { capture: true, signal: ending!.signal })
      );

  const { width, height } = (window.screen || 0) as Screen;
  // What all events of this page load have: the device's, because asking the browser takes longer than all else that an
  // event takes, and what analytics('set', …) fixed: user_id, session_id, props.
  const fixed: Fields & Record<string, unknown> = {
    // An iPad says it is a Mac; its touch points alone tell. No other device says how many it has.
    screen: { width, height, touch: (/Mac/.test(navigator.platform) && navigator.maxTouchPoints) || undefined },
    language: navigator.language
  };
  let acts: Parameters<Features['a']>[] | 0 = []; // What the visitor did while the features' code was on its way.
  // Fragments stay at home, unless a route is in them.
  const features: Features = {
    x: () => 0,
    h: () => location.href.split('#')[0]!,
    v: () => 0,
    a: (...act) => call.m && (acts as unknown[]).push(act)
  };
  let view: Entry | undefined | 0; // The entry of the page view we are in; none on excluded pages.
  let known: string; // The title that was last seen: another one belongs to a new view.
  let first = IS_SCRIPT || hooks!.seen_ === undefined; // Only the first page view of a page load carries document.referrer.
  let settling: ReturnType<typeof setTimeout>;

  // An element named title hides the document's: then there is none. (Each file has the way that is smaller in it.)
  const title = (
    IS_SCRIPT ? safe(() => document.title.trim()) : () => ((document.title as Partial<string>).trim ? document.title : '')
  ) as () => string;

  // Gives the view its title, as late as possible: routers set it after they have changed the address. True where no event
  // may leave: only an objection excludes what is no address.
  const nameView = () => {
    if (view && view.waits_) view.event_.title = known = title();
    return IS_SCRIPT ? features.x('') : hooks!.objects_();
  };

  const queue = IS_SCRIPT ? createQueue(endpoint, nameView) : createQueue(endpoint, nameView, hooks!.transport, hooks!.accept_, hooks!.tell_);
  const [push, flush] = queue;

  // Queues one event; `more` holds any field of the HTTP contract. Returns its entry, or undefined on an excluded page.
  const track = (name: unknown, given?: unknown): Entry | undefined => {
    const more = fields(given);
    const url = more.url ? new URL(more.url as string, location as unknown as URL) + '' : view ? view.event_.url : features.h();
    if (!name || features.x(url) || (!IS_SCRIPT && (ending!.signal.aborted || hooks!.objects_()))) return;
    const props = { ...(fixed.props as object), ...(more.props as object) };
    const entry: Entry = {
      time_: Date.now(),
      event_: {
        site: option(IS_SCRIPT ? 'site' : 'appName') || location.hostname,
        // Making one takes as long as all else here, so the package does it when the event is sent.
        event_id: IS_SCRIPT && uuid(),
        title: title(),
        ...fixed,
        ...more,
        name: name + '',
        url,
        props: Object.keys(props)[0] && props
      } as WireEvent
    };
    push(entry);
    return entry;
  };

  const tell: Tell = (engagement_ms, scroll_depth) =>
    view && track('engagement', { title: view.event_.title, engagement_ms, scroll_depth });
  const [measureContent, attend, report, reset] = IS_SCRIPT ? createAttention(tell) : hooks!.attention_(tell);

  const measure = safe(() => {
    known = title();
    measureContent();
  });

  // Begins a new page view: what the old one has gathered goes out first.
  const begin = (more?: unknown) => {
    nameView();
    const before = known;
    report(1);
    if (view) view.waits_ = IS_SCRIPT ? 0 : undefined; // Its title is what it is by now.
    view = 0;
    const loads = first;
    const referrer = (loads && !features.x(document.referrer, 1) && document.referrer) || undefined;
    view = track('pageview', { referrer, ...(more as object) });
    first = first && !view;
    // Unless the page gave it a title of its own.
    if (view && !fields(more).title) {
      const until = Date.now() + (loads ? LOAD_MS : TITLE_MS);
      view.waits_ = () =>
        (!IS_SCRIPT && hooks!.waits_?.(view as Entry)) ||
        (Date.now() < until &&
          // Libraries take the old title away before they set the new one.
          (title() == before || (loads && document.readyState > 'd') /* not yet complete */ || !title()));
    }
    reset();
    clearTimeout(settling);
    settling = setTimeout(measure, SETTLE_MS);
  };

  // The page may never come back. Hidden, it lives on where requests outlive it, so that failed ones can be repeated.
  const leave = (final?: number) => {
    measure();
    report(final);
    features.v();
    flush(final || 1);
  };

  // ---- The public function. ----

  let waiting: { push(given: Parameters<Call>): unknown } | 0 = [] as Parameters<Call>[];
  const gated = (IS_SCRIPT ? 'exclude hash optOut opt-out' : 'exclude hashRouting').split(' ').some(on); // Without these no view can be told from another.

  const run = safe((name: unknown, more?: unknown) => {
    if (name == 'set') Object.assign(fixed, fields(more));
    else if (name == 'pageview') begin(more);
    else track(name, more);
  });

  const call: Running = (...given) => (waiting && given[0] != 'set' ? waiting.push(given) : run(...given));

  // ---- Start, once the page has been seen: not while it is prerendered or lies in a background tab. ----

  const follow = safe(() => {
    let seen = IS_SCRIPT ? undefined : hooks!.seen_; // The path of the view we are in, on demand with its query.
    if (!IS_SCRIPT) atEnd(() => (call.s = seen!));
    const route = safe((replaced?: boolean) => {
      const next = features.h();
      const path = on(IS_SCRIPT ? 'search' : 'searchRouting') ? next : next.split('?')[0]!;
      if (path == seen) return;
      seen = path;
      if (replaced && view && view.waits_ && Date.now() - view.time_ < LOAD_MS && !features.x(next)) {
        view.event_.url = next; // A redirect: the view that was not sent yet takes the new address.
      } else begin();
    });
    route();
    if (safe(() => navigation.currentEntry!.key)()) {
      // Every change of the address, whichever way a router goes about it. (Sandboxed documents are told of none, and
      // have no entry.)
      listen('currententrychange', (event) => route(event.navigationType == 'replace'), navigation);
    } else {
      (['pushState', 'replaceState'] as const).forEach(
        safe((method) => {
          const original = history[method];
          const ours = (history[method] = function (...given: any) {
            given = original.apply(this, given); // Its result, from here on.
            route(method > 'q');
            return given;
          });
          // Another one's patch on top of ours stays, and goes on calling ours.
          if (!IS_SCRIPT) atEnd(() => history[method] === ours && (history[method] = original));
        })
      );
      listen('popstate', () => route());
      const polls = setInterval(route, POLL_MS);
      if (!IS_SCRIPT) atEnd(() => clearInterval(polls));
    }
    // From the back/forward cache.
    listen('pageshow', (event) => event.persisted && begin({ title: title() }));
  });

  const start = safe(() => {
    // Only true counts: an element of the page may hide these. What excludes pages must be there first.
    if (!waiting || (document.hidden as unknown) == 1 || (document.prerendering as unknown) == 1 || (gated && acts)) return;
    const calls = waiting as Parameters<Call>[];
    waiting = 0;
    // The page view that opens the session comes before what the page has called meanwhile.
    if (!on('manual')) follow();
    calls.forEach((given) => call(...given));
    listen('scroll pointerdown keydown', measure);
    listen('scroll pointermove focus blur pointerdown keydown', attend);
    listen('pagehide', () => leave(2));
    listen('visibilitychange', () => ((document.hidden as unknown) == 1 ? leave() : attend()));
    attend();
  });

  // ---- What only some pages ask for. ----

  const ask = () => {
    if (call.m) return;
    call.m = safe((make) => {
      Object.assign(features, make(on, option, listen, call));
      (acts as Parameters<Features['a']>[]).forEach((act) => features.a(...act));
      acts = 0;
      start();
    });
    (IS_SCRIPT ? load : safe(load))(call);
  };

  const act = (event: Event) => {
    const path = event.composedPath(); // Through open shadow roots too.
    if (path.some((node) => (node as HTMLElement).dataset && 'analytics' in (node as HTMLElement).dataset)) ask();
    features.a(event, path);
  };

  if (!IS_SCRIPT) {
    call.f = () => flush(1);
    call.i = () => fixed.user_id ?? fixed.session_id;
    call.d = (drop) => {
      if (drop) queue[2]!();
      else leave(2);
      waiting = { push: safe as never }; // What is called is forgotten.
      clearTimeout(settling);
      call.s = '';
      ending!.abort();
      if (drop) call.s = call.d = undefined!; // As if it ran for good: no other one begins on this load of the page.
    };
  }
  window[COPY] = call;
  install(call);
  if ((navigator.doNotTrack as never) > 0 || navigator.globalPrivacyControl) waiting = { push: safe as never }; // What is called is forgotten.
  else {
    if (
      gated ||
      (IS_SCRIPT ? 'outbound downloads forms vitals 404' : 'outboundLinks downloads forms webVitals').split(' ').some(on) ||
      safe(() => document.querySelector('[data-analytics]'))()
    ) {
      ask();
    }
    listen('click auxclick submit focusin pointerdown keydown', act);
    listen('visibilitychange prerenderingchange', start);
    start();
  }
};
