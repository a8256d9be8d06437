/** What the types of the package allow and refuse: compiled only, never run. */
import { AnalyticsClient, createAnalytics } from '../src/index.js';

interface Events extends Record<string, unknown> {
  signup: { plan: 'free' | 'pro' };
  logout: undefined;
}
type Closed = Pick<Events, 'signup' | 'logout'>;

const typed = createAnalytics<Closed>({ apiBaseUrl: 'https://stats.example.com', appName: 'example.com' });
typed.track('signup', { plan: 'pro' });
typed.track('logout');
// @ts-expect-error the event is not known
typed.track('sign_up', { plan: 'pro' });
// @ts-expect-error the property has another value
typed.track('signup', { plan: 'gold' });
// @ts-expect-error the properties are missing
typed.track('signup');

const open = new AnalyticsClient({ apiBaseUrl: 'https://stats.example.com', appName: 'example.com' });
open.track('anything');
open.track('anything', { goes: 1, list: [1] });
// @ts-expect-error a client needs to know its site
new AnalyticsClient({ apiBaseUrl: 'https://stats.example.com' });
