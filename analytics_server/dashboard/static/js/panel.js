// One panel: a ranked list with bars. Its height never changes, whatever it shows.

import { isAbort } from './api.js';
import { fill, h, picker, tabList } from './dom.js';
import { count, counted, dimensionName, fewer, share, valueName } from './format.js';
import { panelQuery } from './panels.js';

export const ROWS = 9;

export class Panel {
  /** `context`: {state, api(), view(), openDetails(panel, tab), visitors(), profile(), leftOut()} */
  constructor(spec, context) {
    this.spec = spec;
    this.context = context;
    this.tabs = spec.tabs.map((tab) => (tab.choices ? { ...tab, chosen: tab.choices[0] } : tab));
    this.selected = spec.selected;
    this.answer = null;
    const bodyId = `panel-${spec.id}`;
    this.columns = h('div', { className: 'columns' });
    this.body = h('div', { className: 'body', id: bodyId, role: this.tabs.length > 1 ? 'tabpanel' : null, 'aria-label': spec.title });
    this.more = h('button', { type: 'button', disabled: true, onclick: () => context.openDetails(this.tab()) }, 'Details');
    this.element = h('section', { className: 'card panel', 'aria-label': spec.title },
      h('header', {}, h('h2', {}, spec.title), this.tabs.length > 1 && tabList({
        label: spec.title, tabs: this.tabs, selected: this.selected, panelId: bodyId, onselect: (id) => this.#select(id),
      })),
      this.columns, this.body, h('footer', {}, this.more));
    this.#skeleton();
    this.#renderColumns();
  }

  /** The tab in view, with its dimension. */
  tab() {
    const tab = this.tabs.find(({ id }) => id === this.selected);
    return tab.choices ? { ...tab.chosen, known: tab.known } : tab;
  }

