// The dialog of a site's share links: what there is, a new one, and the end of one. A link's address is shown once.

import { dialog, section } from './dialog.js';
import { fill, h, picker } from './dom.js';
import { field, form } from './forms.js';

const LEAST_THRESHOLD = 2;
const MOST_THRESHOLD = 1_000;

/** Open the dialog. `api`: of who may manage the site's links; `profile`: the site's, or null. */
export function openShares(api, site, profile) {
  const list = h('ul', { className: 'entries' });
  const made = h('div', { className: 'made', role: 'status' });
  const status = h('p', { className: 'hint' }, 'Loading…');
  const place = h('div');
  const mayShare = profile?.sharing !== false;
  const about = mayShare ? 'Anyone with the link sees this site’s numbers, read-only, without signing in.'
    : `This site’s profile ${profile.name} forbids share links: there can be no new ones, and earlier ones are closed.`;
  const { element, signal } = dialog(`Share links of ${site}`,
    section('Links', status, list),
    section('A new link', h('p', { className: 'hint' }, about), place, made));

  async function load() {
    try {
      const { share_links: links } = await api.shareLinks(site, signal);
      status.hidden = links.length > 0;
      status.textContent = 'There are none yet.';
      fill(list, links.map(entry));
    } catch (error) {
      if (signal.aborted) return;
      status.hidden = false;
      status.textContent = error.message;
    }
  }

  function entry(link) {
    const revoke = h('button', { type: 'button', className: 'control', onclick: () => end(link, revoke) }, 'Revoke');
    revoke.addEventListener('blur', () => { revoke.textContent = 'Revoke'; });
    return h('li', {},
      h('div', {}, h('strong', {}, link.name || `Link ${link.link_id}`), h('span', { className: 'hint' }, shows(link))), revoke);
  }

  async function end(link, button) {
    if (button.textContent === 'Revoke') {
      button.textContent = 'Revoke for good';
      return;
    }
    button.disabled = true;
    try {
      await api.revokeShareLink(link.link_id);
      await load();
      element.querySelector('h2').focus();
    } catch (error) {
      button.disabled = false;
      status.hidden = false;
      status.textContent = error.message;
    }
  }

  async function show() {
    const { segments } = await api.segments(site, signal).catch(() => ({ segments: [] }));
    if (signal.aborted) return;
    const name = field('share-name', 'text', { maxlength: '120' });
    const page = field('share-page', 'text', { placeholder: '/blog', maxlength: '2048' });
    const threshold = field('share-threshold', 'number', { min: String(LEAST_THRESHOLD), max: String(MOST_THRESHOLD), step: '1' });
    const expires = field('share-expires', 'date', {});
    const password = field('share-password', 'password', { autocomplete: 'new-password', minlength: '8' });
    let segment = '';
    const chosen = picker({ label: 'Saved segment', value: '', options: [['', 'Everything'], ...segments.map(({ id, name: text }) => [id, text])], onchange: (id) => { segment = id; } });
    fill(place, form({
      fields: [['Name', name], ['Only pages that contain', page], ['Put rows of fewer visitors together', threshold], ['Ends on', expires], ['Password', password]],
      rest: segments.length > 0 && h('div', { className: 'pair' }, h('span', { className: 'label' }, 'Saved segment'), chosen),
      button: 'Make a link',
      onSubmit: async () => {
        try {
          const link = await api.makeShareLink({
            site_id: site, name: name.value.trim(), segment, password: password.value,
            ...(page.value.trim() && { filters: [['contains', 'event:page', [page.value.trim()]]] }),
            ...(threshold.value && { threshold: Number(threshold.value) }),
            ...(expires.value && { expires_at: `${expires.value}T00:00:00Z` }),
          });
          await Promise.all([show(), load()]);
          showMade(link);
        } catch (error) {
          return { fault: error.message };
        }
        return {};
      },
    }));
  }

  function showMade({ link }) {
    const text = h('input', { className: 'field', readonly: true, value: link, 'aria-label': 'The new link', onfocus: () => text.select() });
    const copy = h('button', { type: 'button', className: 'control', onclick: () => copyText(text, copy) }, 'Copy');
    fill(made, h('p', {}, 'The link, shown this once:'), h('div', { className: 'copied' }, text, copy));
    made.scrollIntoView({ block: 'nearest' });
    copy.focus();
  }

  if (mayShare) show();
  load();
}

/** What a link shows, in words. */
function shows(link) {
  const parts = link.filters.map(([operator, dimension, values]) => `${dimension.replace(/^(event|visit):/, '')} ${operator.replace('_', ' ')} ${values.join(', ')}`);
  if (link.segment) parts.push(link.segment_name === null ? 'its segment was deleted: shows nothing' : `segment ${link.segment_name}`);
  if (link.threshold) parts.push(`rows of fewer than ${link.threshold} visitors together`);
  if (link.has_password) parts.push('password');
  if (link.expires_at) parts.push(`ends ${link.expires_at.slice(0, 10)}`);
  return parts.join(' · ') || 'Everything, without end';
}

async function copyText(input, button) {
  try {
    await navigator.clipboard.writeText(input.value);
    button.textContent = 'Copied';
  } catch {
    input.select(); // No clipboard without HTTPS: the text is selected instead.
    button.textContent = 'Press Ctrl C';
  }
}
