// Forms of labelled fields, whose fault is told next to the button.

import { h } from './dom.js';

export const LEAST_CHARS = 12;

let forms = 0;

/** `fields`: [label, input] pairs; `onSubmit()` → promise of {fault, focus}. */
export function form({ fields, rest = null, message = '', button, onSubmit }) {
  const fault = h('p', { className: 'fault', id: `fault-${forms += 1}`, role: 'alert' }, message);
  const send = h('button', { className: 'control primary' }, button);
  for (const [, input] of fields) input.setAttribute('aria-describedby', fault.id);
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    const { fault: told = '', focus } = await onSubmit();
    send.disabled = false;
    fault.textContent = told;
    if (told) (focus ?? fields.at(-1)[1]).select();
    if (told) (focus ?? fields.at(-1)[1]).focus();
  };
  return h('form', { onsubmit: submit },
    fields.map(([label, input]) => h('div', { className: 'pair' }, h('label', { for: input.id }, label), input)), rest, fault, send);
}

export const field = (id, type, rest) => h('input', { className: 'field', id, name: id, type, ...rest });

export const newPassword = (id = 'password') => field(id, 'password', { autocomplete: 'new-password', required: true, minlength: String(LEAST_CHARS) });
