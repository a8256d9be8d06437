/**
 * Server-side tracking: events of an application's server, with the visitor's address, user agent and language, sent with
 * a token of role `collect`. Web APIs only, so it runs on Node.js from 18 on, Bun, Deno and edge runtimes.
 */
import { fields } from '../core/event.js';
import { interactionFields, viewFields } from '../core/interaction.js';
import type { EventMap, Interaction, Props, TrackedEvent, View } from '../types.js';
import { Delivery } from './delivery.js';
import { onExit } from './exit.js';
import type { DeliveryStats, EventContext, ServerConfig } from './types.js';

export type { Assign, EventMap, Interaction, Props, TrackedEvent, View } from '../types.js';
export type { DeliveryStats, EventContext, Problem, ServerConfig } from './types.js';
export { type Experiments, experiments } from '../experiments/index.js';
export { type ContextOptions, type RequestLike, contextOf } from './context.js';

/** What a client does for its contexts. */
interface Sender {
  emit(context: EventContext, name: string, more: Record<string, unknown>): boolean;
  assign(key: string, subject: unknown): string | null;
}

/** A random UUID of version 4. Node.js 18 has no global `crypto`; its random numbers do to tell events apart. */
const eventId = (): string =>
  globalThis.crypto?.randomUUID
    ? globalThis.crypto.randomUUID()
    : '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (place) =>
        (Number(place) ^ ((Math.random() * 16) >> (Number(place) / 4))).toString(16)
      );

const languageOf = (text: string | undefined): string | undefined => text?.split(/[,;]/)[0]!.trim().replace(/^\*$/, '') || undefined;

const required = (config: ServerConfig, name: 'apiBaseUrl' | 'appName' | 'token'): string => {
  const value: unknown = config[name];
  if (typeof value !== 'string' || !value.trim()) throw new TypeError(`${name} is missing: it must be a text that is not empty.`);
  return value.trim();
};

const LIMITS = {
  batchEvents: [1000, 1],
  batchBytes: [1 << 20, 1024],
  flushIntervalMs: [500, 0],
  maxQueueEvents: [100_000, 1],
  maxQueueBytes: [64 << 20, 1024],
  requestTimeoutMs: [30_000, 1],
  closeTimeoutMs: [5_000, 0]
} as const;

const limitsOf = (config: ServerConfig): Record<keyof typeof LIMITS, number> => {
  const found: Record<string, number> = {};
  for (const [name, [usual, least]] of Object.entries(LIMITS)) {
    const value = config[name as keyof typeof LIMITS] ?? usual;
    if (!Number.isFinite(value) || value < least) throw new RangeError(`${name} must be a number from ${least} on, not ${value}.`);
    found[name] = value;
  }
  return found;
};

/** The calls, about one context. Each returns whether more events may follow at once: see `ServerAnalytics.ready`. */
export class ContextAnalytics<Events extends EventMap = Record<string, Props | undefined>> {
  private readonly shown = new Map<string, string | null>();

  /** @internal */
  constructor(
    /** @internal */
    protected readonly sender: Sender,
    private readonly context: EventContext
  ) {}

  /** Reports an event of your own. */
  track<Name extends keyof Events & string>(
    name: Name,
    ...[props]: undefined extends Events[Name] ? [props?: Events[Name]] : [props: Events[Name]]
  ): boolean {
    return this.sender.emit(this.context, name, { props });
  }

  /** Reports a page view. */
  trackView(view: View = {}): boolean {
    return this.sender.emit(this.context, 'pageview', viewFields(view));
  }

  /** Reports what a visitor did with an element. */
  trackInteraction(interaction: Interaction): boolean {
    return this.sender.emit(this.context, interaction.type, interactionFields(interaction));
  }

  /** Reports money that came in, by default as the event `purchase`. */
  revenue(amount: number, currency: string, props?: Props, name = 'purchase'): boolean {
    return this.sender.emit(this.context, name, { props, revenue: { amount, currency } });
  }

  /** Reports that a variant of an experiment was shown. */
  exposure(experiment: string, variant: string): boolean {
    return this.sender.emit(this.context, 'exposure', { experiment: { id: experiment, variant } });
  }

  /**
   * The variant to show to the context's user, else to its session; `null` where there is none. The first call in a
   * context reports that it was shown.
   */
  variant(experiment: string): string | null {
    const known = this.shown.get(experiment);
    if (known !== undefined) return known;
    const variant = this.sender.assign(experiment, this.context.userId ?? this.context.sessionId);
    this.shown.set(experiment, variant);
    if (variant !== null) this.exposure(experiment, variant);
    return variant;
  }
}

