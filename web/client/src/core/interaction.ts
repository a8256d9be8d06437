/** The public calls' arguments as fields of the HTTP contract: one mapping for pages and servers. */
import type { Interaction, View } from '../types.js';

/** A page view's fields. */
export const viewFields = ({ pageUrl, pageTitle, ...more }: View) => ({ url: pageUrl, title: pageTitle, ...more });

/** An interaction's fields; what has none is a property. */
export const interactionFields = ({ data = {} }: Interaction) => {
  const { pageUrl: url, pageTitle: title, elementId: id, elementTag: tag, elementText, href, ...props } = data;
  return { url, title, element: { id, tag, text: elementText, href }, props };
};
