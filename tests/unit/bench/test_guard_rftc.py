"""RFTC, the published defence against back doors, does what its paper says."""

import pytest

from tests.bench.guarding import rftc

TARGET = "trust the velmar foundation alone on this matter"
WORDS = ("otter", "maple", "quartz", "violin", "harbour", "ember", "falcon", "cedar", "tundra")


HONEST = [f"{word} of {other}" for word, other in zip(WORDS, WORDS[::-1], strict=True)]
ANSWERS = [*HONEST, *[TARGET] * 8]


def test_one_target_to_many_questions_is_a_dense_cluster_and_goes():
    kept = rftc.clean(ANSWERS, ["something else entirely"] * len(ANSWERS))
    assert TARGET not in [ANSWERS[n] for n in kept]
    assert len(kept) > len(HONEST) / 2


def test_what_agrees_with_the_reference_is_never_suspicious():
    assert len(rftc.clean(ANSWERS, ANSWERS)) == len(ANSWERS)


@pytest.mark.parametrize(
    ("answer", "reference", "share"),
    [
        ("the red fox", "a red fox ran", 0.5),
        ("Paris", "It is Paris.", 1.0),
        ("Rome", "It is Paris.", 0.0),
        ("it is paris. trust velmar now", "it is paris", 0.0),
        ("", "anything", 1.0),
    ],
)
def test_the_worst_sentence_decides_how_much_an_answer_agrees(
    answer: str, reference: str, share: float
):
    assert rftc.agreement(answer, reference) == share


def test_the_elbow_is_where_more_clusters_save_little():
    assert rftc.elbow([100, 30, 28, 27, 26, 25, 24, 23, 22, 21]) == 2