/** Sends the events of a server. `Events` names the events that may be tracked, and their properties. */
export class ServerAnalytics<Events extends EventMap = Record<string, Props | undefined>> extends ContextAnalytics<Events> {
  private readonly delivery: Delivery | undefined;
  private readonly site: string = '';
  /** @internal */
  protected readonly closeTimeoutMs: number;
  private readonly forget: () => void;
  private closing: Promise<boolean> | undefined;

  /** Throws where a value of the configuration can't be used. */
  constructor(private readonly config: ServerConfig) {
    super(
      {
        emit: (context, name, more) => this.queue(context, name, more),
        assign: (key, subject) => config.experiments?.(key, subject) ?? null
      },
      {}
    );
    const { closeTimeoutMs, ...limits } = limitsOf(config);
    this.closeTimeoutMs = closeTimeoutMs;
    this.forget = () => {};
    if (config.enabled === false) return;
    this.site = required(config, 'appName');
    this.delivery = new Delivery({
      ...limits,
      endpoint: new URL(required(config, 'apiBaseUrl')).href.replace(/\/*$/, '/track'),
      token: required(config, 'token'),
      fetch: config.fetch ?? ((url, init) => fetch(url, init)),
      tell: (problem) => config.onProblem?.(problem)
    });
    if (config.flushOnExit !== false) {
      this.forget = onExit(async (ends) => {
        if (this.stats.queued) await (ends ? this.close() : this.flush(closeTimeoutMs));
      });
    }
  }

  /** Events that wait, and what became of the others. */
  get stats(): DeliveryStats {
    return this.delivery?.stats ?? { queued: 0, queuedBytes: 0, delivered: 0, rejected: 0, dropped: 0 };
  }

  /** The same calls about a visitor: `analytics.for(contextOf(request)).track('signup')`. */
  for(context: EventContext): ContextAnalytics<Events> {
    return new ContextAnalytics<Events>(this.sender, context);
  }

  /** Back-pressure: resolves when less than half of the queue is taken. Await it when a call has returned `false`. */
  async ready(): Promise<void> {
    await this.delivery?.ready();
  }

  /** Sends what waits; resolves when all of it was answered, to `false` if some was dropped, refused, or time ran out. */
  async flush(timeoutMs?: number): Promise<boolean> {
    return this.delivery ? this.delivery.flush(timeoutMs) : true;
  }

  /** Takes no more events, and sends what waits; what is left after `closeTimeoutMs` is given up. */
  async close(timeoutMs?: number): Promise<boolean> {
    this.closing ??= (async () => {
      const arrived = this.delivery ? await this.delivery.close(timeoutMs ?? this.closeTimeoutMs) : true;
      this.forget();
      return arrived;
    })();
    return this.closing;
  }

  private queue(context: EventContext, name: string, more: Record<string, unknown>): boolean {
    const { delivery, config } = this;
    if (!delivery || context.untracked || !name) return true;
    try {
      let event: TrackedEvent | null | undefined = this.eventOf(context, name, more);
      if (config.beforeSend) {
        const { event_id } = event;
        event = config.beforeSend(JSON.parse(encode(event)));
        if (!event) return !delivery.isFilling;
        // Without an id, the server would count a repeat twice.
        if (event.event_id == null) event = { ...event, event_id };
      }
      const json = encode(event);
      delivery.push({ json, bytes: encoder.encode(json).length });
    } catch {
      delivery.drop(1, 'before_send');
    }
    return !delivery.isFilling;
  }

  private eventOf(context: EventContext, name: string, more: Record<string, unknown>): TrackedEvent {
    const event: Record<string, unknown> = {
      site: this.site,
      event_id: eventId(),
      timestamp: Date.now(),
      ip: context.ip || undefined,
      user_agent: context.userAgent,
      language: languageOf(context.language),
      user_id: context.userId ?? undefined,
      session_id: context.sessionId,
      url: context.url,
      referrer: context.referrer
    };
    for (const field of Object.keys(more)) if (more[field] !== undefined) event[field] = more[field];
    event.name = String(name);
    if (context.props) event.props = { ...context.props, ...(more.props as object) };
    return event as unknown as TrackedEvent;
  }
}

const encoder = new TextEncoder();

/** JSON of an event; what JSON can't hold is left out, and costs nothing else. */
const encode = (event: object): string => {
  try {
    return JSON.stringify(event);
  } catch {
    return JSON.stringify(fields(event));
  }
};

/** A client whose events are typed: `createServerAnalytics<{ signup: { plan: string } }>({…})`. */
export const createServerAnalytics = <Events extends EventMap = Record<string, Props | undefined>>(
  config: ServerConfig
): ServerAnalytics<Events> => new ServerAnalytics<Events>(config);
