// The chips that show what the report is narrowed to.

import { fill, h, icon } from './dom.js';
import { dimensionName, valueName } from './format.js';

const OPERATOR_NAMES = { is: 'is', is_not: 'is not', contains: 'contains', contains_not: 'does not contain' };
const OPPOSITE = { is: 'is_not', is_not: 'is', contains: 'contains_not', contains_not: 'contains' };

export class Filters {
  constructor(state) {
    this.state = state;
    this.element = h('div', { className: 'chips', role: 'group', 'aria-label': 'Filters', hidden: true });
    this.render();
  }

  render() {
    const { filters } = this.state.current;
    this.element.hidden = filters.length === 0;
    fill(this.element, filters.map((filter, index) => this.#chip(filter, index)),
      filters.length > 1 && h('button', { type: 'button', className: 'clear', onclick: () => this.state.set({ filters: [] }) }, 'Clear all'));
  }

  #chip([operator, dimension, values], index) {
    const value = valueName(dimension, values[0]);
    const swap = () => this.#replace(index, [OPPOSITE[operator], dimension, values]);
    const remove = () => this.state.set({ filters: this.state.current.filters.filter((_, at) => at !== index) });
    return h('span', { className: 'chip' },
      h('span', { className: 'name' }, dimensionName(dimension)),
      h('button', { type: 'button', className: 'operator', title: 'Turn the filter round', 'aria-label': `${OPERATOR_NAMES[operator]}: change to ${OPERATOR_NAMES[OPPOSITE[operator]]}`, onclick: swap }, OPERATOR_NAMES[operator]),
      h('span', { className: 'value', title: value }, value),
      h('button', { type: 'button', className: 'remove', 'aria-label': `Remove filter: ${dimensionName(dimension)} ${OPERATOR_NAMES[operator]} ${value}`, onclick: remove }, icon('close')));
  }

  #replace(index, filter) {
    this.state.set({ filters: this.state.current.filters.map((kept, at) => (at === index ? filter : kept)) });
  }
}
