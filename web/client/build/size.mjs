/*
 * Measures what the package adds to an application, compressed: what a page loads at once, and what it loads later, when
 * an option asks for it. Prints a line each; fails above the limit.
 */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const MAX_CORE_BYTES = 3600;
const entry = fileURLToPath(new URL('../dist/index.js', import.meta.url));
const { outputFiles } = await build({
  stdin: { contents: `export { AnalyticsClient } from ${JSON.stringify(entry)};`, resolveDir: '.' },
  bundle: true,
  splitting: true,
  minify: true,
  format: 'esm',
  target: 'es2020',
  outdir: 'out',
  logLevel: 'error',
  write: false
});
const isEntry = (file) => /stdin/.test(file.path);
const bytes = (file) => gzipSync(file.contents, { level: 9 }).length;
const core = outputFiles.filter(isEntry).reduce((sum, file) => sum + bytes(file), 0);
console.log(`at once: ${core}`);
for (const file of outputFiles) if (!isEntry(file)) console.log(`later: ${bytes(file)} ${basename(file.path)}`);
if (core > MAX_CORE_BYTES) {
  console.error(`The core has more than ${MAX_CORE_BYTES} bytes.`);
  process.exitCode = 1;
}
