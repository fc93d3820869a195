"""What the events declare is what the services do."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from imece.events import EVENTS, SERVICES
from imece.runtime.app import Service
from imece.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDERS = {name: f"services.{name.replace('-', '_')}.app" for name in SERVICES}


def _built(name: str, home: Path) -> Service:
    async def publish(*_: object) -> None:
        raise AssertionError("nothing is published while a service is put together")

    settings = Settings(home=home, cache=home / "cache")
    return import_module(FOLDERS[name]).build(settings, publish)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_subscribes_to_the_topics_that_name_it_as_reader(name, tmp_path):
    subscribed = {subscription.event for subscription in _built(name, tmp_path).subscriptions}
    assert subscribed == {kind for kind in EVENTS if name in kind.topic.readers}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_a_topic_is_written_by_services_that_use_its_event(kind):
    """A writer names the event in its code, or gets it from the jobs it runs."""
    for writer in set(kind.topic.writers) & set(SERVICES):
        folder = ROOT / "services" / writer.replace("-", "_")
        code = "".join(path.read_text() for path in folder.glob("*.py"))
        jobs = "imece.runtime.jobs" in code and kind.__name__ == "JobState"
        assert kind.__name__ in code or jobs, f"{writer} never mentions {kind.__name__}"


def test_the_readme_lists_every_topic_as_declared():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in EVENTS:
        topic = kind.topic
        writers = ", ".join(topic.writers).replace("*", "all")
        ways = f"{writers} → {', '.join(topic.readers)}"
        assert f"| `{topic.name}` | {topic.key.replace('_', ' ')} | {ways} |" in readme
