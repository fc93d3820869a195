"""What the name of a model tells."""

from __future__ import annotations

import pytest

from imece.runtime.families import unversioned


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("support-v3", "support"),
        ("support.12", "support"),
        ("support@3.1", "support"),
        ("support-2026-11-24", "support"),
        ("destek_v2.0-1", "destek"),
        ("support-rev7", "support"),
        ("support", "support"),
        ("support3", "support3"),
        ("qwen2.5-7b", "qwen2.5-7b"),
        ("v2", "v2"),
        ("-1", "-1"),
    ],
)
def test_versions_of_a_model_have_one_name(name: str, bare: str) -> None:
    assert unversioned(name) == bare
