/**
 * The script `/a.js`: where it came from, what its element or address asks for, and the page's global function. The
 * rest is the core's. The server puts the two placeholders in: its script's name, and the way from the script's address
 * to the endpoint's, so that a proxy may move both under any prefix.
 *
 * 3 kB gzipped at most. Syntax and built-ins are those of ES2019, so every browser since that year reads it.
 */
import { COPY, safe } from '../core/guard.js';
import type { Options, ReadOption } from '../core/options.js';
import { type Call, createTracker } from '../core/tracker.js';

type Stub = Call & { q?: readonly Parameters<Call>[] };

safe(() => {
  if (window[COPY]) return; // A second copy on the same page stays silent.

  // A module, or what import() brought, has no current script, but its address stands in a stack trace. A page's own
  // element named currentScript is none.
  const current = (document.currentScript || {}) as HTMLScriptElement;
  const source = new URL(current.src || (/https?:\/\/[^\s()]+?(?=:\d+:\d+)/.exec(Error().stack!) as unknown as string));
  const element = current.src ? current : [...document.scripts].find((script) => script.src == source.href) || current;
  const options: Options = { ...Object.fromEntries(source.searchParams), ...element.dataset };
  // Missing or off, as people and frameworks write that, is empty.
  const option: ReadOption = (name) =>
    /^\s*(undefined|null|false|no|off|0)\s*$/i.test(options[name] as string) ? '' : options[name]!.trim();

  // Code of ours inside another script (a bundle, eval) would send to that script's host: only a script of our name, or
  // one whose element is plainly ours, goes on.
  if (!(source.pathname.endsWith('/__NAME__') || (current.src && (options.site || options.api)))) return;
  const endpoint = new URL(option('api') || new URL('__COLLECT__', source), location as unknown as URL);

  const load = () => {
    // The same address, so that any proxy passes it on.
    const address = new URL('?more', source).href;
    try {
      // By an element, the page's load event waits for it, and so do those who wait for that.
      const script = document.createElement('script');
      script.src = address;
      script.nonce = current.nonce!.trim();
      document.head.append(script);
    } catch {
      // Trusted Types forbid that, and a script without an element has no nonce to give.
      import(address).catch(String);
    }
  };

  // Takes over what the documented line keeps, and leaves everything else that the page calls so alone.
  const install = (call: Call) =>
    [option('function') || 'analytics', option('global')].forEach(
      safe((name) => {
        const page = window as unknown as Record<string, Stub | undefined>;
        const stub = page[name];
        if (name && (stub === undefined || ((stub.call as unknown) && /\.q\b/.test(stub as unknown as string)))) {
          page[name] = call;
          if (stub) (stub.q || []).forEach((given) => call(...given));
        }
      })
    );
  createTracker((name) => option(name) || options[name] == '', option, endpoint.href, load, install);
})();
