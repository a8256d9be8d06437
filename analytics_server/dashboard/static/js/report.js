// The report of one site: asks for what the view needs and hands the answers to the parts.

import { isAbort, MOST_ROWS } from './api.js';
import { comparedRange, comparisonQuery } from './comparisons.js';
import { openDetails } from './details.js';
import { fill, h } from './dom.js';
import { explained, leftOut, merged } from './drops.js';
import { Filters } from './filters.js';
import { chartData, Headline, told } from './headline.js';
import { METRICS } from './metrics.js';
import { Now } from './now.js';
import { Panel } from './panel.js';
import { PANELS } from './panels.js';
import { dayIn, isAnswered, longerIntervals, queryRange } from './ranges.js';
import { begin } from './welcome.js';

const REFRESH_PAUSE_MS = 5_000;
const FLUSH_MS = 1_500;
const UNKNOWN_SITES_POLL_MS = 3_000;

export class Report {
  /** `profileOf`: a site's profile, or null. `shared`: what an opened share link says, or null. `signal` ends it: requests, timers and listeners. */
  constructor(state, api, timezoneOf, profileOf, shared, signal) {
    this.state = state;
    this.api = api;
    this.timezoneOf = timezoneOf;
    this.profileOf = profileOf;
    this.shared = shared;
    this.visitors = null;
    this.eventsSeen = null;
    this.refreshedAt = 0;
    this.liveStatus = 'connecting';
    this.welcome = null;
    this.drops = [];
    this.dropsElsewhere = [];
    this.dropsKept = [];
    this.leftOut = leftOut();
    this.filters = new Filters(state);
    this.headline = new Headline(state);
    this.now = new Now(state);
    this.now.element.hidden = shared !== null && !shared.live;
    const context = {
      state, api: () => this.api, view: () => this.view(), visitors: () => this.visitors,
      openDetails: (tab) => openDetails(tab, context), profile: () => profileOf(this.state.current.site), leftOut: () => shared?.left_out ?? [],
    };
    this.panels = PANELS.map((spec) => new Panel(spec, context));
    this.profile = h('p', { className: 'profile', hidden: true });
    this.content = h('div', {}, this.profile, this.filters.element, this.leftOut.element, this.headline.element, h('div', { className: 'panels' }, this.panels.map((panel) => panel.element), this.now.element), colophon());
    this.place = h('main', { className: 'frame report', id: 'report', tabindex: '-1' }, h('h1', { className: 'visually-hidden' }, 'Report'), this.content);
    document.addEventListener('visibilitychange', () => this.#refreshSoon(), { signal });
    signal.addEventListener('abort', () => this.#stop());
  }

  get element() {
    return this.place;
  }

  #stop() {
    clearTimeout(this.refreshTimer);
    clearTimeout(this.unknownSitesTimer);
    this.overview?.abort();
    this.series?.abort();
    for (const panel of this.panels) panel.stop();
    document.querySelector('dialog[open]')?.close();
  }

  /** The view with what a query needs besides: the range as the API writes it. */
  view() {
    const { current } = this.state;
    return { ...current, timezone: this.timezoneOf(current.site), dateRange: queryRange(current.range, this.timezoneOf(current.site)) };
  }

  /** After a change of view: ask only for what it touches. */
  update(now, before) {
    this.headline.renderView();
    this.filters.render();
    const same = now.site === before.site && now.range === before.range && JSON.stringify(now.filters) === JSON.stringify(before.filters);
    if (!same) this.load();
    else if (now.compare !== before.compare || now.weekday !== before.weekday) this.#loadOverview({});
    else this.#loadSeries({});
  }

  #renderProfile() {
    const profile = this.profileOf(this.state.current.site);
    this.profile.hidden = !profile;
    this.profile.textContent = profile ? profileText(profile) : '';
  }

  load(options = {}) {
    this.#renderProfile();
    if (!options.quiet) this.eventsSeen = null;
    this.refreshedAt = Date.now();
    this.#loadOverview(options);
    for (const panel of this.panels) panel.load(options);
  }

