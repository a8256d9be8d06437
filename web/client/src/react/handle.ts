/**
 * What components are given before the client has started: rendering must have no effect, so a client starts with the
 * provider's effect, which comes after those of its children. Calls until then are kept, and follow when it starts.
 */
import { AnalyticsClient } from '../index.js';
import type { AnalyticsConfig } from '../types.js';

const CALLS = ['track', 'trackView', 'trackInteraction', 'revenue', 'identify', 'set', 'exposure', 'flush', 'optOut'] as const;

type Call = (...given: unknown[]) => void;

export interface Handle extends AnalyticsClient {
  /** Starts the client; returns what ends it. */
  start_(): () => void;
  /** Calls back when the client has started. */
  watch_(listener: () => void): () => void;
}

/** `keeps`: whether calls are kept until the start; without a provider it never comes. */
export const makeHandle = (config: AnalyticsConfig, keeps = true): Handle => {
  let client: AnalyticsClient | undefined;
  let kept: (() => void)[] = [];
  let ending: ReturnType<typeof setTimeout>;
  const listeners = new Set<() => void>();
  const later = (call: () => void) => {
    if (keeps) kept.push(call);
  };
  const handle = {
    config,
    destroy() {
      client?.destroy();
    },
    variant(experiment: string, expose?: boolean) {
      if (client) return client.variant(experiment, expose);
      if (expose !== false) later(() => client!.variant(experiment));
      return config.experiments?.(experiment, config.subject) ?? null;
    },
    start_() {
      // Effects that run twice end nothing.
      clearTimeout(ending);
      if (!client) {
        client = new AnalyticsClient(config);
        kept.splice(0).forEach((call) => call());
        listeners.forEach((listener) => listener());
      }
      return () => {
        ending = setTimeout(() => {
          client?.destroy();
          client = undefined;
        });
      };
    },
    watch_(listener: () => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    }
  } as unknown as Handle & Record<string, Call>;
  for (const name of CALLS) {
    handle[name] = (...given: unknown[]) => {
      if (client) (client[name] as Call)(...given);
      else later(() => (client![name] as Call)(...given));
    };
  }
  return handle;
};
