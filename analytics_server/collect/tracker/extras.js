/*
 * What only some pages ask of the tracker: excluded paths, routes in the fragment, clicks and forms, pages that were
 * not found, web vitals. tracker.js loads it when an option or a marked element asks for it.
 * `python -m analytics_server.collect.tracker.build` makes extras.min.js from it.
 *
 * It must never do what tracker.js must never do. Elements are read through Element.prototype, because the fields of a
 * form named `attributes`, `dataset` or `id` hide the form's own properties.
 */
(() => {
  const add = window[Symbol.for('analytics-server')];
  if (typeof add !== 'function') return;
  add((on, option, listen, safe, analytics) => {
    const doc = document;
    const here = location;
    const URL = window.webkitURL || window.URL; // Pages name things of their own URL; the alias stays.
    const elements = Element.prototype;
    const attribute = (element, name) => elements.getAttribute.call(element, name);
    const matches = safe((node, selector) => elements.matches.call(node, selector));

    // ---- Paths from which nothing is sent. Both sides are decoded, so that a path is excluded in every spelling. ----

    const plain = (path) =>
      path
        .replace(/(%[\da-f]{2})+/gi, (part) => safe(decodeURIComponent)(part) || part)
        .normalize('NFC')
        .replace(/\/+/g, '/');

    const excluded = option('exclude')
      .split(/[,;\n]|\s+(?=[/*])/)
      .map((pattern) => plain(pattern.trim().replace(/^\[?\s*["']|["']\s*\]?$/g, '').replace(/^https?:\/\/[^/]*/i, '').replace(/#!?\/?/, '/')))
      .filter((pattern) => pattern)
      .map(
        (pattern) =>
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
          )
      );

    const isExcluded = safe((address, onlyHere) => {
      const url = new URL(address);
      const path = plain(url.pathname);
      return (
        !(onlyHere && url.host !== here.host) &&
        excluded.some((pattern) => pattern.test(path) || pattern.test(path + plain(url.search)))
      );
    });

    // ---- The address of a page whose route is in the fragment: the route becomes part of the path. ----

    const routed = () => {
      const hash = here.hash.replace(/^#!?\/?/, '');
      const path = hash ? here.pathname.replace(/\/$/, '') + '/' + hash : here.pathname;
      return here.origin + path + (hash.includes('?') ? here.search.replace('?', '&') : here.search);
    };

    // ---- Clicks and forms. ----

    const DOWNLOADS =
      '7z,apk,avi,csv,dmg,doc,docx,epub,exe,gz,iso,mov,mp3,mp4,msi,pdf,pkg,ppt,pptx,rar,rtf,tar,txt,wav,xls,xlsx,zip';
    const given = option('downloads');
    const endings = (/^(true|1|yes|on|(data-)?downloads|)$/i.test(given) ? DOWNLOADS : given)
      .toLowerCase()
      .split(/[\s,;|]+/)
      .map((ending) => ending.replace(/^\*?\./, ''));

    const isWeb = (url) => /^https?:$/.test(url.protocol);

    // Where a link leads, in HTML, SVG and image maps; undefined where it leads nowhere.
    const target = safe((link) => {
      const address = attribute(link, 'href');
      return new URL(address === null ? attribute(link, 'xlink:href') : address, link.baseURI);
    });

    // The event that an element is marked with; undefined where it is not marked, or marked as false.
    const mark = safe((element) => {
      const name = attribute(element, 'data-analytics');
      return name === null || /^false$/i.test(name) ? undefined : name.replace(/^true$/i, '');
    });

    // Reports the use of an element. Text is left out where it would be labels, or what a visitor has typed.
    const used = (name, element) => {
      const props = {};
      for (const name of elements.getAttributeNames.call(element)) {
        const match = /^data-analytics-prop-(.+)/.exec(name);
        if (match) props[match[1]] = attribute(element, name);
      }
      const isForm = matches(element, 'form');
      const quiet = isForm || matches(element, 'textarea,select,[contenteditable]:not([contenteditable=false])');
      const url = matches(element, 'a[*|href],area[href]') && target(element);
      analytics(name, {
        props,
        element: {
          id: attribute(element, 'id') || undefined,
          tag: isForm ? 'form' : element.localName,
          text: (!quiet && (element.innerText || element.textContent).trim().slice(0, 100)) || undefined,
          // Of other than web addresses no more than the scheme, and that for downloads only.
          href: url ? (isWeb(url) ? url.href : name === 'download' ? url.protocol : undefined) : undefined
        }
      });
    };

    const clicked = (event, path) => {
      if (event.button > 1) return; // Left and middle button only.
      const marked = path.find((node) => mark(node) !== undefined);
      if (marked && !matches(marked, 'form')) return used(mark(marked) || 'click', marked);
      const link = path.find((node) => matches(node, 'a[*|href],area[href]'));
      const url = link && target(link);
      if (!url) return;
      const ending = url.pathname.split('.').pop().toLowerCase();
      if (on('downloads') && (link.hasAttribute('download') || (isWeb(url) && endings.includes(ending)))) {
        used('download', link);
      } else if (on('outbound') && isWeb(url) && url.host !== here.host) {
        used('outbound', link);
      }
    };

    const submitted = (form) => {
      const name = mark(form);
      if (name !== undefined || on('forms')) used(name || 'form', form);
    };

    const roots = new WeakSet();

    const act = safe((event, path) => {
      // A form that is submitted in a shadow root is not seen outside of it: listen in each root that is used.
      for (const node of path) {
        if (node.nodeType === 11 && !roots.has(node)) {
          roots.add(node);
          // A form in a slot is submitted in the page, though the event passes this root too.
          listen('submit', (event) => elements.getRootNode.call(event.target) === node && submitted(event.target), node);
        }
      }
      if (/click/.test(event.type)) clicked(event, path);
      else if (event.type === 'submit') submitted(path[0]);
    });

    // ---- A page that was not found. ----

    if (on('404')) {
      const entry = safe(() => performance.getEntriesByType('navigation')[0])() || {};
      if (doc.documentElement.dataset.status === '404' || entry.responseStatus === 404) analytics('not_found');
    }

    // ---- Web vitals, once for each page load; not of a page that was seen only later than painted. ----

    const vital = {};
    const rounded = (value) => Math.round(value * 1000) / 1000;

    const observe = safe((type, handler) =>
      new PerformanceObserver((list) => list.getEntries().forEach(safe(handler))).observe({
        type,
        buffered: true,
        durationThreshold: 40
      })
    );

    const measure = () => {
      let shift = 0; // The sum of the session window we are in: gaps up to 1 s, 5 s in all.
      let start = 0;
      let last = -1e4;
      // Prerendered pages start late.
      const origin = safe(() => performance.getEntriesByType('navigation')[0].activationStart)() || 0;
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

    let told = false;
    const report = () => {
      if (told) return;
      told = true;
      for (const name of Object.keys(vital)) analytics('web_vital', { props: { name, value: rounded(vital[name]) } });
    };

    if (on('vitals') && (doc.hidden !== true || doc.prerendering === true)) measure();

    return { x: isExcluded, a: act, v: report, ...(on('hash') && { h: routed }) };
  });
})();
