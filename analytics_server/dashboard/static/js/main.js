// Start: token, sites, then the report; and back to the sign-in when the token is refused.

import { Api } from './api.js';
import { fill, h } from './dom.js';
import { Header } from './header.js';
import { Live } from './live.js';
import { Report } from './report.js';
import { forgetToken, rememberToken, restoreToken } from './session.js';
import { State } from './state.js';
import { begin, signIn } from './welcome.js';

const SITES_POLL_MS = 3_000;
const STANDARD = 'standard';
const isRestricted = ({ profile }) => profile !== undefined && profile !== STANDARD;

class Dashboard {
  constructor(root) {
    this.root = root;
    this.state = new State();
    this.sites = [];
    this.live = new Live({
      onSnapshot: (snapshot) => {
        this.header?.setLive('on', snapshot.visitors);
        this.report?.takeSnapshot(snapshot);
      },
      onStatus: (status) => {
        if (status !== 'on') this.header?.setLive(status);
        this.report?.setLiveStatus(status);
      },
      onUnauthorized: (reason) => this.leave(reason || 'The token is not valid any more.'),
    });
    this.state.onChange((now, before) => this.#changed(now, before));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#themeChanged());
    window.addEventListener('hashchange', () => location.hash.includes('token=') && this.start(restoreToken()));
  }

  /** With a token: fetch the sites and show the report. Returns an error text, '' if all is well. */
  async start(token) {
    if (!token) return this.leave('');
    const api = new Api(token, () => this.leave('The token was refused. Sign in with a valid one.'));
    try {
      ({ sites: this.sites, drops: this.drops } = await api.sites());
      this.profiles = this.sites.some(isRestricted) ? await api.profiles() : [];
    } catch (error) {
      if (error.status !== 401) this.#offline(error, token);
      return error.message;
    }
    rememberToken(token);
    this.token = token;
    this.api = api;
    if (this.sites.length) this.#open();
    else this.#awaitFirstSite();
    return '';
  }

  /** Back to the sign-in card. */
  leave(message) {
    clearTimeout(this.poll);
    this.live.stop();
    this.#closeReport();
    this.api = this.token = null;
    forgetToken();
    document.title = 'Sign in · Analytics';
    fill(this.root, signIn({ message, onSubmit: (token) => this.start(token) }));
    this.root.querySelector('input').focus();
    return message;
  }

  #open() {
    const known = this.sites.some(({ site_id: id }) => id === this.state.current.site);
    const timezoneOf = (site) => this.sites.find(({ site_id: id }) => id === site)?.timezone ?? 'UTC';
    this.#closeReport();
    const { signal } = this.session = new AbortController();
    if (!known) {
      const { site, filters } = this.state.current;
      this.state.set({ site: this.sites[0].site_id, filters: site ? [] : filters }, { replace: true });
    }
    this.report = new Report(this.state, this.api, timezoneOf, (site) => this.#profileOf(site), signal);
    this.header = new Header(this.state, this.sites, { onTheme: () => this.#toggleTheme(), onSignOut: () => this.leave('') }, signal);
    this.header.showTheme(isDark());
    fill(this.root, this.header.element, this.report.element);
    this.#watch();
    this.report.load();
  }

  /** The profile of a site that is not the standard one; it says what is left out. */
  #profileOf(site) {
    const name = this.sites.find(({ site_id: id }) => id === site)?.profile;
    return this.profiles?.find((profile) => profile.name === name && name !== STANDARD) ?? null;
  }

  #closeReport() {
    this.session?.abort();
    this.header = this.report = this.session = null;
  }

  #watch() {
    const { site } = this.state.current;
    document.title = `${site} · Analytics`;
    this.header.setLive('connecting', null);
    this.live.watch(site, this.token);
  }

  #changed(now, before) {
    if (!this.report) return;
    this.header.render();
    this.report.update(now, before);
    if (now.site !== before.site) this.#watch();
  }

  #toggleTheme() {
    document.documentElement.dataset.theme = isDark() ? 'light' : 'dark';
    this.#themeChanged();
  }

  #themeChanged() {
    this.header?.showTheme(isDark());
    this.report?.headline.chart.redraw();
  }

  /** No site yet: show the tag, and look again until the first visit has made one. */
  #awaitFirstSite() {
    document.title = 'Analytics';
    const page = begin({ site: '', status: 'on' });
    page.explain(this.drops);
    fill(this.root, h('main', { className: 'frame report', id: 'report', tabindex: '-1' }, page.element));
    const { api } = this;
    const look = async () => {
      const { sites, drops } = await api.sites().catch(() => ({ sites: [], drops: null }));
      if (this.api !== api) return;
      this.sites = sites;
      if (drops) page.explain(drops);
      if (this.sites.length) this.#open();
      else this.poll = setTimeout(look, SITES_POLL_MS);
    };
    this.poll = setTimeout(look, SITES_POLL_MS);
  }

  #offline(error, token) {
    document.title = 'Analytics';
    fill(this.root, h('main', { className: 'welcome', id: 'report', tabindex: '-1' }, h('div', { className: 'card', role: 'alert' },
      h('h1', {}, 'The dashboard could not start'), h('p', {}, error.message),
      h('form', { onsubmit: (event) => { event.preventDefault(); this.start(token); } }, h('button', { className: 'control primary' }, 'Try again')))));
  }
}

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
};

new Dashboard(document.getElementById('app')).start(restoreToken());
