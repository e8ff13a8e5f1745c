import unittest

from headcount import Clause, Collation, ListError, ListSpec, MemberList, MemberTable

ORDERS = {
    "de": ["", "Ada", "ángel", "Bo", "Öl", "Olaf", "Straße", "Strasse 2", "zoe", "Зоя", "王小明"],
    "de-u-co-phonebk": ["Ober", "Öl", "Of"],
    "sv": ["Ada", "Zoe", "Åsa", "Ärla", "Östen"],
    "da": ["Zoe", "Ærla", "Østen", "Åsa"],
    "ja": ["あい", "アイス", "うえ", "カキ", "がく"],
    "en": ["", "👋 wave", "🚀", "1", "2", "a", "B"],
}


class Collations(unittest.TestCase):
    def test_keys_sort_as_the_language_does(self) -> None:
        for locale, expected in ORDERS.items():
            with self.subTest(locale):
                collation = Collation(locale)
                names = MemberList(int, groups=["all"])
                for id, name in reversed(list(enumerate(expected))):
                    names.upsert(id, "all", collation.key(name))
                self.assertEqual([row.id for row in names[1:]], list(range(len(expected))))  # type: ignore[union-attr]

    def test_prefixes_find_names_whatever_their_case_and_accents(self) -> None:
        german, swedish = Collation("de"), Collation("sv")
        table = MemberTable(int, key_columns=2)
        names = ["Moritz", "Mörk", "mork", "Max", "Åsa", "Asa", "", "日本", "🚀 Rakete", "x" * 65_536]
        for id, name in enumerate(names):
            table.upsert(id, german.key(name), swedish.key(name), attrs=[0])
        lists = [
            table.add_list(ListSpec(f"by {column}", "all", sort_by=column, admit=[Clause(all=[0])], headers=False))
            for column in (0, 1)
        ]
        table.build()
        for column, collation, text, found in (
            (0, german, "mor", {"Moritz", "Mörk", "mork"}),
            (0, german, "MÖRK", {"Mörk", "mork"}),
            (0, german, "asa", {"Åsa", "Asa"}),
            (1, swedish, "asa", {"Asa"}),
            (1, swedish, "å", {"Åsa"}),
            (0, german, "日", {"日本"}),
            (0, german, "🚀", {"🚀 Rakete"}),
            (0, german, "x" * 65_536, {"x" * 65_536}),
            (0, german, "", set(names)),
            (0, german, "q", set()),
        ):
            view = lists[column]
            matches = view.search_prefix(collation.prefix(text))
            rows = [name for _, count, first in matches for name in self.names(view, names, first, count)]
            self.assertEqual(set(rows), found, text[:9])

    def names(self, view: object, names: list[str], first: int | None, count: int) -> list[str]:
        assert first is not None
        return [names[row.id] for row in view[first : first + count]]  # type: ignore[index]

    def test_keys_are_bounded_and_locales_checked(self) -> None:
        collation = Collation("en")
        self.assertEqual(len(collation.key("x" * 65_536)), 64)
        self.assertEqual(len(collation.prefix("é" * 65_536)), 64)
        self.assertEqual(collation.key("ANNA"), collation.key("anna"))
        self.assertEqual((repr(collation), collation.locale), ("Collation('en')", "en"))
        for locale in ("", "not a locale", "e", "x" * 1000, "d€"):
            with self.assertRaises(ListError) as raised:
                Collation(locale)
            self.assertEqual(raised.exception.kind, "bad_locale")
        for wrong in (None, 7, b"en"):
            with self.assertRaises(TypeError):
                Collation(wrong)  # type: ignore[arg-type]
            with self.assertRaises(TypeError):
                collation.key(wrong)  # type: ignore[arg-type]
        with self.assertRaises(UnicodeEncodeError):
            collation.key("\ud800")


if __name__ == "__main__":
    unittest.main()
