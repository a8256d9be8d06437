// From what is typed into a search to a filter: what is shown is what is searched.

import { ADDRESSES, countryName, emptyName, readable } from './format.js';

const MOST_PATTERN_CHARS = 500; // The server's limit for a regular expression.
const LETTERS = Array.from({ length: 26 }, (_, index) => String.fromCharCode(65 + index));
const PLAIN = /^[\w\-./~;?:@&=+$,#]*$/; // Stands for itself in a path, and is shown as it is stored.

let countries = null;

/** A filter for the rows of a dimension whose shown name contains the text, whatever is stored. */
export function searchFilter(dimension, text) {
  const found = dimension === 'visit:country' ? countryFilters(text) : [textFilter(dimension, text)];
  if (fold(emptyName(dimension)).includes(fold(text))) found.push(['is', dimension, ['']]);
  return found.length === 1 ? found[0] : ['or', found];
}

function countryFilters(text) {
  countries ??= LETTERS.flatMap((first) => LETTERS.map((second) => first + second))
    .map((code) => [code, fold(countryName(code))]).filter(([code, name]) => name !== fold(code));
  const wanted = fold(text);
  const codes = countries.filter(([, name]) => name.includes(wanted)).map(([code]) => code);
  return [['is', 'visit:country', [...new Set([...codes, text.toUpperCase()])]]];
}

function textFilter(dimension, text) {
  if (ADDRESSES.has(dimension) && !PLAIN.test(text)) {
    const typed = [text, readable(text)];
    const pattern = [...new Set(typed.flatMap((one) => [one.normalize('NFC'), one.normalize('NFD')]).map(encodedPattern))].join('|');
    if (pattern.length <= MOST_PATTERN_CHARS) return ['matches', dimension, [pattern]];
  }
  const stored = dimension === 'visit:screen' ? text.replace(/\s*[×x]\s*/i, 'x') : text;
  return ['contains', dimension, [...new Set([stored, ...(ADDRESSES.has(dimension) ? [encodeURI(text)] : [])])], { case_sensitive: false }];
}

/** A regular expression for a text in a path, each character as it is or percent-encoded, small or capital. */
function encodedPattern(text) {
  return `(?i)${[...text].map((char) => {
    if (PLAIN.test(char)) return escape(char);
    const forms = [char, ...[char, char.toLowerCase(), char.toUpperCase()].map(percentEncoded)];
    return `(?:${[...new Set(forms)].map(escape).join('|')})`;
  }).join('')}`;
}

const percentEncoded = (text) => [...new TextEncoder().encode(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
const escape = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** Without capitals, accents and typographic apostrophes, which searches are typed without. */
const fold = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').replaceAll('’', "'").toLowerCase();
