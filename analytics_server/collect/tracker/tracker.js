/*
 * The browser tracker, readable source. `python -m analytics_server.collect.tracker.build` makes a.js from it.
 *
 * What it must never do: write to any storage (cookie, localStorage, sessionStorage, IndexedDB, Cache), read
 * anything that tells one browser from another, load further code, or throw into the page that includes it.
 * What it must be: 3 kB gzipped at most, free of dependencies, safe to include twice.
 *
 * Syntax is ES2017 without object spread, so every evergreen browser reads it as it stands.
 */
(() => {
  const BATCH_DELAY_MS = 200; // Long enough for a router to set the title, short enough for a live view.
  const BATCH_EVENTS = 50; // A full batch leaves at once.
  const RETRY_DELAY_MS = 5000;
  const LATE_MS = 1000; // Events sent later than this carry their own time.
  const IDLE_MS = 30000; // Without a sign of life, attention ends after this.
  const REPORT_MS = 1000; // Less engaged time than this is not worth an event of its own.
  const SETTLE_MS = 1000; // By then a new view has replaced the old one's content.
  const KEEPALIVE_CHARS = 60000; // Browsers refuse keepalive bodies above 64 KiB.

  const doc = document;
  const here = location;
  const script = doc.currentScript || doc.querySelector('script[data-site][src]');
  const options = script.dataset;
  const global = options.function || 'analytics';
  const stub = window[global];
  if (stub && stub.on) return; // A second copy on the same page stays silent.

  // The server replaces the placeholder by the way from the script's address to the endpoint's,
  // so that a proxy may move both under any prefix.
  const endpoint = options.api || new URL('__COLLECT__', script.src).href;
  const listed = (text) => text.split(',').map((item) => item.trim());
  const excluded = listed(options.exclude || '').map(
    (pattern) => new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*')}$`)
  );

  const listen = (target, names, handler) =>
    names.split(' ').forEach((name) => target.addEventListener(name, handler, { capture: true, passive: true }));

  // ---- Sending: entries are {e: event, t: when it happened, r: already retried}. ----

  let queue = [];
  let timer = 0;

  const schedule = (delay) => {
    if (!timer) timer = setTimeout(flush, delay);
  };

  // Sends all that waits. With `leaving`, by sendBeacon: the only request that outlives the page everywhere.
  const flush = (leaving) => {
    clearTimeout(timer);
    timer = 0;
    if (!queue.length) return;
    // Routers set the title after they have changed the address: take it as late as possible.
    if (page && !titled) page.title = doc.title;
    const sent = queue;
    queue = [];
    const now = Date.now();
    const events = sent.map((entry) => {
      if (now - entry.t > LATE_MS) entry.e.timestamp = entry.t;
      return entry.e;
    });
    // A string goes out as text/plain, which needs no CORS preflight.
    const body = JSON.stringify(events[1] ? events : events[0]);
    if (leaving === true && navigator.sendBeacon(endpoint, body)) return;
    fetch(endpoint, { method: 'POST', body, keepalive: body.length < KEEPALIVE_CHARS, credentials: 'omit' })
      .then((answer) => answer.status > 499 || answer.status === 429, () => true)
      .then((failed) => {
        const again = sent.filter((entry) => failed && !entry.r);
        again.forEach((entry) => (entry.r = 1));
        queue = again.concat(queue);
        if (again.length) schedule(RETRY_DELAY_MS);
      });
  };

  // ---- Events. ----

  const fixed = {}; // What analytics('set', …) fixed for this page load: user_id, session_id, props.
  let page = null; // The event of the page view we are in; null on excluded pages.
  let titled = false; // Whether the page gave it a title of its own.
  let first = true; // Only the first page view of a page load carries document.referrer.

  // The address to report. Fragments stay at home, except with data-hash, where the route becomes part of the path.
  const address = () => {
    const hash = 'hash' in options && here.hash.replace(/^#!?\/?/, '');
    const path = hash ? here.pathname.replace(/\/$/, '') + '/' + hash : here.pathname;
    return here.origin + path + (hash && hash.includes('?') ? here.search.replace('?', '&') : here.search);
  };

  const uuid = () =>
    '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
      (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16)
    );

  // Queues one event; `more` holds any field of the HTTP contract. Returns the event, or null on an excluded page.
  const track = (name, more) => {
    // A copy: the page may go on changing its objects, and what JSON can't hold must fail here, not when sending.
    more = JSON.parse(JSON.stringify(more || {}));
    const url = new URL(more.url || (page && name !== 'pageview' ? page.url : address()), here).href;
    if (excluded.some((pattern) => pattern.test(new URL(url).pathname))) return null;
    const event = Object.assign(
      {
        site: options.site || here.hostname,
        event_id: uuid(),
        title: doc.title,
        screen: { width: screen.width, height: screen.height },
        language: navigator.language,
        user_id: fixed.user_id || undefined,
        session_id: fixed.session_id || undefined
      },
      more,
      { name, url }
    );
    if (fixed.props || more.props) event.props = Object.assign({}, fixed.props, more.props);
    queue.push({ e: event, t: Date.now() });
    if (queue.length < BATCH_EVENTS) schedule(BATCH_DELAY_MS);
    else flush();
    return event;
  };

  // Begins a new page view: what the old one has gathered goes out first.
  const view = (more) => {
    report();
    page = null;
    page = track('pageview', Object.assign({ referrer: (first && doc.referrer) || undefined }, more));
    titled = more && more.title;
    first = first && !page;
    engaged = bottom = reported = 0;
    clearTimeout(settling);
    settling = setTimeout(measure, SETTLE_MS);
  };

  // ---- Attention: the deepest scroll, and the time the page is visible, focused and in use. ----

  let bottom = 0; // The lowest point seen, in pixels from the top.
  let height = 1; // The page's height when it was last measured.
  let reported = 0; // The scroll depth last reported.
  let engaged = 0; // Engaged milliseconds since the last report.
  let attentive = false;
  let since = 0; // When attention was last counted.

  let settling = 0;

  // Not right after a change of view: the old content may still stand there, scrolled down. It is called when the view
  // has settled, when the page is scrolled or used (which is just before most changes of view), and when it is left.
  const measure = () => {
    height = doc.documentElement.scrollHeight;
    bottom = Math.max(bottom, scrollY + innerHeight);
  };

  // Called at each sign of life and at each change of visibility or focus.
  const attend = () => {
    const now = performance.now();
    if (attentive) engaged += Math.min(now - since, IDLE_MS);
    since = now;
    attentive = !doc.hidden && doc.hasFocus();
  };

  const report = () => {
    attend();
    const depth = Math.min(100, Math.round((bottom / height) * 100)) || 0;
    if (!page || (depth <= reported && engaged < REPORT_MS)) return;
    track('engagement', { url: page.url, title: page.title, scroll_depth: depth, engagement_ms: Math.round(engaged) });
    reported = Math.max(reported, depth);
    engaged = 0;
  };

  // The page may never come back: report and send by beacon.
  const leave = () => {
    measure();
    report();
    vitals();
    attentive = false;
    flush(true);
  };

  // ---- Clicks and forms. ----

  const DOWNLOADS =
    '7z,apk,avi,csv,dmg,doc,docx,epub,exe,gz,iso,mov,mp3,mp4,msi,pdf,pkg,ppt,pptx,rar,rtf,tar,txt,wav,xls,xlsx,zip';

  // Reports the use of an element. The visible text is left out for forms: it would be all of their labels.
  const used = (name, element, isForm) => {
    const props = {};
    for (const attribute of element.attributes) {
      const match = /^data-analytics-prop-(.+)/.exec(attribute.name);
      if (match) props[match[1]] = attribute.value;
    }
    track(name, {
      props: Object.keys(props).length ? props : undefined,
      element: {
        id: element.getAttribute('id') || undefined,
        tag: element.localName,
        text: (!isForm && element.innerText && element.innerText.trim().slice(0, 100)) || undefined,
        href: element.host ? element.href : undefined // Web addresses only: no mailto:, no tel:.
      }
    });
  };

  const clicked = (event) => {
    if (event.button > 1 || !event.target.closest) return; // Left and middle button only.
    const marked = event.target.closest('[data-analytics]');
    if (marked && marked.localName !== 'form') return used(marked.dataset.analytics || 'click', marked);
    const link = event.target.closest('a[href]');
    if (!link || !link.host) return; // mailto:, tel: and links inside SVG have no host.
    const extension = link.pathname.split('.').pop().toLowerCase();
    if (
      'downloads' in options &&
      (link.hasAttribute('download') || listed(options.downloads || DOWNLOADS).includes(extension))
    ) {
      used('download', link);
    } else if ('outbound' in options && link.host !== here.host) {
      used('outbound', link);
    }
  };

  const submitted = (event) => {
    const form = event.target;
    const mark = form.dataset.analytics;
    if (mark || 'forms' in options) used(mark || 'form', form, true);
  };

  // ---- Web vitals, once for each page load. ----

  const vital = {};
  let vitals = () => {
    for (const name in vital) {
      if (page) track('web_vital', { props: { name, value: Math.round(vital[name] * 1000) / 1000 } });
    }
    vitals = () => {};
  };

  const observe = (type, handler) => {
    try {
      new PerformanceObserver((list) => list.getEntries().forEach(handler)).observe({
        type,
        buffered: true,
        durationThreshold: 40
      });
    } catch (error) {
      // This browser does not measure it.
    }
  };

  const observeVitals = () => {
    let shift = 0; // The sum of the session window we are in: gaps up to 1 s, 5 s in all.
    let start = 0;
    let last = -1e4;
    const origin = performance.getEntriesByType('navigation')[0].activationStart || 0; // Prerendered pages start late.
    vital.CLS = 0;
    observe('largest-contentful-paint', (entry) => (vital.LCP = Math.max(0, entry.startTime - origin)));
    observe('layout-shift', (entry) => {
      if (entry.hadRecentInput) return;
      if (entry.startTime - last > 1000 || entry.startTime - start > 5000) {
        shift = 0;
        start = entry.startTime;
      }
      last = entry.startTime;
      shift += entry.value;
      vital.CLS = Math.max(vital.CLS, shift);
    });
    observe('event', (entry) => {
      if (entry.interactionId) vital.INP = Math.max(vital.INP || 0, entry.duration);
    });
  };

  // ---- The public function. ----

  let waiting = (stub && stub.q) || [];

  const run = (name, more) => {
    try {
      if (name === 'set') Object.assign(fixed, more);
      else if (name === 'pageview') view(more);
      else track(name, more);
    } catch (error) {
      // Never into the page.
    }
  };

  const api = (name, more) => {
    if (waiting) waiting.push([name, more]);
    else run(name, more);
  };
  api.on = 1;
  window[global] = api;

  if (navigator.doNotTrack === '1' || navigator.globalPrivacyControl) {
    waiting = { push() {} };
    return;
  }

  // ---- Start, once the page has been seen: not while it is prerendered or lies in a background tab. ----

  let late = false; // Seen only later than painted: its vitals would tell about the visitor's tabs.

  const start = () => {
    if (!waiting) return;
    if (doc.hidden || doc.prerendering) {
      late = !doc.prerendering;
      return;
    }
    const calls = waiting;
    waiting = null;
    // Settings first, then the page view that opens the session, then the rest in its order.
    for (const call of calls) if (call[0] === 'set') run(call[0], call[1]);

    if (!('manual' in options)) {
      let seen = 0;
      const route = () => {
        const next = here.pathname + ('hash' in options ? here.hash : '');
        if (next !== seen) {
          seen = next;
          run('pageview');
        }
      };
      route();
      ['pushState', 'replaceState'].forEach((method) => {
        const original = history[method];
        history[method] = function () {
          original.apply(this, arguments);
          route();
        };
      });
      listen(window, 'popstate hashchange', route);
      listen(window, 'pageshow', (event) => {
        if (event.persisted) run('pageview'); // Back from the back/forward cache.
      });
    }
    for (const call of calls) if (call[0] !== 'set') run(call[0], call[1]);

    if ('404' in options) {
      const entry = performance.getEntriesByType('navigation')[0] || {};
      if (doc.documentElement.dataset.status === '404' || entry.responseStatus === 404) run('not_found');
    }
    if ('vitals' in options && !late) observeVitals();

    listen(window, 'scroll pointerdown keydown', measure);
    listen(window, 'scroll pointerdown keydown pointermove focus blur', attend);
    listen(window, 'pagehide', leave);
    listen(doc, 'visibilitychange', () => (doc.hidden ? leave() : attend()));
    listen(doc, 'click auxclick', clicked);
    listen(doc, 'submit', submitted);
    attend();
  };

  listen(doc, 'visibilitychange prerenderingchange', start);
  start();
})();