  #select(id) {
    this.selected = id;
    this.#renderColumns();
    this.#skeleton();
    this.load();
  }

  #renderColumns() {
    const tab = this.tabs.find(({ id }) => id === this.selected);
    const name = tab.choices
      ? picker({
        label: 'Campaign tag', slim: true, value: tab.chosen.id, options: tab.choices.map(({ id, label }) => [id, label]),
        onchange: (id) => {
          tab.chosen = tab.choices.find((choice) => choice.id === id);
          this.#skeleton();
          this.load();
        },
      })
      : h('span', {}, dimensionName(tab.dimension));
    fill(this.columns, name, h('span', { className: 'numbers' },
      h('span', {}, 'Visitors'), tab.extra ? h('span', { className: 'extra' }, 'Total') : h('span', { className: 'share' }, 'Share')));
  }

  #skeleton() {
    this.answer = null;
    this.more.disabled = true;
    this.body.setAttribute('aria-busy', 'true');
    fill(this.body, Array.from({ length: ROWS }, (_, index) => {
      const bone = h('i', { className: 'bone', 'aria-hidden': 'true' });
      bone.style.width = `${92 - index * 8}%`;
      return bone;
    }));
  }

  /** Ask and show. A quiet load (live refresh) keeps what is there if it fails. */
  async load({ quiet = false } = {}) {
    this.controller?.abort();
    const controller = this.controller = new AbortController();
    if (!quiet && this.answer) this.body.toggleAttribute('data-stale', true);
    const tab = this.tab();
    const profile = this.context.profile();
    this.#greyOut(profile);
    if (leavesOut(profile, tab)) return this.#notice('Not collected', `This site’s profile ${profile.name} leaves it out.`);
    if (this.context.leftOut().includes(tab.dimension)) return this.#notice('Not shown', 'This link leaves it out.');
    const metrics = tab.extra ? ['visitors', tab.extra] : ['visitors'];
    try {
      const answer = await this.context.api().query(panelQuery(this.context.view(), tab, { metrics, limit: ROWS }), controller.signal);
      if (!controller.signal.aborted) this.#show(tab, answer);
    } catch (error) {
      if (isAbort(error) || controller.signal.aborted || error.status === 401) return;
      if (!quiet) this.#fault(error);
    }
  }

  /** What the site's profile leaves out is seen before it is chosen. */
  #greyOut(profile) {
    this.element.toggleAttribute('data-left-out', leavesOut(profile, this.tab()));
    this.element.querySelectorAll('[role="tab"]').forEach((button, index) => {
      const isLeftOut = leavesOut(profile, this.tabs[index]);
      button.toggleAttribute('data-left-out', isLeftOut);
      button.title = isLeftOut ? `Not collected: this site’s profile ${profile.name} leaves it out` : '';
    });
  }

  #notice(title, text) {
    this.answer = null;
    this.more.disabled = true;
    this.body.removeAttribute('data-stale');
    this.body.removeAttribute('aria-busy');
    fill(this.body, h('div', { className: 'notice' }, h('strong', {}, title), h('span', {}, text)));
  }

  #show(tab, answer) {
    this.answer = answer;
    this.body.removeAttribute('data-stale');
    this.body.removeAttribute('aria-busy');
    const focused = this.body.contains(document.activeElement) ? [...this.body.querySelectorAll('button')].indexOf(document.activeElement) : -1;
    this.more.disabled = answer.results.length === 0;
    if (answer.results.length === 0) {
      const [title, hint] = tab.empty ?? ['Nothing in this period', ''];
      fill(this.body, h('div', { className: 'notice' }, h('strong', {}, title), h('span', {}, hint)));
      return;
    }
    const most = answer.results[0].metrics[0] || 1;
    const total = this.context.visitors() ?? 0;
    fill(this.body, h('ul', {}, answer.results.map((row) => h('li', {}, row.below_threshold ? this.#rest(tab, row, answer.meta.threshold, total) : this.#row(tab, row, most, total)))));
    if (focused >= 0) this.body.querySelectorAll('button')[focused]?.focus();
  }

  stop() {
    this.controller?.abort();
  }

  /** Draw the shares anew when the headline's visitors have arrived. */
  refreshShares() {
    if (this.answer) this.#show(this.tab(), this.answer);
  }

  #row(tab, { dimensions: [value], metrics: [visitors, extra] }, most, total) {
    const name = valueName(tab.dimension, value);
    const part = tab.extra ? '' : share(visitors, total);
    const bar = h('span', { className: 'bar' });
    bar.style.setProperty('--part', visitors / most);
    const code = tab.dimension === 'visit:country' && value ? h('span', { className: 'code', 'aria-hidden': 'true' }, value) : null;
    return h('button', {
      type: 'button', className: 'row', title: name, onclick: () => this.context.state.filterBy(tab.dimension, value ?? ''),
      'aria-label': `${name}: ${counted(visitors)}${part && `, ${part}`}. Filter by this ${dimensionName(tab.dimension).toLowerCase()}.`,
    },
    bar,
    h('span', { className: value ? 'text' : 'text unset' }, code, name),
    h('span', { className: 'count number' }, count(visitors)),
    h('span', { className: tab.extra ? 'extra number' : 'share number' }, tab.extra ? count(extra) : part));
  }

  /** All rows of too few visitors to be shown: nothing to filter by. */
  #rest(tab, { metrics: [visitors, extra] }, threshold, total) {
    return h('span', { className: 'row rest' }, h('span', { className: 'text unset' }, fewer(threshold)),
      h('span', { className: 'count number' }, count(visitors)),
      h('span', { className: tab.extra ? 'extra number' : 'share number' }, tab.extra ? count(extra) : visitors === null ? '' : share(visitors, total)));
  }

  #fault(error) {
    this.answer = null;
    this.more.disabled = true;
    this.body.removeAttribute('data-stale');
    this.body.removeAttribute('aria-busy');
    fill(this.body, h('div', { className: 'notice', role: 'alert' }, h('strong', {}, `${this.spec.title} could not be loaded`), h('span', {}, error.message),
      h('button', { type: 'button', className: 'control', onclick: () => { this.#skeleton(); this.load(); } }, 'Try again')));
  }
}

/** Does a site's profile, or null, leave out all that a tab has to show? */
function leavesOut(profile, { choices, ...tab }) {
  return (choices ?? [tab]).every(({ dimension }) => profile?.left_out.some(({ dimensions }) => dimensions.includes(dimension)) ?? false);
}
