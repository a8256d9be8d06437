// The client in an edge runtime, which has web APIs only: `node edge.mjs SCRIPT CONFIG`. SCRIPT is the built package as
// one file that puts it under `client`; answers how many views were delivered.
import { readFileSync } from 'node:fs';
import { EdgeRuntime } from 'edge-runtime';

const [script, config] = process.argv.slice(2);
const runtime = new EdgeRuntime({ initialCode: readFileSync(script, 'utf8') });
const delivered = await runtime.evaluate(`(async () => {
  const analytics = new client.ServerAnalytics(${config});
  for (let n = 0; n < 50; n++) analytics.trackView({ pageUrl: 'https://shop.example/' + n });
  await analytics.close();
  return analytics.stats.delivered;
})()`);
console.log(JSON.stringify({ delivered }));
