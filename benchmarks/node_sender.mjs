/*
 * An application's server that tracks as fast as back-pressure allows: `node node_sender.mjs MODULE CONFIG EVENTS`.
 * Prints what became of the events, and what it took, as one line of JSON.
 */
const [module, config, events] = process.argv.slice(2);
const { ServerAnalytics } = await import(module);
const analytics = new ServerAnalytics(JSON.parse(config));
const EVENTS_PER_VISITOR = 4;
const userAgents = [142, 143, 144].map(
  (version) => `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`
);

let residentBytes = 0;
let queued = 0;
const began = performance.now();
for (let n = 0; n < Number(events); n++) {
  const visitor = Math.floor(n / EVENTS_PER_VISITOR);
  const context = {
    ip: `203.${(visitor >> 16) & 255}.${(visitor >> 8) & 255}.${visitor & 255}`,
    userAgent: userAgents[visitor % userAgents.length],
    language: 'en-GB',
    url: `https://bench.example/page-${n % 400}`
  };
  const goesOn =
    n % EVENTS_PER_VISITOR
      ? analytics.for(context).track('added', { sku: `sku-${n % 1000}`, quantity: (n % 3) + 1 })
      : analytics.for(context).trackView({ pageTitle: `Page ${n % 400}` });
  if (!goesOn || n % 1000 === 0) {
    residentBytes = Math.max(residentBytes, process.memoryUsage.rss());
    queued = Math.max(queued, analytics.stats.queued);
    // What an application does between its requests: it lets others run.
    await (goesOn ? new Promise((resolve) => setImmediate(resolve)) : analytics.ready());
  }
}
await analytics.close(120_000);
const seconds = (performance.now() - began) / 1000;
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ ...analytics.stats, seconds, queued, residentBytes, processorUs: user + system }));
