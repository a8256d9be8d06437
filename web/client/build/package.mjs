/*
 * Builds the package into dist/: ES modules, in which what only some pages need is a chunk of its own, CommonJS, and
 * types for both. `npm run build`; an argument names another folder than dist/.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const DIST = process.argv[2] ?? join(PACKAGE, 'dist');
const ENTRIES = ['index', 'node/index', 'testing/index', 'react/index', 'next/index', 'next/server/index', 'nestjs/index'];
// What the declarations of the entries name.
const MORE_TYPES = [
  ...['types', 'experiments/index', 'node/types', 'node/context', 'nestjs/request', 'nestjs/service', 'nestjs/decorators'],
  ...['request', 'tracker', 'proxy', 'config'].map((name) => `next/server/${name}`)
];
const TYPES = [...ENTRIES, ...MORE_TYPES];

rmSync(DIST, { recursive: true, force: true });

const common = {
  absWorkingDir: PACKAGE,
  entryPoints: ENTRIES.map((name) => `src/${name}.ts`),
  outbase: 'src',
  outdir: DIST,
  bundle: true,
  external: ['react', 'next/*'],
  target: 'es2020',
  define: { IS_SCRIPT: 'false' },
  mangleProps: /_$/, // What only our own code reads; the letters are those that compress best.
  mangleCache: {
    ...{ accept_: 'y', attention_: 'l', body_: 'a', bytes_: 'r', call_: 'm', end_: 'n', entries_: 'h', event_: 's', keepalive_: 'p' },
    ...{ objects_: 'v', running_: 'c', seen_: 'u', time_: 'x', transport_: 'e', waits_: 'i' }
  },
  minifySyntax: true, // Puts constants in their places.
  charset: 'utf8',
  legalComments: 'none'
};
// What comes later must not come with what a page loads at once. Attention is imported at once by the script alone; and it
// and the features have guards of their own, because a file that they share with the rest is loaded with the rest.
const apart = {
  name: 'what comes later',
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /\/attention\.js$/ }, ({ kind, path }) =>
      kind === 'import-statement' ? { path, namespace: 'none' } : undefined
    );
    onLoad({ filter: /./, namespace: 'none' }, () => ({ contents: 'export const createAttention = undefined;' }));
    onResolve({ filter: /\/guard\.js$/ }, ({ importer, path, resolveDir }) => {
      const later = /\/features\b|\/attention\b/.exec(importer);
      return later ? { path: join(resolveDir, path.replace(/js$/, 'ts')), suffix: `?${later[0]}` } : undefined;
    });
  }
};
await build({ ...common, format: 'esm', plugins: [apart], splitting: true, chunkNames: 'chunks/[name]-[hash]' });
// Without chunks, the entries in CommonJS take the client from the package's first entry, and Next.js the hooks from React's.
const shared = {
  name: 'shared entries',
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\.\/(react\/)?index\.js$/ }, ({ path }) => ({ path: path.replace(/js$/, 'cjs'), external: true }))
};
await build({ ...common, format: 'cjs', outExtension: { '.js': '.cjs' }, plugins: [shared] });
// Frameworks that render on servers need to know which modules are for the browser.
for (const name of ['react/index.js', 'react/index.cjs', 'next/index.js', 'next/index.cjs']) {
  const path = join(DIST, name);
  writeFileSync(path, `'use client';\n${readFileSync(path, 'utf8')}`);
}

const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.types.json', '--outDir', DIST], { cwd: PACKAGE, stdio: 'inherit' });
// The declarations of what is not public are left out: the public ones do not name them.
const keep = new Set(TYPES.map((name) => join(DIST, `${name}.d.ts`)));
for (const entry of readdirSync(DIST, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath ?? entry.path, entry.name);
  if (entry.name.endsWith('.d.ts') && !keep.has(path)) rmSync(path);
}
for (const path of keep) {
  writeFileSync(path.replace(/ts$/, 'cts'), readFileSync(path, 'utf8').replace(/(from '\.[^']*)\.js'/g, "$1.cjs'"));
}
