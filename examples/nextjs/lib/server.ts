/** Where the analytics server is. `TOKEN` is a token of role `collect`, or of role `admin` while trying this out. */
export const server = {
  apiBaseUrl: process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000',
  token: process.env.TOKEN ?? ''
};
