// The whole list behind a panel: a dialog with search and pages.

import { isAbort, MOST_ROWS } from './api.js';
import { csvOf, saveCsv } from './csv.js';
import { fill, h, icon } from './dom.js';
import { count, dimensionName, duration, fewer, percent, valueName } from './format.js';
import { panelQuery } from './panels.js';

const PAGE = Math.min(50, MOST_ROWS);
const SEARCH_DELAY_MS = 250;
const COLUMNS = {
  visitors: ['Visitors', count], sessions: ['Sessions', count], pageviews: ['Pageviews', count], events: ['Total', count],
  bounce_rate: ['Bounce rate', percent], exit_rate: ['Exit rate', percent], session_duration: ['Duration', duration],
};

/** Open the dialog for a tab; it goes when it is closed or a row is chosen. */
export function openDetails(tab, { state, api, view }) {
  let offset = 0;
  let search = '';
  let timer = 0;
  let controller = null;
  const head = h('tr', {}, h('th', { scope: 'col' }, dimensionName(tab.dimension)), tab.columns.map((id, index) => h('th', { scope: 'col', className: index > 0 ? 'optional' : null }, COLUMNS[id][0])));
  const rows = h('tbody');
  const scroll = h('div', { className: 'scroll', tabindex: '-1' }, h('table', {}, h('thead', {}, head), rows));
  const status = h('span', { 'aria-live': 'polite' }, 'Loading…');
  const back = h('button', { type: 'button', className: 'control', disabled: true, onclick: () => turn(-PAGE) }, 'Previous');
  const on = h('button', { type: 'button', className: 'control', disabled: true, onclick: () => turn(PAGE) }, 'Next');
  const save = h('button', { type: 'button', className: 'control', disabled: true, title: 'Save all rows as CSV', onclick: () => saveAll() }, 'CSV');
  const field = h('input', {
    className: 'field', type: 'search', placeholder: 'Search', 'aria-label': `Search in ${tab.title}`, autocomplete: 'off', spellcheck: 'false',
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => { search = field.value.trim(); offset = 0; load(); }, SEARCH_DELAY_MS);
    },
  });
  const dialog = h('dialog', { className: 'details', 'aria-label': `${tab.title}: all rows`, onclick: (event) => event.target === dialog && dialog.close(), onclose: () => { clearTimeout(timer); controller?.abort(); dialog.remove(); } },
    h('header', {}, h('h2', {}, tab.title), field, h('button', { type: 'button', className: 'control icon', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('close'))),
    scroll, h('footer', {}, status, h('div', {}, save, back, on)));

  const turn = (step) => { offset += step; load(); };

  async function load() {
    controller?.abort();
    controller = new AbortController();
    const { signal } = controller;
    try {
      const answer = await api().query(panelQuery(view(), tab, { metrics: tab.columns, limit: PAGE, offset, search, total: true }), signal);
      if (!signal.aborted) show(answer);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      fill(rows);
      status.textContent = error.message;
    }
  }

  function show(answer) {
    const total = answer.meta.total_rows ?? answer.results.length;
    fill(rows, answer.results.map(({ dimensions: [value], metrics, below_threshold: isRest }) => h('tr', {},
      h('td', {}, isRest ? fewer(answer.meta.threshold) : h('button', { type: 'button', title: valueName(tab.dimension, value), onclick: () => { dialog.close(); state.filterBy(tab.dimension, value ?? ''); } }, valueName(tab.dimension, value))),
      metrics.map((number, index) => h('td', { className: index > 0 ? 'optional' : null }, COLUMNS[tab.columns[index]][1](number))))));
    status.textContent = total === 0 ? (search ? `Nothing contains “${search}”` : 'Nothing in this period') : `${count(offset + 1)} to ${count(offset + answer.results.length)} of ${count(total)}`;
    back.disabled = offset === 0;
    save.disabled = total === 0;
    on.disabled = offset + answer.results.length >= total;
    scroll.scrollTop = 0;
  }

  /** Every row of the list and its search, however many pages they are. */
  async function saveAll() {
    const { signal } = controller;
    const asked = { metrics: tab.columns, limit: MOST_ROWS, search, total: true };
    const found = [];
    save.disabled = true;
    try {
      for (let total = 1; found.length < total;) {
        const answer = await api().query(panelQuery(view(), tab, { ...asked, offset: found.length }), signal);
        if (answer.results.length === 0) break;
        total = answer.meta.total_rows ?? answer.results.length;
        found.push(...answer.results.map(({ dimensions: [value], metrics, below_threshold: isRest }) => [isRest ? fewer(answer.meta.threshold) : valueName(tab.dimension, value), ...metrics]));
      }
      saveCsv(`${view().site} ${tab.title}.csv`, csvOf([[dimensionName(tab.dimension), ...tab.columns.map((id) => COLUMNS[id][0])], ...found]));
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) status.textContent = error.message;
    } finally {
      save.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  load();
}
