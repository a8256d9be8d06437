// The card on top: six metrics against the period before; the chosen one fills the chart.

import { MOST_ROWS } from './api.js';
import { arrow, Chart } from './chart.js';
import { compares, comparisonLabel } from './comparisons.js';
import { fill, h, picker } from './dom.js';
import { change, METRICS, metricById } from './metrics.js';
import { intervalsFor, spansDays } from './ranges.js';

const INTERVAL_NAMES = { minute: 'By minute', hour: 'By hour', day: 'By day', week: 'By week', month: 'By month' };

export class Headline {
  constructor(state) {
    this.state = state;
    this.chart = new Chart();
    this.values = h('div', { className: 'metrics', role: 'group', 'aria-label': 'Metrics' });
    this.head = h('div', { className: 'chart-head' });
    this.note = h('p', { className: 'chart-note', role: 'status', hidden: true });
    this.element = h('section', { className: 'card headline', 'aria-label': 'Overview' }, this.values, this.head, this.note, this.chart.element);
    this.tiles = new Map(METRICS.map((metric) => [metric.id, this.#tile(metric)]));
    fill(this.values, [...this.tiles.values()].map(({ button }) => button));
    this.renderView();
  }

  #tile(metric) {
    const label = h('span', { className: 'label' }, metric.label);
    const value = h('span', { className: 'value number' }, h('i', { className: 'bone' }));
    const delta = h('span', { className: 'delta number' }, h('i', { className: 'bone' }));
    const button = h('button', { type: 'button', className: 'metric', title: metric.about, onclick: () => this.state.set({ metric: metric.id }, { replace: true }) }, label, value, delta);
    return { button, label, value, delta };
  }

  /** What follows from the view alone: the pressed tile, labels, the interval, the legend. */
  renderView() {
    const view = this.state.current;
    const { metric, range, interval } = view;
    for (const [id, tile] of this.tiles) tile.button.setAttribute('aria-pressed', String(id === metric));
    this.tiles.get('visitors').label.textContent = spansDays(range) ? 'Visitors (daily sum)' : 'Visitors';
    const intervals = intervalsFor(range);
    fill(this.head,
      h('span', { className: 'key' }, metricById(metric).label),
      compares(view) && h('span', { className: 'key previous' }, comparisonLabel(view)),
      picker({
        label: 'Interval of the chart', slim: true, value: interval,
        options: intervals.map((id) => [id, INTERVAL_NAMES[id]]),
        onchange: (id) => this.state.set({ interval: id }, { replace: true }),
      }));
  }

  /** The numbers: arrays in the order of METRICS; `before` is null without a comparison. */
  renderNumbers(now, before) {
    METRICS.forEach((metric, index) => {
      const tile = this.tiles.get(metric.id);
      fill(tile.value, metric.format(now[index]));
      const earlier = before?.[index] ?? null;
      const difference = change(metric, now[index], earlier);
      tile.delta.setAttribute('data-trend', difference?.trend ?? 'flat');
      fill(tile.delta, difference && h('b', {}, arrow(difference), difference.text), earlier === null ? '\u00a0' : ` vs ${metric.format(earlier)}`);
    });
  }

  /** Draw the chart. `note`: what the reader must know of it, such as that it is not by the interval asked for. */
  renderChart(data, note = '') {
    this.#renderNote(note);
    this.chart.show(data);
  }

  chartNotice(element) {
    this.#renderNote('');
    this.chart.notice(element);
  }

  #renderNote(note) {
    this.note.textContent = note;
    this.note.hidden = !note;
  }

  numbersNotice() {
    for (const { value, delta } of this.tiles.values()) {
      fill(value, '–');
      fill(delta, '\u00a0');
    }
  }
}

// What the page says elsewhere: of visitors at its foot and on their tile, of the running range by the dotted line.
const SAID_ELSEWHERE = ['visitors of several days', 'The range is not over'];

/** What a reader must know of the numbers: warnings of an answer, such as that definitions changed within the range. */
export function told(warnings) {
  return warnings.filter((text) => !SAID_ELSEWHERE.some((start) => text.startsWith(start))).join(' ');
}

/**
 * What the chart draws, from the answers of the two series queries.
 * `meta.time_labels` names every bucket of the range; rows exist only where something happened. An answer that
 * holds as many rows as the server returns at most may lack some, and one to a share link with a threshold lacks those
 * of few visitors: what is missing there is a gap, not a 0.
 */
export function chartData({ answer, previous, metric, interval, now = Date.now(), today }) {
  const labels = answer.meta.time_labels;
  const sums = metricById(metric).whole;
  const isFuture = (label) => (label.length > 10 ? Date.parse(label) > now : label > today);
  const values = valuesOf(answer, labels, sums).map((value, index) => (isFuture(labels[index]) ? null : value));
  const firstFuture = labels.findIndex(isFuture);
  const last = (firstFuture < 0 ? labels.length : firstFuture) - 1;
  const running = last >= 0 && isRunning(labels[last], interval, now, today) ? last : -1;
  const previousLabels = previous?.meta.time_labels ?? null;
  return {
    labels, values, running, metric, interval, previousLabels,
    previousValues: previousLabels && valuesOf(previous, previousLabels, sums),
  };
}

function valuesOf(answer, labels, sums) {
  const found = new Map(answer.results.map((row) => [row.dimensions[0], row.metrics[0]]));
  const complete = !answer.meta.threshold && (answer.results.length < MOST_ROWS || labels.length <= MOST_ROWS);
  return labels.map((label) => found.get(label) ?? (sums && complete ? 0 : null));
}

function isRunning(label, interval, now, today) {
  if (label.length > 10) return Date.parse(label) + (interval === 'hour' ? 3_600_000 : 60_000) > now;
  if (interval === 'day') return label >= today;
  const end = new Date(`${label}T00:00:00Z`);
  if (interval === 'week') end.setUTCDate(end.getUTCDate() + 7);
  else end.setUTCMonth(end.getUTCMonth() + 1);
  return end.toISOString().slice(0, 10) > today;
}

