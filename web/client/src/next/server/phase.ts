/** Whether this process is `next build`, which loads an application's modules, often without its environment. */
export const isBuild = (): boolean => {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.NEXT_PHASE === 'phase-production-build';
};
