defmodule Headcount.MemberTableTest do
  use ExUnit.Case, async: true
  doctest Headcount.MemberTable
  doctest Headcount.MemberTable.ListView

  alias Headcount.MemberTable
  alias Headcount.MemberList.Viewer
  alias Headcount.MemberTable.ListView
  alias Headcount.Test.Members

  @bits [0, 1, 2, 63, 64, 511]

  defp ids(list), do: for(%{id: id} <- list, do: id)

  defp chat do
    table = MemberTable.new(key_columns: 2, shown: [0])

    for {name, id} <- Enum.with_index(["Dora", "ann", "Cid", "bob"]) do
      attrs = if rem(id, 2) == 1, do: [40], else: []
      MemberTable.upsert!(table, id, name: name, key: 100 - id, attrs: attrs)
    end

    everyone =
      MemberTable.add_list!(table,
        name: "everyone",
        default_group: "offline",
        groups: [{[all: [0]], "online"}]
      )

    staff = MemberTable.add_list!(table, name: "staff", sort_by: 1, admit: [[all: [40]]])
    0 = MemberTable.build(table)
    {table, everyone, staff}
  end

  test "a list shows the members that it admits, and writes say where they move" do
    {table, everyone, staff} = chat()
    assert {ids(everyone), ids(staff)} == {[1, 3, 2, 0], [3, 1]}
    assert {ListView.size(everyone), ListView.member_count(staff)} == {5, 2}

    assert MemberTable.set_attrs!(table, 3, set: [0]) == [
             %{list: everyone, old_index: 2, index: 1}
           ]

    assert MemberTable.set_attrs!(table, 3, clear: [40]) == [
             %{list: staff, old_index: 1, index: nil}
           ]

    # Alone in the list of this key, it stays.
    assert MemberTable.set_key!(table, 1, 1, {:key, 0}) == []

    assert %{is_new: true, moves: [_, _]} =
             MemberTable.upsert!(table, 9, name: "E", key: 1, attrs: [40])

    assert [_, _] = MemberTable.remove(table, 9)
    assert MemberTable.remove(table, 9) == nil
    assert MemberTable.set_attrs_many!(table, [0, 1, 1, 77], set: [0, 40]) == 2
    assert ids(staff) == [1, 0]
    assert [%{name: "online", count: 3}, %{name: "offline", count: 1}] = ListView.groups(everyone)
    assert MemberTable.lists(table) == [everyone, staff]
    assert MemberTable.list_named(table, "staff") == staff
    assert inspect(staff) == ~s(#Headcount.MemberTable.ListView<"staff", 2 members, members: 2>)
    assert inspect(table) == "#Headcount.MemberTable<4 members, 2 lists>"
    assert inspect(MemberTable.tick(table)) == "#Headcount.MemberTable.Tick<empty>"
  end

  test "groups are hidden and collapsed, rows are read by the slice" do
    {_table, everyone, staff} = chat()
    assert ListView.slice(everyone, 1, 2) == Enum.slice(everyone, 1, 2)
    assert ListView.slice(everyone, 0, 10_000) == Enum.to_list(everyone)
    assert ListView.row_at(everyone, 4).id == 0
    :ok = ListView.set_group_collapsed(everyone, "offline", true)
    assert {ListView.size(everyone), ListView.index_of(everyone, 1)} == {1, nil}
    assert {ListView.group_of(everyone, 1), ListView.group_of(staff, 2)} == {"offline", nil}
    :ok = ListView.set_group_hidden(everyone, "offline", true)
    assert {ListView.size(everyone), ListView.size(staff)} == {0, 3}

    for {set, twin} <- [
          {&ListView.set_group_hidden/3, &ListView.set_group_hidden!/3},
          {&ListView.set_group_collapsed/3, &ListView.set_group_collapsed!/3}
        ] do
      assert {:error, {:unknown_group, _} = reason} = set.(staff, "?", true)
      assert %{reason: ^reason} = catch_error(twin.(staff, "?", true))
      assert twin.(staff, "members", false) == :ok
    end
  end

  test "lists are built in steps, replaced, revoked and removed" do
    {table, everyone, staff} = chat()
    late = MemberTable.add_list!(table, name: "late", descending: true, headers: false)
    refute MemberTable.built?(table, late)
    error = assert_raise Headcount.Error, fn -> Enum.to_list(late) end
    assert {:list_building, _} = error.reason
    assert {:error, {:list_building, _}} = late |> Viewer.new() |> Viewer.open("c:0")
    assert inspect(late) == "#Headcount.MemberTable.ListView<list_building>"
    assert {MemberTable.build(table, 3), map_size(MemberTable.snapshot(table))} == {1, 2}
    assert MemberTable.build(table) == 0
    assert ids(late) == [0, 2, 3, 1]

    :ok = MemberTable.set_spec(table, staff, name: "named", never: [1], always: [0])
    assert {:error, {:list_building, _}} = MemberTable.set_spec(table, staff, name: "other")
    assert {ids(staff), MemberTable.build(table), ids(staff)} == {[3, 1], 0, [3, 2, 0]}
    :ok = MemberTable.revoke(table, staff, name: "nobody", admit: [])
    assert {ids(staff), MemberTable.build(table), ids(staff)} == {[], 0, []}
    assert MemberTable.remove_list!(table, staff)
    assert {:error, {:unknown_list, _}} = MemberTable.remove_list(table, staff)
    refute MemberTable.built?(table, staff)
    assert_raise Headcount.Error, fn -> ListView.size(staff) end
    {other, _, _} = chat()
    assert {:error, {:unknown_list, _}} = MemberTable.remove_list(other, everyone)
  end

  test "a viewer sees one list and switches to another" do
    {table, everyone, staff} = chat()
    viewer = Viewer.new(staff)
    assert %{frames: [%{rows: [_, %{id: 3}, %{id: 1}]}]} = Viewer.open!(viewer, "c:0")
    MemberTable.set_attrs!(table, 0, set: [40])

    assert %{frames: [%{inserts: [%{row: %{id: 0}}]}]} =
             Viewer.bundle(viewer, MemberTable.tick(table))

    assert %{list: "everyone", frames: [%{rows: rows}]} =
             Viewer.switch!(viewer, everyone, ["c:0"])

    assert length(rows) == 5
    MemberTable.set_attrs!(table, 0, clear: [40])
    assert Viewer.bundle(viewer, MemberTable.tick(table)) == nil
    MemberTable.set_attrs!(table, 1, set: [0])
    assert %{list: "everyone"} = Viewer.bundle(viewer, MemberTable.tick(table))
    assert %{frames: []} = Viewer.catch_up(viewer)
    :ok = MemberTable.revoke(table, everyone, name: "everyone", admit: [])
    assert %{frames: [%{kind: :sync, rows: []}]} = Viewer.bundle(viewer, MemberTable.tick(table))
    MemberTable.remove_list!(table, staff)
    assert {:error, {:unknown_list, _}} = Viewer.switch(viewer, staff, [])
    text = MemberTable.add_list!(MemberTable.new(ids: :text), name: "text")
    assert {:error, {:other_ids, _}} = Viewer.switch(viewer, text, [])
    assert Viewer.windows(viewer) == ["c:0"]
    assert Viewer.bundle(viewer, MemberTable.tick(table)) == nil

    assert_raise ArgumentError, fn ->
      Viewer.bundle(viewer, MemberTable.tick(MemberTable.new(ids: :text)))
    end
  end

  test "payloads are the bodies of rows" do
    table = MemberTable.new(ids: :text, payloads: :json)
    MemberTable.upsert!(table, "é", name: "Zoé")
    all = MemberTable.add_list!(table, name: "all")
    0 = MemberTable.build(table)
    :ok = MemberTable.set_payload(table, "é", ~s({"name":"Zoé"}))
    assert Viewer.open!(Viewer.new(all, format: :json), "c:0") =~ ~s("body":{"name":"Zoé"})
    :ok = MemberTable.touch(table, "é")
    assert %{revision: 2} = MemberTable.get(table, "é")
    assert {:error, {:unknown_member, _}} = MemberTable.touch(table, "e")
    plain = MemberTable.new()
    MemberTable.upsert!(plain, 1, key: 1)
    assert {:error, {:no_payloads, _}} = MemberTable.set_payload(plain, 1, "x")
  end

  test "wrong arguments are refused, and nothing has changed" do
    {table, everyone, staff} = chat()
    before = {Enum.to_list(everyone), Enum.to_list(staff)}

    for {what, refused} <- [
          wrong_keys: fn -> MemberTable.upsert(table, 1, name: "x") end,
          attr_too_high: fn -> MemberTable.upsert(table, 1, name: "x", key: 1, attrs: [512]) end,
          unknown_member: fn -> MemberTable.set_attrs(table, 77, set: [1]) end,
          unknown_key_column: fn -> MemberTable.set_key(table, 1, 2, {:key, 1}) end,
          bad_list_name: fn -> MemberTable.add_list(table, name: "") end,
          bad_group_name: fn -> MemberTable.add_list(table, name: "x", default_group: "\n") end,
          list_exists: fn -> MemberTable.add_list(table, name: "staff") end,
          unknown_key_column: fn -> MemberTable.add_list(table, name: "x", sort_by: 2) end,
          too_many_clauses: fn ->
            MemberTable.add_list(table, name: "x", admit: List.duplicate([all: [1]], 17))
          end,
          too_many_ids: fn ->
            MemberTable.add_list(table, name: "x", always: Enum.to_list(1..4_097))
          end,
          always_and_never: fn ->
            MemberTable.add_list(table, name: "x", always: [1], never: [1])
          end
        ] do
      assert {:error, {^what, message}} = refused.()
      assert is_binary(message)
    end

    for wrong <- [
          fn -> MemberTable.new(key_columns: 5) end,
          fn -> MemberTable.new(shown: [32]) end,
          fn -> MemberTable.new(ids: :x) end,
          fn -> MemberTable.upsert(table, "1", name: "x", key: 1) end,
          fn -> MemberTable.upsert(table, 1, name: "x", key: 1, attrs: [:a]) end,
          fn -> MemberTable.upsert(table, 1, name: "x", key: 1, attrs: [1 | 2]) end,
          fn -> MemberTable.upsert(table, 1, x: 1) end,
          fn -> MemberTable.set_attrs(table, 1, give: [1]) end,
          fn -> MemberTable.set_attrs_many(table, [1, "x"], set: [1]) end,
          fn -> MemberTable.add_list(table, name: "x", always: ["y"]) end,
          fn -> MemberTable.add_list(table, name: "x", admit: [[some: [1]]]) end,
          fn -> MemberTable.add_list(table, name: "x", groups: [:y]) end,
          fn -> MemberTable.add_list(table, name: "x", always: 1) end,
          fn -> MemberTable.new(first_epoch: 0) end,
          fn -> MemberTable.new(first_epoch: 2 ** 53) end,
          fn -> MemberTable.build(table, -1) end
        ] do
      assert_raise ArgumentError, wrong
    end

    assert {Enum.to_list(everyone), Enum.to_list(staff)} == before
    assert length(MemberTable.lists(table)) == 2
  end

  for {ids, kind} <- [integer: "numbers", uuid: "UUIDs", text: "text ids"] do
    test "lists of #{kind} equal a filtered and sorted copy" do
      :rand.seed(:exsss, ExUnit.configuration()[:seed])
      ids = Members.ids(unquote(ids))
      table = MemberTable.new(ids: unquote(ids), key_columns: 2)

      Enum.reduce(1..1_500, {%{}, %{}}, fn step, {members, lists} ->
        next = change(table, ids, members, lists)
        if rem(step, 60) == 0, do: check(table, next, ids)
        next
      end)
      |> then(&check(table, &1, ids))
    end
  end

  defp bits, do: Enum.take_random(@bits, :rand.uniform(4) - 1)
  defp one, do: Enum.take(bits(), 1)

  defp clause do
    [all: one(), any: if(:rand.uniform(2) == 1, do: bits(), else: []), none: one()]
  end

  defp spec(ids) do
    {always, never} = ids |> Enum.take_random(6) |> Enum.split(3)
    groups = for _ <- 1..(:rand.uniform(4) - 1)//1, do: {clause(), Enum.random(["one", "two"])}

    [
      name: "list #{System.unique_integer()}",
      default_group: Enum.random(["rest", "one"]),
      sort_by: :rand.uniform(2) - 1,
      descending: :rand.uniform(3) == 1,
      headers: :rand.uniform(3) > 1,
      admit: if(:rand.uniform(3) > 1, do: for(_ <- 1..(:rand.uniform(3) - 1)//1, do: clause())),
      always: always,
      never: never,
      groups: groups
    ]
  end

  defp change(table, ids, members, lists) do
    id = Enum.random(ids)
    known? = is_map_key(members, id)
    bits = bits()

    case :rand.uniform(10) do
      n when n <= 4 ->
        [first, second] = for _ <- 1..2, do: Enum.random(Members.keys())
        assert MemberTable.upsert!(table, id, [first, second, attrs: bits]).is_new == not known?
        {Map.put(members, id, {MemberTable.get(table, id).keys, bits}), lists}

      5 ->
        assert is_list(MemberTable.remove(table, id)) == known?
        {Map.delete(members, id), lists}

      6 when known? ->
        MemberTable.set_attrs!(table, id, clear: bits, set: Enum.take(bits, 1))
        {Map.update!(members, id, &with_attrs(&1, bits, Enum.take(bits, 1))), lists}

      7 when known? ->
        MemberTable.set_key!(table, id, :rand.uniform(2) - 1, Enum.random(Members.keys()))
        keys = MemberTable.get(table, id).keys
        {Map.update!(members, id, &put_elem(&1, 0, keys)), lists}

      8 ->
        many = for _ <- 1..15, do: Enum.random(ids)
        named = many |> Enum.uniq() |> Enum.filter(&is_map_key(members, &1))
        assert MemberTable.set_attrs_many!(table, many, set: bits) == length(named)

        {Enum.reduce(named, members, fn id, all ->
           Map.update!(all, id, &with_attrs(&1, [], bits))
         end), lists}

      9 ->
        {members, change_lists(table, spec(ids), lists)}

      _ ->
        MemberTable.build(table, :rand.uniform(30))
        {members, lists}
    end
  end

  defp with_attrs({keys, attrs}, clear, set), do: {keys, Enum.uniq((attrs -- clear) ++ set)}

  defp change_lists(table, spec, lists) when map_size(lists) < 4 do
    Map.put(lists, MemberTable.add_list!(table, spec), spec)
  end

  defp change_lists(table, spec, lists) do
    list = lists |> Map.keys() |> Enum.random()

    case :rand.uniform(3) do
      1 ->
        MemberTable.build(table)
        MemberTable.set_spec!(table, list, spec)
        Map.put(lists, list, spec)

      2 ->
        MemberTable.revoke!(table, list, spec)
        Map.put(lists, list, spec)

      3 ->
        MemberTable.remove_list!(table, list)
        Map.delete(lists, list)
    end
  end

  defp check(table, {members, lists}, ids) do
    0 = MemberTable.build(table)
    assert MemberTable.size(table) == map_size(members)

    for {list, spec} <- lists do
      rows = Members.shown(list)
      assert rows == Members.rows(members, spec)

      for {id, _} <- members,
          do: assert(ListView.index_of(list, id) == Enum.find_index(rows, &(&1 == id)))

      indexes = for id <- ids, do: ListView.index_of(list, id)
      assert ListView.index_of_many(list, ids) == indexes

      assert ListView.rows_of(list, ids) ==
               for(index <- indexes, do: index && {index, ListView.row_at(list, index)})
    end
  end
end
