/** The parsed address; undefined where it is none. (`URL.canParse` is missing before Node.js 18.17.) */
export const parsed = (address: string): URL | undefined => {
  try {
    return new URL(address);
  } catch {
    return undefined;
  }
};
