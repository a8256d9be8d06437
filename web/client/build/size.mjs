/*
 * Measures what the package adds to an application, compressed: what a page loads at once, and what it loads later, when
 * an option asks for it. Prints a line each; fails above the limit. Several files of a bundle may be loaded at once: each
 * that the page's own imports, and so on; what `import()` asks for comes later.
 */
import { basename, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const MAX_CORE_BYTES = 3600;
const MAX_REACT_BYTES = 800;
const MAX_NEXT_BYTES = 600;

/** Compressed bytes of what a page that imports this from the package loads at once; and the files that come later. */
const measure = async (imports) => {
  const at = (entry) => JSON.stringify(fileURLToPath(new URL(`../dist/${entry}`, import.meta.url)));
  const { metafile, outputFiles } = await build({
    stdin: { contents: imports.map(([names, entry]) => `export { ${names} } from ${at(entry)};`).join('\n'), resolveDir: '.' },
    bundle: true,
    external: ['react', 'next/*'],
    splitting: true,
    minify: true,
    format: 'esm',
    target: 'es2020',
    outdir: 'out',
    logLevel: 'error',
    metafile: true,
    write: false
  });
  const first = Object.keys(metafile.outputs).filter((path) => metafile.outputs[path].entryPoint === '<stdin>');
  if (first.length !== 1) throw new Error('The bundle has no file, or several, that a page begins with.');
  const early = new Set(first);
  for (const path of early) {
    for (const { kind, path: other, external } of metafile.outputs[path].imports) {
      if (kind !== 'dynamic-import' && !external) early.add(other);
    }
  }
  const files = [...early].map((path) => resolve(path));
  const isEarly = (file) => files.includes(file.path);
  const bytes = (file) => gzipSync(file.contents, { level: 9 }).length;
  return {
    atOnce: outputFiles.filter(isEarly).reduce((sum, file) => sum + bytes(file), 0),
    later: outputFiles.filter((file) => !isEarly(file)).map((file) => `${bytes(file)} ${basename(file.path)}`)
  };
};

const check = (name, bytes, most) => {
  console.log(`${name}: ${bytes}`);
  if (bytes <= most) return;
  console.error(`${name} has more than ${most} bytes.`);
  process.exitCode = 1;
};

const CORE = ['AnalyticsClient', 'index.js'];
const REACT = 'AnalyticsProvider, useAnalytics, usePageview, useTrack, useExperiment, TrackClick, OptOut';
const core = await measure([CORE]);
check('core', core.atOnce, MAX_CORE_BYTES);
for (const file of core.later) console.log(`later: ${file}`);
const react = await measure([CORE, [REACT, 'react/index.js']]);
check('React on top of it', react.atOnce - core.atOnce, MAX_REACT_BYTES);
const next = await measure([CORE, [REACT, 'react/index.js'], ['Analytics', 'next/index.js']]);
check('Next.js on top of both', next.atOnce - react.atOnce, MAX_NEXT_BYTES);
const experiments = await measure([['AnalyticsClient, experiments', 'index.js']]);
console.log(`experiments on top of it: ${experiments.atOnce - core.atOnce}`);
