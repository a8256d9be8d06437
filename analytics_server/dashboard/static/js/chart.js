// The time chart: one metric, the period before as a dashed line, the running bucket marked.
// Buckets are drawn at equal distances (x is their number), so days of 23 hours and months of
// 28 days need no special care, and no time zone arithmetic happens here.

import { fill, h } from './dom.js';
import { axisDuration, bucketName, compact, needYears } from './format.js';
import { change, metricById } from './metrics.js';

const AXIS_FONT = '12px "Inter Variable", system-ui, sans-serif';
const SECOND_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const STEPS = {
  minute: [1, 5, 10, 15, 30, 60, 120, 240], hour: [1, 2, 3, 4, 6, 12, 24, 48, 72, 168], month: [1, 2, 3, 4, 6, 12, 24, 60, 120, 240],
};
const WHOLE_STEPS = [1, 2, 5].flatMap((n) => Array.from({ length: 11 }, (_, power) => n * 10 ** power)).sort((a, b) => a - b);

/**
 * Data: {labels, values, previousLabels, previousValues, running, metric, interval}.
 * A value is null where its bucket lies in the future; `running` is the index of the bucket
 * that is not over, or -1.
 */
export class Chart {
  constructor() {
    this.canvas = h('div');
    this.tooltip = h('div', { className: 'tooltip', hidden: true });
    this.spoken = h('div', { className: 'visually-hidden', 'aria-live': 'polite' });
    this.bones = h('div', { className: 'bones', 'aria-hidden': 'true' }, Array.from({ length: 5 }, () => h('i')));
    this.element = h('div', {
      className: 'chart', tabindex: '0', role: 'group', 'aria-label': 'Chart', onkeydown: (event) => this.#move(event),
      onblur: () => this.plot?.setCursor({ left: -10, top: -10 }),
    }, this.canvas, this.tooltip, this.spoken, this.bones);
    this.plot = null;
    this.data = null;
    new ResizeObserver(() => this.#resize()).observe(this.element);
  }

  /** Show data, or an error notice in its place. */
  show(data) {
    this.data = data;
    this.bones.hidden = true;
    this.element.setAttribute('aria-label', this.#summary());
    this.redraw();
  }

  notice(element) {
    this.data = null;
    this.bones.hidden = true;
    this.#discard();
    fill(this.canvas, element);
  }

  /** Draw anew: after a change of theme, size or data. */
  redraw() {
    if (!this.data) return;
    this.#discard();
    const box = this.#box();
    this.plot = new globalThis.uPlot(this.#options(box), this.#series(), this.canvas);
  }

  #discard() {
    this.plot?.destroy();
    this.plot = null;
    this.tooltip.hidden = true;
    this.canvas.replaceChildren();
  }

  #box() {
    const style = getComputedStyle(this.element);
    return {
      width: Math.max(200, this.element.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)),
      height: Math.max(120, this.element.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)),
    };
  }

  #resize() {
    const box = this.#box();
    if (this.plot && (box.width !== this.plot.width || box.height !== this.plot.height)) this.plot.setSize(box);
  }

  #series() {
    const { labels, values, previousValues, running } = this.data;
    const done = values.map((value, index) => (running >= 0 && index >= running ? null : value));
    const open = values.map((value, index) => (running >= 0 && (index === running || index === running - 1) ? value : null));
    const previous = labels.map((_, index) => previousValues?.[index] ?? null);
    return [labels.map((_, index) => index), previous, done, open];
  }

  #options(box) {
    const { labels, metric: id } = this.data;
    const metric = metricById(id);
    const color = colors(this.element);
    const few = labels.length < 2 || (this.data.running === 0);
    const line = { width: 2, spanGaps: false, points: { show: few, size: 7, fill: color.accent } };
    return {
      ...box,
      padding: [10, 22, 0, 0],
      legend: { show: false },
      cursor: {
        y: false, drag: { x: false, y: false },
        points: { size: 8, width: 2, stroke: color.surface, fill: (_, series) => (series === 1 ? color.previous : color.accent) },
      },
      scales: {
        x: { time: false, range: () => (labels.length > 1 ? [0, labels.length - 1] : [-0.5, 0.5]) },
        y: { range: (_, low, high) => [0, niceTop(high, metric)] },
      },
      axes: [
        {
          stroke: color.ink3, font: AXIS_FONT, size: 30, gap: 8, grid: { show: false }, ticks: { show: false },
          splits: () => this.#splits(box.width), values: (_, splits) => splits.map((index) => this.#tick(index)),
        },
        {
          stroke: color.ink3, font: AXIS_FONT, size: 48, gap: 8, ticks: { show: false }, space: 44,
          grid: { stroke: color.grid, width: 1 }, incrs: metric.seconds ? SECOND_STEPS : metric.whole ? WHOLE_STEPS : undefined,
          values: (_, splits) => splits.map((value) => (metric.whole ? compact(value) : metric.seconds ? axisDuration(value) : metric.format(value))),
        },
      ],
      series: [
        {},
        { stroke: color.previous, dash: [4, 5], width: 1.5, points: { show: few, size: 6, fill: color.previous } },
        { ...line, stroke: color.accent, fill: color.area },
        { ...line, stroke: color.accent, dash: [2, 5], fill: color.area },
      ],
      hooks: { setCursor: [(plot) => this.#point(plot)] },
    };
  }

  #splits(width) {
    const { labels, interval } = this.data;
    const total = labels.length;
    const room = !needYears(labels) ? 68 : interval === 'month' ? 84 : 104;
    const most = Math.max(2, Math.round((width - 60) / room));
    const steps = STEPS[interval] ?? [1, 2, 3, 4, 7, 14, 28, 56];
    const step = steps.find((size) => total / size <= most) ?? Math.ceil(total / most);
    return Array.from({ length: Math.ceil(total / step) }, (_, index) => index * step);
  }

  #tick(index) {
    const { labels, interval } = this.data;
    const label = labels[index];
    if (label === undefined) return '';
    const midnight = label.slice(11, 16) === '00:00';
    return midnight && labels.length > 24 ? bucketName(label.slice(0, 10), 'day') : bucketName(label, interval, { year: needYears(labels) });
  }

  #point(plot) {
    const index = plot.cursor.idx;
    const inside = plot.cursor.left >= 0 && index !== null && index !== undefined;
    this.tooltip.hidden = !inside;
    if (!inside) return;
    const { labels, values, previousLabels, previousValues, running, metric: id, interval } = this.data;
    const metric = metricById(id);
    const now = values[index];
    const before = previousValues?.[index] ?? null;
    const difference = index === running ? null : change(metric, now, before);
    fill(this.tooltip,
      h('div', { className: 'when' }, bucketName(labels[index], interval, { long: true }), index === running ? ' · so far' : ''),
      h('div', { className: 'line' }, h('span', {}, metric.label), h('strong', {}, metric.format(now))),
      before !== null && previousLabels?.[index] && [
        h('div', { className: 'when' }, bucketName(previousLabels[index], interval, { long: true })),
        h('div', { className: 'line previous' },
          difference ? h('span', { className: 'delta', 'data-trend': difference.trend }, h('b', {}, arrow(difference), difference.text)) : h('span', {}, metric.label),
          h('strong', {}, metric.format(before))),
      ]);
    const left = plot.over.offsetLeft + this.canvas.offsetLeft + plot.cursor.left;
    const width = this.tooltip.offsetWidth;
    const x = left + width + 20 > this.element.clientWidth ? left - width - 14 : left + 14;
    this.tooltip.style.transform = `translate(${Math.max(4, Math.round(x))}px, 22px)`;
  }

  #move(event) {
    if (!this.plot || !this.data.labels.length) return;
    const last = this.data.labels.length - 1;
    const at = this.plot.cursor.idx ?? -1;
    const target = { ArrowRight: Math.min(last, at + 1), ArrowLeft: Math.max(0, at - 1), Home: 0, End: last }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.plot.setCursor({ left: this.plot.valToPos(target, 'x'), top: 10 });
    const { labels, values, metric: id, interval } = this.data;
    this.spoken.textContent = `${bucketName(labels[target], interval, { long: true })}: ${metricById(id).format(values[target])}`;
  }

  #summary() {
    const { labels, values, metric: id, interval } = this.data;
    const metric = metricById(id);
    const known = values.filter((value) => value !== null);
    if (!known.length) return `${metric.label}: nothing measured in this period.`;
    const peak = values.indexOf(Math.max(...known));
    return `${metric.label} per ${interval}. Highest: ${metric.format(values[peak])}, ${bucketName(labels[peak], interval, { long: true })}. Arrow keys read single values.`;
  }
}

export const arrow = ({ direction }) => ({ up: '↑ ', down: '↓ ', flat: '' })[direction];

/** The top of the y axis: the highest value with a little air, and a useful axis for tiny ones. */
function niceTop(high, metric) {
  if (!high || high < 0) return metric.seconds ? 60 : metric.id === 'bounce_rate' ? 100 : 4;
  if (metric.id === 'bounce_rate') return 100;
  if (metric.whole && high <= 4) return 4;
  return high * 1.08;
}

/** Theme colours as the canvas needs them: resolved. */
function colors(element) {
  const probe = h('span', { hidden: true });
  element.append(probe);
  const read = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const found = {
    accent: read('--accent'), area: read('--accent-area'), previous: read('--previous'), grid: read('--grid'),
    ink3: read('--ink-3'), surface: read('--surface'),
  };
  probe.remove();
  return found;
}
