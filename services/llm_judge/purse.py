"""The budget of an evaluation, kept in the database so that all processes share it."""

from __future__ import annotations

from dataclasses import dataclass

from imece.runtime.database import Database
from services.llm_judge import store
from services.llm_judge.settings import JudgeSettings


@dataclass(frozen=True)
class StoredPurse:
    """Charges an account before each call; a crash in between leaves it charged."""

    database: Database
    tokens: int | None
    money: float | None

    @classmethod
    def within(cls, own: JudgeSettings, database: Database) -> StoredPurse | None:
        """Return the purse that the settings ask for; None without a budget."""
        if own.budget_tokens is None and own.budget_money is None:
            return None
        return cls(database, own.budget_tokens, own.budget_money)

    async def reserve(self, account: str, tokens: int, money: float) -> bool:
        """Charge `account`; False when that would exceed its budget."""
        limits = (self.tokens, self.money)
        return await self.database.run(store.reserve, account, tokens, money, limits)

    async def settle(self, account: str, tokens: int, money: float) -> None:
        """Correct a reservation to what the call really cost."""
        await self.database.run(store.settle, account, tokens, money)
