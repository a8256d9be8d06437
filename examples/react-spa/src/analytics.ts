import { type AnalyticsConfig, experiments } from '@analytics/client';

/** The application's events, and the properties of each. */
export type Events = {
  note_added: { length: number };
};

export const config: AnalyticsConfig = {
  apiBaseUrl: import.meta.env.VITE_ANALYTICS_URL ?? 'http://127.0.0.1:8000',
  appName: 'notes.example',
  local: true, // Events of localhost count too. Leave that out where the application is real.
  outboundLinks: true,
  webVitals: true,
  experiments: experiments({ add_button: ['add', 'plus'] })
};
