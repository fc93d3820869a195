"""The page over HTTP: who may see and send what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from imece.runtime.database import Database
from services.review import page, people, store, tables
from services.review.admin import Admin
from services.review.policy import Checks, Policy
from services.review.web import COOKIE, Web
from tests.unit.review.world import asked

POLICY = Policy(checks=Checks(gold=0, repeat=0))
OPERATOR = {"authorization": "Bearer operator"}
ANSWERS = ("The answer is 12.", "The answer is 13.", "tie")


@dataclass
class Site:
    """The site, and the means to fill its queue."""

    client: TestClient
    database: Database

    def sign_in(self, name: str = "ayşe", *, adjudicator: bool = False) -> None:
        body = {"name": name, "adjudicator": adjudicator}
        made = self.client.post("/admin/reviewers", json=body, headers=OPERATOR)
        assert made.status_code == 201, made.text
        self.client.cookies.clear()
        token = {"token": made.json()["token"]}
        assert self.client.post("/sign-in", data=token).status_code == 200

    def ask(self, item: str, **changes: object) -> None:
        event = asked(item, **changes)
        self.database.transact(store.add, [event], POLICY, 1.0)

    def form(self, text: str | None = None) -> dict[str, str]:
        """Return the hidden fields of the page."""
        text = text or self.client.get("/").text
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))

    def send(self, path: str, **fields: str):
        return self.client.post(path, data={**self.form(), **fields})


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    url = f"sqlite:///{tmp_path / 'review.db'}"
    database = Database(url, tables.METADATA, "review")
    app = Web(database, POLICY, Admin(database, "operator")).app()
    with TestClient(app, base_url="http://imece.test") as client:
        client.portal.call(database.open)
        yield Site(client, database)
        client.portal.call(database.close)


def test_without_a_session_there_is_only_the_sign_in(site):
    site.ask("1")
    text = site.client.get("/").text
    assert 'name="token"' in text
    assert "question 1" not in text


def test_a_wrong_token_signs_nobody_in(site):
    told = site.client.post("/sign-in", data={"token": "guess"})
    assert told.status_code == 403
    assert COOKIE not in site.client.cookies


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site):
    made = site.client.post("/admin/reviewers", json={"name": "can"}, headers=OPERATOR)
    token = {"token": made.json()["token"]}
    told = site.client.post("/sign-in", data=token, follow_redirects=False)
    cookie = told.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_question_is_answered(site):
    site.sign_in()
    site.ask("1", options=ANSWERS)
    assert "question 1" in site.client.get("/").text
    after = site.send("/answer", shown="0").text
    assert '<b id="done">1</b>' in after
    assert 'data-reason="yours"' in after
    assert "question 1" in site.send("/undo").text
    assert 'data-reason="yours"' in site.send("/skip", reason="unclear").text


def test_the_page_tells_nothing_about_the_item_but_its_text(site):
    site.sign_in("can")
    site.ask("judgement:of-gpt", slice="secret-slice", criticality="safety", uncertain=True)
    site.send("/answer", shown="0")
    site.sign_in("deniz")
    text = site.client.get("/").text
    assert "question judgement:of-gpt" in text
    shown = text.replace("question judgement:of-gpt", "")
    for secret in ("of-gpt", "secret-slice", "safety", "uncertain", "can", "judge"):
        assert not re.search(rf"\b{secret}\b", shown), secret


def test_text_from_outside_is_escaped(site):
    site.sign_in()
    site.ask("1", prompt="<script>alert(1)</script>", options=("<b>x</b>", '" onclick="x'))
    text = site.client.get("/").text
    assert "<script>alert" not in text
    assert "&lt;b" in text
    assert '" onclick' not in text


def test_a_form_of_another_site_is_refused(site):
    site.sign_in()
    site.ask("1")
    form = {**site.form(), "shown": "0"}
    foreign = {"origin": "http://evil.test"}
    assert site.client.post("/answer", data=form, headers=foreign).status_code == 403
    assert site.client.post("/answer", data={**form, "csrf": "x"}).status_code == 403
    del form["csrf"]
    assert site.client.post("/answer", data=form).status_code == 403
    assert '<b id="done">0</b>' in site.client.get("/").text


@pytest.mark.parametrize(
    "fields",
    [{}, {"shown": "x"}, {"shown": "0", "version": "x"}, {"shown": "0", "slot": "\0"}],
)
def test_a_bad_form_is_named_and_changes_nothing(site, fields):
    site.sign_in()
    site.ask("1")
    told = site.send("/answer", **fields)
    assert told.status_code in (200, 400)
    assert '<b id="done">0</b>' in site.client.get("/").text


def test_a_form_of_a_megabyte_is_refused(site):
    site.sign_in()
    site.ask("1")
    assert site.send("/answer", shown="0" * 1_000_000).status_code == 400


def test_an_option_that_does_not_exist_is_named(site):
    site.sign_in()
    site.ask("1")
    assert page.TEXTS["en"]["no_such_option"] in site.send("/answer", shown="7").text


def test_a_reviewer_who_closes_the_page_loses_nothing(site):
    site.sign_in()
    site.ask("1")
    before = site.form()
    assert site.form()["slot"] == before["slot"]


def test_the_page_speaks_the_language_of_the_browser_and_keeps_a_chosen_one(site):
    site.sign_in()
    turkish = {"accept-language": "tr-TR,tr;q=0.9,en;q=0.8"}
    assert page.TEXTS["tr"]["nothing"] in site.client.get("/", headers=turkish).text
    assert page.TEXTS["tr"]["nothing"] in site.client.get("/?language=tr").text
    assert page.TEXTS["tr"]["nothing"] in site.client.get("/").text
    assert page.TEXTS["en"]["nothing"] in site.client.get("/?language=en").text


def test_all_languages_say_the_same_things():
    keys = {name: set(texts) for name, texts in page.TEXTS.items()}
    assert keys["tr"] == keys["en"]


def test_signing_out_ends_the_session(site):
    site.sign_in()
    cookie = site.client.cookies[COOKIE]
    assert 'name="token"' in site.send("/sign-out").text
    site.client.cookies.set(COOKIE, cookie)
    assert 'name="token"' in site.client.get("/").text


def test_pages_are_not_cached_or_framed_and_run_no_foreign_script(site):
    headers = site.client.get("/").headers
    assert headers["cache-control"] == "no-store"
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/items"), ("GET", "/report"), ("GET", "/log"), ("POST", "/reviewers")],
)
def test_the_operators_part_needs_the_operators_token(site, method, path):
    site.sign_in()
    assert site.client.request(method, f"/admin{path}").status_code == 401
    wrong = {"authorization": "Bearer ayşe".encode()}
    assert site.client.request(method, f"/admin{path}", headers=wrong).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "2+2?", "options": ["4"], "right": 0},
        {"prompt": "2+2?", "options": ["4", "5"], "right": 2},
        {"prompt": "", "options": ["4", "5"], "right": 0},
        {"prompt": "2+2?", "options": ["4", "5"], "right": 0, "more": 1},
    ],
)
def test_bad_gold_is_refused_with_the_reason(site, body):
    told = site.client.post("/admin/gold", json=body, headers=OPERATOR)
    assert (told.status_code, told.json()["reason"]) == (400, "bad_request")


def test_the_operator_sees_queue_report_and_log(site):
    site.sign_in()
    site.ask("1")
    site.send("/answer", shown="0")
    (row,) = site.client.get("/admin/items", headers=OPERATOR).json()
    assert (row["item"], row["answers"]) == ("1", "1/2")
    report = site.client.get("/admin/report", headers=OPERATOR).json()
    assert [each["reviewer"] for each in report["reviewers"]] == ["ayşe"]
    log = site.client.get("/admin/log?after=1", headers=OPERATOR).json()
    assert (log["entries"][0]["number"], log["number"]) == (2, len(log["entries"]) + 1)
    again = site.client.post("/admin/reviewers", json={"name": "ayşe"}, headers=OPERATOR)
    assert (again.status_code, again.json()["reason"]) == (409, "known_reviewer")
    gone = site.client.request("DELETE", "/admin/reviewers/ayşe", headers=OPERATOR)
    assert gone.status_code == 200
    assert 'name="token"' in site.client.get("/").text


def test_a_session_cannot_be_made_up(site):
    site.client.cookies.set(COOKIE, people.hashed("guess"))
    assert 'name="token"' in site.client.get("/").text


LEVELS = ("1", "2", "3", "4", "5")


@pytest.mark.parametrize(("language", "said"), [("en", "the last the best"), ("tr", "en iyi")])
def test_an_answer_is_rated_level_by_level_and_blind(site, language, said):
    more = {"answer": "Başkent Ankara.", "criterion": "Doğru mu?", "options": LEVELS}
    site.ask("r", predicted=0.8125, **more)
    site.sign_in()
    text = site.client.get(f"/?language={language}").text
    assert said in text
    assert "Doğru mu?" in text
    assert "Başkent Ankara." in text
    assert "8125" not in text
    assert re.findall(r'data-key="(\d)"', text) == list(LEVELS)
    site.send("/answer", shown="4")
    (row,) = site.client.get("/admin/items", headers=OPERATOR).json()
    assert row["answers"] == "1/2"


@pytest.mark.parametrize(
    "wrong", [{"options": ("1", "tie")}, {"options": LEVELS * 2}, {"answer": "", "criterion": "x"}]
)
def test_levels_that_have_no_key_are_refused(wrong):
    with pytest.raises(ValueError, match="rate"):
        asked("r", **{"answer": "x", "options": LEVELS, **wrong})
