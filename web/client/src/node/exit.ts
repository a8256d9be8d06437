/**
 * The end of a process: what waits is delivered first. One handler for all clients of a process, also of several copies
 * of this package. Where there is no process to listen to (edge runtimes, browsers) nothing is done.
 *
 * A signal's handler takes away the signal's own effect. So it is given back once all is delivered, unless the application
 * handles the signal itself: then the application ends the process.
 */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const OURS = Symbol.for('analytics-server.exit');

interface ProcessLike {
  readonly pid: number;
  on(event: string, listener: (...given: unknown[]) => void): unknown;
  off(event: string, listener: (...given: unknown[]) => void): unknown;
  listenerCount(event: string): number;
  kill(pid: number, signal: string): unknown;
}

type Close = () => Promise<unknown>;

interface Closing {
  readonly clients: Set<Close>;
  readonly listeners: [event: string, listener: (...given: unknown[]) => void][];
}

const closeAll = (clients: Set<Close>): Promise<unknown> => Promise.all([...clients].map((close) => close()));

const listen = (process: ProcessLike, closing: Closing): void => {
  const add = (event: string, listener: () => void) => {
    process.on(event, listener);
    closing.listeners.push([event, listener]);
  };
  add('beforeExit', () => void closeAll(closing.clients));
  for (const signal of SIGNALS) {
    add(signal, () => {
      const isAlone = process.listenerCount(signal) === 1;
      void closeAll(closing.clients).then(() => {
        if (!isAlone) return;
        for (const [event, listener] of closing.listeners) process.off(event, listener);
        process.kill(process.pid, signal);
      });
    });
  }
};

/** Calls `close` when the process ends; returns what takes that back. */
export const onExit = (close: Close): (() => void) => {
  const page = globalThis as unknown as { process?: ProcessLike; [OURS]?: Closing };
  const { process } = page;
  if (typeof process?.on !== 'function' || typeof process.listenerCount !== 'function') return () => {};
  const closing = (page[OURS] ??= { clients: new Set(), listeners: [] });
  if (!closing.clients.size) listen(process, closing);
  closing.clients.add(close);
  return () => {
    closing.clients.delete(close);
    if (closing.clients.size) return;
    for (const [event, listener] of closing.listeners.splice(0)) process.off(event, listener);
  };
};
