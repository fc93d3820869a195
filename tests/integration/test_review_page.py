"""The reviewers' page in a real headless Chromium, by keyboard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from services.review import page
from services.review.announce import finals
from tests.browser import chromium, missing, press
from tests.review_site import PLAIN, Site, question, rating, site, sqlite


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """Start Chromium once; a counted skip without it, an error in a CI that could install it."""
    if reason := missing():
        if os.environ.get("CI") == "true" and shutil.which("apt-get"):
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium() as started:
        yield started


@dataclass
class Person:
    """Somebody at the keyboard."""

    browser: Chrome
    site: Site

    def opens(self, path: str = "/") -> None:
        self.browser.get(f"{self.site.url}{path}")

    def signs_in(self, name: str = "ayşe") -> None:
        self.browser.delete_all_cookies()
        self.opens()
        self.find("#token").send_keys(self.site.token(name), Keys.ENTER)
        self.sees(lambda: not self.all("#token"))

    def presses(self, *keys: str) -> None:
        """Press keys on the page itself; returns when the page has changed."""
        before = self.find("body")
        for key in keys:
            press(self.browser, key)
        self.sees(lambda: _gone(before))

    def sees(self, what: Callable[[], object]) -> None:
        WebDriverWait(self.browser, 120, 0.02).until(lambda _: what())

    def all(self, css: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def find(self, css: str):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def text(self, css: str = "main") -> str:
        return self.find(css).text


def _gone(element) -> bool:
    """Whether the element belongs to a page that has been left."""
    try:
        element.is_enabled()
    except Exception as error:
        return type(error).__name__ in ("StaleElementReferenceException", "NoSuchElementException")
    return False


@pytest.fixture
def person(browser, tmp_path) -> Iterator[Person]:
    with site(sqlite(tmp_path)) as opened:
        opened.ask([question(f"q{n}", f"What is {n} + 5?", "12", "13", "tie") for n in range(5)])
        browser.delete_all_cookies()
        yield Person(browser, opened)


def chosen(person: Person) -> list[int | None]:
    def read(connection):
        policy = person.site.policy.model_copy(update={"undo_seconds": 0})
        return finals(connection, policy, 2e10)

    return [each.event.data.choice for each in person.site.database.transact(read)]


def test_a_question_takes_one_key(person):
    person.signs_in()
    first = person.text(".prompt")
    person.presses("1")
    assert person.text("#done") == "1"
    assert person.text(".prompt") != first
    person.presses("0")
    assert person.text("#done") == "2"
    assert 2 in chosen(person)


def test_the_key_chooses_the_answer_that_stands_beside_it(person):
    person.signs_in()
    for _ in range(5):
        options = [each.text for each in person.all(".option span")]
        person.presses(str(options.index("13") + 1))
    assert chosen(person) == [1] * 5


def test_an_answer_is_undone_by_a_key(person):
    person.signs_in()
    first = person.text(".prompt")
    person.presses("2")
    person.presses("u")
    assert (person.text(".prompt"), person.text("#done")) == (first, "0")


def test_skipping_takes_two_keys_and_keeps_the_reason(person):
    person.signs_in()
    person.presses("s", "3")
    assert chosen(person) == [None]
    assert person.text("#left") == "4"


def test_escape_leaves_the_skipping(person):
    person.signs_in()
    press(person.browser, "s")
    assert person.find("#skip").get_attribute("open") is not None
    press(person.browser, Keys.ESCAPE)
    assert person.find("#skip").get_attribute("open") is None
    person.presses("1")
    assert chosen(person)[0] is not None


def test_an_empty_queue_says_why_and_new_questions_appear_by_themselves(person):
    person.signs_in()
    for _ in range(5):
        person.presses("1")
    assert person.find("#empty").get_attribute("data-reason") == "yours"
    person.site.ask([question("new", "Anything new?", "yes", "no")])
    person.sees(lambda: person.all(".prompt"))
    assert person.text(".prompt") == "Anything new?"


def test_the_page_is_turkish_for_who_wants_it(person):
    person.opens("/?language=tr")
    assert person.text("label") == page.TEXTS["tr"]["token"]
    person.signs_in()
    person.find("a[lang=tr]").click()
    person.sees(lambda: page.TEXTS["tr"]["which"] in person.text())
    assert person.find("html").get_attribute("lang") == "tr"


def test_text_of_others_runs_no_script(person):
    steal = "document.title='owned'"
    hostile = f'<img src=x onerror="{steal}"><script>{steal}</script>'
    person.site.ask([question("0", hostile, hostile, "fine")])
    person.signs_in()
    for _ in range(6):
        assert person.browser.title != "owned"
        assert not person.all("main img, main script")
        person.presses("1")


def test_a_wrong_token_is_told(person):
    person.opens()
    person.find("#token").send_keys("guess", Keys.ENTER)
    person.sees(lambda: person.all(".notice"))
    assert person.text(".notice") == page.TEXTS["en"]["bad_token"]


def test_scripts_cannot_read_the_session(person):
    person.signs_in()
    assert "imece_review" not in person.browser.execute_script("return document.cookie")


def test_it_fits_a_telephone(person):
    person.signs_in()
    size = person.browser.get_window_size()
    try:
        person.browser.set_window_size(400, 800)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert person.browser.execute_script(wide) <= 0
    finally:
        person.browser.set_window_size(size["width"], size["height"])


@pytest.mark.parametrize("language", ["en", "tr"])
def test_a_rating_takes_one_key_a_criterion(browser, tmp_path, language):
    with site(sqlite(tmp_path)) as opened:
        for item, criterion in (("a", "Doğru mu?"), ("b", "Açık mı?")):
            opened.ask([rating(item, "Başkent?", "Ankara, çünkü öyle.", criterion)])
        person = Person(browser, opened)
        person.opens(f"/?language={language}")
        person.signs_in()
        person.opens(f"/?language={language}")
        assert page.TEXTS[language]["levels"] in person.text(".criterion")
        assert "Doğru mu?" in person.text(".criterion")
        person.presses("5")
        assert "Açık mı?" in person.text(".criterion")
        person.presses("2")
        assert chosen(person) == [4, 1]


def test_a_question_on_a_page_that_was_closed_goes_to_the_next_person(browser, tmp_path):
    short = PLAIN.model_copy(update={"lease_seconds": 3, "answers": 1})
    with site(sqlite(tmp_path), short) as opened:
        opened.ask([question("q", "What is 7 + 5?", "12", "13", "tie")])
        first, second = Person(browser, opened), Person(browser, opened)
        here = browser.current_window_handle
        browser.switch_to.new_window("tab")
        first.signs_in("ayşe")
        assert "7 + 5" in first.text(".prompt")
        browser.close()
        browser.switch_to.window(here)
        second.signs_in("can")
        assert not second.all(".option")
        second.sees(lambda: second.all(".prompt"))
        second.presses("1")
        assert second.text("#done") == "1"
        assert len(chosen(second)) == 1
        first.signs_in("ebru")
        assert not first.all(".option")
