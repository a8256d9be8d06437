/*
 * The browser tracker, readable source. `python -m analytics_server.collect.tracker.build` makes a.js from it.
 *
 * What it must never do: write to any storage (cookie, localStorage, sessionStorage, IndexedDB, Cache), read
 * anything that tells one browser from another, throw into the page that includes it, take a global that the page
 * uses, or send to any host but the one it came from. Pages patch, remove and shadow everything, so each call of the
 * platform is guarded.
 * What it must be: 3 kB gzipped at most, free of dependencies, safe to include twice. What only some pages ask for
 * stands in extras.js, which is loaded when an option or a marked element asks for it.
 *
 * Syntax and built-ins are those of ES2019, so every browser since that year reads it as it stands.
 */
(() => {
  const BATCH_DELAY_MS = 200; // Long enough for a router to set the title, short enough for a live view.
  const BATCH_EVENTS = 50; // A full batch leaves at once.
  const BATCH_BYTES = 3e4; // Half of the keepalive budget: the other half is for leaving.
  const KEEPALIVE_BYTES = 6e4; // Browsers allow 64 KiB for all keepalive requests and beacons in flight.
  const SMALL_BYTES = 1e4; // A request that is cheap to repeat.
  const QUEUE_EVENTS = 1e4; // More are not kept while the server can't be reached; the oldest go first.
  const RETRY_MS = 5000; // Doubled with each failure in a row, six times at most.
  const ANSWER_MS = 3e4; // A request without an answer has failed after this.
  const LATE_MS = 1000; // Events sent later than this carry their own time.
  const TITLE_MS = 3000; // So long a view in an application waits for its router to set a title,
  const LOAD_MS = 1000; // the first view for the page to load, and a view may still be redirected by replaceState.
  const IDLE_MS = 3e4; // Without a sign of life, attention ends after this.
  const REPORT_MS = 1000; // Less engaged time than this is not worth an event of its own.
  const SETTLE_MS = 1000; // By then a new view has replaced the old one's content.

  const doc = document;
  const here = location;

  // Runs the work; what goes wrong in it never reaches the page.
  const safe =
    (work) =>
    (...given) => {
      try {
        return work(...given);
      } catch {
        // The page goes on as if we were not there.
      }
    };

  const listen = (names, handler, target = window) =>
    names.split(' ').forEach((name) => target.addEventListener(name, safe(handler), true));

  safe(() => {
    const copy = Symbol.for('analytics-server');
    if (window[copy]) return; // A second copy on the same page stays silent.

    // ---- Where the script came from, and what its element or address asks for. ----

    // A module, or what import() brought, has no current script, but its address stands in a stack trace. A page's own
    // element named currentScript is none.
    const current = doc.currentScript || {};
    const source = new URL(current.src || /https?:\/\/[^\s()]+?(?=:\d+:\d+)/.exec(Error().stack));
    const element = current.src ? current : [...doc.scripts].find((script) => script.src === source.href) || {};
    const options = { ...Object.fromEntries(source.searchParams), ...element.dataset };
    // An option's text; empty where it is missing or off, as people and frameworks write that.
    const option = (name) => (/^\s*(undefined|null|false|no|off|0)\s*$/i.test(options[name]) ? '' : options[name].trim());
    const on = (name) => option(name) || options[name] === '';

    // Code of ours inside another script (a bundle, eval) would send to that script's host: only a script of our
    // name, or one whose element is plainly ours, goes on. The server fills in the placeholders: its script's name,
    // and the way from the script's address to the endpoint's, so that a proxy may move both under any prefix.
    if (!(source.pathname.endsWith('/__NAME__') || (current.src && (options.site || options.api)))) return;
    const endpoint = option('api') ? new URL(option('api'), here).href : new URL('__COLLECT__', source).href;

    // ---- Sending: entries are {e: event, t: when it happened, r: already tried}; a view's also say until when it
    // waits (u), and for what (w). ----

    let queue = [];
    let timer;
    let failures = 0;
    let broken; // The last request did not even get an answer.
    const flights = new Set(); // Requests without an answer: {s: entries, b: body, n: bytes, k: kept alive}.

    const schedule = (delay) => {
      if (!timer) timer = setTimeout(flush, delay);
    };

    // The next entries of the queue for one request: at least one, at most so many bytes. They stay in the queue until
    // the browser has taken the request, because it may end a script of a page that goes at any point.
    const take = (most, events) => {
      const parts = [];
      const now = Date.now();
      let n = 2;
      for (const entry of queue.slice(0, events)) {
        // The server reads `timestamp` relative to `sent_at`: a device's clock may be hours off.
        const late = now - entry.t > LATE_MS && { timestamp: entry.t, sent_at: now };
        const part = JSON.stringify({ ...late, ...entry.e });
        const bytes = new Blob([part]).size + 1;
        if (parts[0] && n + bytes > most) break;
        n += bytes;
        parts.push(part);
      }
      // One event goes without an array, unless it is larger than a request with one event may be.
      return { s: queue.slice(0, parts.length), b: parts[1] || n > KEEPALIVE_BYTES ? `[${parts}]` : parts[0], n };
    };

    const post = (flight) => {
      // Two of them fill the budget at most. What failed once is better off without.
      flight.k = flights.size < 2 && flight.n <= BATCH_BYTES && !flight.s.some((entry) => entry.r);
      flights.add(flight);
      const answered = safe((status) => {
        if (!flights.delete(flight)) return; // The page was left meanwhile, and they went out once more.
        broken = !status && !broken;
        let delay = queue[BATCH_EVENTS] ? 0 : BATCH_DELAY_MS;
        if (!status || status === 429 || status > 499) {
          delay = RETRY_MS * 2 ** Math.min(failures++, 6);
          flight.s.forEach((entry) => (entry.r = 1));
          queue = flight.s.concat(queue).slice(-QUEUE_EVENTS);
          timer = clearTimeout(timer); // What came meanwhile waits too.
        } else failures = 0;
        schedule(delay);
      });
      // Browsers give the budget for keepalive requests back once the answer's body has been read, and no sooner.
      // A string goes out as text/plain, which needs no CORS preflight.
      new Promise((resolve, reject) => {
        setTimeout(reject, ANSWER_MS);
        if (window.fetch && !broken) {
          window.fetch(endpoint, { credentials: 'omit', keepalive: flight.k, method: 'POST', body: flight.b })
            .then((answer) => answer.text().then(() => answer.status))
            .then(resolve, reject);
        } else {
          // Where there is no fetch, or the page's own does not work.
          const call = new XMLHttpRequest();
          call.onloadend = () => resolve(call.status);
          call.open('POST', endpoint);
          call.send(flight.b);
        }
      }).then(answered, () => answered());
    };

    // Sends what waits, one request at a time, so that events arrive in their order. With `now`, all of it at once.
    const flush = safe((now) => {
      timer = clearTimeout(timer);
      nameView();
      while (queue[0] && (now || !flights.size)) {
        const held = view && Date.now() < view.u && view.w() ? queue.indexOf(view) : -1;
        if (!now && !held) return schedule(BATCH_DELAY_MS);
        const flight = take(BATCH_BYTES, now || held < 0 ? BATCH_EVENTS : Math.min(held, BATCH_EVENTS));
        post(flight);
        queue.splice(0, flight.s.length);
      }
    });

    // The page is going. A beacon outlives it everywhere; requests that do not are given up and sent again this way.
    // Small ones under way are repeated too, because a beacon may overtake them, and the first event tells where a
    // session came from. What arrives twice is counted once, by its event_id.
    const abandon = () => {
      let used = 0;
      flights.forEach((flight) => {
        used += flight.k && flight.n;
        if (!flight.k || flight.n < SMALL_BYTES) {
          flights.delete(flight);
          queue = flight.s.concat(queue);
        }
      });
      nameView();
      while (queue[0]) {
        const flight = take(KEEPALIVE_BYTES - used, QUEUE_EVENTS);
        if (safe(() => navigator.sendBeacon(endpoint, flight.b))()) used += flight.n;
        else post(flight);
        queue.splice(0, flight.s.length);
      }
    };

    // ---- Events. ----

    const fixed = {}; // What analytics('set', …) fixed for this page load: user_id, session_id, props.
    // What extras.js replaces: is a URL excluded, what address to report, what to report when leaving; and it adds
    // a: act on what the visitor does. Fragments stay at home, unless a route is in them.
    const extra = { x: () => 0, h: () => here.href.split('#')[0], v: () => 0 };
    let view; // The entry of the page view we are in; null on excluded pages.
    let known; // The title that was last seen: another one belongs to a new view.
    let titled; // Whether the page gave it a title of its own.
    let first = true; // Only the first page view of a page load carries document.referrer.

    // A copy of an event's fields: the page may go on changing its objects. What JSON can't hold is left out, and costs
    // nothing else. What kind of value a field wants is the server's business.
    const fields = (given, inner) => {
      const found = {};
      Object.keys(Object(given)).forEach(
        safe((key) => (found[key] = key === 'props' && !inner ? fields(given.props, 1) : JSON.parse(JSON.stringify(given[key]))))
      );
      return found;
    };

    // An element named title hides the document's.
    const title = () => (doc.title.trim ? doc.title : '');

    // The view's title, as late as possible: routers set it after they have changed the address.
    const nameView = () => {
      if (queue.includes(view) && !titled) known = view.e.title = title();
    };

    const uuid = () =>
      '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (place) =>
        (place ^ (crypto.getRandomValues(new Uint8Array(1)) & (15 >> (place / 4)))).toString(16)
      );

    // Queues one event; `more` holds any field of the HTTP contract. Returns its entry, or undefined on an excluded page.
    const track = (name, more) => {
      more = fields(more);
      const url = new URL(more.url || (view ? view.e.url : extra.h()), here) + '';
      if (!name || extra.x(url)) return;
      const props = { ...fixed.props, ...more.props };
      const { width, height } = Object(window.screen);
      const entry = {
        t: Date.now(),
        e: {
          site: option('site') || here.hostname,
          event_id: safe(uuid)(),
          title: title(),
          // An iPad says it is a Mac; its touch points alone tell. No other device says how many it has.
          screen: { width, height, touch: (/Mac/.test(navigator.platform) && navigator.maxTouchPoints) || undefined },
          language: navigator.language,
          ...fixed,
          ...more,
          name: name + '',
          url,
          props: Object.keys(props)[0] && props
        }
      };
      if (queue.push(entry) > QUEUE_EVENTS) queue.shift();
      if (queue[BATCH_EVENTS] && !failures) flush();
      else schedule(BATCH_DELAY_MS);
      return entry;
    };

    // Begins a new page view: what the old one has gathered goes out first.
    const begin = (more) => {
      nameView();
      const before = known;
      report(1);
      view = undefined;
      const referrer = (first && !extra.x(doc.referrer, 1) && doc.referrer) || undefined;
      view = track('pageview', { referrer, ...more });
      titled = more && more.title;
      if (view && !titled) {
        const loads = first;
        view.u = view.t + (loads ? LOAD_MS : TITLE_MS);
        view.w = () => (loads ? doc.readyState > 'd' /* not yet complete */ : title() === before);
      }
      first = first && !view;
      reported = engaged = bottom = 0;
      clearTimeout(settling);
      settling = setTimeout(safe(measure), SETTLE_MS);
    };

    // ---- Attention: the deepest scroll, and the time the page is visible, focused and in use. ----

    let box; // What scrolls: the document's own scroller, or the largest element that does.
    let bottom = 0; // The lowest point seen, in pixels from the top.
    let height = 0; // The height of the content when it was last measured; 0 where nothing tells.
    let reported = 0; // The scroll depth last reported.
    let engaged = 0; // Engaged milliseconds since the last report.
    let attentive;
    let since; // When attention was last counted.
    let settling;

    // Not right after a change of view: the old content may still stand there, scrolled down. It is called when the view
    // has settled, when the page is scrolled or used (which is just before most changes of view), and when it is left.
    const measure = () => {
      known = title();
      const root = doc.scrollingElement || doc.documentElement;
      let area = 1e5; // Smaller ones are not the page.
      const flow = (element) => getComputedStyle(element).overflowY;
      const search = (parent) =>
        parent.querySelectorAll('*').forEach((element) => {
          const size = element.clientWidth * element.clientHeight;
          if (size > area && element.scrollHeight > element.clientHeight + 1 && /auto|scroll/.test(flow(element))) {
            box = element;
            area = size;
          }
          if (element.shadowRoot) search(element.shadowRoot);
        });
      box = root;
      // A page that is fixed in the window: what scrolls is inside of it, or is not known.
      const fits = root.scrollHeight < innerHeight * 1.1;
      if (fits) search(doc);
      bottom = Math.max(bottom, box.scrollTop + box.clientHeight);
      height = fits && box === root && /hidden|clip/.test(flow(root) + flow(doc.body)) ? 0 : box.scrollHeight;
    };

    // Called at each sign of life and at each change of visibility or focus.
    const attend = () => {
      const now = performance.now();
      if (attentive) engaged += Math.min(now - since, IDLE_MS);
      since = now;
      attentive = doc.hasFocus();
    };

    // A page that fits the window may still grow: that it was seen whole is told only when it is left for good.
    const report = safe((final) => {
      attend();
      let depth = height && Math.min(100, Math.round((bottom / height) * 100));
      if (depth > 99 && bottom <= innerHeight && !final) depth = 0;
      if (!view || (depth <= reported && engaged < REPORT_MS)) return;
      const more = { title: view.e.title, engagement_ms: engaged | 0, scroll_depth: depth || undefined };
      reported = Math.max(reported, depth);
      engaged = 0;
      track('engagement', more);
    });

    // The page may never come back. Hidden, it lives on where requests outlive it, so that failed ones can be repeated.
    const leave = (final) => {
      safe(measure)();
      report(final);
      extra.v();
      attentive = false;
      if (final) abandon();
      else flush(1);
    };

    // ---- The public function. ----

    let waiting = [];
    const gated = on('exclude') || on('hash'); // Without these no view can be told from another.

    const run = safe((name, more) => {
      if (name === 'set') Object.assign(fixed, fields(more));
      else if (name === 'pageview') begin(more);
      else track(name, more);
    });

    const api = (name, more) => {
      if (waiting && name !== 'set') waiting.push([name, more]);
      else run(name, more);
    };

    // Takes over what the documented line keeps, and leaves everything else that the page calls so alone.
    [option('function') || 'analytics', option('global')].forEach(
      safe((name) => {
        const stub = window[name];
        if (name && (stub === undefined || (stub.call && /\.q\b/.test(stub)))) {
          window[name] = api;
          if (stub) for (const call of stub.q || []) api(...call);
        }
      })
    );

    // ---- Start, once the page has been seen: not while it is prerendered or lies in a background tab. ----

    const follow = safe(() => {
      let seen;
      const route = safe((replaced) => {
        const next = extra.h().split('?')[0];
        if (next === seen) return;
        seen = next;
        if (replaced && queue.includes(view) && Date.now() - view.t < LOAD_MS && !extra.x(extra.h())) {
          view.e.url = extra.h(); // A redirect: the view that was not sent yet takes the new address.
        } else begin();
      });
      route();
      if (safe(() => navigation.currentEntry.key)()) {
        // Every change of the address, whichever way a router goes about it. (Sandboxed documents are told of none, and
        // have no entry.)
        listen('currententrychange', (event) => route(event.navigationType === 'replace'), navigation);
      } else {
        ['pushState', 'replaceState'].forEach(
          safe((method) => {
            const original = history[method];
            history[method] = function () {
              const result = original.apply(this, arguments);
              route(method > 'q');
              return result;
            };
          })
        );
        listen('popstate hashchange', () => route());
        setInterval(route, 500);
      }
      listen('pageshow', (event) => event.persisted && begin({ title: title() })); // From the back/forward cache.
    });

    const start = safe(() => {
      // Only true counts: an element of the page may hide these. What excludes pages must be there first.
      if (!waiting || doc.hidden === true || doc.prerendering === true || (gated && !extra.a)) return;
      const calls = waiting;
      waiting = 0;
      // The page view that opens the session comes before what the page has called meanwhile.
      if (!on('manual')) follow();
      for (const call of calls) api(...call);
      listen('scroll pointerdown keydown', measure);
      listen('scroll pointerdown keydown pointermove focus blur', attend);
      listen('pagehide', () => leave(1));
      listen('visibilitychange', () => (doc.hidden === true ? leave() : attend()));
      attend();
    });

    // ---- What only some pages ask for stands in a second file, under the same address so that any proxy passes it on. ----

    let acts; // What the visitor did while that file was on its way.

    const load = safe(() => {
      if (acts) return;
      acts = [];
      window[copy] = safe((make) => {
        Object.assign(extra, make(on, option, listen, safe, api));
        acts.forEach((act) => extra.a(...act));
        start();
      });
      const address = new URL('?more', source).href;
      try {
        // By an element, the page's load event waits for it, and so do those who wait for that.
        const script = doc.createElement('script');
        script.src = address;
        script.nonce = current.nonce.trim();
        doc.head.append(script);
      } catch {
        // Trusted Types forbid that, and a script without an element has no nonce to give.
        import(address).catch(() => {});
      }
    });

    const act = (event) => {
      const path = event.composedPath(); // Through open shadow roots too.
      if (path.some((node) => node.dataset && 'analytics' in node.dataset)) load();
      if (extra.a) extra.a(event, path);
      else if (acts) acts.push([event, path]);
    };

    window[copy] = 1;
    if (navigator.doNotTrack > 0 || navigator.globalPrivacyControl) waiting = { push() {} };
    else {

      if (gated || 'outbound downloads forms vitals 404'.split(' ').some(on) || safe(() => doc.querySelector('[data-analytics]'))()) load();
      listen('click auxclick submit focusin pointerdown keydown', act);
      listen('visibilitychange prerenderingchange', start);
      start();
    }
  })();
})();
