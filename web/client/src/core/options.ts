/**
 * Options as text, the way a script element's `data-` attributes hold them: the one form that the script and the
 * package share.
 */

/** Attribute names without `data-`, and their values. */
export type Options = Readonly<Record<string, string | undefined>>;

/** Reads an option of a tracker. */
export type ReadOption = (name: string) => string;

/** An option's text; empty where it is missing or off, as people and frameworks write that. */
export const readOption = (options: Options, name: string): string =>
  /^\s*(undefined|null|false|no|off|0)\s*$/i.test(options[name] as string) ? '' : options[name]!.trim();
