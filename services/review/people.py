"""Reviewers and their sessions; of tokens only hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from imece.errors import RejectedError
from imece.runtime.database import insert_new
from services.review import ledger
from services.review.tables import REVIEWER, SESSION

SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Somebody who may answer."""

    name: str
    adjudicator: bool


def hashed(token: str) -> str:
    """Return what is stored of a token; tokens are random, so they need neither salt nor time."""
    return hashlib.sha256(token.encode()).hexdigest()


def csrf(session: str) -> str:
    """Return what a form of this session must carry."""
    return hashlib.sha256(f"csrf {session}".encode()).hexdigest()


def add(connection: Connection, name: str, adjudicator: bool, now: float) -> str:
    """Let somebody review, again too; return the token, which cannot be read a second time."""
    token = secrets.token_urlsafe(32)
    row = {"name": name, "token": hashed(token), "adjudicator": adjudicator}
    if not insert_new(connection, REVIEWER, [row], returning="name"):
        known = connection.execute(
            update(REVIEWER)
            .where(REVIEWER.c.name == name, REVIEWER.c.token.is_(None))
            .values(token=row["token"], adjudicator=adjudicator)
        )
        if not known.rowcount:
            raise RejectedError("known_reviewer", f"{name} is a reviewer already; remove it first")
    ledger.append(connection, now, "reviewer-added", reviewer=name, adjudicator=adjudicator)
    return token


def remove(connection: Connection, name: str, now: float) -> None:
    """End somebody's access at once; the answers stay, and so does the name."""
    removed = connection.execute(
        update(REVIEWER)
        .where(REVIEWER.c.name == name, REVIEWER.c.token.is_not(None))
        .values(token=None)
    )
    if not removed.rowcount:
        raise RejectedError("unknown_reviewer", f"there is no reviewer {name}")
    connection.execute(delete(SESSION).where(SESSION.c.reviewer == name))
    ledger.append(connection, now, "reviewer-removed", reviewer=name)


def sign_in(connection: Connection, token: str, now: float) -> str | None:
    """Return a new session for the token of a reviewer, None for any other text."""
    name = connection.execute(
        select(REVIEWER.c.name).where(REVIEWER.c.token == hashed(token))
    ).scalar()
    if name is None:
        return None
    session = secrets.token_urlsafe(32)
    connection.execute(delete(SESSION).where(SESSION.c.until <= now))
    connection.execute(
        SESSION.insert().values(token=hashed(session), reviewer=name, until=now + SESSION_SECONDS)
    )
    ledger.append(connection, now, "signed-in", reviewer=name)
    return session


def sign_out(connection: Connection, name: str) -> None:
    """End all sessions of somebody."""
    connection.execute(delete(SESSION).where(SESSION.c.reviewer == name))


def who(connection: Connection, session: str, now: float) -> Reviewer | None:
    """Return whose session this is, None when it is nobody's or over."""
    row = connection.execute(
        select(REVIEWER.c.name, REVIEWER.c.adjudicator)
        .join(SESSION, SESSION.c.reviewer == REVIEWER.c.name)
        .where(SESSION.c.token == hashed(session), SESSION.c.until > now)
    ).first()
    return Reviewer(row.name, row.adjudicator) if row else None
