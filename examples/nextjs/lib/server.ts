/** Where the analytics server is. `TOKEN` is a token of role `collect`, for this site only: visitors send through it. */
export const server = {
  apiBaseUrl: process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000',
  token: process.env.TOKEN ?? ''
};
