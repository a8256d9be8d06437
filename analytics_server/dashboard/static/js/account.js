// The cards of people: signing in, accepting an invitation, setting up the first owner.

import { BASE } from './api.js';
import { fill, h, icon } from './dom.js';
import { field, form, newPassword } from './forms.js';

const FAILURES = {
  no_role: 'The provider knows you, but you have no role here. Ask an owner.',
  provider_unavailable: 'The provider does not answer. Try again in a moment.',
  too_many_attempts: 'Too many attempts. Wait a while, then try again.',
};

/** What a failed sign-in through the provider is told by; '' for none. */
export const failureText = (code) => (code ? FAILURES[code] ?? 'The sign-in through the provider failed. Try again.' : '');

/**
 * The sign-in card: e-mail and password, or an access token. `onSubmit({email, password, code} | {token})` → promise of
 * {fault, needsCode}. `onForgotten(email)` → promise of {fault}. `byToken`: show the token's form first. `methods`:
 * promise of what GET /api/v1/session/methods says.
 */
export function signIn({ message = '', byToken = false, email = '', methods, onSubmit, onForgotten }) {
  const body = h('div');
  const forgotten = h('p', { className: 'hint', hidden: true }, h('button', { type: 'button', className: 'link', onclick: () => forget() }, 'Forgot your password?'));
  const provider = h('div', { className: 'provider' });
  const show = (withToken, told) => {
    const form = withToken ? tokenForm(onSubmit, told) : passwordForm(onSubmit, told, email);
    fill(body,
      h('p', {}, withToken ? 'Enter an access token that may read your sites.' : 'Enter the e-mail address and the password of your account.'),
      form,
      withToken ? null : forgotten,
      h('p', { className: 'hint' },
        withToken ? 'The server prints a ready link with the token when it starts for the first time. It stays in this browser tab only. ' : 'No account? Ask for an invitation. ',
        h('button', { type: 'button', className: 'link', onclick: () => show(!withToken, '') }, withToken ? 'Sign in with e-mail and password' : 'Use an access token')));
    body.querySelector('input').focus();
  };
  const forget = () => {
    const known = body.querySelector('input').value.trim();
    fill(body, ...resetForm(known, onForgotten, () => show(false, '')));
    body.querySelector('input').focus();
  };
  const element = card('Sign in to your analytics', provider, body);
  show(byToken, message);
  methods.then(({ password, provider: name, reset }) => {
    forgotten.hidden = !reset;
    if (name) fill(provider, h('a', { className: 'control primary', href: `${BASE}/api/v1/session/oidc` }, `Sign in with ${name}`), h('p', { className: 'hint' }, 'or'));
    if (!password && !byToken) show(true, message);
  }).catch(() => {}); // An older server: passwords and tokens.
  return element;
}

/** The card of an invitation's link. `onSubmit({name, password})` → promise of {fault}. */
export function acceptInvitation({ onSubmit }) {
  const name = field('name', 'text', { autocomplete: 'name', maxlength: '120' });
  const password = newPassword();
  return card('Welcome to your analytics',
    h('p', {}, 'Choose a password of at least 12 characters. If you were invited and have an account of this address already, enter its password.'),
    form({ fields: [['Your name (optional)', name], ['Password', password]], button: 'Go on', onSubmit: () => onSubmit({ name: name.value.trim(), password: password.value }) }));
}

/** The card that makes the first account. `onSubmit({email, password})` → promise of {fault}; `onLater()`. */
export function setUpOwner({ onSubmit, onLater }) {
  const email = field('email', 'email', { autocomplete: 'username', required: true });
  const password = newPassword();
  return card('Set up your account',
    h('p', {}, 'With an account you sign in by e-mail and password, from any browser, instead of by the link.'),
    form({ fields: [['E-mail', email], ['Password', password]], button: 'Make the account', onSubmit: () => onSubmit({ email: email.value.trim(), password: password.value }) }),
    h('p', { className: 'hint' }, h('button', { type: 'button', className: 'link', onclick: onLater }, 'Not now')));
}

/** The card of a share link with a password. `onSubmit(password)` → promise of {fault}. */
export function unlockShare({ onSubmit }) {
  const password = field('password', 'password', { autocomplete: 'off', required: true });
  return card('A shared view', h('p', {}, 'This link has a password.'),
    form({ fields: [['Password', password]], button: 'Open', onSubmit: () => onSubmit(password.value) }));
}

/** What a share link that is gone shows. */
export const brokenShare = (message) => card('A shared view', h('p', { role: 'alert' }, message));

/** The line above the report that offers to set up the first account. */
export function ownerOffer({ onOpen, onDismiss }) {
  return h('div', { className: 'offer', role: 'status' }, h('div', { className: 'frame' },
    h('span', {}, 'You are signed in by a link. Set up an account to sign in by e-mail and password.'),
    h('button', { type: 'button', className: 'control', onclick: onOpen }, 'Set up'),
    h('button', { type: 'button', className: 'control icon', 'aria-label': 'Dismiss', onclick: onDismiss }, icon('close'))));
}

/** Asks for a link to set a new password; what it says is the same whether there is such an account or not. */
function resetForm(known, onForgotten, onBack) {
  const email = field('email', 'email', { autocomplete: 'username', required: true, value: known });
  const told = h('p', { role: 'status' });
  return [
    h('p', {}, 'Enter the e-mail address of your account, and we send you a link to choose a new password.'),
    form({
      fields: [['E-mail', email]], button: 'Send the link',
      onSubmit: async () => {
        const { fault = '' } = await onForgotten(email.value.trim());
        told.textContent = fault ? '' : 'If there is an account of this address, a link is on its way to it. It works once.';
        return { fault };
      },
    }),
    told,
    h('p', { className: 'hint' }, h('button', { type: 'button', className: 'link', onclick: onBack }, 'Back to the sign-in')),
  ];
}

function tokenForm(onSubmit, message) {
  const token = field('token', 'password', { autocomplete: 'off', spellcheck: 'false', required: true });
  return form({ fields: [['Access token', token]], message, button: 'Open the dashboard', onSubmit: () => onSubmit({ token: token.value.trim() }) });
}

function passwordForm(onSubmit, message, known) {
  const email = field('email', 'email', { autocomplete: 'username', required: true, value: known });
  const password = field('password', 'password', { autocomplete: 'current-password', required: true });
  const code = field('code', 'text', { autocomplete: 'one-time-code', inputmode: 'text', spellcheck: 'false' });
  const factor = h('div', { className: 'pair', hidden: true }, h('label', { for: 'code' }, 'Code of your authenticator app, or a recovery code'), code);
  return form({
    fields: [['E-mail', email], ['Password', password]], rest: factor, message, button: 'Sign in',
    onSubmit: async () => {
      const { fault, needsCode } = await onSubmit({ email: email.value.trim(), password: password.value, code: code.value.trim() });
      if (!needsCode) return { fault };
      const asked = !factor.hidden;
      factor.hidden = false;
      code.required = true;
      return { fault: asked ? fault : 'Enter the code, too.', focus: code };
    },
  });
}

function card(title, ...children) {
  return h('main', { className: 'welcome', id: 'report', tabindex: '-1' }, h('div', { className: 'card' },
    h('span', { className: 'brand' }, icon('brand')), h('h1', {}, title), ...children));
}
