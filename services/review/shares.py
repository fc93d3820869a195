"""What people's answers say about all items of a slice, those that nobody was asked included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from sqlalchemy import Connection, and_, func, select

from services.review.estimates import Predicted, estimate
from services.review.tables import DETAIL, ITEM, SLOT

COUNTED = ("unsampled", "open", "conflict", "agreed", "adjudicated")


_OF_ITEM = (ITEM.c.origin, ITEM.c.slice, ITEM.c.inclusion, ITEM.c.state, ITEM.c.outcome)


@dataclass(slots=True)
class _Stratum:
    """Items of one inclusion probability: values of the answered, and what a judge expects."""

    values: list[float] = field(default_factory=list)
    answered: list[float | None] = field(default_factory=list)
    others: list[float | None] = field(default_factory=list)

    def predicted(self) -> Predicted | None:
        """Return the expectations; an item without one is expected to be like the others."""
        known = [each for each in (*self.answered, *self.others) if each is not None]
        if not known:
            return None
        middle = fmean(known)
        return Predicted(_filled(self.answered, middle), _filled(self.others, middle))


def _filled(values: Sequence[float | None], middle: float) -> list[float]:
    return [middle if each is None else each for each in values]


def shares(connection: Connection) -> list[dict[str, Any]]:
    """Estimate for each slice the share of items whose first option is the right one.

    Where answers are rated, it is the mean level, for each criterion. All items of a slice count,
    asked or not: that is what the inclusion probabilities and a judge's expectations are for.
    """
    levels = (
        select(SLOT.c.item, func.avg(SLOT.c.choice).label("level"))
        .join(ITEM, ITEM.c.item == SLOT.c.item)
        .where(SLOT.c.state == "answered", SLOT.c.number < ITEM.c.answers)
        .group_by(SLOT.c.item)
        .subquery()
    )
    rows = connection.execute(
        select(*_OF_ITEM, DETAIL.c.criterion, DETAIL.c.levels, DETAIL.c.predicted, levels.c.level)
        .join(DETAIL, DETAIL.c.item == ITEM.c.item, isouter=True)
        .join(levels, and_(levels.c.item == ITEM.c.item, DETAIL.c.levels > 0), isouter=True)
        .where(ITEM.c.state.in_(COUNTED))
        .order_by(ITEM.c.item)
    )
    found: dict[tuple[str, str, str, int], dict[float, _Stratum]] = defaultdict(dict)
    for row in rows:
        key = row.origin, row.slice, row.criterion or "", row.levels or 0
        stratum = found[key].setdefault(row.inclusion, _Stratum())
        if row.outcome is None:
            stratum.others.append(row.predicted)
        else:
            stratum.values.append(_value(row))
            stratum.answered.append(row.predicted)
    return [_share(*key, strata) for key, strata in sorted(found.items())]


def _value(row: Any) -> float:
    if not row.levels:
        return float(row.outcome == 0)
    level = float(row.outcome if row.state == "adjudicated" else row.level)
    return level / float(row.levels - 1)


def _share(
    origin: str, slice_: str, criterion: str, levels: int, strata: dict[float, _Stratum]
) -> dict[str, Any]:
    sizes = {p: len(each.values) + len(each.others) for p, each in strata.items()}
    hits = [(p, value) for p, each in strata.items() for value in each.values]
    expected = {p: told for p, each in strata.items() if (told := each.predicted())}
    known = {
        "origin": origin,
        "slice": slice_,
        "criterion": criterion,
        "items": sum(sizes.values()),
    }
    known |= {"settled": len(hits), "of": "mean level" if levels else "first option"}
    try:
        found = estimate(hits, sizes, expected)
    except ValueError as error:
        nothing = dict.fromkeys(("share", "low", "high", "raw", "worth"))
        return {**known, **nothing, "note": str(error)}
    ends = {"share": found.share, "low": found.low, "high": found.high, "raw": found.raw}
    if levels:
        ends = {name: 1 + value * (levels - 1) for name, value in ends.items()}
    return {**known, **ends, "worth": found.worth, "note": ""}
