"""A real headless Chromium for the tests, driven by selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService

INSTALL = "apt-get install chromium chromium-driver (make programs does it as root)"


def missing() -> str | None:
    """Say what is not installed, None when a browser can be started."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed: {INSTALL}" if absent else None


@contextmanager
def chromium(language: str = "en", size: tuple[int, int] = (1100, 720)) -> Iterator[Chrome]:
    """Start a browser with a profile of its own; it is gone at the end."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    options.add_argument("--headless=new")
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    options.add_argument(f"--accept-lang={language}")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--disable-background-networking")
    # Root and most containers cannot have the sandbox, and only our own page is opened.
    options.add_argument("--no-sandbox")
    browser = Chrome(options, ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def press(browser: Chrome, key: str) -> None:
    """Press a key on the page; sent to an element it fails when the page leaves in between."""
    ActionChains(browser).send_keys(key).perform()
