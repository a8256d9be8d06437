/** Rewrites for `next.config`: script and beacons under a name of the site's own. */
import { parsed } from './address.js';

export interface AnalyticsRewriteOptions {
  /** The name that pages use, `/stats`: then script and endpoint are `/stats/a.js` and `/stats/track`. */
  source: string;
  /**
   * Where that leads: the path of a route handler by `createAnalyticsProxy`, or the server's address. To the server, Next.js
   * passes all headers on, the site's cookies too, and no visitor's address of its own.
   */
  destination: string;
  /** The script's name on the server; `/a.js` if left out. */
  scriptPath?: string;
  /** The endpoint's name on the server; `/track` if left out. */
  collectPath?: string;
}

interface RewriteRule {
  source: string;
  destination: string;
}

interface RewriteGroups {
  beforeFiles?: RewriteRule[];
  afterFiles?: RewriteRule[];
  fallback?: RewriteRule[];
}

interface NextConfigLike {
  rewrites?: () => Promise<RewriteRule[] | RewriteGroups>;
}

type ConfigMaker = (...given: unknown[]) => NextConfigLike | Promise<NextConfigLike>;

const trimmed = (path: string): string => path.replace(/\/*$/, '');

/** The configuration of Next.js, an object or a function that makes one, with the rewrites in front of its own. */
export const withAnalytics = <Config extends object>(config: Config, options: AnalyticsRewriteOptions): Config => {
  const { scriptPath = '/a.js', collectPath = '/track' } = options;
  const source = trimmed(options.source);
  const destination = trimmed(options.destination);
  if (!source.startsWith('/')) throw new TypeError('source must be a path that begins with a slash.');
  if (!destination.startsWith('/') && !parsed(destination)) {
    throw new TypeError('destination must be a path that begins with a slash, or an address.');
  }
  const ours = [scriptPath, collectPath].map((path) => ({ source: source + path, destination: destination + path }));
  const add = (given: NextConfigLike): NextConfigLike => ({
    ...given,
    async rewrites() {
      const found = (await given.rewrites?.()) ?? [];
      const groups: RewriteGroups = Array.isArray(found) ? { afterFiles: found } : found;
      const { beforeFiles = [], afterFiles = [], fallback = [] } = groups;
      return { beforeFiles: [...ours, ...beforeFiles], afterFiles, fallback };
    }
  });
  if (typeof config === 'function') {
    return (async (...given: unknown[]) => add(await (config as unknown as ConfigMaker)(...given))) as unknown as Config;
  }
  return add(config as NextConfigLike) as Config;
};
