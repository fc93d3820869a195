"""What a model folder says of itself is read without loading it; licences are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from imece.cli.main import app
from imece.errors import RejectedError
from imece.local import facts
from imece.local.models import DEFAULT_BASE, LocalModel

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 2048,
    "vocab_size": 100,
}


def made(folder: Path, card: str = "", config: dict[str, Any] | None = None) -> LocalModel:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    save_file({"a": np.zeros((10, 4), np.float16)}, folder / "model-1.safetensors")
    save_file({"b": np.zeros((7,), np.float32)}, folder / "model-2.safetensors")
    if card:
        (folder / "README.md").write_text(card)
    return LocalModel(str(folder), folder, "0" * 64)


def test_parameters_are_counted_over_all_files_from_their_headers(tmp_path: Path) -> None:
    known = facts.read(made(tmp_path))
    assert (known.parameters, known.dtypes) == (47, {"F16": 40, "F32": 7})
    assert known.weights_bytes == 40 * 2 + 7 * 4
    assert (known.memory(4), known.memory(2)) == (188, 94)
    assert (known.architecture, known.causal) == ("LlamaForCausalLM", True)
    assert (known.context, known.vocabulary, known.chat_template) == (2048, 100, False)


@pytest.mark.parametrize(
    ("config", "causal", "context"),
    [
        ({"architectures": ["GPT2LMHeadModel"], "n_positions": 1024}, True, 1024),
        ({"architectures": ["BertForMaskedLM"], "max_position_embeddings": 512}, False, 512),
        ({"architectures": ["T5ForConditionalGeneration"]}, False, None),
        ({"architectures": ["AForCausalLM"], "text_config": {"n_positions": 8}}, True, 8),
        ({}, None, None),
    ],
)
def test_what_continues_text_is_told_from_what_does_not(
    tmp_path: Path, config: dict[str, Any], causal: bool | None, context: int | None
) -> None:
    known = facts.read(made(tmp_path, config=config))
    assert (known.causal, known.context) == (causal, context)


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("", "unknown"),
        ("---\nlicense: apache-2.0\nlanguage: tr\n---\n# Model", "apache-2.0"),
        ("---\ntags: [a]\nlicense: 'CC-BY-NC-4.0'\n---\n", "cc-by-nc-4.0"),
        ("---\nlicense: other\nlicense_name: llama-3\n---\n", "llama-3"),
        ("---\nlicense: other\n---\n", "other"),
        (
            "---\nlicense:\n- apache-2.0\n- CC-BY-NC-4.0\ntags: [a]\n---\n",
            "apache-2.0,cc-by-nc-4.0",
        ),
        ("---\nlicense: [mit, 'gemma'] # both\n---\n", "mit,gemma"),
        ("---\nlicense:\nlanguage: en\n---\n", "unknown"),
        ("# no front matter\nlicense: mit\n", "unknown"),
        ("---\ntags: []\n---\nlicense: mit\n", "unknown"),
    ],
)
def test_the_licence_is_the_model_cards(tmp_path: Path, card: str, license: str) -> None:
    assert facts.read(made(tmp_path, card)).license == license


def test_a_model_of_ours_has_the_licence_of_its_base(tmp_path: Path) -> None:
    model = made(tmp_path, "---\nlicense: other\nlicense_name: mit_gemma\n---\n")
    (tmp_path / "imece.json").write_text(json.dumps({"license": "mit,gemma"}))
    assert facts.read(model).license == "mit,gemma"


def test_the_default_bases_licence_is_known(tmp_path: Path) -> None:
    folder = made(tmp_path).path
    assert facts.read(LocalModel(DEFAULT_BASE, folder, "0" * 64)).license == "apache-2.0"


@pytest.mark.parametrize("spoil", [b"", b"\xff" * 8, b"\x10\0\0\0\0\0\0\0not json at all!"])
def test_weights_that_are_no_safetensors_are_named(tmp_path: Path, spoil: bytes) -> None:
    model = made(tmp_path)
    (tmp_path / "model-1.safetensors").write_bytes(spoil)
    with pytest.raises(RejectedError) as raised:
        facts.read(model)
    assert raised.value.reason == "broken_weights"


def test_weights_that_are_cut_off_are_named(tmp_path: Path) -> None:
    model = made(tmp_path)
    path = tmp_path / "model-1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RejectedError, match="cut off"):
        facts.read(model)


@pytest.mark.parametrize(
    ("license", "forbidden", "refused"),
    [
        ("apache-2.0", "", False),
        ("apache-2.0", "cc-by-nc-*, llama-3", False),
        ("apache-2.0,cc-by-nc-4.0", "cc-by-nc-*, llama-3", True),
        ("cc-by-nc-4.0", "mit,CC-BY-NC-*", True),
        ("unknown", "unknown", True),
        ("unknown", "cc-*", False),
    ],
)
def test_a_forbidden_licence_is_refused(license: str, forbidden: str, refused: bool) -> None:
    if not refused:
        facts.check_license("m", license, forbidden)
        return
    with pytest.raises(RejectedError) as raised:
        facts.check_license("m", license, forbidden)
    assert raised.value.reason == "license_forbidden"


def test_the_command_shows_a_base_and_fails_on_a_forbidden_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(tmp_path / "m", "---\nlicense: cc-by-nc-4.0\n---\n")
    run = CliRunner().invoke
    shown = run(app, ["models", "show", model.uri, "--json"])
    assert shown.exit_code == 0
    found = json.loads(shown.stdout)
    assert (found["license"], found["parameters"]) == ("cc-by-nc-4.0", 47)
    assert found["memory_bytes"] == {"float32": 188, "bfloat16": 94}
    assert "parameters    47" in run(app, ["models", "show", model.uri]).stdout
    monkeypatch.setenv("IMECE_FORBIDDEN_LICENSES", "cc-by-nc-*")
    assert run(app, ["models", "show", model.uri]).exit_code == 2
    assert run(app, ["models", "show", str(tmp_path / "none")]).exit_code == 2
