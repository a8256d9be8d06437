/**
 * Attention: the deepest scroll, and the time the page is visible, focused and in use. The page is read before its own
 * handlers have changed it, so what is read was laid out already; only what was changed since the last frame, and a page
 * that is left, may be laid out for it.
 */
import { safe } from './guard.js';

const IDLE_MS = 3e4; // Without a sign of life, attention ends after this.
const REPORT_MS = 1000; // Less engaged time than this is not worth an event of its own.
const MIN_AREA = 1e5; // Square pixels: smaller elements that scroll are not the page.

/** What a tracker does with it: `[measure, attend, report, reset]`. */
export type Attention = readonly [
  /** Notes how far the content is scrolled, and how high it is. */
  measure: () => void,
  /** Called at each sign of life and at each change of visibility or focus. */
  attend: () => void,
  /**
   * Tells what is new since the last report. `final` is 1 where the view ends and the page goes on. Else the page is
   * hidden or left, and time does not count until the next sign of life.
   */
  report: (final?: number) => void,
  /** A new view begins. */
  reset: () => void
];

/** Takes engaged milliseconds and, where it is known, the scroll depth in per cent. */
export type Tell = (engaged_ms: number, depth?: number) => void;

export const createAttention = (tell: Tell): Attention => {
  let box: Element; // What scrolls: the document's own scroller, or the largest element that does.
  let bottom!: number; // The lowest point seen, in pixels from the top.
  let height = 0; // The height of the content when it was last measured; 0 where nothing tells.
  let reported!: number; // The scroll depth last reported.
  let engaged!: number; // Engaged milliseconds since the last report.
  let attentive!: boolean;
  let since!: number; // When attention was last counted.

  // Not right after a change of view: the old content may still stand there, scrolled down. It is called when the view
  // has settled, when the page is scrolled or used (which is just before most changes of view), and when it is left.
  const measure = () => {
    const root = document.scrollingElement || document.documentElement;
    let area = MIN_AREA;
    const flow = (element: Element) => getComputedStyle(element).overflowY;
    const search = (parent: ParentNode) =>
      parent.querySelectorAll('*').forEach((element) => {
        const size = element.clientWidth * element.clientHeight;
        if (size > area && element.scrollHeight > element.clientHeight + 1 && /auto|scroll/.test(flow(element))) {
          box = element;
          area = size;
        }
        if (element.shadowRoot) search(element.shadowRoot);
      });
    box = root;
    // A page that is fixed in the window: what scrolls is inside of it, or is not known.
    const fits = root.scrollHeight < innerHeight * 1.1;
    if (fits) search(document);
    bottom = Math.max(bottom, box.scrollTop + box.clientHeight);
    height = fits && box == root && /hidden|clip/.test(flow(root) + flow(document.body)) ? 0 : box.scrollHeight;
  };

  const attend = () => {
    const now = performance.now();
    if (attentive) engaged += Math.min(now - since, IDLE_MS);
    since = now;
    attentive = document.hasFocus();
  };

  // A page that fits the window may still grow: that it was seen whole is told only when it is left for good.
  const report = safe((final?: number) => {
    attend();
    if (final != 1) attentive = false;
    let depth = height && Math.min(100, ((bottom / height) * 100 + 0.5) | 0);
    if (depth > 99 && bottom <= innerHeight && !final) depth = 0;
    if (depth <= reported && engaged < REPORT_MS) return;
    tell(engaged | 0, depth || undefined);
    reported = Math.max(reported, depth);
    engaged = 0;
  });

  return [measure, attend, report, () => (reported = engaged = bottom = 0)];
};
