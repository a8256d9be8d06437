/** Whether `/a.js` is built, not the package: a constant of the build, so that what only the other one needs is left out. */
declare const IS_SCRIPT: boolean;
