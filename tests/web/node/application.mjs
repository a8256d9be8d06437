/*
 * An application's server, as the tests of server-side tracking run it: `node application.mjs MODULE CONFIG MODE`.
 * Prints a line of JSON for each thing that a test waits for. MODE says how it tracks, and how it ends.
 */
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const [module, config, mode] = process.argv.slice(2);
const { ServerAnalytics, contextOf } = await import(module);
const say = (value) => console.log(JSON.stringify(value));
if (mode === 'handled') {
  process.once('SIGTERM', async () => {
    await analytics.close();
    process.exit(7);
  });
}
const analytics = new ServerAnalytics({ ...JSON.parse(config), onProblem: ({ kind, code, events }) => say({ kind, code, events }) });
const page = (n) => ({ pageUrl: `https://shop.example/${n}` });

const modes = {
  /** Tracks views as fast as back-pressure allows until SIGUSR2 comes, and says how many have arrived. */
  async stream() {
    let stopped = false;
    process.once('SIGUSR2', () => (stopped = true));
    let tracked = 0;
    while (!stopped) {
      if (!analytics.trackView(page(tracked++))) await analytics.ready();
      if (tracked % 100 === 0) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        say({ arrived: analytics.stats.delivered });
      }
    }
    say({ closed: await analytics.close(60_000), tracked, ...analytics.stats });
  },
  /** Tracks without end; after each flush it says what must not be lost any more. */
  async flush() {
    for (let n = 0; ; n++) {
      analytics.trackView(page(n));
      if (n % 100 === 99) {
        if (!(await analytics.flush())) throw new Error('not flushed');
        say({ flushed: n + 1 });
      }
    }
  },
  /** Tracks some views, and waits for a signal. */
  signal() {
    setInterval(() => {}, 60_000);
    for (let n = 0; n < 50; n++) analytics.trackView(page(n));
    say({ pid: process.pid });
  },
  /** The same, with another copy of the package in the same process. */
  async copies() {
    const copy = createRequire(import.meta.url)(module.replace(/\.js$/, '.cjs'));
    const second = new copy.ServerAnalytics(JSON.parse(config));
    for (let n = 50; n < 100; n++) second.trackView(page(n));
    modes.signal();
  },
  /** The same, but the application handles the signal itself, since before there was a client. */
  handled() {
    modes.signal();
  },
  /** Tracks more views after a signal that does not end the application. */
  reload() {
    process.on('SIGHUP', () => {
      for (let n = 50; n < 100; n++) analytics.trackView(page(n));
      say({ reloaded: true });
    });
    modes.signal();
  },
  /** Tracks some views, and ends because nothing is left to do. */
  end() {
    for (let n = 0; n < 50; n++) analytics.trackView(page(n));
  },
  /** Tracks a view and a purchase of each request. */
  serve() {
    const server = createServer((request, response) => {
      const url = `https://shop.example${request.url}`;
      const visitor = analytics.for({ ...contextOf(request, { proxies: 1 }), url });
      visitor.trackView({ pageTitle: 'Shop' });
      visitor.revenue(12.5, 'EUR', { items: 2 });
      response.end();
    }).listen(0, '127.0.0.1', () => say({ port: server.address().port }));
  }
};
await modes[mode]();
