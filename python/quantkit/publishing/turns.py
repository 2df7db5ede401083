"""What a chat template puts around messages, found by rendering samples with it.

Most chat templates write a text before and after each message that depends only on the
message's role.  These texts are found in the renderings of a few conversations, whose
messages are markers.  Then other conversations are rendered: only if every rendering is
what the texts predict, the template is known.  So no list of known templates is needed,
and a template that does more (dates, messages that change others) is not mistaken for
one that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import takewhile

from ..errors import FormatError

__all__ = ["SAMPLES", "Messages", "Place", "Render", "Turns", "find_turns"]

Messages = Sequence[dict[str, str]]
Render = Callable[[Messages, bool], str]
"""The text of a conversation; if the flag is set, up to where the assistant's answer
begins."""

SYSTEM, USER, ANSWER, AGAIN = "qkSystemQk", "qkFirstQk", "qkAnswerQk", "qkAgainQk"


class Place(Enum):
    """Where a template puts the system message."""

    NOWHERE = "it refuses or drops it"
    OWN_TURN = "before the first turn"
    FIRST_TURN = "in the first message of the user"
    LAST_TURN = "in the last message of the user"


@dataclass(frozen=True)
class Turns:
    """The texts around messages.

    Attributes:
        head: before the first turn; with `Place.OWN_TURN`, only if there is no system
            message.
        user, user_end: around each message of the user.
        answer, answer_end: around each answer of the assistant but one that ends the
            conversation, which has nothing after it.
        prompt: after the end of the last message of the user.
        place: where the system message is.
        system, system_end: around it.
    """

    head: str
    user: str
    user_end: str
    answer: str
    answer_end: str
    prompt: str
    place: Place = Place.NOWHERE
    system: str = ""
    system_end: str = ""

    def text(self, messages: Messages) -> str:
        """The text of a conversation.

        Args:
            messages: perhaps one of the system; then those of the user and of the
                assistant, in turn, the user's last.
        """
        system, turns = "", list(messages)
        if turns[0]["role"] == "system":
            system = f"{self.system}{turns.pop(0)['content']}{self.system_end}"
        is_own = bool(system) and self.place is Place.OWN_TURN
        parts = [system if is_own else self.head]
        for i, message in enumerate(turns):
            content, is_last = message["content"], i == len(turns) - 1
            if message["role"] == "user":
                is_here = i == 0 and self.place is Place.FIRST_TURN
                is_here |= is_last and self.place is Place.LAST_TURN
                parts += [self.user, system if is_here else "", content]
                parts += [self.user_end, self.prompt if is_last else ""]
            else:
                parts += [self.answer, content, "" if is_last else self.answer_end]
        return "".join(parts)


def _conversation(*contents: str, system: str | None = None) -> Messages:
    roles = ("user", "assistant")
    turns = [
        {"role": roles[i % 2], "content": content} for i, content in enumerate(contents)
    ]
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, *turns]


SAMPLES = (
    _conversation("Hi"),
    _conversation("What is 2 < 3?", "It's true:\n\n    2 < 3", 'And "é"?'),
    _conversation("Hi", "{{ .System }}", "Go on.", "No.", "Why? {% if %}"),
    _conversation("Hi", system="Be brief."),
    _conversation("Who?", "Me.", "And?\nWho else?", system="You are\n\nkind & {{x}}"),
    _conversation("1", "2", "3", "4", "5", system="Count."),
)
"""Conversations without spaces around messages, which many templates strip."""


def find_turns(render: Render, bos: str = "") -> Turns | None:
    """What a template puts around messages; None: it does more than that.

    Args:
        render: renders a conversation; a FormatError means that it is refused.
        bos: the text of the token that tokenizers put before each text by themselves;
            it is left out.

    Raises:
        FormatError: conversations of users and assistants cannot be rendered.
    """

    def plain(messages: Messages, answering: bool) -> str:
        return render(messages, answering).removeprefix(bos)

    bare = _bare_turns(plain)
    turns = None if bare is None else _with_system(plain, bare)
    if turns is None:
        return None
    samples = [_kept(sample, turns) for sample in SAMPLES]
    equal = all(plain(sample, True) == turns.text(sample) for sample in samples)
    return turns if equal else None


def _kept(sample: Messages, turns: Turns) -> Messages:
    """The sample without the system message, if the template has no place for it."""
    is_dropped = turns.place is Place.NOWHERE and sample[0]["role"] == "system"
    return sample[1:] if is_dropped else sample


def _bare_turns(render: Render) -> Turns | None:
    """The texts around the messages of users and assistants."""
    long = _conversation(USER, ANSWER, AGAIN)
    around = _around(render(long, True), USER, ANSWER, AGAIN)
    asked = _around(render(long, False), USER, ANSWER, AGAIN)
    answered = _around(render(long[:-1], False), USER, ANSWER)
    if around is None or asked is None or answered is None:
        return None
    start, to_answer, to_user, prompt = around
    end = answered[-1] if to_user.startswith(answered[-1]) else ""
    user = _common_suffix(start, to_user[len(end) :])
    user_end = _common_prefix(asked[-1], to_answer, prompt)
    return Turns(
        head=start.removesuffix(user),
        user=user,
        user_end=user_end,
        answer=to_answer.removeprefix(user_end),
        answer_end=to_user.removesuffix(user),
        prompt=prompt.removeprefix(user_end),
    )


def _with_system(render: Render, bare: Turns) -> Turns | None:
    """The same with the texts around the system message."""
    try:
        text = render(_conversation(USER, system=SYSTEM), True)
        longer = render(_conversation(USER, ANSWER, AGAIN, system=SYSTEM), True)
    except FormatError:
        return bare
    if SYSTEM not in text:
        return bare
    around = _around(text, SYSTEM, USER)
    if around is None:
        return None
    system, end, _ = around
    opening = bare.head + bare.user
    if end.endswith(bare.user) and longer.find(SYSTEM) < longer.find(USER):
        end = end.removesuffix(bare.user)
        return replace(bare, place=Place.OWN_TURN, system=system, system_end=end)
    if not system.startswith(opening):
        return None
    is_first = longer.find(SYSTEM) < longer.find(USER)
    place = Place.FIRST_TURN if is_first else Place.LAST_TURN
    system = system.removeprefix(opening)
    return replace(bare, place=place, system=system, system_end=end)


def _around(text: str, *markers: str) -> list[str] | None:
    """The texts before, between and after markers; None: not each is there once."""
    parts, rest = [], text
    for marker in markers:
        before, found, rest = rest.partition(marker)
        if not found or marker in rest:
            return None
        parts.append(before)
    return [*parts, rest]


def _common_prefix(*texts: str) -> str:
    same = takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False))
    return "".join(chars[0] for chars in same)


def _common_suffix(*texts: str) -> str:
    return _common_prefix(*(text[::-1] for text in texts))[::-1]
