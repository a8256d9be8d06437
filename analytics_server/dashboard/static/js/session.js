// The operator's token. It arrives in the URL's fragment (which browsers never send to a
// server) or through the sign-in card, and lives in memory and in this tab's sessionStorage,
// so that a reload does not ask again. This is the operator's own sign-in, on the dashboard's
// own origin: visitors of the measured sites never load this page.

const KEY = 'analytics.token';

/** The token of this tab, taken out of the address bar if it came that way. */
export function restoreToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get('token');
  if (given !== null) {
    fragment.delete('token');
    const rest = fragment.toString();
    history.replaceState(history.state, '', location.pathname + location.search + (rest ? `#${rest}` : ''));
    if (given) rememberToken(given);
  }
  return given || storage((store) => store.getItem(KEY)) || '';
}

export function rememberToken(token) {
  storage((store) => store.setItem(KEY, token));
}

export function forgetToken() {
  storage((store) => store.removeItem(KEY));
}

function storage(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null; // Storage is switched off: the token then lives as long as the page.
  }
}
