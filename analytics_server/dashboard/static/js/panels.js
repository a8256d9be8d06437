// Which lists the report shows: panels, their tabs, and the dimension behind each tab.

import { MOST_ROWS } from './api.js';
import { searchFilter } from './search.js';

const SYSTEM_EVENTS = ['pageview', 'engagement', 'scroll', 'web_vital', 'exposure'];

const visitTab = (id, label, title = label) => ({ id, label, title, dimension: `visit:${id}`, columns: ['visitors', 'sessions', 'bounce_rate', 'session_duration'] });

export const PANELS = [
  {
    id: 'sources', title: 'Sources',
    tabs: [
      visitTab('channel', 'Channels'),
      visitTab('source', 'Sources'),
      visitTab('referrer', 'Referrers'),
      {
        id: 'campaign', label: 'Campaigns', known: true,
        choices: [
          ['utm_campaign', 'UTM campaign'], ['utm_source', 'UTM source'], ['utm_medium', 'UTM medium'],
          ['utm_content', 'UTM content'], ['utm_term', 'UTM term'],
        ].map(([id, label]) => ({ ...visitTab(id, label), known: true })),
      },
    ],
    selected: 'source',
  },
  {
    id: 'pages', title: 'Pages',
    tabs: [
      { id: 'page', label: 'Top', title: 'Pages', dimension: 'event:page', columns: ['visitors', 'pageviews', 'bounce_rate', 'exit_rate'] },
      { ...visitTab('entry_page', 'Entry', 'Entry pages'), known: true },
      { ...visitTab('exit_page', 'Exit', 'Exit pages'), known: true },
    ],
    selected: 'page',
  },
  {
    id: 'locations', title: 'Locations',
    tabs: [visitTab('country', 'Countries'), visitTab('region', 'Regions'), visitTab('city', 'Cities')],
    selected: 'country',
  },
  {
    id: 'devices', title: 'Devices',
    tabs: [visitTab('browser', 'Browsers'), visitTab('os', 'Systems', 'Operating systems'), visitTab('device', 'Devices'), visitTab('screen', 'Screens', 'Screen sizes')],
    selected: 'browser',
  },
  {
    id: 'events', title: 'Events',
    tabs: [{
      id: 'name', label: 'Events', title: 'Events', dimension: 'event:name', columns: ['visitors', 'events'], extra: 'events',
      without: [['is_not', 'event:name', SYSTEM_EVENTS]],
      empty: ['No events in this period', 'Send one with analytics(\'signup\') on your page.'],
    }],
    selected: 'name',
  },
];

/** The query behind a tab. `known` tabs leave out rows without a value. */
export function panelQuery(view, tab, { metrics, limit, offset = 0, search = '', total = false }) {
  const filters = [...view.filters, ...(tab.without ?? [])];
  if (tab.known) filters.push(['is_not', tab.dimension, ['']]);
  if (search) filters.push(searchFilter(tab.dimension, search));
  return {
    site_id: view.site, date_range: view.dateRange, metrics, dimensions: [tab.dimension], filters,
    order_by: [['visitors', 'desc'], [tab.dimension, 'asc']],
    pagination: { limit: Math.min(limit, MOST_ROWS), offset }, ...(total && { include: { total_rows: true } }),
  };
}
