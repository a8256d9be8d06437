// From what is typed into a search to a filter: what is shown is what is searched.

import { ADDRESSES, countryName, emptyName, readable } from './format.js';

const MOST_PATTERN_CHARS = 500; // The server's limit for a regular expression.
const MOST_NEEDLES = 200; // The server's limit for the texts of one "contains".
const NO_CODE = '–'; // Contained in no country's code.
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
  const codes = new Set(countries.filter(([, name]) => name.includes(wanted)).map(([code]) => code));
  if (text.length === 2) codes.add(text.toUpperCase());
  const found = codes.size ? [...codes] : [NO_CODE];
  // By "contains", because "is" takes only codes that the server knows, and browsers have names for others too.
  return Array.from({ length: Math.ceil(found.length / MOST_NEEDLES) }, (_, part) => (
    ['contains', 'visit:country', found.slice(part * MOST_NEEDLES, (part + 1) * MOST_NEEDLES)]));
}

function textFilter(dimension, text) {
  const stored = dimension === 'visit:screen' ? text.replace(/\s*[×x]\s*/i, 'x') : text;
  const plain = ['contains', dimension, [...new Set([stored, ...(ADDRESSES.has(dimension) ? [encodeURI(text)] : [])])], { case_sensitive: false }];
  if (!ADDRESSES.has(dimension) || PLAIN.test(text)) return plain;
  const typed = [text, readable(text)];
  const pattern = [...new Set(typed.flatMap((one) => [one.normalize('NFC'), one.normalize('NFD')]).map(encodedPattern))].join('|');
  return pattern.length <= MOST_PATTERN_CHARS ? ['or', [plain, ['matches', dimension, [pattern]]]] : plain;
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
