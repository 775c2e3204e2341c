"""What asking an endpoint costs, and how much of it a job may still spend."""

from drift.settings.sampling import EndpointRuntime

CHARACTERS_PER_TOKEN = 4  # of English, roughly; for estimates alone


class Budget:
    """The money of one job, in USD: what was spent, and what is reserved for requests in flight."""

    def __init__(self, runtime: EndpointRuntime):
        self.limit = runtime.budget
        self.spent = self.reserved = 0.0
        self._prices = runtime.input_price, runtime.output_price

    def price(self, read: int, written: int) -> float:
        """USD for so many tokens; prices are per million."""
        input_price, output_price = self._prices
        return (read * input_price + written * output_price) / 1e6

    def affords(self, cost: float) -> bool:
        """Whether one more request fits, should all that are in flight cost what they can."""
        return self.limit is None or self.spent + self.reserved + cost <= self.limit

    @property
    def is_exceeded(self) -> bool:
        """Whether what was spent and what is in flight may come to more than the limit."""
        return not self.affords(0.0)


def estimated_tokens(messages: list[dict]) -> int:
    """Tokens of a chat, roughly, where there is no tokenizer."""
    return sum(len(message["content"].encode()) for message in messages) // CHARACTERS_PER_TOKEN


def tokens_of_text(text: str) -> int:
    """Tokens of a text, roughly, and at least one."""
    return len(text.encode()) // CHARACTERS_PER_TOKEN + 1
