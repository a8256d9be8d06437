/**
 * Options as text, the way a script element's `data-` attributes hold them.
 */

/** Attribute names without `data-`, and their values. */
export type Options = Readonly<Record<string, string | undefined>>;

/**
 * Reads an option of a tracker; empty where it is missing or off. The script's are named as its attributes are, the package's
 * as in its configuration.
 */
export type ReadOption = (name: string) => string;
