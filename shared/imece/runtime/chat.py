"""How a prompt becomes the text that a causal model reads: one place for training and answering."""

from __future__ import annotations

from typing import Any, Protocol


class ChatTokenizer(Protocol):
    """What we need of a transformers tokenizer."""

    chat_template: Any
    eos_token: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render chat messages with the model's own template."""


def prompt_text(tokenizer: ChatTokenizer, prompt: str) -> str:
    """Return the text after which the model writes its answer to `prompt`."""
    if not tokenizer.chat_template:
        return f"{prompt}\n"
    return _render(tokenizer, [_said("user", prompt)], answering=True)


def completion_text(tokenizer: ChatTokenizer, prompt: str, response: str) -> str:
    """Return what the model should write after `prompt_text`: `response` and the end of its turn.

    The end mark is taken from the template, since not every model ends a turn with its eos token.
    """
    if tokenizer.chat_template:
        before = prompt_text(tokenizer, prompt)
        whole = _render(tokenizer, [_said("user", prompt), _said("assistant", response)])
        if whole.startswith(before + response):
            return whole.removeprefix(before).rstrip("\n")
    return f"{response}{tokenizer.eos_token or ''}"


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _render(tokenizer: ChatTokenizer, messages: list[Any], *, answering: bool = False) -> str:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answering)
    return str(text)
