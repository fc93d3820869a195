"""What `imece review` asks for over HTTP, with the operator's token."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imece.errors import RejectedError
from imece.events import Name
from imece.events.base import ShortText, Text
from imece.runtime.database import Database
from services.review import ledger, people, reports, shares, store

MOST_BYTES = 256 * 1024
MOST_ITEMS = 1_000
ENTRIES_A_PAGE = 2_000


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewReviewer(_Body):
    name: Name
    adjudicator: bool = False


class Gold(_Body):
    prompt: Text
    options: Annotated[tuple[Text, ...], Field(min_length=2, max_length=9)]
    right: Annotated[int, Field(ge=0)]
    answer: Annotated[str, Field(max_length=100_000)] = ""
    criterion: ShortText = ""

    @model_validator(mode="after")
    def _right_is_an_option(self) -> Gold:
        if self.right >= len(self.options):
            raise ValueError(f"right is {self.right}, and there are {len(self.options)} options")
        return self


B = TypeVar("B", bound=_Body)


@dataclass(frozen=True)
class Admin:
    """Everything below /admin; each request carries ``authorization: Bearer <token>``."""

    database: Database
    token: str

    def routes(self) -> list[Route]:
        """Return the routes, relative to /admin."""
        return [
            Route("/items", self._checked(self.items)),
            Route("/report", self._checked(self.report)),
            Route("/log", self._checked(self.log)),
            Route("/reviewers", self._checked(self.add_reviewer), methods=["POST"]),
            Route("/reviewers/{name:path}", self._checked(self.remove), methods=["DELETE"]),
            Route("/gold", self._checked(self.add_gold), methods=["POST"]),
        ]

    async def items(self, _: Request) -> Response:
        return JSONResponse(await self.database.run(reports.items, time.time(), MOST_ITEMS))

    async def report(self, _: Request) -> Response:
        reviewers = await self.database.run(reports.reliabilities)
        found = await self.database.run(shares.shares)
        return JSONResponse({"reviewers": reviewers, "shares": found})

    async def log(self, request: Request) -> Response:
        """Return a page of the log after entry `after`, and where the log ends."""
        after = int(request.query_params.get("after", "0"))
        found = await self.database.run(
            lambda c: (list(ledger.entries(c, after, ENTRIES_A_PAGE)), ledger.head(c))
        )
        entries, (number, head) = found
        return JSONResponse(
            {"entries": [asdict(each) for each in entries], "number": number, "head": head}
        )

    async def add_reviewer(self, request: Request) -> Response:
        body = await _body(request, NewReviewer)
        token = await self.database.run(people.add, body.name, body.adjudicator, time.time())
        return JSONResponse({"reviewer": body.name, "token": token}, 201)

    async def remove(self, request: Request) -> Response:
        await self.database.run(people.remove, request.path_params["name"], time.time())
        return JSONResponse({"removed": request.path_params["name"]})

    async def add_gold(self, request: Request) -> Response:
        body = await _body(request, Gold)
        item = await self.database.run(
            store.add_gold,
            body.prompt,
            body.options,
            body.right,
            time.time(),
            answer=body.answer,
            criterion=body.criterion,
        )
        return JSONResponse({"item": item}, 201)

    def _checked(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not secrets.compare_digest(given, f"Bearer {self.token}".encode()):
                return _problem(401, "unauthorized", "the operator's token is missing or wrong")
            try:
                return await handle(request)
            except RejectedError as error:
                return _problem(409, error.reason, str(error))
            except ValueError as error:
                return _problem(400, "bad_request", str(error))

        return checked


def _problem(status: int, reason: str, message: str) -> JSONResponse:
    return JSONResponse({"reason": reason, "message": message}, status)


async def _body(request: Request, kind: type[B]) -> B:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError(f"the body is larger than {MOST_BYTES} bytes")
    try:
        return kind.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
