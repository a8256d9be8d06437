/*
 * Bundles the application beside it for a browser, and renders it as a server does:
 * `node build.mjs WEB MODULES OUT PACKAGES…`, where PACKAGES are folders of packages, React's own first. Prints the HTML.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [web, modules, out, ...nodePaths] = process.argv.slice(2);
const { build } = createRequire(join(web, 'package.json'))('esbuild');
const common = {
  absWorkingDir: import.meta.dirname,
  bundle: true,
  outdir: out,
  nodePaths,
  jsx: 'automatic',
  alias: { '@analytics/client': join(modules, 'index.js'), '@analytics/client/react': join(modules, 'react/index.js') },
  define: { 'process.env.NODE_ENV': '"development"' },
  logLevel: 'error'
};
await build({ ...common, entryPoints: ['page.tsx'], format: 'esm', target: 'es2020', splitting: true });
await build({ ...common, entryPoints: ['server.tsx'], format: 'cjs', platform: 'node', outExtension: { '.js': '.cjs' } });
process.stdout.write((await import(pathToFileURL(join(out, 'server.cjs')).href)).default.html);
