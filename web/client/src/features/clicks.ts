/**
 * Clicks and forms: marked elements, links to other hosts, downloads, submitted forms.
 *
 * Elements are read through Element.prototype, because the fields of a form named `attributes`, `dataset` or `id` hide
 * the form's own properties.
 */
import { safe } from '../core/guard.js';
import type { ReadOption } from '../core/options.js';
import type { Call, Listen } from '../core/tracker.js';

const DOWNLOADS =
  '7z,apk,avi,csv,dmg,doc,docx,epub,exe,gz,iso,mov,mp3,mp4,msi,pdf,pkg,ppt,pptx,rar,rtf,tar,txt,wav,xls,xlsx,zip';
const LINK = 'a[*|href],area[href]';

/** Acts on an event whose path, through open shadow roots too, is given. */
export const createClicks = (on: (name: string) => unknown, option: ReadOption, listen: Listen, call: Call) => {
  const Url = (window as { webkitURL?: typeof URL }).webkitURL || URL; // Pages name things of their own URL.
  const elements = Element.prototype;
  const attribute = (element: Element, name: string) => elements.getAttribute.call(element, name);
  const matches = safe((node: EventTarget, selector: string) => elements.matches.call(node as Element, selector));

  const given = option('downloads');
  const endings = (/^(true|1|yes|on|(data-)?downloads|)$/i.test(given) ? DOWNLOADS : given)
    .toLowerCase()
    .split(/[\s,;|]+/)
    .map((ending) => ending.replace(/^\*?\./, ''));

  const isWeb = (url: URL) => /^https?:$/.test(url.protocol);

  // Where a link leads, in HTML, SVG and image maps; undefined where it leads nowhere.
  const target = safe((link: Element) => {
    const address = attribute(link, 'href');
    return new Url((address === null ? attribute(link, 'xlink:href') : address)!, link.baseURI);
  });

  // The event that an element is marked with; undefined where it is not marked, or marked as false.
  const mark = safe((node: EventTarget) => {
    if (!IS_SCRIPT && on('unmarked')) return;
    const name = attribute(node as Element, 'data-analytics');
    return name === null || /^false$/i.test(name) ? undefined : name.replace(/^true$/i, '');
  });

  // Reports the use of an element. Text is left out where it would be labels, or what a visitor has typed.
  const used = (event: string, element: HTMLElement) => {
    const props: Record<string, string | null> = {};
    for (const name of elements.getAttributeNames.call(element)) {
      const match = /^data-analytics-prop-(.+)/.exec(name);
      if (match) props[match[1]!] = attribute(element, name);
    }
    const isForm = matches(element, 'form');
    const quiet = isForm || matches(element, 'textarea,select,[contenteditable]:not([contenteditable=false])');
    const url = matches(element, LINK) && target(element);
    call(event, {
      props,
      element: {
        id: attribute(element, 'id') || undefined,
        tag: isForm ? 'form' : element.localName,
        text: (!quiet && (element.innerText || element.textContent!).trim().slice(0, 100)) || undefined,
        // Of other than web addresses no more than the scheme, and that for downloads only.
        href: url ? (isWeb(url) ? url.href : event === 'download' ? url.protocol : undefined) : undefined
      }
    });
  };

  const clicked = (event: MouseEvent, path: EventTarget[]) => {
    if (event.button > 1) return; // Left and middle button only.
    const marked = path.find((node) => mark(node) !== undefined) as HTMLElement | undefined;
    if (marked && !matches(marked, 'form')) return used(mark(marked) || 'click', marked);
    const link = path.find((node) => matches(node, LINK)) as HTMLElement | undefined;
    const url = link && target(link);
    if (!url) return;
    const ending = url.pathname.split('.').pop()!.toLowerCase();
    if (on('downloads') && (link.hasAttribute('download') || (isWeb(url) && endings.includes(ending)))) {
      used('download', link);
    } else if (on(IS_SCRIPT ? 'outbound' : 'outboundLinks') && isWeb(url) && url.host !== location.host) {
      used('outbound', link);
    }
  };

  const submitted = (form: EventTarget) => {
    const name = mark(form);
    if (name !== undefined || on('forms')) used(name || 'form', form as HTMLElement);
  };

  const roots = new WeakSet<EventTarget>();

  return safe((event: Event, path: EventTarget[]) => {
    // A form that is submitted in a shadow root is not seen outside of it: listen in each root that is used.
    for (const node of path) {
      if ((node as Node).nodeType === 11 && !roots.has(node)) {
        roots.add(node);
        // A form in a slot is submitted in the page, though the event passes this root too.
        listen('submit', ({ target }) => elements.getRootNode.call(target) === node && submitted(target), node);
      }
    }
    if (/click/.test(event.type)) clicked(event as MouseEvent, path);
    else if (event.type === 'submit') submitted(path[0]!);
  });
};
