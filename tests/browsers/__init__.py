"""Firefox and WebKit for tests, each driven through the interface of `Browser`.

Chromium has Playwright (`tests/browser.py`), which drives neither a distribution's Firefox
nor its WebKit: the one is driven by puppeteer-core (WebDriver BiDi), the other by Selenium.
"""

from __future__ import annotations
