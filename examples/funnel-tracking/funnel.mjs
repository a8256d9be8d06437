/** Invented people sign up, and some don't: tracks what they do, then asks the server for the funnel and prints it. */
import { createServerAnalytics } from '@analytics/client/node';

const server = process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000';
const token = process.env.TOKEN ?? '';
const site = process.env.SITE ?? 'signup.example';
const run = Date.now().toString(36); // Each run is other people.

const analytics = createServerAnalytics({ apiBaseUrl: server, appName: site, token });

const PEOPLE = 100;
for (let n = 0; n < PEOPLE; n++) {
  const source = n % 2 ? 'https://www.google.com/' : 'https://news.ycombinator.com/';
  const person = analytics.for({
    userId: `${run}-${n}`,
    sessionId: `${run}-${n}`,
    url: `https://${site}/pricing`,
    referrer: source,
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
  });
  person.trackView({ pageTitle: 'Pricing' });
  // Steps follow one another in time.
  await new Promise((resolve) => setTimeout(resolve, 2));
  if (n % 5 < 3) person.track('signup_started');
  await new Promise((resolve) => setTimeout(resolve, 2));
  if (n % 5 < 2) person.track('signup_done', { plan: n % 10 ? 'free' : 'pro' });
  await new Promise((resolve) => setTimeout(resolve, 2));
  if (n % 10 === 0) person.revenue(19, 'EUR', { plan: 'pro' });
}
if (!(await analytics.close())) throw new Error(`Not all has arrived at ${server}: ${JSON.stringify(analytics.stats)}`);

/** What was acknowledged is stored within seconds; the funnel is asked until it has all of them. */
const ask = async () => {
  const answer = await fetch(`${server}/api/v1/funnels`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      site_id: site,
      date_range: 'day',
      by: 'user',
      window: '24h',
      steps: [
        { name: 'pageview', filters: [['is', 'event:page', ['/pricing']]] },
        { name: 'signup_started' },
        { name: 'signup_done' },
        { name: 'purchase' }
      ],
      breakdown: 'visit:source'
    })
  });
  const told = await answer.json();
  if (!answer.ok && answer.status !== 404) throw new Error(told.error.message);
  return told;
};
let funnel = await ask();
for (let n = 0; n < 100 && !(funnel.steps?.[0].count >= PEOPLE && funnel.steps[3].count >= PEOPLE / 10); n++) {
  await new Promise((resolve) => setTimeout(resolve, 200));
  funnel = await ask();
}

const show = (title, steps) => {
  console.log(`\n${title}`);
  console.table(steps.map(({ name, count, conversion, dropped }) => ({ step: name, people: count, 'per cent': conversion, dropped })));
};
show('Everybody', funnel.steps);
for (const { value, steps } of funnel.breakdown) show(`From ${value}`, steps);
