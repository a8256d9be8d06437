/**
 * Paths from which nothing is sent, and routes in the fragment. A path is excluded in every spelling: both sides are
 * decoded, composed and compared without case.
 */
import { safe } from '../core/guard.js';

const plain = (path: string): string =>
  path
    .replace(/(%[\da-f]{2})+/gi, (part) => safe(decodeURIComponent)(part) || part)
    .normalize('NFC')
    .replace(/\/+/g, '/');

// `*` stands for anything, `/admin/*` covers `/admin` too, and a slash at the end makes no difference.
const matcher = (pattern: string): RegExp =>
  new RegExp(
    '^' +
      pattern
        .replace(/^(?![/*])/, '/')
        .replace(/\/$/, '')
        .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
        .replace(/\*+/g, '.*')
        .replace(/\/\.\*$/, '(/.*)?') +
      '/?$',
    'i'
  );

/** Whether a URL is excluded by these patterns; with `onlyHere` only if it is of this host. */
export const excluder = (patterns: string) => {
  const Url = (window as { webkitURL?: typeof URL }).webkitURL || URL; // Pages name things of their own URL.
  const excluded = patterns
    .split(/[,;\n]|\s+(?=[/*])/)
    .map((pattern) =>
      plain(
        pattern
          .trim()
          .replace(/^\[?\s*["']|["']\s*\]?$/g, '')
          .replace(/^https?:\/\/[^/]*/i, '')
          .replace(/#!?\/?/, '/')
      )
    )
    .filter((pattern) => pattern)
    .map(matcher);
  return safe((address: string, onlyHere?: number) => {
    const url = new Url(address);
    const path = plain(url.pathname);
    return (
      !(onlyHere && url.host !== location.host) &&
      excluded.some((pattern) => pattern.test(path) || pattern.test(path + plain(url.search)))
    );
  });
};

/** The address of a page whose route is in the fragment: the route becomes part of the path. */
export const routed = (): string => {
  const hash = location.hash.replace(/^#!?\/?/, '');
  const path = hash ? location.pathname.replace(/\/$/, '') + '/' + hash : location.pathname;
  return location.origin + path + (hash.includes('?') ? location.search.replace('?', '&') : location.search);
};
