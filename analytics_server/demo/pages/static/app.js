// The demo's single-page app: a router on the history API. It never talks to the tracker about page views:
// the tracker sees the address change by itself.

const root = '/demo/app';
const view = document.querySelector('#view');

const recipes = {
  'pour-over': {
    title: 'Pour-over',
    lead: 'The clean one. 15 g of coffee, 240 g of water at 94 °C, three minutes.',
    steps: ['Rinse the paper.', 'Bloom with 45 g for half a minute.', 'Pour to 150 g in slow circles.', 'Pour the rest, and wait.']
  },
  'french-press': {
    title: 'French press',
    lead: 'The forgiving one. 30 g, 500 g of water, six minutes.',
    steps: ['Pour all of the water.', 'Wait four minutes.', 'Break the crust, skim the foam.', 'Wait two more. Do not press: pour.']
  },
  'cold-brew': {
    title: 'Cold brew',
    lead: 'The patient one. 80 g, a litre of cold water, one night.',
    steps: ['Grind coarsely.', 'Stir, cover, and put it away.', 'Filter twice in the morning.']
  }
};

let ticking = 0;

const show = (name, title) => {
  clearInterval(ticking);
  view.replaceChildren(document.querySelector(`#view-${name}`).content.cloneNode(true));
  document.title = `${title} · Larkspur Coffee`;
  scrollTo(0, 0);
};

const missing = () => {
  show('missing', 'No such view');
  analytics('not_found');
};

const recipe = (id) => {
  if (!recipes[id]) return missing();
  const { title, lead, steps } = recipes[id];
  show('recipe', title);
  view.querySelector('h1').textContent = title;
  view.querySelector('.lead').textContent = lead;
  view.querySelector('.method').append(
    ...steps.map((step) => Object.assign(document.createElement('li'), { textContent: step }))
  );
};

const timer = () => {
  show('timer', 'Timer');
  const clock = view.querySelector('#clock');
  const toggle = view.querySelector('#toggle');
  let seconds = 0;
  let running = false;
  toggle.addEventListener('click', () => {
    running = !running;
    toggle.textContent = running ? 'Stop' : 'Start';
    clearInterval(ticking);
    if (!running) return;
    analytics('timer_start');
    ticking = setInterval(() => {
      seconds += 1;
      clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    }, 1000);
  });
  view.querySelector('#save').addEventListener('click', () => {
    analytics('brew_saved', { props: { seconds } });
    view.querySelector('#said').textContent = 'Saved, until you leave the page.';
  });
};

const route = () => {
  const path = location.pathname.replace(/\/$/, '');
  const [section, id] = path.slice(root.length + 1).split('/');
  for (const tab of document.querySelectorAll('.tabs a')) {
    const [tabSection] = tab.pathname.slice(root.length + 1).split('/');
    if (tabSection === (section || '')) tab.setAttribute('aria-current', 'page');
    else tab.removeAttribute('aria-current');
  }
  if (!section) show('overview', 'Brew log');
  else if (section === 'recipes' && !id) show('recipes', 'Recipes');
  else if (section === 'recipes') recipe(id);
  else if (section === 'timer') timer();
  else if (section === 'settings') show('settings', 'Settings');
  else missing();
};

document.addEventListener('click', (event) => {
  const replace = event.target.closest('[data-replace]');
  if (replace) {
    history.replaceState(null, '', replace.dataset.replace);
    return;
  }
  const link = event.target.closest('a[href]');
  const inside = link && link.origin === location.origin && (link.pathname === root || link.pathname.startsWith(`${root}/`));
  if (!inside || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (link.pathname === location.pathname) return;
  history.pushState(null, '', link.pathname);
  route();
});
addEventListener('popstate', route);
route();
