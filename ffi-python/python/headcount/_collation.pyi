"""The order of names in a language."""

from typing import final

__all__ = ["Collation"]

@final
class Collation:
    """The order of names in a language, by the Unicode collation algorithm with the data of CLDR.

    It makes sort keys, which any call that takes a key takes instead of a name. Upper and lower
    case sort together; accents decide between names that are equal without them. Keys of different
    collations, or of names without one, must not meet in one group.

    `locale` is one such as "sv" or "de-u-co-phonebk"; those without rules of their own have
    the order of the root. Raises `ListError` when it is no locale.
    """

    def __new__(cls, locale: str) -> Collation: ...
    @property
    def locale(self) -> str:
        """The locale."""

    def key(self, name: str) -> bytes:
        """Return the sort key of a name, at most 64 bytes. To find names by a prefix, use `prefix`.
        O(length).
        """

    def prefix(self, text: str) -> bytes:
        """Return the prefix by which `find_prefix`, `search_prefix` and searches find the names
        that begin with a text. Case does not count, nor do accents, except where the language has a
        letter of its own for them. A vowel that is written before the consonant by which it sorts,
        as in Thai and Lao, does not count at the end of a text. O(length).
        """
