/**
 * The numbers of the client. In a file that imports nothing: from there the build puts them where they are used.
 */
// ---- Delivery. ----
export const BATCH_DELAY_MS = 200; // Long enough for a router to set the title, short enough for a live view.
export const BATCH_EVENTS = 50; // A full batch leaves at once.
export const BATCH_BYTES = 3e4; // Half of the keepalive budget: the other half is for leaving.
export const KEEPALIVE_BYTES = 6e4; // Browsers allow 64 KiB for all keepalive requests and beacons in flight.
export const SMALL_BYTES = 1e4; // A request that is cheap to repeat.
export const QUEUE_EVENTS = 1e4; // More are not kept while the server can't be reached; the oldest go first.
export const RETRY_POWER = 12.3; // Of two: 2.5 to 5 seconds, doubled with each failure in a row, six times at most.
export const RETRY_AFTER_MS = 6e5; // No answer of a broken proxy silences us for longer.
export const ANSWER_MS = 3e4; // A request without an answer has failed after this.
export const LATE_MS = 1000; // Events sent later than this carry their own time.

// ---- Page views. ----
export const TITLE_MS = 3000; // So long a view in an application waits for its router to set a title,
export const LOAD_MS = 1000; // the first view for the page to load, and a view may still be redirected by replaceState.
export const SETTLE_MS = 1000; // By then a new view has replaced the old one's content.
export const POLL_MS = 500; // How often the address is looked at where the browser tells of no change.
