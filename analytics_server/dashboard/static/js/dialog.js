// A modal dialog with a title, sections, and a way out; it goes when it is closed.

import { h, icon } from './dom.js';

/** Show a dialog: {element, signal}; the signal ends with it. */
export function dialog(title, ...children) {
  const controller = new AbortController();
  const element = h('dialog', {
    className: 'details sheet', 'aria-label': title, onclick: (event) => event.target === element && element.close(),
    onclose: () => { controller.abort(); element.remove(); },
  },
  h('header', {}, h('h2', { tabindex: '-1' }, title), h('button', { type: 'button', className: 'control icon', 'aria-label': 'Close', onclick: () => element.close() }, icon('close'))),
  h('div', { className: 'scroll' }, children));
  document.body.append(element);
  element.showModal();
  element.querySelector('h2').focus();
  return { element, signal: controller.signal };
}

/** A part of a dialog. */
export const section = (title, ...children) => h('section', { 'aria-label': title }, h('h3', {}, title), ...children);
