"""How many keys a question takes in a real browser, and how soon the next one is there (H3)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.bench.results import Row
from tests.browser import chromium, missing, press
from tests.review_site import Site, question, rating, site, sqlite

# Notes when a key goes down and when the next question has been painted.
_WATCH = """
const now = () => performance.timeOrigin + performance.now();
const done = () => document.getElementById('done')?.textContent;
let pressed = null, before = null;
window.waits = [];
addEventListener('keydown', () => { pressed = now(); before = done(); }, true);
new MutationObserver(() => {
  if (pressed === null || done() === before || !document.querySelector('.prompt')) return;
  const since = pressed;
  pressed = null;
  requestAnimationFrame(() => setTimeout(() => window.waits.push(now() - since)));
}).observe(document, {childList: true, subtree: true});
"""
PAIR = (
    "Ankara became the capital of Turkey in 1923. The assembly decided so on 13 October.",
    "İstanbul became the capital of Turkey in 1923. The assembly decided so on 29 October.",
    "tie",
)


def rows(questions: int) -> tuple[Row, ...]:
    """Answer `questions` by keyboard."""
    if reason := missing():
        return (
            Row("H3.keys", None, "keys", "<= 2", note=reason),
            Row("H3.keys_rating", None, "keys", "<= 2", note=reason),
            Row("H3.next_p95", None, "ms", "< 150", note=reason),
        )
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        chromium() as browser,
        site(sqlite(Path(name))) as opened,
    ):
        opened.ask([question(f"q{n}", f"Question {n}?", *PAIR) for n in range(questions + 1)])
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        keys, waits = _answer(browser, opened, questions)
        rated = _rate(browser, opened)
    p95 = float(np.percentile(waits, 95))
    note = f"{len(waits)} questions; median {np.median(waits):.0f} ms from key to painted page"
    return (
        Row("H3.keys", keys, "keys", "<= 2", keys <= 2, note="a pair of answers, Chromium"),
        Row("H3.keys_rating", rated, "keys", "<= 2", rated <= 2, note="a criterion, levels 1 to 5"),
        Row("H3.next_p95", p95, "ms", "< 150", p95 < 150, note=note),
    )


def _answer(browser: Chrome, opened: Site, questions: int) -> tuple[float, list[float]]:
    """Return the keys a question took, and the milliseconds until each next one."""
    sign_in(browser, opened)
    pressed = 0
    for done in range(1, questions + 1):
        press(browser, "120"[done % 3])
        pressed += 1
        _until(browser, f"return window.waits.length >= {done}")
    waits = browser.execute_script("return window.waits")
    told = browser.find_element(By.ID, "done").text
    if int(told) != questions:
        raise AssertionError(f"{questions} keys answered {told} questions")
    return pressed / questions, waits


def _rate(browser: Chrome, opened: Site, count: int = 10) -> float:
    """Return the keys that a rating by one criterion took."""
    before = int(browser.find_element(By.ID, "done").text)
    press(browser, "1")  # what is left of the pairs
    given = (rating(f"r{n}", f"Question {n}?", "Ankara.", "Is it true?") for n in range(count))
    opened.ask(list(given))
    browser.get(opened.url)
    pressed = 0
    for _ in range(count):
        done = browser.find_element(By.ID, "done").text
        press(browser, "12345"[pressed % 5])
        pressed += 1
        _until(browser, f"return document.getElementById('done')?.textContent !== '{done}'")
    told = int(browser.find_element(By.ID, "done").text) - before - 1
    if told != count:
        raise AssertionError(f"{pressed} keys rated {told} answers, not {count}")
    return pressed / count


def _until(browser: Chrome, script: str) -> None:
    WebDriverWait(browser, 20, 0.01).until(lambda _: browser.execute_script(script))


def sign_in(browser: Chrome, opened: Site, name: str = "ayşe") -> None:
    """Open the page and sign in as a new reviewer."""
    browser.get(opened.url)
    browser.find_element(By.ID, "token").send_keys(opened.token(name), Keys.ENTER)
    WebDriverWait(browser, 20, 0.02).until(lambda _: browser.find_elements(By.ID, "done"))


def picture(path: Path, language: str = "en") -> None:
    """Write a screenshot of the page with a question on it."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        chromium(language, (1000, 640)) as browser,
        site(sqlite(Path(name))) as opened,
    ):
        prompt = "Which city became the capital of Turkey in 1923, and when?"
        opened.ask([question(f"q{n}", prompt, *PAIR) for n in range(12)])
        sign_in(browser, opened)
        for _ in range(5):
            press(browser, "1")
            time.sleep(0.3)
        browser.save_screenshot(str(path))
