"""How a prompt becomes the text that a causal model reads: one place for training and answering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from imece.errors import JobError

Said = tuple[str, str]
"""One message of a conversation: its role (system, user, assistant) and what was said."""


class ChatTokenizer(Protocol):
    """What we need of a transformers tokenizer."""

    chat_template: Any
    eos_token: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render chat messages with the model's own template."""


def prompt_text(tokenizer: ChatTokenizer, prompt: str, history: Sequence[Said] = ()) -> str:
    """Return the text after which the model writes its answer to `prompt`.

    JobError("bad_chat_template") where the tokenizer's template cannot render it.
    """
    if not tokenizer.chat_template:
        return "".join(f"{content}\n" for _, content in (*history, ("user", prompt)))
    text = _render(tokenizer, [*history, ("user", prompt)], answering=True)
    if prompt.strip() not in text:
        raise _bad_template("what it makes of a prompt does not hold the prompt")
    return text


def completion_text(
    tokenizer: ChatTokenizer, prompt: str, response: str, history: Sequence[Said] = ()
) -> str:
    """Return what the model should write after `prompt_text`: `response` and the end of its turn.

    The end mark is taken from the template, since not every model ends a turn with its eos token.
    """
    if tokenizer.chat_template:
        before = prompt_text(tokenizer, prompt, history)
        whole = _render(tokenizer, [*history, ("user", prompt), ("assistant", response)])
        if whole.startswith(before + response):
            return whole.removeprefix(before).rstrip("\n")
    return f"{response}{tokenizer.eos_token or ''}"


def _render(
    tokenizer: ChatTokenizer, conversation: Sequence[Said], *, answering: bool = False
) -> str:
    messages = [{"role": role, "content": content} for role, content in conversation]
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=answering
        )
    except Exception as error:  # a template is a program of whoever made the model
        roles = ", ".join(role for role, _ in conversation)
        raise _bad_template(f"it fails on the roles {roles} ({error})") from error
    return str(text)


def _bad_template(why: str) -> JobError:
    return JobError(
        "bad_chat_template",
        f"the base's chat template is unusable: {why}; repair it or take another base",
    )
