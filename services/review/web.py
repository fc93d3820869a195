"""The reviewers' page over HTTP: sign in, answer, skip, undo. Works without scripts, too."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imece.errors import RejectedError, UnavailableError
from imece.runtime.database import Database
from services.review import answers, page, people, reports, store
from services.review.admin import Admin
from services.review.policy import Policy
from services.review.slots import Hold

COOKIE, LANGUAGE = "imece_review", "imece_language"
MOST_BYTES = 64 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    # With no-referrer a browser names the origin of our own forms "null".
    "referrer-policy": "same-origin",
}
Form = dict[str, str]
Work = Callable[[Connection, people.Reviewer, Form], None]


@dataclass(frozen=True)
class Web:
    """The page of one queue."""

    database: Database
    policy: Policy
    admin: Admin

    def app(self) -> Starlette:
        """Return the application: the page and, below /admin, what the command line uses."""
        routes = [
            Route("/", self.show),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-out", self._form(self._sign_out), methods=["POST"]),
            Route("/answer", self._form(self._answer), methods=["POST"]),
            Route("/skip", self._form(self._skip), methods=["POST"]),
            Route("/undo", self._form(self._undo), methods=["POST"]),
            Mount("/static", StaticFiles(directory=page.HERE / "static")),
            Mount("/admin", routes=self.admin.routes()),
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(_Headers)],
            exception_handlers={UnavailableError: _unavailable},
        )

    async def show(self, request: Request) -> Response:
        """Show the next question, why there is none, or the sign-in."""
        language = _language(request)
        notice = request.query_params.get("notice", "")
        view = page.View(language, notice if notice in page.TEXTS[language] else "")
        if session := request.cookies.get(COOKIE, ""):
            view = await self.database.run(self._view, view, session, time.time())
        response = HTMLResponse(page.render(view))
        if (wanted := request.query_params.get("language", "")) in page.TEXTS:
            response.set_cookie(LANGUAGE, wanted, max_age=31_536_000, samesite="strict")
        return response

    def _view(self, connection: Connection, view: page.View, session: str, now: float) -> page.View:
        reviewer = people.who(connection, session, now)
        if reviewer is None:
            return view
        task = store.claim(connection, reviewer, self.policy, now)
        waiting = None if task else reports.waiting(connection, reviewer, now)
        progress = reports.progress(connection, reviewer, now - self.policy.undo_seconds)
        csrf = people.csrf(session)
        return page.View(view.language, view.notice, reviewer, csrf, progress, task, waiting)

    async def sign_in(self, request: Request) -> Response:
        """Exchange a reviewer's token for a session."""
        form = await _fields(request)
        if form is None or not _same_origin(request):
            return PlainTextResponse("bad form", 400)
        token = form.get("token", "").strip()
        session = await self.database.run(people.sign_in, token, time.time())
        if session is None:
            view = page.View(_language(request), "bad_token")
            return HTMLResponse(page.render(view), 403)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            session,
            max_age=people.SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    def _answer(self, connection: Connection, who: people.Reviewer, form: Form) -> None:
        shown = int(form["shown"])
        answers.answer(connection, _hold(who, form), shown, self.policy, time.time())

    def _skip(self, connection: Connection, who: people.Reviewer, form: Form) -> None:
        reason = form["reason"]
        answers.skip(connection, _hold(who, form), reason, self.policy, time.time())

    def _undo(self, connection: Connection, who: people.Reviewer, _: Form) -> None:
        answers.undo(connection, who.name, self.policy, time.time())

    def _sign_out(self, connection: Connection, who: people.Reviewer, _: Form) -> None:
        people.sign_out(connection, who.name)

    def _form(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """Do what a form asks for, if it is one of our own pages and its sender is signed in."""

        async def checked(request: Request) -> Response:
            session = request.cookies.get(COOKIE, "")
            form = await _fields(request)
            if form is None:
                return PlainTextResponse("bad form", 400)
            expected = people.csrf(session).encode()
            sent = form.get("csrf", "").encode()
            if not _same_origin(request) or not secrets.compare_digest(sent, expected):
                return PlainTextResponse("this form is not from this page", 403)
            try:
                await self.database.run(self._do, work, session, form)
            except RejectedError as error:
                return RedirectResponse(f"/?notice={error.reason}", 303)
            except (KeyError, ValueError):
                return PlainTextResponse("bad form", 400)
            return RedirectResponse("/", 303)

        return checked

    def _do(self, connection: Connection, work: Work, session: str, form: Form) -> None:
        who = people.who(connection, session, time.time())
        if who is not None:  # otherwise the next page is the sign-in
            work(connection, who, form)


def _hold(who: people.Reviewer, form: Form) -> Hold:
    return Hold(who.name, form["slot"], int(form["version"]))


def _language(request: Request) -> str:
    wanted = request.query_params.get("language") or request.cookies.get(LANGUAGE, "")
    return page.language(wanted, request.headers.get("accept-language", ""))


def _same_origin(request: Request) -> bool:
    """Browsers name the origin of a form; a page of somebody else must not send one here."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def _fields(request: Request) -> Form | None:
    """Return the fields of a form, None when it is too large or none at all."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return None
    # No field of ours has a NUL, and PostgreSQL takes none.
    return {name: values[0].replace("\0", "") for name, values in fields.items()}


async def _unavailable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}; please try again", 503)


class _Headers:
    """Adds the security headers; answers of people are never cached."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        static = scope["path"].startswith("/static/")
        own = {**HEADERS, "cache-control": "max-age=300" if static else "no-store"}
        added = [(name.encode(), value.encode()) for name, value in own.items()]

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)
