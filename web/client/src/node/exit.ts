/**
 * The end of a process: what waits is delivered first. One handler for all clients of a process, also of several copies
 * of this package. Where there is no process to listen to (edge runtimes, browsers) nothing is done.
 *
 * A signal's handler takes away the signal's own effect. So it is given back once all is delivered, unless the application
 * handles the signal itself: then it decides what the signal means, and may go on (many reload at SIGHUP).
 */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const OURS = Symbol.for('analytics-server.exit');

interface ProcessLike {
  readonly pid: number;
  prependListener(event: string, listener: (...given: unknown[]) => void): unknown;
  off(event: string, listener: (...given: unknown[]) => void): unknown;
  listenerCount(event: string): number;
  kill(pid: number, signal: string): unknown;
}

/** Delivers what waits; with `ends` there is no other chance. */
type Deliver = (ends: boolean) => Promise<unknown>;

interface Closing {
  readonly clients: Set<Deliver>;
  readonly listeners: [event: string, listener: (...given: unknown[]) => void][];
}

const deliverAll = (clients: Set<Deliver>, ends: boolean): Promise<unknown> =>
  Promise.all([...clients].map((deliver) => deliver(ends)));

const listen = (process: ProcessLike, closing: Closing): void => {
  const add = (event: string, listener: () => void) => {
    // First, while listeners that the application has for one signal only (`once`) still count.
    process.prependListener(event, listener);
    closing.listeners.push([event, listener]);
  };
  add('beforeExit', () => void deliverAll(closing.clients, true));
  for (const signal of SIGNALS) {
    add(signal, () => {
      const isAlone = process.listenerCount(signal) === 1;
      void deliverAll(closing.clients, isAlone).then(() => {
        if (!isAlone) return;
        for (const [event, listener] of closing.listeners) process.off(event, listener);
        process.kill(process.pid, signal);
      });
    });
  }
};

/** Calls `deliver` when the process ends, or may end; returns what takes that back. */
export const onExit = (deliver: Deliver): (() => void) => {
  const page = globalThis as unknown as { process?: ProcessLike; [OURS]?: Closing };
  const { process } = page;
  if (typeof process?.prependListener !== 'function' || typeof process.listenerCount !== 'function') return () => {};
  const closing = (page[OURS] ??= { clients: new Set(), listeners: [] });
  if (!closing.clients.size) listen(process, closing);
  closing.clients.add(deliver);
  return () => {
    closing.clients.delete(deliver);
    if (closing.clients.size) return;
    for (const [event, listener] of closing.listeners.splice(0)) process.off(event, listener);
  };
};
