import { StrictMode } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { App } from './app.js';

const root = document.getElementById('root')!;
// At the root: React 19 runs effects twice only there.
const app = (
  <StrictMode>
    <App origin={location.origin} manual={!!window.manual} />
  </StrictMode>
);
if (root.firstElementChild) hydrateRoot(root, app);
else createRoot(root).render(app);
