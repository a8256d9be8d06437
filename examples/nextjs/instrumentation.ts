import type { Instrumentation } from 'next';
import { analytics } from './lib/analytics';

export const onRequestError: Instrumentation.onRequestError = analytics.onRequestError;
