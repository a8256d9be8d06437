// Making elements. Text always goes in as text nodes, so nothing measured can become markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element: properties that start with "on" are listeners, the rest attributes (false and null leave it out). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'className') element.className = value;
    else if (name === 'value' || name === 'checked' || name === 'selected') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replace an element's children. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

const ICONS = {
  calendar: ['M4 7.5h12M6.5 3v2.5M13.5 3v2.5', 'M5 4.5h10A1.5 1.5 0 0 1 16.5 6v9A1.5 1.5 0 0 1 15 16.5H5A1.5 1.5 0 0 1 3.5 15V6A1.5 1.5 0 0 1 5 4.5Z'],
  chevron: ['m6 8 4 4 4-4'],
  check: ['m4.5 10.5 3.5 3.5 7.5-8'],
  close: ['m5.5 5.5 9 9m0-9-9 9'],
  moon: ['M16 11.6A6.4 6.4 0 1 1 8.4 4a5 5 0 0 0 7.6 7.6Z'],
  sun: ['M10 6.8a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 0 1 0-6.4Z', 'M10 2.5v1.4M10 16.1v1.4M2.5 10h1.4M16.1 10h1.4M4.7 4.7l1 1M14.3 14.3l1 1M4.7 15.3l1-1M14.3 5.7l1-1'],
  link: ['M8.5 11.5a3 3 0 0 0 4.3 0l2.8-2.8a3 3 0 0 0-4.3-4.3l-1 1', 'M11.5 8.5a3 3 0 0 0-4.3 0l-2.8 2.8a3 3 0 0 0 4.3 4.3l1-1'],
  person: ['M10 3.5a3 3 0 1 1 0 6 3 3 0 0 1 0-6Z', 'M4 16.5c.6-3 2.9-4.5 6-4.5s5.4 1.5 6 4.5'],
  leave: ['M8 4H5.5A1.5 1.5 0 0 0 4 5.5v9A1.5 1.5 0 0 0 5.5 16H8', 'M12.5 6.5 16 10l-3.5 3.5M16 10H8'],
  brand: ['M5 16v-4', 'M10 16V4', 'M15 16V8'],
};

/** A decorative 20 × 20 line icon in the current colour. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const attributes = { viewBox: '0 0 20 20', fill: 'none', stroke: 'currentColor', 'aria-hidden': 'true', focusable: 'false' };
  attributes['stroke-width'] = name === 'brand' ? '2.8' : '1.6';
  attributes['stroke-linecap'] = attributes['stroke-linejoin'] = 'round';
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

/** A native select that looks like the other controls. `options`: [value, label] pairs. */
export function picker({ label, options, value, onchange, slim = false }) {
  const select = h('select', { 'aria-label': label, onchange: () => onchange(select.value) },
    options.map(([key, text]) => h('option', { value: key, selected: key === value }, text)));
  return h('span', { className: slim ? 'picker slim' : 'picker' }, select, icon('chevron'));
}

/** Tabs with arrow keys. `tabs`: [{id, label}]; the panel they control is `panelId`. */
export function tabList({ label, tabs, selected, panelId, onselect }) {
  const buttons = tabs.map((tab) => h('button', {
    type: 'button', role: 'tab', 'aria-selected': String(tab.id === selected), 'aria-controls': panelId,
    tabindex: tab.id === selected ? '0' : '-1', onclick: () => choose(tab.id),
  }, tab.label));
  const choose = (id) => {
    tabs.forEach((tab, index) => {
      buttons[index].setAttribute('aria-selected', String(tab.id === id));
      buttons[index].tabIndex = tab.id === id ? 0 : -1;
    });
    onselect(id);
  };
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = (at + step + buttons.length) % buttons.length;
    buttons[next].focus();
    choose(tabs[next].id);
  };
  return h('div', { className: 'tabs', role: 'tablist', 'aria-label': label, onkeydown: move }, buttons);
}
