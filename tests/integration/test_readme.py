"""The README's Python runs as it is written, against a real broker and the real guard."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.herd import until_members

pytestmark = pytest.mark.kafka
README = Path(__file__).parents[2] / "README.md"


def test_the_python_of_the_readme_gets_a_verdict(kafka, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    body = code.replace("127.0.0.1:9092", kafka)
    imports, _, rest = body.partition("async with")
    indented = "".join(f"    {line}\n" for line in f"async with{rest}".splitlines())
    script = tmp_path / "readme.py"
    script.write_text(
        f"{imports}import asyncio\n\nasync def main():\n{indented}\nasyncio.run(main())\n"
    )
    environment = dict(os.environ, IMECE_HOME=str(tmp_path), IMECE_KAFKA=kafka)
    with (tmp_path / "guard.log").open("wb") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", "services.feedback_guard"], env=environment, stdout=log
        )
        try:
            # The README gives a guard that runs 30 s to answer; this one has to start first.
            asyncio.run(until_members(kafka, "feedback-guard", 1))
            done = subprocess.run(
                [sys.executable, str(script)],
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
        finally:
            guard.send_signal(signal.SIGTERM)
            guard.wait(300)
    assert done.returncode == 0, done.stderr + (tmp_path / "guard.log").read_text()
    assert done.stdout.startswith("accept ['confirmed_by_arithmetic'")
