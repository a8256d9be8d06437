/* Compiles the application beside it: `node build.mjs WEB MODULES OUT`. Nest itself stays outside. */
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [web, modules, out] = process.argv.slice(2);
const { build } = createRequire(join(web, 'package.json'))('esbuild');
await build({
  absWorkingDir: import.meta.dirname,
  entryPoints: ['app.ts'],
  bundle: true,
  external: ['@nestjs/*', 'reflect-metadata', 'rxjs'],
  alias: { '@analytics/client/nestjs': join(modules, 'nestjs/index.js') },
  format: 'esm',
  platform: 'node',
  outfile: out,
  tsconfigRaw: { compilerOptions: { experimentalDecorators: true } },
  logLevel: 'error'
});
