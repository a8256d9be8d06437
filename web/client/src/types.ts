/** The public types of the package: what its user configures, calls and sees. */

/** Properties of an event. An array or object is stored as JSON text; what JSON can't hold is left out. */
export type Props = Readonly<Record<string, unknown>>;

/** Event names and the properties of each: `createAnalytics<{ signup: { plan: string }; logout: undefined }>(…)`. */
export type EventMap = Record<string, unknown>;

/** An event as it is sent; every field of the HTTP contract may stand in it. */
export interface TrackedEvent {
  site: string;
  event_id?: string | undefined;
  name: string;
  url: string;
  title: string;
  referrer?: string;
  user_id?: unknown;
  session_id?: unknown;
  props?: Record<string, unknown> | undefined;
  [field: string]: unknown;
}

/** The variant of a subject; `null` where there is none. `client`, if it is given, reports the first one. */
export type Assign = (
  key: string,
  subject: unknown,
  client?: { exposure(experiment: string, variant: string): unknown } | false | undefined
) => string | null;

/** What is read of an answer: a `Response` of the platform has it. */
export interface TransportAnswer {
  readonly status: number;
  /** Of them `Retry-After` is read. */
  readonly headers?: { get(name: string): string | null };
}

export interface AnalyticsConfig {
  /** Where the server is: `https://stats.example.com`. */
  apiBaseUrl: string;
  /** The site that the events belong to. */
  appName: string;
  /** `false`: nothing is sent, nothing is listened to. */
  enabled?: boolean;
  /** Also send from `localhost`, loopback addresses and files; without it nothing is sent from there. */
  local?: boolean;
  /** Write to the console what is sent and what goes wrong. */
  debug?: boolean;
  /** Count page views and changes of the address by itself; `true` if left out. */
  autoPageviews?: boolean;
  /** Report clicks on elements marked `data-analytics`; `true` if left out. */
  clickTracking?: boolean;
  /** Report clicks on links to other hosts. */
  outboundLinks?: boolean;
  /** Report downloads; a list replaces the known endings: `['pdf', 'zip']`. */
  downloads?: boolean | readonly string[];
  /** Report submitted forms: their id, never what was typed. */
  forms?: boolean;
  /** Report how far a page was read, and for how long it was in use; enabled if left out. */
  scrollTracking?: { readonly enabled: boolean };
  /** Report LCP, INP and CLS. */
  webVitals?: boolean;
  /** The route is in the fragment. */
  hashRouting?: boolean;
  /** A change of the query alone is a page view too. */
  searchRouting?: boolean;
  /** Nothing is sent from these paths; `*` stands for anything. */
  exclude?: readonly string[];
  /** `page`, if left out: the session is this load of the page. `server`: the server forms it, across loads. */
  session?: 'page' | 'server';
  /** Which variants there are: `experiments({ cta: ['control', 'b'] })`. */
  experiments?: Assign;
  /** By what a visitor is assigned to variants; the user that was identified, else the session, if left out. */
  subject?: string | number;
  /**
   * Whether the visitor objects to being counted. Asked before each event and before a request leaves; `true` keeps the
   * events back and forgets what waits. Where it throws, the visitor counts as one who objects.
   */
  optOut?: () => boolean;
  /** Changes an event before it is sent; `null` keeps it back. */
  beforeSend?: (event: TrackedEvent) => TrackedEvent | null | undefined;
  /** Sends a body in the place of the browser's requests; resolves to the HTTP status or to the `Response`. */
  transport?: (body: string, leaving: boolean) => Promise<number | TransportAnswer>;
}

/** A page view that the application reports itself. */
export interface View {
  /** Absolute, or relative to the page; the page's own address if left out. */
  pageUrl?: string;
  pageTitle?: string;
  referrer?: string;
  props?: Props;
}

/** Something that a visitor did; keys of `data` that are not listed become properties. */
export interface Interaction {
  type: string;
  data?: {
    readonly pageUrl?: string;
    readonly pageTitle?: string;
    readonly elementId?: string;
    readonly elementTag?: string;
    readonly elementText?: string;
    readonly href?: string;
    readonly [property: string]: unknown;
  };
}
