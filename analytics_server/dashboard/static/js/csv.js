// CSV for people: what a spreadsheet would take for a formula gets an apostrophe in front, as in the server's own files.

import { h } from './dom.js';

const FORMULA = /^(?:[\t\r\n]|[\x00-\x20\x7f'"\u00a0\u00ad\u2000-\u200f\u2060\u3000\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212])/;
const RELEASE_MS = 10_000;

/** A text as a cell; a number as it is; nothing as an empty cell. */
const cell = (value) => (typeof value === 'string' ? `"${(FORMULA.test(value) ? `'${value}` : value).replaceAll('"', '""')}"` : String(value ?? ''));

/** Rows of texts and numbers as CSV, with line ends as spreadsheets want them. */
export const csvOf = (rows) => rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');

/** Save a text as a file; with a mark in front, by which spreadsheets know that it is UTF-8. */
export function saveCsv(name, text) {
  const url = URL.createObjectURL(new Blob(['\ufeff', text], { type: 'text/csv' }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), RELEASE_MS);
}
