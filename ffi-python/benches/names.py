"""Names as people have them: many are shared, they begin alike, and some are not ASCII."""

import random

GIVEN = 5_000
PLAIN_SHARE = 0.32
STARTS = ["an", "be", "ca", "da", "el", "fi", "ga", "ha", "is", "jo", "ka", "li", "ma", "ni", "os",
          "pe", "ru", "sa"]  # fmt: skip
MIDDLES = ["na", "ri", "lo", "mi", "ra", "to", "vi", "zé", "la", "shu", "ber", "no", "ка", "li",
           "ö", "do"]  # fmt: skip
ENDS = ["", "a", "n", "s", "lie", "ra", "us", "to", "ne", "k", "ß", "mir", "ta", "o", "y", "el",
        "ine", "さん"]  # fmt: skip


def given_name(at: int) -> str:
    """Return a given name: two or three syllables, every eighth with a letter outside ASCII."""
    at, start = divmod(at, len(STARTS))
    at, middle = divmod(at, len(MIDDLES))
    return STARTS[start] + MIDDLES[middle] + ENDS[at % len(ENDS)]


class Names:
    """Draws nicknames: 32 % are mere given names, which members share; the others add a number."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.given = [given_name(at) for at in range(GIVEN)]

    def draw(self) -> str:
        """Return the name of the next member, a `str` of its own as a database returns it."""
        rng = self.rng
        # The smaller of two draws: some names are common, most are rare.
        name = self.given[min(rng.randrange(GIVEN), rng.randrange(GIVEN))]
        if rng.random() < PLAIN_SHARE:
            return (name + " ")[:-1]
        return f"{name}{rng.choice(['', '_', '.', ' '])}{rng.randrange(10_000_000)}"