  async #loadOverview(options) {
    this.overview?.abort();
    const controller = this.overview = new AbortController();
    const view = this.view();
    if (!options.quiet) this.leftOut.show([]);
    this.#loadSeries(options);
    try {
      const answer = await this.api.query({
        site_id: view.site, metrics: METRICS.map(({ id }) => id), date_range: view.dateRange, filters: view.filters,
        ...(comparisonQuery(view) && { include: comparisonQuery(view) }),
      }, controller.signal);
      if (controller.signal.aborted) return;
      const row = answer.results[0] ?? { metrics: METRICS.map(() => null) };
      this.visitors = row.metrics[0];
      this.headline.renderNumbers(row.metrics, row.comparison?.metrics ?? null);
      for (const panel of this.panels) panel.refreshShares();
      if (!this.shared && row.metrics.every((value) => !value) && view.filters.length === 0) return await this.#checkEmpty(view, controller.signal);
      this.leftOut.show([]);
      this.#showReport();
    } catch (error) {
      if (isAbort(error) || controller.signal.aborted || error.status === 401 || options.quiet) return;
      this.headline.numbersNotice();
    }
  }

  async #loadSeries({ quiet = false }) {
    this.series?.abort();
    const controller = this.series = new AbortController();
    const view = this.view();
    const ask = (dateRange, interval) => this.api.query({
      site_id: view.site, metrics: [view.metric], date_range: dateRange, filters: view.filters, dimensions: [`time:${interval}`],
      include: { time_labels: true }, pagination: { limit: MOST_ROWS },
    }, controller.signal);
    try {
      const { answer, interval } = await askLonger(view.interval, (interval) => ask(view.dateRange, interval));
      const coarser = interval === view.interval ? '' : `Shown by ${interval}: the period has more ${view.interval}s than the server returns at once.`;
      const { threshold } = answer.meta;
      const few = threshold ? `Not drawn: each ${interval} of fewer than ${threshold} visitors.` : '';
      const more = told(answer.meta.warnings);
      const show = (previous, note = [coarser, few, more].filter(Boolean).join(' ')) => !controller.signal.aborted && this.headline.renderChart(
        chartData({ answer, previous, metric: view.metric, interval, today: dayIn(view.timezone) }), note);
      if (!comparisonQuery(view)) return void show(null);
      const earlier = comparedRange(view, answer.meta.date_range, view.timezone);
      if (!isAnswered(earlier)) return void show(null);
      try {
        show(await ask(earlier, interval));
      } catch (error) {
        if (isAbort(error)) throw error;
        show(null, `${more} ${coarser} The period to compare with could not be loaded: ${error.message}`.trim());
      }
    } catch (error) {
      if (isAbort(error) || controller.signal.aborted || error.status === 401 || quiet) return;
      this.headline.chartNotice(h('div', { className: 'notice', role: 'alert' }, h('strong', {}, 'The chart could not be loaded'), h('span', {}, error.message),
        h('button', { type: 'button', className: 'control', onclick: () => this.#loadOverview({}) }, 'Try again')));
    }
  }

  async #checkEmpty(view, signal) {
    const answer = await this.api.query({ site_id: view.site, metrics: ['events'], date_range: 'all' }, signal);
    if (signal.aborted) return;
    if (answer.results[0]?.metrics[0]) {
      this.#showReport();
      const left = await this.api.drops(view.site, view.dateRange, signal).catch(() => null);
      return void (left && !signal.aborted && this.leftOut.show(explained(left)));
    }
    if (this.welcome) return;
    this.welcome = begin({ site: view.site, status: this.liveStatus });
    fill(this.place, h('h1', { className: 'visually-hidden' }, 'Report'), this.welcome.element);
    this.#explain();
    this.#watchUnknownSites();
  }

  /** On the page of a site without visits: what came and was not counted, also under names that no site has. */
  #explain() {
    this.welcome?.explain(merged([...this.drops, ...this.dropsElsewhere], this.dropsKept));
  }

  async #watchUnknownSites() {
    clearTimeout(this.unknownSitesTimer);
    const { welcome } = this;
    const nothing = () => null;
    const [answer, kept] = await Promise.all([this.api.sites().catch(nothing), this.api.drops(this.state.current.site, '30d').catch(nothing)]);
    if (!welcome || welcome !== this.welcome) return;
    if (answer) this.dropsElsewhere = answer.drops;
    if (kept) this.dropsKept = explained(kept);
    this.#explain();
    this.unknownSitesTimer = setTimeout(() => this.#watchUnknownSites(), UNKNOWN_SITES_POLL_MS);
  }

  #showReport() {
    if (!this.welcome) return;
    this.welcome = null;
    this.dropsKept = [];
    fill(this.place, h('h1', { className: 'visually-hidden' }, 'Report'), this.content);
    this.headline.chart.redraw();
  }

  /** A live snapshot: show it, and ask again for the numbers when something has happened. */
  takeSnapshot(snapshot) {
    this.now.render(snapshot);
    this.drops = snapshot.drops ?? [];
    this.#explain();
    // Seen but not stored yet, when the page was opened: a flush later they are.
    const awaited = this.welcome && snapshot.events_seen > 0;
    if (awaited || (this.eventsSeen !== null && snapshot.events_seen !== this.eventsSeen)) this.#refreshSoon();
    this.eventsSeen = snapshot.events_seen;
  }

  setLiveStatus(status) {
    this.liveStatus = status;
    this.place.querySelector('.waiting [data-live]')?.setAttribute('data-live', status);
  }

  #refreshSoon() {
    if (this.refreshTimer || document.visibilityState !== 'visible' || !this.state.current.site) return;
    const wait = Math.max(FLUSH_MS, this.refreshedAt + REFRESH_PAUSE_MS - Date.now());
    this.refreshTimer = setTimeout(() => {
      this.refreshTimer = 0;
      if (document.visibilityState === 'visible') this.load({ quiet: true });
    }, wait);
  }
}

function profileText({ name, left_out: leftOut, script, cohorts, sharing }) {
  const others = [[cohorts, 'cohorts'], [script, 'events of the script'], [sharing, 'share links']];
  const parts = [...leftOut.map(({ about }) => about), ...others.filter(([allowed]) => !allowed).map(([, text]) => text)];
  return `Profile ${name}: ${parts.join('; ') || 'nothing'} ${parts.length > 1 ? 'are' : 'is'} left out.`;
}

/** Ask by an interval; where the server allows fewer buckets than that makes, by the next longer one. */
async function askLonger(interval, ask) {
  try {
    return { answer: await ask(interval), interval };
  } catch (error) {
    const [next] = longerIntervals(interval);
    if (error.code !== 'too_many_buckets' || !next) throw error;
    return askLonger(next, ask);
  }
}

function colophon() {
  return h('footer', { className: 'colophon' }, h('p', {}, 'Visitors are counted by an id that lives for one day. Over several days their number is the sum of each day’s distinct visitors. All times are in the site’s time zone.'));
}
