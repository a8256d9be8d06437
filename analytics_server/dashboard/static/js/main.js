// Start: token or session, sites, then the report; and back to the sign-in when they are refused.

import { acceptInvitation, brokenShare, failureText, ownerOffer, setUpOwner, signIn, unlockShare } from './account.js';
import { Api } from './api.js';
import { fill, h } from './dom.js';
import { Header } from './header.js';
import { Live } from './live.js';
import { openProfile } from './profile.js';
import { Report } from './report.js';
import { dismissOffer, forgetToken, isOfferDismissed, rememberToken, restoreToken, shareSecret, takeFailure, takeInvitation } from './session.js';
import { openShares } from './shares.js';
import { State } from './state.js';
import { begin } from './welcome.js';

const SITES_POLL_MS = 3_000;
/** The profile that leaves nothing out, and is known without asking. */
const STANDARD = { name: 'standard', left_out: [], script: true, cohorts: true, sharing: true };
const refusal = (token) => (token ? 'The token was refused. Sign in with a valid one.' : 'You are signed out: sign in again.');
const isRestricted = ({ profile }) => profile !== undefined && profile !== STANDARD.name;

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
      onUnauthorized: () => (this.shared ? this.#openShare(shareSecret()) : this.leave(refusal(this.token), Boolean(this.token))),
    });
    this.state.onChange((now, before) => this.#changed(now, before));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#themeChanged());
    window.addEventListener('hashchange', () => this.begin());
  }

  /** By what the address bar and the tab hold: an invitation, a token, or else the session's cookie. */
  begin() {
    const shared = shareSecret();
    if (shared) return void this.#openShare(shared);
    const secret = takeInvitation();
    const failure = failureText(takeFailure());
    if (secret) this.#accept(secret);
    else if (failure) this.leave(failure);
    else if (!this.api || location.hash.includes('token=')) this.start(restoreToken());
  }

  /** The read-only view of a share link; its token stays in memory. */
  async #openShare(secret, password = null) {
    try {
      this.shared = await new Api('').openShare({ secret, password });
      const { token } = this.shared;
      this.api = new Api(token, () => this.#openShare(secret));
      this.token = token;
      ({ sites: this.sites, drops: this.drops } = await this.api.sites());
    } catch (error) {
      document.title = 'Analytics';
      if (error.code === 'password_needed') this.#show(unlockShare({ onSubmit: async (given) => ({ fault: await this.#openShare(secret, given) }) }));
      else if (password === null) fill(this.root, brokenShare(error.message));
      return error.message;
    }
    if (this.sites.length) this.#open();
    else fill(this.root, brokenShare('The site of this link is gone.'));
    return '';
  }

  /** With a token, or '' for the cookie: fetch the sites and show the report. Returns an error text, '' if all is well. */
  async start(token) {
    const isFirst = !token && !this.hasSession;
    let hasBegun = false;
    const api = new Api(token, () => (hasBegun && this.api !== api) || this.leave(isFirst && !this.api ? '' : refusal(token), Boolean(token)));
    try {
      ({ sites: this.sites, drops: this.drops } = await api.sites());
      this.profiles = this.sites.some(isRestricted) ? await api.profiles() : null;
    } catch (error) {
      if (error.status !== 401) this.#offline(error, token);
      return error.message;
    }
    if (token) rememberToken(token);
    this.hasSession = !token;
    this.token = token;
    this.api = api;
    hasBegun = true;
    this.#learnRights(api);
    if (this.sites.length) this.#open();
    else this.#awaitFirstSite();
    return '';
  }

  /** Back to the sign-in card. */
  leave(message, byToken = false) {
    clearTimeout(this.poll);
    this.live.stop();
    this.#closeReport();
    this.offer?.remove();
    this.api = this.token = this.me = null;
    this.hasSession = false;
    forgetToken();
    document.title = 'Sign in · Analytics';
    this.#show(signIn({ message, byToken, methods: new Api('').methods(), onForgotten: (email) => this.#requestReset(email), onSubmit: (given) => (given.token === undefined ? this.#signIn(given) : this.#useToken(given.token)) }));
    return message;
  }

  #show(card) {
    fill(this.root, card);
    card.querySelector('input').focus();
  }

  async #useToken(token) {
    return { fault: token ? await this.start(token) : '' };
  }

  async #requestReset(email) {
    try {
      await new Api('').requestReset(email);
    } catch (error) {
      return { fault: error.message };
    }
    return { fault: '' };
  }

  /** A session by e-mail and password: {fault, needsCode}. */
  async #signIn(credentials) {
    try {
      await new Api('').signIn(credentials);
    } catch (error) {
      return { fault: error.message, needsCode: error.code === 'code_needed' };
    }
    forgetToken();
    this.hasSession = true;
    return { fault: await this.start('') };
  }

  /** Sign out: also on the server, where there is a session. */
  async signOut() {
    const { api, hasSession, token } = this;
    this.live.stop();
    this.#closeReport();
    this.api = null; // What is still under way is answered 401 and ignored.
    if (hasSession) await api.signOut().catch(() => {});
    this.leave('', Boolean(token));
  }

  #accept(secret) {
    this.live.stop();
    this.#closeReport();
    document.title = 'Welcome · Analytics';
    this.#show(acceptInvitation({
      onSubmit: async ({ name, password }) => {
        try {
          const { email } = await new Api('').acceptInvitation({ token: secret, password, name });
          const { fault, needsCode } = await this.#signIn({ email, password });
          if (needsCode || fault) this.leave(needsCode ? 'Your account asks for a code: sign in with it.' : fault);
        } catch (error) {
          return { fault: error.message };
        }
        return { fault: '' };
      },
    }));
  }

  /** What the caller may do here; who came by a link of an owner's token may set up the first account. */
  async #learnRights(api) {
    const me = await api.whoAmI().catch(() => null);
    if (this.api !== api) return;
    this.me = me;
    this.header?.showRights(me, this.#profileOf(this.state.current.site));
    if (me?.may_set_up_owner && this.token && !isOfferDismissed()) this.#offerAccount(api);
  }

  #offerAccount(api) {
    this.offer = ownerOffer({
      onOpen: () => this.#setUp(api),
      onDismiss: () => {
        dismissOffer();
        this.offer.remove();
      },
    });
    this.root.before(this.offer);
  }

  #setUp(api) {
    this.offer.remove();
    this.live.stop();
    this.#closeReport();
    document.title = 'Set up your account · Analytics';
    this.#show(setUpOwner({
      onLater: () => {
        dismissOffer();
        this.start(this.token);
      },
      onSubmit: async ({ email, password }) => {
        try {
          await api.addPerson({ email, password, owner: true });
        } catch (error) {
          return { fault: error.message };
        }
        return this.#signIn({ email, password });
      },
    }));
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
    this.report = new Report(this.state, this.api, timezoneOf, (site) => this.#profileOf(site), this.shared ?? null, signal);
    this.header = new Header(this.state, this.sites, {
      onTheme: () => this.#toggleTheme(), onSignOut: this.shared ? null : () => this.signOut(),
      onShares: () => openShares(this.api, this.state.current.site, this.#profileOf(this.state.current.site)),
      onProfile: () => this.#openProfile(),
    }, signal);
    this.header.showTheme(isDark());
    this.header.showRights(this.me, this.#profileOf(this.state.current.site));
    fill(this.root, this.header.element, this.report.element);
    this.#watch();
    this.report.load();
  }

  /** The account as it is now: the second factor may have been turned on since. */
  async #openProfile() {
    const { api } = this;
    const me = await api.whoAmI().catch(() => null);
    if (me && this.api === api) openProfile(api, me, (message) => this.leave(message));
  }

  /** A site's profile, which says what is left out; null where it is not known. */
  #profileOf(site) {
    const name = this.sites.find(({ site_id: id }) => id === site)?.profile;
    if (name === STANDARD.name) return STANDARD;
    if (!this.profiles || name === undefined) return null;
    return this.profiles.profiles.find((profile) => profile.name === name) ?? this.profiles.unknown;
  }

  #closeReport() {
    this.session?.abort();
    this.header = this.report = this.session = null;
  }

  #watch() {
    const { site } = this.state.current;
    document.title = `${site} · Analytics`;
    if (this.shared && !this.shared.live) return this.header.hideLive();
    this.header.setLive('connecting', null);
    this.live.watch(site, this.token);
  }

  #changed(now, before) {
    if (!this.report) return;
    this.header.render();
    this.header.showRights(this.me, this.#profileOf(this.state.current.site));
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

new Dashboard(document.getElementById('app')).begin();
