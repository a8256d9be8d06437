/**
 * A shop on Node.js alone. Pages have the tracker script, which reports views, and what is put into the cart. Money is
 * reported by the server, when an order is really placed: no ad blocker hides it, and no visitor invents it.
 */
import { createServer } from 'node:http';
import { contextOf, createServerAnalytics } from '@analytics/client/node';

const server = process.env.ANALYTICS_URL ?? 'http://127.0.0.1:8000';
const site = process.env.SITE ?? 'lamps.example';
const analytics = createServerAnalytics({ apiBaseUrl: server, appName: site, token: process.env.TOKEN ?? '' });

const PRODUCTS = { lamp: 49.5, bulb: 4.25 };
const DAY_MS = 86_400_000;

const page = (title, body) => `<!doctype html>
<html lang="en">
<title>${title}</title>
<script defer src="${server}/a.js" data-site="${site}"></script>
<h1>${title}</h1>
${body}`;

const pages = {
  '/': () => page('Lamps', Object.keys(PRODUCTS).map((name) => `<p><a href="/${name}">${name}</a>`).join('\n')),
  '/thanks': () => page('Thank you', '<p><a href="/">More</a>')
};
for (const [name, price] of Object.entries(PRODUCTS)) {
  // The marked button is reported as the event `add_to_cart`, with its properties.
  pages[`/${name}`] = () =>
    page(
      `A ${name}`,
      `<p>${price} EUR
<button id="add" data-analytics="add_to_cart" data-analytics-prop-product="${name}">Into the cart</button>
<form method="post" action="/orders"><button id="order" name="product" value="${name}">Order now</button></form>`
    );
}

const bodyOf = async (request) => {
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > 1000) throw new Error('That is no order.');
  }
  return new URLSearchParams(text);
};

const order = async (request, response) => {
  const product = (await bodyOf(request)).get('product') ?? '';
  if (!Object.hasOwn(PRODUCTS, product)) return response.writeHead(400).end('There is no such product.');
  const visitor = analytics.for({ ...contextOf(request), url: request.headers.referer });
  visitor.revenue(PRODUCTS[product], 'EUR', { product });
  // About no session: told later, by another system.
  visitor.track('delivery_planned', { product, day: new Date(Date.now() + 3 * DAY_MS).toISOString().slice(0, 10) });
  response.writeHead(303, { location: '/thanks' }).end();
};

const shop = createServer((request, response) => {
  const path = new URL(request.url ?? '/', 'http://localhost').pathname;
  if (request.method === 'POST' && path === '/orders') {
    order(request, response).catch(() => response.writeHead(400).end());
  } else if (Object.hasOwn(pages, path)) {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(pages[path]());
  } else response.writeHead(404).end('Not found.');
});
shop.listen(Number(process.env.PORT ?? 3002), '127.0.0.1', () => {
  console.log(`The shop is open at http://127.0.0.1:${shop.address().port}`);
});
