import { defineConfig } from 'vitest/config';

export default defineConfig({
  define: { IS_SCRIPT: 'false' },
  test: { include: ['tests/**/*.test.ts'], watch: false, pool: 'threads', testTimeout: 60_000 }
});
