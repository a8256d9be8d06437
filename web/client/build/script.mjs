/*
 * Builds what the server hands out, `/a.js` and the second file that it loads, from src/script/ into the Python
 * package: `npm run build:script`, or `make tracker`. With --check it writes nothing, and fails where a built file
 * is not what the sources give. Both files are in the repository, so that running the server needs no Node.js.
 *
 * Two minifiers, one after the other: each knows what the other does not, and every byte counts on every page.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { minifySync } from 'rolldown/utils';
import { minify } from 'terser';

const MAX_GZIP_BYTES = 3000;
const SOURCES = fileURLToPath(new URL('../src/script/', import.meta.url));
const TARGETS = fileURLToPath(new URL('../../../analytics_server/collect/tracker/', import.meta.url));
const FILES = [
  ['a.ts', 'a.js'],
  ['extras.ts', 'extras.min.js']
];

const compile = async (source) => {
  const bundled = await build({
    entryPoints: [SOURCES + source],
    bundle: true,
    format: 'esm', // One scope, through which the minifiers see.
    define: { IS_SCRIPT: 'true' },
    target: 'es2019',
    supported: { 'dynamic-import': true },
    mangleProps: /_$/, // What only our own code reads; the letters are those that compress best.
    mangleCache: { body_: 't', bytes_: 's', entries_: 'r', event_: 'l', keepalive_: 'm', time_: 'a', waits_: 'h' },
    charset: 'utf8',
    legalComments: 'none',
    write: false
  });
  const compressed = await minify(bundled.outputFiles[0].text, {
    ecma: 2019,
    toplevel: true,
    compress: { passes: 4, join_vars: false, unsafe_arrows: true, pure_getters: true, keep_fargs: false }
  });
  const minified = minifySync(source, compressed.code, {
    module: true,
    compress: { target: 'es2019' },
    mangle: { toplevel: true }
  });
  if (minified.errors.length) throw new Error(minified.errors[0].message);
  // The server escapes what it puts in for double quotes, and one kind of quotes compresses best. A block keeps it all
  // from the page: the bundler writes `var` where the sources have `const`.
  const code = minified.code
    .replace(/`((?:[^`\\]|\\.)*)`/g, (text, inner) => (/"|\$\{/.test(inner) ? text : `"${inner}"`))
    .replace(/\bvar /g, 'let ');
  return `{${code}}\n`;
};

const gzipBytes = (built) =>
  gzipSync(built.replace('__COLLECT__', './track').replace('__NAME__', 'a.js'), { level: 9 }).length;

const check = process.argv.includes('--check');
for (const [source, target] of FILES) {
  const built = await compile(source);
  const bytes = gzipBytes(built);
  if (process.argv.includes('--show')) console.log(built);
  console.log(`${target}: ${built.length} bytes, ${bytes} gzipped.`);
  if (bytes > MAX_GZIP_BYTES) {
    console.error(`${target} has more than ${MAX_GZIP_BYTES} bytes gzipped.`);
    process.exitCode = 1;
  } else if (!check) writeFileSync(TARGETS + target, built);
  else if (readFileSync(TARGETS + target, 'utf8') !== built) {
    console.error(`${target} is not what the sources give: run make tracker.`);
    process.exitCode = 1;
  }
}
