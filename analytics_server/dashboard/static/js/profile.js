// One's own account: the password, the second factor, the sessions.

import { dialog, section } from './dialog.js';
import { fill, h } from './dom.js';
import { field, form, newPassword } from './forms.js';

/** Open the dialog. `me`: who is signed in. `onLeave(message)`: the session has ended. */
export function openProfile(api, me, onLeave) {
  const factor = h('div');
  const sessions = h('ul', { className: 'entries' });
  const told = h('p', { className: 'fault', role: 'alert' });
  const everywhere = h('button', { type: 'button', className: 'control', onclick: () => leaveAll() }, 'Sign out everywhere');
  const { element, signal } = dialog('Your account',
    section('E-mail', h('p', {}, me.email)),
    section('Password', h('p', { className: 'hint' }, 'All your sessions end; sign in with the new one.'), passwordForm()),
    section('Second factor', factor),
    section('Sessions', sessions, told, everywhere));

  const leave = (message) => { element.close(); onLeave(message); };

  function passwordForm() {
    const password = field('password-now', 'password', { autocomplete: 'current-password', required: true });
    const next = newPassword('password-new');
    return form({
      fields: [['Password so far', password], ['New password', next]], button: 'Change the password',
      onSubmit: () => attempt(async () => {
        await api.changePassword({ password: password.value, new_password: next.value });
        leave('Your password is changed: sign in with it.');
      }),
    });
  }

  function showFactor(active) {
    const password = field('factor-password', 'password', { autocomplete: 'current-password', required: true });
    if (!active) {
      fill(factor, h('p', { className: 'hint' }, 'Off. With it, signing in also asks for a code of an authenticator app.'), form({
        fields: [['Your password', password]], button: 'Turn on',
        onSubmit: () => attempt(async () => confirmFactor(await api.beginSecondFactor({ password: password.value }))),
      }));
      return;
    }
    const code = field('factor-code', 'text', { autocomplete: 'one-time-code', required: true, maxlength: '64' });
    fill(factor, h('p', { className: 'hint' }, 'On. Signing in asks for a code.'), form({
      fields: [['Your password', password], ['Code, or a recovery code', code]], button: 'Turn off',
      onSubmit: () => attempt(async () => {
        await api.removeSecondFactor({ password: password.value, code: code.value.trim() });
        showFactor(false);
      }),
    }));
  }

  function confirmFactor({ secret, uri }) {
    const code = field('factor-code', 'text', { autocomplete: 'one-time-code', inputmode: 'numeric', required: true, maxlength: '6' });
    fill(factor, h('p', {}, 'Add this key to your authenticator app, or ', h('a', { href: uri, className: 'link' }, 'open it there'), ', then enter the code that it shows.'),
      h('p', {}, h('code', { className: 'key' }, secret)),
      form({
        fields: [['Code', code]], button: 'Confirm',
        onSubmit: () => attempt(async () => showRecovery(await api.confirmSecondFactor({ code: code.value.trim() }))),
      }));
    code.focus();
  }

  function showRecovery({ recovery_codes: codes }) {
    const list = h('ul', { className: 'codes' }, codes.map((code) => h('li', {}, h('code', {}, code))));
    fill(factor, h('p', { role: 'status' }, 'The second factor is on. Keep these recovery codes: each works once in place of a code, and they are shown this once.'),
      list, h('button', { type: 'button', className: 'control', onclick: () => showFactor(true) }, 'I have kept them'));
  }

  async function showSessions() {
    try {
      const { sessions: found } = await api.ownSessions(signal);
      fill(sessions, found.map((one) => h('li', {}, h('div', {},
        h('strong', {}, one.current ? 'This session' : 'Another session'),
        h('span', { className: 'hint' }, `Began ${moment(one.created_at_ms)} · last used ${moment(one.last_used_at_ms)} · ends ${moment(one.ends_at_ms)} at the latest`)),
      !one.current && h('button', { type: 'button', className: 'control', onclick: (event) => end(one.session_id, event.currentTarget) }, 'End'))));
    } catch (error) {
      if (!signal.aborted) told.textContent = error.message;
    }
  }

  async function end(id, button) {
    button.disabled = true;
    const { fault = '' } = await attempt(() => api.endSession(id));
    told.textContent = fault;
    await showSessions();
  }

  async function leaveAll() {
    everywhere.disabled = true;
    const { fault = '' } = await attempt(async () => {
      await api.signOutEverywhere();
      leave('You are signed out everywhere.');
    });
    everywhere.disabled = false;
    told.textContent = fault;
  }

  showFactor(me.second_factor);
  showSessions();
}

const moment = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    return { fault: error.message };
  }
  return {};
}
