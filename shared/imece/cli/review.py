"""`imece review`: the queue of questions for people, its reviewers and its log."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from imece.chain import GENESIS, Entry, first_fault
from imece.cli.common import AsJson, events_of, show, where
from imece.cli.errors import handle_errors, load_settings
from imece.errors import ConfigError, RejectedError, UnavailableError
from imece.events import AuditRecorded

app = typer.Typer(no_args_is_help=True, help="Questions for people, their answers and the log.")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
Url = Annotated[
    str, typer.Option(envvar="IMECE_REVIEW_URL", help="The page; found by itself on this machine.")
]
Token = Annotated[
    str, typer.Option(envvar="IMECE_REVIEW_ADMIN_TOKEN", help="Needed where --url is given.")
]
_ENTRY = TypeAdapter(Entry)


class Queue:
    """The review service, as its operator reaches it."""

    def __init__(self, url: str, token: str) -> None:
        """Find the service that runs on this home when `url` is empty."""
        self.url, self._token = (url.rstrip("/"), token) if url else _here()
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"IMECE_REVIEW_URL={url}: not an http(s) address")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(f"{self.url}: the token is only sent over https to other machines")

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Return the service's answer; `RejectedError` carries its reason."""
        request = urllib.request.Request(
            f"{self.url}/admin{path}",
            method=method,
            headers={"authorization": f"Bearer {self._token}"},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except (OSError, ValueError) as error:
            raise UnavailableError(f"the review page at {self.url}: {error}") from error

    def log(self) -> Iterator[Entry]:
        """Return all entries."""
        after = 0
        while entries := self.ask(f"/log?after={after}")["entries"]:
            yield from (Entry(**entry) for entry in entries)
            after = entries[-1]["number"]


def _here() -> tuple[str, str]:
    path = load_settings().home / "review.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return told["url"], told["token"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"no review service runs on this home ({path} is not there); start it with "
            "`python -m services review`, or set IMECE_REVIEW_URL and IMECE_REVIEW_ADMIN_TOKEN"
        ) from error


def _refusal(error: urllib.error.HTTPError) -> Exception:
    try:
        told = json.load(error)
        return RejectedError(told["reason"], told["message"])
    except (ValueError, KeyError, TypeError):
        return UnavailableError(f"the review page answers {error.code} {error.reason}")


@app.command()
@handle_errors()
def page(url: Url = "", token: Token = "") -> None:
    """Print where reviewers sign in."""
    typer.echo(Queue(url, token).url)


@app.command()
@handle_errors()
def ls(url: Url = "", token: Token = "", as_json: AsJson = False) -> None:
    """List what is not settled yet, the most pressing first, and what it waits for."""
    show(Queue(url, token).ask("/items"), as_json, "nothing waits for people")


@app.command("add-reviewer")
@handle_errors()
def add_reviewer(
    name: str,
    adjudicator: Annotated[
        bool, typer.Option("--adjudicator", help="Also settles disagreements.")
    ] = False,
    url: Url = "",
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Let NAME review; prints the token to sign in with, once."""
    made = Queue(url, token).ask("/reviewers", "POST", {"name": name, "adjudicator": adjudicator})
    typer.echo(json.dumps(made, ensure_ascii=False) if as_json else made["token"])


@app.command("remove-reviewer")
@handle_errors()
def remove_reviewer(name: str, url: Url = "", token: Token = "") -> None:
    """End NAME's access at once; the answers stay."""
    Queue(url, token).ask(f"/reviewers/{urllib.parse.quote(name, safe='')}", "DELETE")
    typer.echo(f"{name} can no longer sign in")


@app.command("add-gold")
@handle_errors()
def add_gold(
    file: Annotated[Path, typer.Argument(help='JSON lines: {"prompt", "options", "right"}.')],
    url: Url = "",
    token: Token = "",
) -> None:
    """Hide questions with a known answer among the others, to see who can be relied on."""
    queue, lines = Queue(url, token), _read(file)
    for number, line in lines:
        try:
            queue.ask("/gold", "POST", json.loads(line))
        except (ValueError, RejectedError) as error:
            raise RejectedError("bad_gold", f"{file}, line {number}: {error}") from error
    typer.echo(f"{len(lines)} questions kept")


@app.command()
@handle_errors()
def report(url: Url = "", token: Token = "", as_json: AsJson = False) -> None:
    """Say how far reviewers can be relied on, and what their answers say about all items."""
    found = Queue(url, token).ask("/report")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    show(_rounded(found["reviewers"]), False, "no reviewers")
    show(_rounded(found["shares"]), False, "no items")


@app.command()
@handle_errors()
def export(
    file: Annotated[Path | None, typer.Argument(help="Without it, standard output.")] = None,
    url: Url = "",
    token: Token = "",
) -> None:
    """Write every entry of the log as one line of JSON; `imece review verify FILE` checks it."""
    lines = [json.dumps(asdict(each), ensure_ascii=False) for each in Queue(url, token).log()]
    text = "".join(f"{line}\n" for line in lines)
    if file is None:
        sys.stdout.write(text)
        return
    file.write_text(text, encoding="utf-8")
    typer.echo(f"{len(lines)} entries written to {file}")


@app.command()
@handle_errors()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An export; else the service's log.")] = None,
    head: Annotated[
        str | None, typer.Option(help="A hash printed earlier, to see that nothing was cut off.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Also compare with the hashes that Kafka holds.")
    ] = False,
    url: Url = "",
    token: Token = "",
) -> None:
    """Recompute the chain of hashes: exit code 1 when any past entry was touched."""
    # Heads are read first: the log may only grow in between.
    heads: list[str | None] = [head, *(_published() if published else [])]
    entries = _exported(file) if file else list(Queue(url, token).log())
    for known in heads:
        if fault := first_fault(entries, known):
            typer.echo(f"the log was touched: {fault}", err=True)
            raise typer.Exit(1)
    last = entries[-1].hash if entries else GENESIS
    typer.echo(f"{len(entries)} entries, none was touched; head {last}")


def _exported(file: Path) -> list[Entry]:
    entries = []
    for number, line in _read(file):
        try:
            entries.append(_ENTRY.validate_json(line))
        except ValidationError as error:
            raise RejectedError("bad_log", f"{file}, line {number} is no entry") from error
    return entries


def _published() -> list[str]:
    """Return the last hash that the service told in an audit event."""
    told = [event.data for event in asyncio.run(events_of(where(), AuditRecorded))]
    heads = [each for each in told if (each.service, each.action) == ("review", "log-head")]
    return [heads[-1].subject] if heads else []


def _read(file: Path) -> list[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    return [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    ]
