// The page before there is a report: a site without visits.

import { BASE } from './api.js';
import { fill, h } from './dom.js';
import { dropNotice } from './drops.js';

const WAITING = 'Waiting for the first visit. This page changes by itself.';
const DEMO_SITE = 'demo.example'; // The site of the pages under /demo, which carry their tag already.

/**
 * What to do when a site (or the whole server) has not seen a visit yet.
 * `explain(drops)` shows what came and was not counted: [{site_id, reason, rejected, events, about, remedy, examples}].
 */
export function begin({ site, status }) {
  const origin = location.origin + BASE;
  const own = site === DEMO_SITE ? '' : site;
  const path = document.documentElement.dataset.scriptPath || '/a.js';
  const tag = `<script defer src="${origin}${path}" data-site="${own || 'example.com'}"></script>`;
  const code = h('pre', { tabindex: '0' }, h('code', {}, tag));
  const copy = h('button', { type: 'button', onclick: () => copyText(tag, code, copy) }, 'Copy');
  const waiting = h('span', {}, WAITING);
  const dropped = h('div', { className: 'dropped', role: 'status', hidden: true });
  const element = h('section', { className: 'card begin', 'aria-label': 'Getting started' },
    h('h2', {}, site ? `No visits to ${site} yet` : 'No visits yet'),
    site === DEMO_SITE && h('p', {}, h('a', { href: `${BASE}/demo`, target: '_blank', rel: 'noopener' }, 'Open the demo pages'), ' and click around: they are measured already.'),
    h('p', {}, 'Paste this tag into the head of your pages. It sets no cookie and stores nothing in the browser, so it needs no consent banner.', own ? '' : ' Put your site’s host name in the place of example.com: the site is created by its first visit.'),
    h('div', { className: 'snippet' }, code, copy),
    h('p', { className: 'waiting', role: 'status' }, h('span', { 'data-live': status }, h('span', { className: 'live-dot' })), waiting),
    dropped,
    h('div', { className: 'help' },
      h('p', {}, 'Nothing arrives? Visits from browsers that send Do Not Track or Global Privacy Control are not counted, nor are bots. An ad blocker may stop the script.')));
  let shown = '';
  const explain = (drops) => {
    const text = JSON.stringify(drops.map(({ last_at_ms: _, last_at: __, ...drop }) => drop));
    if (text === shown) return;
    shown = text;
    dropped.hidden = drops.length === 0;
    waiting.textContent = drops.length ? 'Waiting for the first visit that counts. This page changes by itself.' : WAITING;
    fill(dropped, drops.map((drop) => dropNotice(drop, site)));
  };
  return { element, explain };
}

async function copyText(text, code, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(code); // No clipboard without HTTPS: the text is selected instead.
    button.textContent = 'Press Ctrl C';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 2_000);
}
