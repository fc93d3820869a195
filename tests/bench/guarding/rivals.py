"""The baselines where their packages are installed; without them their rows say what to install."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

_NEEDED = ("crowdkit", "cleanlab", "sklearn", "pandas")
MISSING = "install crowd-kit, cleanlab and scikit-learn"
CHEAP = ("none", "rate_dedup", "majority3", "dawid_skene", "mace", "crowdlab", "content")
_found = all(importlib.util.find_spec(name) is not None for name in _NEEDED)
baselines: Any = importlib.import_module("tests.bench.guarding.baselines") if _found else None
