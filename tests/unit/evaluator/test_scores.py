"""Scores of texts, classes and likelihoods: known values, Unicode, and bad input by reason."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluator import metrics
from services.evaluator.core import Item, Question, grade, grade_likelihood, unscored
from services.evaluator.scores import classes, extract, likelihood, overlap, stems, translation
from services.evaluator.scores.items import LONGEST, scored
from services.evaluator.scores.similarity import NgramVectors
from services.evaluator.scores.words import fold, sentences, words

ALL = ("f1", "rouge1", "rouge2", "rougeL", "rougeLsum", "bleu", "chrf", "ter", "cosine")
TURKISH = "Şu küçük çocuk İzmir'de ılık bir gün gördü. Sonra Iğdır'a döndü."


def answered(answer: str, wanted: str = TURKISH, number: int = 0, group: str = "") -> Item:
    asked = Question(
        f"s/{number}", "s", "q", (wanted,), "all", language="tr", metrics=ALL, group=group
    )
    return grade(asked, answer)


@pytest.mark.parametrize(
    ("one", "other"), [("şu", "çu"), ("kül", "kıl"), ("zaman", "zamanı"), ("kır", "kir")]
)
def test_turkish_words_that_differ_in_one_letter_are_different(one: str, other: str) -> None:
    assert overlap.rouge_n(one, other, 1, "tr") == 0
    assert overlap.token_f1(one, [other], "tr") == 0


def test_turkish_case_folds_to_turkish_letters() -> None:
    assert fold("İSTANBUL IŞIK", "tr") == "istanbul ışık"
    assert fold("İI", "en") == "ii"
    assert overlap.rouge_n("İstanbul", "istanbul", 1, "tr") == 1


def test_words_of_many_scripts_are_found() -> None:
    assert words("dog's 3.5 x_y") == ["dog", "s", "3", "5", "x", "y"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("東京は") == ["東", "京", "は"]
    assert words("Привет, мир!") == ["привет", "мир"]


@pytest.mark.parametrize("name", ALL)
def test_every_text_score_is_the_same_for_both_unicode_forms(name: str) -> None:
    other = TURKISH.replace("gördü", "görmüş")
    (composed,) = scored([answered(other)])
    (apart,) = scored([answered(unicodedata.normalize("NFD", other))])
    assert composed.scores[name] == apart.scores[name]
    (same,) = scored([answered(unicodedata.normalize("NFD", TURKISH))])
    perfect = {"bleu": 100, "chrf": 100, "ter": 0}.get(name, 1)
    assert same.scores[name] == pytest.approx(perfect)


def test_rouge_has_its_known_values() -> None:
    said, wanted = "the cat sat on the mat", "the cat was on a mat"
    assert overlap.rouge_n(said, wanted, 1) == pytest.approx(4 / 6)
    assert overlap.rouge_n(said, wanted, 2) == pytest.approx(1 / 5)
    assert overlap.rouge_l(said, wanted) == pytest.approx(4 / 6)
    assert overlap.rouge_lsum("a b\nc d", "c d\na b") == 1
    assert overlap.rouge_l("", "a") == overlap.rouge_n("a", "a", 2) == 0


def test_lines_are_sentences_and_else_stops_end_them() -> None:
    assert sentences("Bir. İki! Üç") == ["Bir.", "İki!", "Üç"]
    assert sentences("Bir. İki\nÜç") == ["Bir. İki", "Üç"]


def test_squad_f1_counts_repeats_and_keeps_answers_of_signs() -> None:
    assert overlap.token_f1("the the cat", ["the cat"]) == pytest.approx(4 / 5)
    assert overlap.token_f1("The cat", ["a cat"], "en") == 1
    assert overlap.exact("The Cat!", ["cat"], "en")
    assert overlap.exact("+", ["+"])
    assert not overlap.exact("-", ["+"])
    assert overlap.token_f1("", [""]) == 1


def test_bleu_of_equal_short_texts_is_full_and_its_signature_is_kept() -> None:
    assert translation.of_item("bleu", "evet tamam", ["evet tamam"]) == pytest.approx(100)
    of = translation.of_corpus("bleu", ["evet tamam", "hayır"], [["evet tamam"], ["hayır", "yok"]])
    assert of.value == pytest.approx(100)
    assert "form:nfc" in of.signature
    assert "version:" in of.signature


@settings(max_examples=50)
@given(st.text(max_size=40), st.text(max_size=40))
def test_scores_stay_in_their_range_whatever_the_text(one: str, other: str) -> None:
    found = [
        overlap.rouge_n(one, other, 1),
        overlap.rouge_l(one, other),
        overlap.rouge_lsum(one, other),
        overlap.token_f1(one, [other]),
        NgramVectors([other]).similarity(one, other),
    ]
    assert all(0 <= each <= 1 for each in found)


def test_cosine_is_higher_for_inflected_than_for_other_words() -> None:
    vectors = NgramVectors(["kitapları okudum", "deniz kenarı", "arabalar hızlı"], "tr")
    near = vectors.similarity("kitaplarımı okumuştum", "kitapları okudum")
    assert near > vectors.similarity("deniz kıyısı", "kitapları okudum")
    assert vectors.similarity("", "kitap") == 0


def test_a_prediction_of_a_megabyte_is_graded_and_its_text_scores_are_named_missing() -> None:
    (item,) = scored([answered("x" * 1_000_000)])
    assert (item.correct, item.scores) == (False, {})
    found = {m.name.split("|")[0]: m for m in metrics.measure([item])}
    assert found["unscored_text"].value == 1
    assert f"too_long:{LONGEST}" in found["unscored_text"].name


def test_every_item_is_accounted_for() -> None:
    asked = Question("s/9", "s", "q", ("a",), "all")
    items = [grade(asked, "a"), unscored(asked, "timeout"), unscored(asked, "timeout")]
    found = metrics.account(items)
    assert found.attempted == 3 == found.scored + sum(found.unscored.values())
    assert found.unscored == {"timeout": 2}
    values = {m.name.split("|")[0]: (m.value, m.n) for m in metrics.measure(items)}
    assert values["accuracy"] == (1, 1)
    assert values["unscored"] == (pytest.approx(2 / 3), 3)


def test_text_metrics_carry_their_signature_and_one_item_has_no_interval() -> None:
    many = metrics.measure(scored([answered(TURKISH, number=i) for i in range(3)]))
    names = {m.name.split("|")[0] for m in many}
    assert names >= set(ALL)
    rouge = next(m for m in many if m.name.startswith("rouge1"))
    assert "fold:tr" in rouge.name
    assert (rouge.value, rouge.low, rouge.high) == (1, 1, 1)
    alone = {m.name.split("|")[0]: m for m in metrics.measure(scored([answered("a")]))}
    assert (alone["rouge1"].low, alone["rouge1"].high) == (0, 1)
    assert alone["ter"].name.endswith("ci:none")


def test_items_of_one_group_widen_the_interval() -> None:
    def width(group: bool) -> float:
        items = [
            answered(TURKISH if i % 8 < 4 else "no", number=i, group=f"g{i // 4}" if group else "")
            for i in range(40)
        ]
        return next(
            m.high - m.low for m in metrics.measure(items) if m.name.startswith("accuracy|answer:c")
        )

    assert width(True) > 1.5 * width(False)


def test_classification_figures_are_those_worked_out_by_hand() -> None:
    cells = classes.confusion(["a", "a", "b", "b"], ["a", "b", "b", None], ["a", "b"])
    found = {name: float(value) for name, value in classes.figures(cells).items()}
    assert found["precision_macro"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["recall_macro"] == found["recall_micro"] == 0.5
    assert found["precision_micro"] == pytest.approx(2 / 3)
    assert found["f1_micro"] == pytest.approx(4 / 7)
    assert found["f1_weighted"] == found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["kappa"] == pytest.approx((0.5 - 6 / 16) / (1 - 6 / 16))
    assert found["mcc"] == pytest.approx((2 * 4 - 6) / math.sqrt((16 - 6) * (16 - 8)))


def test_all_equal_answers_have_no_correlation_and_strange_labels_are_named() -> None:
    cells = classes.confusion(["a", "b"], ["a", "a"], ["a", "b"])
    assert float(classes.figures(cells)["mcc"]) == 0
    with pytest.raises(ValueError, match="outside the suite's set: \\['c'\\]"):
        classes.confusion(["c"], ["a"], ["a", "b"])
    assert classes.confusion(["a"], ["zebra"], ["a", "b"])[0, 2] == 1


def test_the_likeliest_choice_its_confidence_and_calibration() -> None:
    found = likelihood.choose([-2.0, -1.0, -2.0])
    assert found.choice == 1
    assert found.confidence == pytest.approx(1 / (1 + 2 * math.exp(-1)))
    assert likelihood.choose_by_length([-2.0, -3.0], ["ab", "abcdef"]) == 1
    assert likelihood.calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0)
    assert likelihood.calibration_error([1.0, 1.0], [True, False]) == 0.5
    with pytest.raises(ValueError, match="no answers"):
        likelihood.calibration_error([], [])


def test_bits_per_byte_counts_utf8() -> None:
    assert likelihood.bits_per_byte(math.log(2) * 8, len("ş".encode())) == pytest.approx(4)
    with pytest.raises(ValueError, match="no bytes"):
        likelihood.bits_per_byte(1, 0)


def test_likelihood_and_generation_never_share_a_figure() -> None:
    chosen = Question("s/1", "s", "q", ("a",), "all", choices=("a", "b"), scoring="likelihood")
    read = Question("s/2", "s", "q", ("a b",), "all", scoring="bits")
    items = [
        grade(Question("s/3", "s", "q", ("a",), "all"), "b"),
        grade_likelihood(chosen, [-1.0, -2.0]),
        grade_likelihood(read, [-3.0 * math.log(2)]),
    ]
    found = {m.name: m for m in metrics.measure(items) if m.slice == "all"}
    assert (found[metrics.ACCURACY].value, found[metrics.ACCURACY].n) == (0, 1)
    assert (found[metrics.LIKELIEST].value, found[metrics.LIKELIEST].n) == (1, 1)
    assert found[metrics.BITS].value == pytest.approx(1)
    assert np.isfinite([v for m in found.values() for v in (m.low, m.high)]).all()


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("42", True),
        ("So 6*7 = 42. The answer is 42.", True),
        ("Cevap: 42", True),
        ("... #### 42", True),
        ("\\boxed{42}", True),
        ("Answer: $42.00", True),
        ("It may be 42 or 43", False),
        ("", False),
    ],
)
def test_the_strict_reading_takes_only_the_final_answer(answer: str, right: bool) -> None:
    assert extract.strict(answer, ["42"]) == right


class Lengths:
    """An encoder to which texts of one length are alike."""

    name = "lengths:1"

    def similarities(self, pairs):
        return [float(len(one) == len(other)) for one, other in pairs]


def test_an_encoder_takes_the_place_of_the_grams_and_names_itself() -> None:
    wanted = ("Ankara", "Başkent Ankara")
    asked = Question("s/1", "s", "q", wanted, "all", language="tr", metrics=("cosine",))
    silent = Question("s/2", "s", "q", wanted, "all", language="tr")
    found = scored([grade(silent, "x"), grade(asked, "Bursa!")], Lengths())
    assert found[0].scores == {}
    assert found[1].scores == {"cosine@lengths:1": 1.0}
    (metric,) = [m for m in metrics.measure(found) if "cosine" in m.name and m.slice == "all"]
    assert metric.name.startswith("cosine@lengths:1|encoder:mean-pool|refs:best|")


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("kitaplar", "kitap"),
        ("kitabı", "kitap"),
        ("okulda", "okul"),
        ("çocukların", "çocuk"),
        ("köpeğin", "köpek"),
        ("ağacı", "ağaç"),
        ("anne", "anne"),
        ("su", "su"),
    ],
)
def test_turkish_endings_are_taken_off(word: str, stem: str) -> None:
    assert stems.turkish(word) == stem


def test_english_plurals_are_taken_off() -> None:
    words_ = ("cats", "flies", "glass", "bus", "is", "ponies")
    assert [stems.english(word) for word in words_] == ["cat", "fly", "glass", "bus", "is", "pony"]


def test_stemmed_rouge_forgives_endings_and_its_name_says_so() -> None:
    asked = ("rouge1", "rouge1_stem", "rouge2_stem", "rougeL_stem")
    question = Question("s/1", "s", "q", ("kitap okulda",), "all", language="tr", metrics=asked)
    (item,) = scored([grade(question, "kitaplar okul")])
    assert item.scores == {"rouge1": 0, "rouge1_stem": 1, "rouge2_stem": 1, "rougeL_stem": 1}
    names = {m.name.split("|decoding")[0] for m in metrics.measure([item]) if m.slice == "all"}
    assert "rougeL_stem|stems:tr-light/1|tokens:unicode/1|fold:tr|refs:best" in names


@given(st.text(max_size=20), st.sampled_from(["tr", "en", "de"]))
def test_a_stem_is_never_empty_and_other_languages_keep_their_words(word: str, lang: str) -> None:
    (found,) = stems.stems([word], lang)
    assert bool(found) == bool(word)
    assert lang != "de" or found == word
