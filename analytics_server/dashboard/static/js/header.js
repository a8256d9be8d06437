// The bar on top: site, live visitors, date range, theme, sign-out.

import { COMPARISONS, isComparison, kindOf } from './comparisons.js';
import { fill, h, icon, picker } from './dom.js';
import { count } from './format.js';
import { customDays, dayIn, isRange, moveMonths, moveDays, RANGES, rangeLabel } from './ranges.js';

const LIVE_WORDS = { connecting: 'Connecting…', off: 'Reconnecting…' };

export class Header {
  /** `actions`: {onTheme(), onSignOut(), onShares(), onProfile()}; `signal` ends its listeners on the window. */
  constructor(state, sites, actions, signal) {
    this.state = state;
    this.sites = sites;
    this.status = 'connecting';
    this.visitors = null;
    this.live = h('span', { className: 'live-pill', 'data-live': 'connecting', title: 'Distinct visitors of the last five minutes' });
    this.site = h('span', { className: 'picker' });
    this.rangeText = h('span', { className: 'text' });
    this.menu = h('div', { className: 'menu', popover: 'auto', id: 'range-menu', role: 'dialog', 'aria-label': 'Date range' });
    this.button = h('button', { type: 'button', className: 'control range-button', 'aria-haspopup': 'dialog', popovertarget: 'range-menu' }, icon('calendar'), this.rangeText, icon('chevron'));
    this.theme = h('button', { type: 'button', className: 'control icon', 'aria-label': 'Switch between light and dark', title: 'Light or dark', onclick: actions.onTheme }, icon('moon'));
    this.shares = h('button', { type: 'button', className: 'control icon', 'aria-label': 'Share links', title: 'Share links', hidden: true, onclick: actions.onShares }, icon('link'));
    this.profile = h('button', { type: 'button', className: 'control icon', 'aria-label': 'Your account', title: 'Your account', hidden: true, onclick: actions.onProfile }, icon('person'));
    this.menu.addEventListener('beforetoggle', (event) => event.newState === 'open' && this.#renderMenu());
    this.menu.addEventListener('toggle', (event) => event.newState === 'open' && this.#placeMenu());
    window.addEventListener('resize', () => this.menu.matches(':popover-open') && this.#placeMenu(), { signal });
    this.element = h('header', { className: 'masthead' }, h('div', { className: 'frame' },
      h('span', { className: 'brand' }, icon('brand')), this.site, this.live, h('span', { className: 'spring' }),
      this.button, this.menu, this.theme, this.shares, this.profile,
      actions.onSignOut && h('button', { type: 'button', className: 'control icon', 'aria-label': 'Sign out', title: 'Sign out', onclick: actions.onSignOut }, icon('leave'))));
    window.addEventListener('scroll', () => this.element.toggleAttribute('data-scrolled', window.scrollY > 4), { passive: true, signal });
    this.render();
    this.#renderLive();
  }

  render() {
    const { site, range } = this.state.current;
    this.rangeText.textContent = rangeLabel(range);
    const chosen = picker({
      label: 'Site', value: site, options: this.sites.map(({ site_id: id }) => [id, id]),
      onchange: (id) => this.state.set({ site: id, filters: [] }),
    });
    if (!this.site.contains(document.activeElement) || this.shownSites !== this.sites) {
      this.site.replaceWith(chosen);
      this.site = chosen;
      this.shownSites = this.sites;
    }
  }

  /** What who is signed in may do: `me` of GET /api/v1/session; and the site's profile, or null. */
  showRights(me, profile) {
    const role = me?.roles[this.state.current.site];
    this.shares.hidden = !(me?.owner || role === 'admin' || role === 'owner');
    this.shares.toggleAttribute('data-left-out', profile?.sharing === false);
    this.shares.title = profile?.sharing === false ? `Share links: this site’s profile ${profile.name} forbids them` : 'Share links';
    this.profile.hidden = me?.kind !== 'person';
  }

  /** Where there are no live numbers. */
  hideLive() {
    this.live.hidden = true;
  }

  setLive(status, visitors = this.visitors) {
    if (status === this.status && visitors === this.visitors) return;
    this.status = status;
    this.visitors = visitors;
    this.#renderLive();
  }

  #renderLive() {
    this.live.dataset.live = this.status;
    fill(this.live, h('span', { className: 'live-dot' }), this.status === 'on'
      ? h('span', {}, h('strong', { className: 'number' }, count(this.visitors)), this.visitors === 1 ? ' visitor now' : ' visitors now')
      : h('span', {}, LIVE_WORDS[this.status]));
  }

  showTheme(dark) {
    fill(this.theme, icon(dark ? 'sun' : 'moon'));
  }

  #renderMenu() {
    const { range, site } = this.state.current;
    const timezone = this.sites.find(({ site_id: id }) => id === site)?.timezone ?? 'UTC';
    const today = dayIn(timezone);
    const [first, last] = customDays(range) ?? [today.slice(0, 8) + '01', today];
    const choose = (id) => {
      this.menu.hidePopover();
      this.state.set({ range: id });
    };
    const from = h('input', { type: 'date', value: first, max: today, 'aria-label': 'From' });
    const to = h('input', { type: 'date', value: last, max: today, 'aria-label': 'To' });
    const fault = h('span', { className: 'fault', role: 'alert', hidden: true }, 'The first day must not lie after the last.');
    const apply = (event) => {
      event.preventDefault();
      const id = `${from.value}..${to.value}`;
      fault.hidden = isRange(id);
      if (isRange(id)) choose(id);
    };
    fill(this.menu,
      h('div', { role: 'radiogroup', 'aria-label': 'Date range', onkeydown: arrows }, RANGES.map(({ id, label }) => h('button', {
        type: 'button', className: 'choice', role: 'radio', 'aria-checked': String(id === range), autofocus: id === range, onclick: () => choose(id),
      }, label, icon('check')))),
      h('hr'),
      h('form', { className: 'custom', onsubmit: apply, novalidate: true }, h('label', {}, 'From', from), h('label', {}, 'To', to), fault, h('button', { className: 'control' }, 'Show these days')),
      h('hr'),
      this.#comparison(today));
  }

  /** What to compare with. Days of one's own count once they are sent; the rest counts at once. */
  #comparison(today) {
    const place = h('div', { className: 'comparison' });
    const render = (kind) => {
      const { compare, weekday } = this.state.current;
      const choose = (id) => {
        if (id !== 'own') this.state.set({ compare: id });
        render(id);
        place.querySelector('select').focus();
      };
      const fixed = kind === 'own' || kind === 'off';
      fill(place,
        h('div', { className: 'with' }, h('span', {}, 'Compare with'), picker({
          label: 'Compare with', slim: true, value: kind, options: COMPARISONS.map(({ id, label }) => [id, label]), onchange: choose,
        })),
        kind === 'own' && this.#ownDays(compare, today),
        h('label', { className: 'toggle', 'data-off': fixed }, h('input', {
          type: 'checkbox', checked: weekday && !fixed, disabled: fixed, onchange: (event) => this.state.set({ weekday: event.target.checked }),
        }), 'Begin on the same weekday'));
    };
    render(kindOf(this.state.current.compare));
    return place;
  }

  #ownDays(compare, today) {
    const thisMonth = `${today.slice(0, 8)}01`;
    const [first, last] = customDays(compare) ?? [moveMonths(thisMonth, -1), moveDays(thisMonth, -1)];
    const from = h('input', { type: 'date', value: first, max: today, 'aria-label': 'Compare from' });
    const to = h('input', { type: 'date', value: last, max: today, 'aria-label': 'Compare to' });
    const fault = h('span', { className: 'fault', role: 'alert', hidden: true }, 'Two days are needed, in order, not before 2000.');
    const apply = (event) => {
      event.preventDefault();
      const id = `${from.value}..${to.value}`;
      fault.hidden = isComparison(id);
      if (!isComparison(id)) return;
      this.menu.hidePopover();
      this.state.set({ compare: id });
    };
    return h('form', { className: 'custom', onsubmit: apply, novalidate: true },
      h('label', {}, 'From', from), h('label', {}, 'To', to), fault, h('button', { className: 'control' }, 'Compare with these days'));
  }

  #placeMenu() {
    const box = this.button.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.right - this.menu.offsetWidth), window.innerWidth - this.menu.offsetWidth - 8);
    this.menu.style.left = `${left}px`;
    this.menu.style.top = `${box.bottom + 6}px`;
    this.menu.style.maxHeight = `${Math.max(160, window.innerHeight - box.bottom - 14)}px`;
  }
}

function arrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const buttons = [...event.currentTarget.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  buttons[(at + step + buttons.length) % buttons.length].focus();
}
