"""The published contracts: complete, current, compatible."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from imece import contracts
from imece.cli.main import app
from imece.events import EVENTS, SERVICES, Event, RecordSubmitted
from tests.unit.imece.golden import FOLDER, golden, record

COMMITTED = Path(__file__).parents[3] / "docs" / "contracts"


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_has_a_golden_example_that_still_decodes(kind: type[Event]) -> None:
    paths = sorted((FOLDER / kind.topic.name).glob("*.json"))
    assert paths
    _, _, value = record(paths[0])
    event = golden(kind).data
    assert holds(event.model_dump(mode="json", exclude_none=True), json.loads(value))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_golden_example_fits_the_published_schema(kind: type[Event]) -> None:
    schema = json.loads((COMMITTED / "schemas" / f"{kind.topic.name}.json").read_text("utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for path in (FOLDER / kind.topic.name).glob("*.json"):
        _, key, value = record(path)
        assert [error.message for error in check.iter_errors(json.loads(value))] == [], path
        assert key.decode() == golden(kind).data.key


def holds(whole: Any, part: Any) -> bool:
    """Tell whether `whole` says all that `part` says; it may have fields that came later."""
    if isinstance(part, dict):
        return all(name in whole and holds(whole[name], item) for name, item in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


def test_the_committed_contracts_are_the_generated_ones() -> None:
    assert contracts.differences(COMMITTED) == []
    assert contracts.broken(COMMITTED) == []


def test_check_fails_on_an_outdated_folder_and_passes_after_writing(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["contracts", "write", "--check", str(tmp_path)]).exit_code == 1
    assert run(app, ["contracts", "write", str(tmp_path)]).exit_code == 0
    assert run(app, ["contracts", "write", "--check", str(tmp_path)]).exit_code == 0


def test_writing_refuses_to_break_a_published_event(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    path = tmp_path / "schemas" / f"{RecordSubmitted.topic.name}.json"
    published = json.loads(path.read_text())
    published["properties"]["gone"] = {"type": "string"}
    path.write_text(json.dumps(published))
    result = CliRunner().invoke(app, ["contracts", "write", str(tmp_path)])
    assert result.exit_code == 2
    assert "gone: was removed" in result.output
    assert "gone" in path.read_text()


def _old() -> dict[str, Any]:
    properties = {
        "name": {"type": "string", "maxLength": 10},
        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "kind": {"enum": ["a", "b"]},
        "part": {"$ref": "#/$defs/Part"},
        "many": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    }
    part = {"type": "object", "properties": {"x": {"type": "string"}}, "required": []}
    return {"properties": properties, "required": ["name"], "$defs": {"Part": part}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("properties", "name"), None),
        (("properties", "name", "maxLength"), 9),
        (("properties", "name", "minLength"), 1),
        (("properties", "name", "pattern"), "^a"),
        (("properties", "name", "type"), "integer"),
        (("properties", "size"), {"type": "integer"}),
        (("properties", "kind", "enum"), ["a"]),
        (("properties", "many", "items", "minimum"), 1),
        (("$defs", "Part", "properties", "x"), None),
        (("$defs", "Part", "required"), ["x"]),
        (("required",), ["name", "size"]),
    ],
)
def test_the_gate_catches_a_break(path: tuple[str, ...], value: Any) -> None:
    changed = copy.deepcopy(_old())
    at = changed
    for step in path[:-1]:
        at = at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    assert contracts.breaks(_old(), changed)


def test_the_gate_lets_additions_and_wider_limits_pass() -> None:
    wider = copy.deepcopy(_old())
    wider["properties"]["new"] = {"type": "string"}
    wider["properties"]["name"]["maxLength"] = 20
    wider["properties"]["kind"]["enum"].append("c")
    wider["properties"]["size"]["anyOf"].append({"type": "string"})
    wider["required"] = []
    assert contracts.breaks(_old(), wider) == []
    assert contracts.breaks(_old(), _old()) == []


def test_asyncapi_names_every_topic_message_and_operation() -> None:
    document = json.loads((COMMITTED / "asyncapi.json").read_text(encoding="utf-8"))
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {kind.topic.name for kind in EVENTS}
    messages = document["components"]["messages"]
    for kind in EVENTS:
        reference = document["channels"][kind.topic.name]["messages"][kind.__name__]["$ref"]
        assert reference == f"#/components/messages/{kind.__name__}"
        assert (COMMITTED / messages[kind.__name__]["payload"]["$ref"]).is_file()
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]
    assert {name.partition(".")[0] for name in document["operations"]} == set(SERVICES)
