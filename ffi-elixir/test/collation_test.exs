defmodule Headcount.CollationTest do
  use ExUnit.Case, async: true
  doctest Headcount.Collation

  alias Headcount.{Collation, MemberTable}
  alias Headcount.MemberTable.ListView

  for {locale, names} <- [
        {"de",
         ["", "Ada", "ángel", "Bo", "Öl", "Olaf", "Straße", "Strasse 2", "zoe", "Зоя", "王小明"]},
        {"de-u-co-phonebk", ["Ober", "Öl", "Of"]},
        {"sv", ["Ada", "Zoe", "Åsa", "Ärla", "Östen"]},
        {"da", ["Zoe", "Ærla", "Østen", "Åsa"]},
        {"ja", ["あい", "アイス", "うえ", "カキ", "がく"]},
        {"en", ["", "👋 wave", "🚀", "1", "2", "a", "B"]}
      ] do
    test "names sort as in #{locale}" do
      collation = Collation.new!(unquote(locale))
      table = MemberTable.new()

      for {name, id} <- Enum.reverse(Enum.with_index(unquote(names))) do
        MemberTable.upsert!(table, id, key: Collation.key(collation, name))
      end

      list = MemberTable.add_list!(table, name: "all", headers: false)
      0 = MemberTable.build(table)
      ids = for %{id: id} <- list, do: id
      assert ids == Enum.to_list(0..(length(unquote(names)) - 1))
    end
  end

  test "prefixes find names whatever their case and accents" do
    german = Collation.new!("de")
    swedish = Collation.new!("sv")
    long = String.duplicate("x", 65_536)
    names = ["Moritz", "Mörk", "mork", "Max", "Åsa", "Asa", "", "日本", "🚀 Rakete", long]
    table = MemberTable.new(key_columns: 2)

    for {name, id} <- Enum.with_index(names) do
      keys = for collation <- [german, swedish], do: {:key, Collation.key(collation, name)}
      MemberTable.upsert!(table, id, keys)
    end

    lists =
      for column <- [0, 1] do
        MemberTable.add_list!(table, name: "by #{column}", sort_by: column, headers: false)
      end

    0 = MemberTable.build(table)

    for {column, collation, text, found} <- [
          {0, german, "mor", ["Moritz", "Mörk", "mork"]},
          {0, german, "MÖRK", ["Mörk", "mork"]},
          {0, german, "asa", ["Åsa", "Asa"]},
          {1, swedish, "asa", ["Asa"]},
          {1, swedish, "å", ["Åsa"]},
          {0, german, "日", ["日本"]},
          {0, german, "🚀", ["🚀 Rakete"]},
          {0, german, long, [long]},
          {0, german, "", names},
          {0, german, "q", []}
        ] do
      list = Enum.at(lists, column)
      prefix = Collation.prefix(collation, text)

      rows =
        for {_, count, first} <- ListView.search_prefix(list, {:key, prefix}),
            %{id: id} <- ListView.slice(list, first, count),
            do: Enum.at(names, id)

      assert Enum.sort(rows) == Enum.sort(found)
    end
  end

  test "keys are bounded, locales and names are checked" do
    english = Collation.new!("en")
    assert byte_size(Collation.key(english, String.duplicate("x", 65_536))) == 64
    assert byte_size(Collation.prefix(english, String.duplicate("é", 65_536))) == 64
    assert inspect(english) == "#Headcount.Collation<en>"

    for locale <- ["", "not a locale", "e", String.duplicate("x", 1_000), "d€"] do
      assert {:error, {:bad_locale, message}} = Collation.new(locale)
      assert is_binary(message)
    end

    assert_raise Headcount.Error, fn -> Collation.new!("") end

    for wrong <- [nil, 7, :en],
        do: assert_raise(FunctionClauseError, fn -> Collation.new(wrong) end)

    for text <- [<<255>>, String.duplicate("x", 2_000) <> <<255>>] do
      assert_raise ArgumentError, fn -> Collation.key(english, text) end
      assert_raise ArgumentError, fn -> Collation.prefix(english, text) end
    end
  end
end
