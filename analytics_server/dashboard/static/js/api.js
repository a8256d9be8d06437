// Calls to the server, with the token in a header, or with the session's cookie. Errors carry what the server said.

const TIMEOUT_MS = 40_000;
const ASKED_AGAIN = new Set(['sign_in_failed', 'code_needed', 'password_needed']); // A password or code, of who is signed in.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Where the server is: the page's own address without "/dashboard" or "/share/…", so a path prefix survives. */
export const BASE = location.pathname.replace(/\/(dashboard|share\/[^/]+)\/?$/, '');

/** How many rows the server returns for one query: `[limits] query_rows`. */
export const MOST_ROWS = Number(document.documentElement.dataset.queryRows) || 10_000;

export class Api {
  /** `token`: '' for the cookie. */
  constructor(token, onUnauthorized = () => {}) {
    this.token = token;
    this.onUnauthorized = onUnauthorized;
  }

  /** GET /api/v1/sites → {sites: [{site_id, timezone, …}], drops: [what was sent to sites that don't exist]} */
  async sites(signal) {
    const { sites = [], drops = [] } = await this.#call('GET', '/api/v1/sites', null, signal);
    return { sites, drops };
  }

  /** GET /api/v1/profiles → {profiles: [{name, about, left_out: [{about, dimensions, …}], …}], unknown: {…}} */
  profiles(signal) {
    return this.#call('GET', '/api/v1/profiles', null, signal);
  }

  /** GET /api/v1/drops → {drops: [what a site was sent and did not count, by reason], hours, meta} */
  drops(site, dateRange, signal) {
    const asked = new URLSearchParams({ site_id: site, date_range: Array.isArray(dateRange) ? JSON.stringify(dateRange) : dateRange });
    return this.#call('GET', `/api/v1/drops?${asked}`, null, signal);
  }

  /** POST /api/v1/query */
  query(body, signal) {
    return this.#call('POST', '/api/v1/query', body, signal);
  }

  /** GET /api/v1/session → {kind, email, owner, may_set_up_owner, …} */
  whoAmI() {
    return this.#call('GET', '/api/v1/session');
  }

  /** GET /api/v1/session/methods → {password, provider: what the button to the provider says, or '', reset} */
  methods() {
    return this.#call('GET', '/api/v1/session/methods');
  }

  /** POST /api/v1/session: sets the cookie. `credentials`: {email, password, code} */
  signIn(credentials) {
    return this.#call('POST', '/api/v1/session', credentials);
  }

  /** POST /api/v1/session/reset: a link is sent to the account of the address, if there is one. */
  requestReset(email) {
    return this.#call('POST', '/api/v1/session/reset', { email });
  }

  /** DELETE /api/v1/session */
  signOut() {
    return this.#call('DELETE', '/api/v1/session');
  }

  /** POST /api/v1/people: {email, password, owner} */
  addPerson(person) {
    return this.#call('POST', '/api/v1/people', person);
  }

  /** POST /api/v1/invitations/accept: {token, password, name} → {email} */
  acceptInvitation(acceptance) {
    return this.#call('POST', '/api/v1/invitations/accept', acceptance);
  }

  /** POST /api/v1/share/open: {secret, password} → {token, site_id, live} */
  openShare(opening) {
    return this.#call('POST', '/api/v1/share/open', opening);
  }

  /** GET /api/v1/share-links → {share_links: [{link_id, name, filters, segment_name, …}]} */
  shareLinks(site, signal) {
    return this.#call('GET', `/api/v1/share-links?${new URLSearchParams({ site_id: site })}`, null, signal);
  }

  /** POST /api/v1/share-links → {link: its address, shown this once, …} */
  makeShareLink(link) {
    return this.#call('POST', '/api/v1/share-links', link);
  }

  /** DELETE /api/v1/share-links/{id} */
  revokeShareLink(id) {
    return this.#call('DELETE', `/api/v1/share-links/${id}`);
  }

  /** GET /api/v1/segments → {segments: [{id, name, filters}]} */
  segments(site, signal) {
    return this.#call('GET', `/api/v1/segments?${new URLSearchParams({ site_id: site })}`, null, signal);
  }

  /** GET /api/v1/session/all → {sessions: [{session_id, created_at_ms, last_used_at_ms, ends_at_ms, current}]} */
  ownSessions(signal) {
    return this.#call('GET', '/api/v1/session/all', null, signal);
  }

  /** DELETE /api/v1/session/all/{session_id} */
  endSession(id) {
    return this.#call('DELETE', `/api/v1/session/all/${id}`);
  }

  /** DELETE /api/v1/session/all */
  signOutEverywhere() {
    return this.#call('DELETE', '/api/v1/session/all');
  }

  /** PUT /api/v1/session/password: {password, new_password}; all sessions end. */
  changePassword(change) {
    return this.#call('PUT', '/api/v1/session/password', change);
  }

  /** POST /api/v1/session/totp: {password} → {secret, uri} */
  beginSecondFactor(confirmation) {
    return this.#call('POST', '/api/v1/session/totp', confirmation);
  }

  /** POST /api/v1/session/totp/confirm: {code} → {recovery_codes} */
  confirmSecondFactor(code) {
    return this.#call('POST', '/api/v1/session/totp/confirm', code);
  }

  /** POST /api/v1/session/totp/remove: {password, code} */
  removeSecondFactor(removal) {
    return this.#call('POST', '/api/v1/session/totp/remove', removal);
  }

  async #call(method, path, body, signal) {
    const signals = [AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])];
    let response;
    try {
      response = await fetch(BASE + path, {
        method,
        headers: { ...(this.token && { Authorization: `Bearer ${this.token}` }), ...(body && { 'Content-Type': 'application/json' }) },
        body: body && JSON.stringify(body),
        signal: AbortSignal.any(signals),
        credentials: this.token ? 'omit' : 'same-origin',
        cache: 'no-store',
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      if (error.name === 'TimeoutError') throw new ApiError(0, 'timeout', 'The server took too long to answer. Try a shorter range.');
      throw new ApiError(0, 'unreachable', 'The server can’t be reached. Check that it is running and that you are online.');
    }
    if (response.status === 204) return null;
    if (response.ok) return response.json();
    const error = await readError(response);
    if (error.status === 401 && !ASKED_AGAIN.has(error.code)) this.onUnauthorized(error);
    throw error;
  }
}

async function readError(response) {
  try {
    const { error } = await response.json();
    return new ApiError(response.status, error.code, error.message);
  } catch {
    return new ApiError(response.status, 'unreadable', `The server answered with status ${response.status}.`);
  }
}

/** Was this the end of a request that was aborted? */
export const isAbort = (error) => error?.name === 'AbortError';
