"""Every way of fine-tuning on a tiny random model: it learns, resumes to the bit and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from imece.errors import JobError
from imece.events import AdaptationRecipe, AdaptationRequested, Dpo, Kto, LoraRecipe
from imece.runtime import causal
from imece.runtime.course import Around, Progress
from services.adapter import losses, methods
from services.adapter import recipe as adapter
from services.adapter.rows import common_prefix, encode
from services.evaluator import recipe as evaluator
from tests.integration.test_recipe import AROUND, tiny  # noqa: F401 - a fixture

pytestmark = pytest.mark.model

TALK = (("user", "Hi"), ("assistant", "Yes?"))
ROWS = [
    adapter.Row(f"Say {'x' * (i % 5)} {i}", f"It is {i % 3}.", TALK if i % 4 == 0 else ())
    for i in range(24)
]
PAIRS = [
    adapter.Pair(f"Say {i}", f"It is {i % 3}.", "No idea at all", TALK if i % 4 == 0 else ())
    for i in range(12)
]
VERDICTS = [
    adapter.Verdict(f"Say {i}", f"It is {i % 3}.", i % 3 != 0, TALK if i % 4 == 0 else ())
    for i in range(24)
]
SHARED: dict[str, Any] = {"batch_size": 4, "epochs": 2, "learning_rate": 0.01, "max_length": 128}
METHODS: list[dict[str, Any]] = [
    {"method": "lora", "dropout": 0.1},
    {"method": "rslora"},
    {"method": "dora"},
    {"method": "ia3", "learning_rate": 0.1},
    {"method": "prompt", "virtual_tokens": 4},
    {"method": "prefix", "virtual_tokens": 4},
    {"method": "full", "learning_rate": 2e-3},
    {"method": "full", "learning_rate": 1e-2, "last_layers": 1},
]
OBJECTIVES: dict[str, Any] = {"sft": ROWS, "dpo": PAIRS, "kto": VERDICTS}


def recipe_of(**fields: Any) -> AdaptationRecipe:
    ref = {"dataset": "d", "version": 1, "digest": f"sha256:{1:064x}", "uri": "file:///d"}
    body = {"model": "m", "base": "/b", "datasets": [ref], "recipe": {**SHARED, **fields}}
    return AdaptationRequested.model_validate(body).recipe


def run(base: Path, to: Path, recipe: AdaptationRecipe, **options: Any) -> adapter.Result:
    rows = options.pop("rows", OBJECTIVES[recipe.objective.kind])
    named = {name: options.pop(name) for name in AROUND & set(options)}
    options = {"dtype": "float32"} | options
    around = Around(to / "checkpoints", **named)
    return adapter.train(base, rows, recipe, to / "out", around, **options)


def weights(to: Path) -> bytes:
    (path,) = (to / "out").glob("*.safetensors")
    return path.read_bytes()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("fields", METHODS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_each_method_learns_and_resumes_to_the_bit(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    fields: dict[str, Any],
    objective: str,
) -> None:
    recipe = recipe_of(**fields, objective={"kind": objective})
    whole = run(tiny, tmp_path / "whole", recipe)
    assert whole.finished
    half = whole.steps // 2
    assert sum(whole.losses[half:]) < sum(whole.losses[:half])
    seen: list[Progress] = []
    broken = tmp_path / "broken"
    run(tiny, broken, recipe, on_progress=seen.append, should_stop=lambda: len(seen) == half)
    resumed = run(tiny, broken, recipe)
    assert (resumed.resumed_from, resumed.losses) == (half, whole.losses)
    assert weights(broken) == weights(tmp_path / "whole")


@pytest.mark.parametrize("fields", METHODS, ids=lambda fields: fields["method"])
def test_what_each_method_leaves_answers_in_the_evaluator(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    fields: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(causal, "fast_dtype", lambda _: torch.float32)
    run(tiny, tmp_path, recipe_of(**{**fields, "epochs": 8}))
    prompts = [row.prompt for row in ROWS]
    bare = evaluator.load(tiny).answer(None, prompts, max_new_tokens=6)
    if fields["method"] == "full":
        taught = evaluator.load(tmp_path / "out").answer(None, prompts, max_new_tokens=6)
    else:
        answerer = evaluator.load(tiny)
        taught = answerer.answer(tmp_path / "out", prompts, max_new_tokens=6)
        assert answerer.answer(None, prompts, max_new_tokens=6) == bare
    assert taught != bare


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "ia3"])
def test_a_merged_model_computes_what_base_and_adapter_do(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    method: str,
) -> None:
    recipe = recipe_of(method=method)
    run(tiny, tmp_path / "adapter", recipe)
    run(tiny, tmp_path / "merged", recipe, merge=True)
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(tiny)
    apart = PeftModel.from_pretrained(base, str(tmp_path / "adapter" / "out"))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged" / "out")
    ids = torch.arange(20)[None]
    assert torch.allclose(merged(ids).logits, apart(ids).logits, atol=1e-4)
    names = {path.name for path in (tmp_path / "merged" / "out").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    again, first = (AutoTokenizer.from_pretrained(p) for p in (tmp_path / "merged" / "out", tiny))
    assert again("çay 42")["input_ids"] == first("çay 42")["input_ids"]


def test_full_fine_tuning_moves_every_matrix(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    run(tiny, tmp_path, recipe_of(method="full"))
    before, after = (load_file(p / "model.safetensors") for p in (tiny, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_fast_way_gives_the_loss_and_the_gradients_of_the_plain_one(
    tiny: Path,  # noqa: F811
    method: str,
) -> None:
    recipe = recipe_of(method=method)
    examples = [u.examples[0] for u in encode(AutoTokenizer.from_pretrained(tiny), ROWS)]
    prefix = common_prefix(examples)
    assert len(prefix) >= 3
    found = []
    for fast in (True, False):
        torch.manual_seed(0)
        model = methods.adapt(methods.load(tiny, recipe, "float32"), recipe)
        learning = [p for n, p in model.named_parameters() if p.requires_grad]
        for weight in learning:  # a new adapter's B is zero, and so is A's gradient
            torch.nn.init.normal_(weight, std=0.02)
        reader = losses.Reader(model, prefix if fast else [], 0, fast)
        loss = reader.tokens(examples)[0].mean()
        found.append((loss, torch.autograd.grad(loss, learning)))
    (fast_loss, fast_grads), (loss, grads) = found
    assert float(fast_loss) == pytest.approx(float(loss), rel=1e-4)
    for one, other in zip(fast_grads, grads, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm())


def test_a_model_that_scales_its_logits_goes_the_plain_way(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        logits_scaling=8.0,
        initializer_range=0.5,
    )
    model = GraniteForCausalLM(config)
    examples = [u.examples[0] for u in encode(AutoTokenizer.from_pretrained(tiny), ROWS[:4])]
    assert not losses.reads_fast(model, 0, examples, common_prefix(examples))


def test_another_architecture_is_adapted_too(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "gpt2")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=128, n_embd=32, n_layer=2, n_head=4)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    for method in ("lora", "dora", "ia3", "prefix", "full"):
        result = run(tmp_path / "gpt2", tmp_path / method, recipe_of(method=method))
        assert sum(result.losses[-3:]) < sum(result.losses[:3])


def test_qlora_without_its_hardware_fails_by_name(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(JobError) as raised:
        run(tiny, tmp_path, recipe_of(method="qlora"))
    assert (raised.value.reason, raised.value.retry) == ("qlora_unavailable", False)


def test_a_row_longer_than_the_bases_context_is_left_out_and_counted(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    long = adapter.Row("word " * 100, "yes")
    recipe = recipe_of(max_length=1000)
    result = run(tiny, tmp_path, recipe, rows=[*ROWS, long], context=128)
    assert (result.rows_used, result.rows_too_long) == (24, 1)


def test_full_tuning_of_the_last_block_moves_nothing_else_and_asks_nothing_of_what_is_below(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    recipe = recipe_of(method="full", last_layers=1)
    model = methods.adapt(methods.load(tiny, recipe, "float32"), recipe)
    needed: dict[int, bool] = {}
    for at, block in enumerate(model.model.layers):
        block.register_forward_hook(
            lambda _, __, out, at=at: needed.update(
                {at: (out[0] if isinstance(out, tuple) else out).requires_grad}
            )
        )
    model(input_ids=torch.tensor([[1, 2, 3]]))
    assert needed == {0: False, 1: True}
    run(tiny, tmp_path, recipe)
    folders = (tiny, tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in folders)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {name for name in after if ".layers.1." in name}


def test_kto_needs_rows_to_compare(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(JobError) as raised:
        run(tiny, tmp_path, recipe_of(objective={"kind": "kto"}), rows=VERDICTS[:1])
    assert raised.value.reason == "too_few_rows"


def test_preferences_are_learnt(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    for objective in (Dpo(), Kto()):
        to = tmp_path / objective.kind
        recipe = LoraRecipe(objective=objective, **{**SHARED, "epochs": 8})
        run(tiny, to, recipe, rows=_both(objective))
        assert _margin(tiny, to / "out") > 1


def _both(objective: Dpo | Kto) -> Any:
    if isinstance(objective, Dpo):
        return PAIRS
    good = [adapter.Verdict(pair.prompt, pair.chosen, True) for pair in PAIRS]
    return good + [adapter.Verdict(pair.prompt, pair.rejected, False) for pair in PAIRS]


@torch.no_grad()
def _margin(base: Path, folder: Path) -> float:
    """Return how much more the chosen answers gained than the rejected ones, in nats."""
    from peft import PeftModel

    plain = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager").eval()
    units = encode(AutoTokenizer.from_pretrained(base), PAIRS)
    examples = [example for unit in units for example in unit.examples]
    before = losses.Reader(plain, [], 0, fast=True).sequences(examples)
    tuned = PeftModel.from_pretrained(plain, str(folder)).eval()
    gained = losses.Reader(tuned, [], 0, fast=True).sequences(examples) - before
    pairs = gained.reshape(-1, 2)
    return float((pairs[:, 0] - pairs[:, 1]).mean())
