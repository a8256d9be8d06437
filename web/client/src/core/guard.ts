/**
 * What keeps faults away from the page: every call of the platform is guarded, because pages patch, remove and shadow
 * everything.
 */

/** The work, made harmless: what goes wrong in it never reaches the page, and the result is then undefined. */
export const safe =
  <Given extends unknown[], Result>(work: (...given: Given) => Result) =>
  (...given: Given): Result | undefined => {
    try {
      return work(...given);
    } catch {
      // The page goes on as if we were not there.
    }
  };

/** The property of the window under which the tracker that runs on a page is found: only one does. */
export const COPY = Symbol.for('analytics-server') as unknown as 'analyticsServer';
