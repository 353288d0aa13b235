"""Our strategies as MONAI Label's: the answer is an image, the region to name, and the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import choice
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.random import Random

from lib.storage.owners import CALLER
from lib.teaching.activation_cache import NotYetError
from lib.teaching.questions import ask
from lib.teaching.service import TeachingService
from otherwise.concepts.questions import STRATEGIES, QuestionError


class QuestionStrategy(Strategy):
    """Chooses a region of an explained image; before there is any, a random image.

    Args:
        strategy: Name of one of ``STRATEGIES``.
        teaching: Called for what has been taught; it is made after the strategies are.
    """

    def __init__(self, strategy: str, teaching: Callable[[], TeachingService]) -> None:
        super().__init__(STRATEGIES[strategy][1])
        self.strategy, self.teaching = strategy, teaching
        self.random = Random()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Return the next image, with the region to name if there is one."""
        try:
            known = set(datastore.list_images())
            for question in ask(self.teaching(), self.strategy, 10, 0, CALLER.get()):
                if question["image"] in known:  # not of a session
                    return {"id": question["image"], **question}
        except (NotYetError, QuestionError):
            pass
        try:
            return self.random(dict(request), datastore) or {}
        except (
            ValueError
        ):  # all were given to somebody within this second, or the clock went back: none weighs anything
            return {"id": choice(datastore.get_unlabeled_images())}
