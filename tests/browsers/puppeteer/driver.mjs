/*
 * Drives one Firefox for tests/browsers/firefox.py, over WebDriver BiDi.
 *
 * Its first argument is the launch options as JSON: {executable, profile, preferences, startTimeoutMs, timeoutMs}.
 * Then each line on standard input is one command, [name, ...arguments], and each is answered by one line on standard
 * output, {value} or {error}, in the same order. The first line says when the browser is ready: its process id. When
 * standard input ends, so does the browser.
 */
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const options = JSON.parse(process.argv[2]);

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

let browser;
try {
  browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: options.executable,
    userDataDir: options.profile,
    extraPrefsFirefox: options.preferences,
    headless: true,
    timeout: options.startTimeoutMs,
    protocolTimeout: options.timeoutMs,
    defaultViewport: { width: 1280, height: 800 }
  });
} catch (error) {
  answer({ error: String(error) });
  process.exit(1);
}
const tabs = [(await browser.pages())[0]];

const current = () => {
  const tab = tabs[tabs.length - 1];
  tab.setDefaultTimeout(options.timeoutMs);
  return tab;
};

const commands = {
  open: async (url) => void (await current().goto(url, { waitUntil: 'load' })),
  reload: async () => void (await current().reload({ waitUntil: 'load' })),
  evaluate: (expression) => current().evaluate(expression),
  click: (selector) => current().locator(selector).click(),
  open_tab: async () => void tabs.push(await browser.newPage()),
  close_tab: async () => {
    await tabs.pop().close();
    await current().bringToFront();
  }
};

answer({ value: browser.process().pid });
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...values] = JSON.parse(line);
  try {
    answer({ value: (await commands[name](...values)) ?? null });
  } catch (error) {
    answer({ error: String(error) });
  }
}
await browser.close();
