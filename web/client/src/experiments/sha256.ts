/** SHA-256 (FIPS 180-4), at once: the platform's own only answers later. The first 64 bits of it are all that is needed. */

// The first 64 primes. Marked as without effect, so that pages without experiments do not carry it.
const primes: readonly number[] = /* @__PURE__ */ (() => {
  const found: number[] = [];
  for (let n = 2; found.length < 64; n++) if (found.every((prime) => n % prime)) found.push(n);
  return found;
})();

// The first 32 bits of the fraction of a root.
const fraction = (root: number): number => ((root % 1) * 2 ** 32) | 0;
const rotate = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));

/** The first two words of the hash, as unsigned numbers. */
export const sha256Head = (bytes: Uint8Array): readonly [number, number] => {
  const state = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
  const padded = new Uint8Array((((bytes.length + 8) >> 6) + 1) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, bytes.length << 3);
  const words = new Int32Array(64);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 64; i++) {
      const w15 = words[i - 15]!;
      const w2 = words[i - 2]!;
      words[i] =
        i < 16
          ? view.getInt32(block + i * 4)
          : words[i - 16]! +
            (rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3)) +
            words[i - 7]! +
            (rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = state as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      const t1 =
        h +
        (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
        ((e & f) ^ (~e & g)) +
        fraction(Math.cbrt(primes[i]!)) +
        words[i]!;
      const t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = (state[i]! + word) | 0));
  }
  return [state[0]! >>> 0, state[1]! >>> 0];
};
