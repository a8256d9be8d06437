/**
 * Options as text, the way a script element's `data-` attributes hold them: the one form that the script and the
 * package share.
 */

/** Attribute names without `data-`, and their values. */
export type Options = Readonly<Record<string, string | undefined>>;

/** Reads an option of a tracker; empty where it is missing or off. */
export type ReadOption = (name: string) => string;
