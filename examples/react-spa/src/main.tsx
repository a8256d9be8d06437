import { AnalyticsProvider } from '@analytics/client/react';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { config } from './analytics';
import { App } from './app';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <AnalyticsProvider config={config}>
      <App />
    </AnalyticsProvider>
  </StrictMode>
);
