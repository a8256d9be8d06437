// The operator's token. It arrives in the URL's fragment (which browsers never send to a
// server) or through the sign-in card, and lives in memory and in this tab's sessionStorage,
// so that a reload does not ask again. Who signs in with a password has a cookie instead, which no script can read.
// This is the operator's own sign-in, on the dashboard's own origin: visitors of the measured sites never load this page.

const KEY = 'analytics.token';
const DISMISSED = 'analytics.offer';

/** The token of this tab, taken out of the address bar if it came that way. */
export function restoreToken() {
  const given = takeFragment('token');
  if (given) rememberToken(given);
  return given || storage((store) => store.getItem(KEY)) || '';
}

/** The secret of an invitation's link, taken out of the address bar. */
export const takeInvitation = () => takeFragment('invitation');

/** The code of a sign-in through the provider that failed, taken out of the address bar. */
export const takeFailure = () => takeFragment('sign-in');

/** The secret of a share link's page, or the id of a public site; '' elsewhere. */
export function shareSecret() {
  const given = /\/share\/([^/]+)\/?$/.exec(location.pathname)?.[1] ?? '';
  try {
    return decodeURIComponent(given);
  } catch {
    return given;
  }
}

function takeFragment(name) {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get(name);
  if (given !== null) {
    fragment.delete(name);
    const rest = fragment.toString();
    history.replaceState(history.state, '', location.pathname + location.search + (rest ? `#${rest}` : ''));
  }
  return given ?? '';
}

/** Was the offer of an account put aside in this tab? */
export const isOfferDismissed = () => storage((store) => store.getItem(DISMISSED)) !== null;

export function dismissOffer() {
  storage((store) => store.setItem(DISMISSED, '1'));
}

export function rememberToken(token) {
  storage((store) => store.setItem(KEY, token));
}

export function forgetToken() {
  storage((store) => [KEY, DISMISSED].forEach((key) => store.removeItem(key)));
}

function storage(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null; // Storage is switched off: the token then lives as long as the page.
  }
}
