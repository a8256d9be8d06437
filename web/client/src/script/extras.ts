/** The second file of the script: brings the features to the tracker that asked for them. */
import { COPY } from '../core/guard.js';
import { makeFeatures } from '../features/index.js';

const running = window[COPY];
if (running && running.m) running.m(makeFeatures);
