"""What the client says without a broker."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError

from imece.client import Producer
from imece.errors import UnavailableError


class WithoutTopics:
    async def send(self, *_: Any, **__: Any) -> None:
        raise UnknownTopicOrPartitionError


async def test_a_topic_that_no_service_made_yet_is_named_with_what_to_do() -> None:
    producer = Producer("127.0.0.1:1")
    producer._producer = WithoutTopics()  # type: ignore[assignment]
    with pytest.raises(UnavailableError, match=r"imece\.a\.v1 does not exist; start the services"):
        await producer.raw([("imece.a.v1", None, b"{}", [])])
