// "Right now": pageviews of the last thirty minutes and the pages they went to.

import { fill, h } from './dom.js';
import { count, counted, valueName } from './format.js';

const ROWS = 6;

export class Now {
  constructor(state) {
    this.state = state;
    this.bars = Array.from({ length: 30 }, (_, index) => h('i', { className: index === 29 ? 'empty running' : 'empty' }));
    this.minutes = h('div', { className: 'minutes', role: 'img', 'aria-label': 'Pageviews per minute' }, this.bars);
    this.peak = h('span', { className: 'number' }, '');
    this.body = h('div', { className: 'body' });
    this.shown = '';
    this.element = h('section', { className: 'card panel live', 'aria-label': 'Right now' },
      h('header', {}, h('h2', {}, 'Right now'), this.peak),
      h('div', { className: 'now' }, this.minutes, h('div', { className: 'axis', 'aria-hidden': 'true' }, h('span', {}, '30 min ago'), h('span', {}, '15 min'), h('span', {}, 'now'))),
      h('div', { className: 'columns' }, h('span', {}, 'Page, last 30 minutes'), h('span', {}, 'Visitors')),
      this.body);
    this.render({ pageviews_per_minute: Array(30).fill(0), pages: [] });
  }

  render({ pageviews_per_minute: minutes, pages }) {
    const most = Math.max(1, ...minutes);
    const total = minutes.reduce((sum, value) => sum + value, 0);
    minutes.forEach((value, index) => {
      this.bars[index].style.height = value ? `${Math.max(4, (100 * value) / most)}%` : '2px';
      this.bars[index].classList.toggle('empty', value === 0);
    });
    this.peak.textContent = `${count(total)} ${total === 1 ? 'pageview' : 'pageviews'}`;
    this.minutes.setAttribute('aria-label', `${count(total)} pageviews in the last 30 minutes, at most ${count(Math.max(...minutes))} in one minute.`);
    const text = JSON.stringify(pages);
    if (text === this.shown || this.body.contains(document.activeElement)) return;
    this.shown = text;
    if (!pages.length) {
      fill(this.body, h('div', { className: 'notice' }, h('strong', {}, 'Quiet at the moment'), h('span', {}, 'Visits show here within a second.')));
      return;
    }
    const top = pages[0].visitors || 1;
    fill(this.body, h('ul', {}, pages.slice(0, ROWS).map(({ path, visitors }) => {
      const name = valueName('event:page', path);
      const bar = h('span', { className: 'bar' });
      bar.style.setProperty('--part', visitors / top);
      return h('li', {}, h('button', { type: 'button', className: 'row', title: name, 'aria-label': `${name}: ${counted(visitors)}. Filter by this page.`, onclick: () => this.state.filterBy('event:page', path) },
        bar, h('span', { className: 'text' }, name), h('span', { className: 'count number' }, count(visitors))));
    })));
  }
}
