import { analytics } from './lib/server';

export const { onRequestError } = analytics;
