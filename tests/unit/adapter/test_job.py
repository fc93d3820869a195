"""Bad inputs of an adaptation fail with a name. The base is tiny and made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imece.errors import JobError, RejectedError
from imece.events import (
    AdaptationRequested,
    DatasetRef,
    Document,
    Instruction,
    LeftOut,
    LoraRecipe,
    PreferencePair,
    Rated,
)
from imece.events.recipes import PretrainingRecipe
from imece.local import facts, models
from imece.runtime import bases, causal, shards
from imece.runtime.artifacts import Artifacts
from imece.runtime.course import Around
from services.adapter import core, job
from services.trainer import recipe as pretraining
from tests.training import WORDS, child_job, documents, publish

ROWS = [Instruction(prompt=f"{a} {b}?", response=b) for a in WORDS for b in WORDS]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    recipe = PretrainingRecipe(
        vocabulary=320, layers=1, hidden=16, heads=2, context=16, steps=1, batch_size=1
    )
    around = Around(folder / "checkpoints")
    texts = [document.text for document in documents(20)]
    pretraining.train(texts, [], recipe, folder / "model", around)
    return folder / "model"


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    monkeypatch.setenv("IMECE_HOME", str(tmp_path))
    monkeypatch.setenv("IMECE_CACHE", str(tmp_path / "cache"))
    return Artifacts(str(tmp_path / "artifacts"))


def run(
    folder: Path, base: object, ref: DatasetRef, export: str = "adapter", **recipe: Any
) -> dict[str, Any]:
    request = AdaptationRequested.model_validate(
        {"model": "m", "base": str(base), "datasets": [ref], "recipe": recipe, "export": export}
    )
    return job.work(child_job(folder / "jobs" / "1", request.model_dump(mode="json")))


def copied(base: Path, to: Path) -> Path:
    """Return a copy of `base` to spoil."""
    return Path(shutil.copytree(base, to))


def changed(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | fields), encoding="utf-8")


def assert_refused(reason: str, *arguments: Any, **options: Any) -> None:
    with pytest.raises((JobError, RejectedError)) as raised:
        run(*arguments, **options)
    assert getattr(raised.value, "reason", None) == reason
    assert not getattr(raised.value, "retry", False)


def test_the_adapter_says_what_it_was_made_of_and_no_path_of_this_machine(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, ROWS)
    source = f"file://{base}"
    result = run(tmp_path, source, ref, rank=2, epochs=4)
    json.dumps(result, allow_nan=False)
    assert result["metrics"]["final_loss"] < result["metrics"]["first_loss"]
    assert result["metrics"]["rows"] == len(ROWS)
    folder = artifacts.fetch_folder(result["uri"], result["digest"], tmp_path / "copies")
    about = json.loads((folder / "imece.json").read_text("utf-8"))
    assert about["base"] == {"uri": source, "digest": result["base_digest"]}
    assert about["datasets"] == [ref.model_dump()]
    assert about["recipe"]["rank"] == 2
    assert set(about["libraries"]) >= {"torch", "peft"}
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == source
    names = {path.name for path in folder.iterdir()}
    known = {"adapter_config.json", "adapter_model.safetensors", "imece.json", "manifest.json"}
    assert names == {*known, "README.md"}
    text = (folder / "README.md").read_text("utf-8")
    for said in (source, ref.digest, result["base_digest"], "`job-1`", "| rank | 2 |", "| rows |"):
        assert said in text
    assert str(tmp_path) not in text.replace(source, "")


@pytest.mark.parametrize("gone", ["/nowhere/model", "file:///nowhere/model"])
def test_an_unknown_base_fails_by_name(tmp_path: Path, artifacts: Artifacts, gone: str) -> None:
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, gone, publish(artifacts, ROWS))
    assert raised.value.reason == "unknown_base"


def test_a_base_that_is_not_the_pinned_one_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, f"{base}#sha256={0:064x}", publish(artifacts, ROWS))
    assert raised.value.reason == "unknown_base"


def test_a_vanished_data_set_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, ROWS)
    Path(ref.uri.removeprefix("file://")).unlink()
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, base, ref)
    assert raised.value.reason == "dataset_missing"


def test_a_changed_data_set_fails_by_name(tmp_path: Path, base: Path, artifacts: Artifacts) -> None:
    ref = publish(artifacts, ROWS)
    part = Path(ref.uri.removeprefix("file://")).with_name("part.parquet")
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(RejectedError) as raised:
        run(tmp_path, base, ref)
    assert raised.value.reason == "dataset_corrupt"


@pytest.mark.parametrize(
    ("records", "split"), [([], "train"), ([Document(text="x")], "train"), (ROWS[:3], "test")]
)
def test_a_data_set_without_rows_to_learn_from_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts, records: list[Any], split: str
) -> None:
    with pytest.raises(JobError) as raised:
        run(tmp_path, base, publish(artifacts, records, split=split))
    assert (raised.value.reason, raised.value.retry) == ("empty_dataset", False)


def test_a_rank_larger_than_a_matrix_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    with pytest.raises(JobError) as raised:
        run(tmp_path, base, publish(artifacts, ROWS), rank=17)
    assert (raised.value.reason, raised.value.retry) == ("rank_too_large", False)


@pytest.mark.parametrize(
    ("recipe", "export"), [({"method": "full", "epochs": 2}, "adapter"), ({"rank": 2}, "merged")]
)
def test_a_whole_model_is_a_folder_of_its_own_and_can_be_tuned_again(
    tmp_path: Path, base: Path, artifacts: Artifacts, recipe: dict[str, Any], export: str
) -> None:
    (base / "README.md").write_text("---\nlicense: mit\n---\n")
    ref = publish(artifacts, ROWS)
    result = run(tmp_path, base, ref, export, **recipe)
    assert (result["whole"], "/models/" in result["uri"]) == (True, True)
    folder = artifacts.fetch_folder(result["uri"], result["digest"], tmp_path / "copies")
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "imece.json"} <= names
    assert "adapter_config.json" not in names
    assert facts.read(models.resolve(f"file://{folder}", tmp_path)).license == "mit"
    assert json.loads((folder / "imece.json").read_text("utf-8"))["license"] == "mit"
    again = run(tmp_path / "again", result["uri"], ref, rank=2)
    assert (again["whole"], again["metrics"]["rows"]) == (False, len(ROWS))


def test_a_whole_model_in_a_remote_store_is_a_base_too_and_nobody_elses_is(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    stored = artifacts.put_folder("models/m/1", base)
    artifacts.root = "s3://bucket/imece"  # the same bytes, as a store elsewhere names them
    uri = stored.uri.replace(stored.uri.partition("/models/")[0], artifacts.root)
    found = bases.resolve(uri, artifacts, tmp_path / "cache")
    assert (found.uri, f"sha256:{found.digest}") == (uri, stored.digest)
    assert (
        facts.read(found).parameters == facts.read(models.resolve(str(base), tmp_path)).parameters
    )
    for wrong in ("s3://other/models/m/1", f"{uri}0"):
        with pytest.raises(RejectedError) as raised:
            bases.resolve(wrong, artifacts, tmp_path / "cache")
        assert raised.value.reason == "artifact_missing"


def test_thumbs_and_pairs_become_an_adapter(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    rated = [
        Rated(prompt=r.prompt, response=r.response, desirable=bool(i % 2))
        for i, r in enumerate(ROWS)
    ]
    pairs = [PreferencePair(prompt=r.prompt, chosen=r.response, rejected="no") for r in ROWS]
    kto = run(tmp_path / "kto", base, publish(artifacts, rated), objective={"kind": "kto"})
    dpo = run(tmp_path / "dpo", base, publish(artifacts, pairs), objective={"kind": "dpo"})
    assert (kto["metrics"]["rows"], dpo["metrics"]["rows"]) == (len(ROWS), len(ROWS))


def test_rows_longer_than_the_bases_context_are_counted(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    long = Instruction(prompt="su " * 40, response="çay")
    metrics = run(tmp_path, base, publish(artifacts, [*ROWS, long]))["metrics"]
    assert (metrics["rows"], metrics["rows_too_long"]) == (len(ROWS), 1)


def test_mixed_kinds_for_dpo_fail_by_name(tmp_path: Path, base: Path, artifacts: Artifacts) -> None:
    pair = PreferencePair(prompt="p", chosen="c", rejected="r")
    ref = publish(artifacts, [*ROWS[:2], pair])
    assert_refused("mixed_kinds", tmp_path, base, ref, objective={"kind": "dpo"})


def test_a_base_that_continues_no_text_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    other = copied(base, tmp_path / "other")
    changed(other / "config.json", architectures=["BertForMaskedLM"])
    assert_refused("not_causal_lm", tmp_path, other, publish(artifacts, ROWS))
    # One that claims to be a causal LM of a kind that nobody knows.
    changed(other / "config.json", architectures=["NoForCausalLM"], model_type="no-such-kind")
    assert_refused("not_causal_lm", tmp_path / "2", other, publish(artifacts, ROWS))


def test_a_base_without_some_of_its_weights_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    other = copied(base, tmp_path / "other")
    changed(other / "config.json", num_hidden_layers=2)
    assert_refused("weights_missing", tmp_path, other, publish(artifacts, ROWS))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"hidden_size": 32}, "broken_weights"),
        ({"vocab_size": 100}, "broken_weights"),
        ({"hidden_size": "many"}, "broken_config"),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_the_weights_fails_by_name(
    tmp_path: Path, base: Path, spoil: dict[str, Any], reason: str
) -> None:
    other = copied(base, tmp_path / "other")
    changed(other / "config.json", **spoil)
    with pytest.raises(JobError, match=r"config\.json") as raised:
        causal.model(other, torch.float32)
    assert (raised.value.reason, raised.value.retry) == (reason, False)


def test_a_base_without_a_tokenizer_of_its_own_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, ROWS)
    other = copied(base, tmp_path / "other")
    vocabulary = json.loads((other / "tokenizer.json").read_text("utf-8"))
    moved = {word: id + 10_000 for word, id in vocabulary["model"]["vocab"].items()}
    changed(other / "tokenizer.json", model={**vocabulary["model"], "vocab": moved})
    assert_refused("broken_tokenizer", tmp_path, other, ref)
    (other / "tokenizer.json").unlink()
    assert_refused("broken_tokenizer", tmp_path / "2", other, ref)


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('only system messages') }}",
        "{% for m in messages %}{{ m.role }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}",
    ],
    ids=["refuses", "loses the text", "is no template"],
)
def test_a_wrong_chat_template_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts, template: str
) -> None:
    other = copied(base, tmp_path / "other")
    (other / "chat_template.jinja").write_text(template)
    assert_refused("bad_chat_template", tmp_path, other, publish(artifacts, ROWS))


def test_pickled_weights_fail_by_name(tmp_path: Path, base: Path, artifacts: Artifacts) -> None:
    other = copied(base, tmp_path / "other")
    (other / "model.safetensors").rename(other / "pytorch_model.bin")
    with pytest.raises(RejectedError, match="pickles"):
        run(tmp_path, other, publish(artifacts, ROWS))


def test_a_forbidden_licence_fails_by_name(
    tmp_path: Path, base: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copied(base, tmp_path / "other")
    (other / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    monkeypatch.setenv("IMECE_FORBIDDEN_LICENSES", "cc-by-nc-*")
    assert_refused("license_forbidden", tmp_path, other, publish(artifacts, ROWS))


def test_an_adapter_is_trained_without_a_shard_of_authors_and_says_so(
    tmp_path: Path, base: Path, artifacts: Artifacts
) -> None:
    authors = {number: f"user-{number}" for number in range(40)}
    ref = publish(artifacts, ROWS[:60], authors=authors)
    without = LeftOut(shard=1, of=3, salt="e-1")
    gone = sum(shards.of_author(each, "e-1", 3) == 1 for each in authors.values())
    request = AdaptationRequested(
        model="m", base=f"file://{base}", datasets=(ref,), recipe=LoraRecipe(), without=without
    ).model_dump(mode="json")
    result = job.work(child_job(tmp_path / "jobs" / "1", request))
    assert 0 < gone < 40
    assert result["metrics"]["rows"] == 60 - gone
    assert core.trained("job-1", request, result).without == without
    (about,) = (tmp_path / "artifacts").rglob("imece.json")
    assert json.loads(about.read_text("utf-8"))["without"]["shard"] == 1


def test_leaving_nobody_out_is_refused_instead_of_training_the_same_again(
    tmp_path: Path, artifacts: Artifacts
) -> None:
    ref = publish(artifacts, ROWS[:10])
    request = AdaptationRequested(
        model="m", base="/nowhere", datasets=(ref,), without=LeftOut(shard=0, of=2, salt="e")
    )
    with pytest.raises(JobError, match="same training") as raised:
        job._rows(artifacts, request)
    assert raised.value.reason == "nothing_left_out"


@given(st.text(min_size=1), st.text("abc", min_size=1), st.integers(2, 16))
def test_each_author_is_in_one_shard_and_upstreams_own_rows_in_none(
    author: str, salt: str, count: int
) -> None:
    parts = [LeftOut(shard=n, of=count, salt=salt) for n in range(count)]
    assert sum(shards.is_left_out(author, each) for each in parts) == 1
    assert not any(shards.is_left_out(None, each) for each in parts)
    assert not shards.is_left_out(author, None)
