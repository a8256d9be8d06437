// The live socket: a snapshot each second, reconnecting with growing pauses.

import { BASE } from './api.js';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const SILENCE_MS = 15_000;
const UNAUTHORIZED = 4401;
const FINAL_CODES = new Set([UNAUTHORIZED, 4403]);

export class Live {
  /** `onSnapshot(snapshot)`, `onStatus('connecting' | 'on' | 'off')`, `onUnauthorized()` */
  constructor({ onSnapshot, onStatus, onUnauthorized }) {
    this.handlers = { onSnapshot, onStatus, onUnauthorized };
    this.pause = FIRST_PAUSE_MS;
    window.addEventListener('online', () => this.#retryNow());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#retryNow());
  }

  /** Watch a site; an earlier one is left. `token`: '' for the session's cookie. */
  watch(site, token) {
    this.stop();
    this.site = site;
    this.token = token;
    this.pause = FIRST_PAUSE_MS;
    this.#connect();
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.site = null;
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }

  #connect() {
    const address = new URL(`${BASE}/api/v1/live`, location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    address.searchParams.set('site_id', this.site);
    this.handlers.onStatus('connecting');
    const { token } = this;
    const socket = this.socket = token ? new WebSocket(address) : new WebSocket(address, 'session');
    if (token) socket.addEventListener('open', () => socket.send(JSON.stringify({ token })));
    socket.addEventListener('message', (event) => {
      if (socket !== this.socket) return;
      this.pause = FIRST_PAUSE_MS;
      this.#watchForSilence(socket);
      this.handlers.onStatus('on');
      this.handlers.onSnapshot(JSON.parse(event.data));
    });
    socket.addEventListener('close', (event) => {
      if (socket !== this.socket) return;
      clearTimeout(this.silence);
      this.socket = null;
      this.handlers.onStatus('off');
      if (event.code === UNAUTHORIZED) this.handlers.onUnauthorized();
      if (FINAL_CODES.has(event.code)) return;
      this.timer = setTimeout(() => this.#connect(), this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(LONGEST_PAUSE_MS, this.pause * 2);
    });
  }

  /** A socket that says nothing for a while is dead, whatever the network believes. */
  #watchForSilence(socket) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => socket.close(4000), SILENCE_MS);
  }

  #retryNow() {
    if (!this.site || this.socket) return;
    clearTimeout(this.timer);
    this.pause = FIRST_PAUSE_MS;
    this.#connect();
  }
}
