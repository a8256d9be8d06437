/** As much of a router as this takes; page views are counted whichever one changes the address. */
import { useSyncExternalStore } from 'react';

const listeners = new Set<() => void>();
const tell = () => listeners.forEach((listener) => listener());

export const go = (path: string): void => {
  history.pushState(null, '', path);
  tell();
};

export const usePath = (): string =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      addEventListener('popstate', tell);
      return () => {
        listeners.delete(listener);
        removeEventListener('popstate', tell);
      };
    },
    () => location.pathname
  );
