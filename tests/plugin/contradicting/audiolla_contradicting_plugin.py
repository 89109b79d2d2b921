"""A plugin whose declaration is refused: its only example is out of range."""

from pydantic import Field

from handlers.artifacts import Audio
from handlers.declare import Example, Params, operation


class TestContradiction(Params):
    """A number."""

    amount: float = Field(1.0, le=1, description="At most 1.")


@operation(
    route="/v1/audio/test-contradiction",
    category="effects-creative",
    examples=[Example("Too much.", amount=2.0)],
)
def test_contradiction(sound: Audio, p: TestContradiction) -> Audio:
    """Do nothing."""
    return sound
