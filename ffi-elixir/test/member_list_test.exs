defmodule Headcount.MemberListTest do
  use ExUnit.Case, async: true
  doctest Headcount.MemberList
  doctest Headcount.MemberList.Snapshot

  alias Headcount.MemberList
  alias Headcount.MemberList.Snapshot

  @groups ["mods", "online", "offline"]

  test "is like a sorted list, whatever happens" do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    list = MemberList.new(groups: @groups)

    Enum.reduce(1..2_000, %{}, fn _, model ->
      id = :rand.uniform(150)
      {group, key, attrs} = {Enum.random(@groups), :rand.uniform(20), :rand.uniform(4)}
      before = rows(model)

      model =
        case :rand.uniform(4) do
          1 ->
            assert MemberList.remove(list, id) == Enum.find_index(before, &(&1 == id))
            Map.delete(model, id)

          2 when is_map_key(model, id) ->
            {:ok, upsert} = MemberList.set_group(list, id, group)
            model = Map.update!(model, id, &put_elem(&1, 0, group))
            check(upsert, before, rows(model), id)
            model

          _ ->
            options = [group: group, key: key, attrs: attrs]
            {:ok, upsert} = MemberList.upsert(list, id, options)
            model = Map.put(model, id, {group, key})
            check(upsert, before, rows(model), id)
            model
        end

      assert MemberList.size(list) == length(rows(model))
      assert MemberList.index_of(list, id) == Enum.find_index(rows(model), &(&1 == id))
      model
    end)
    |> then(fn model ->
      seen = for row <- MemberList.slice(list, 0, 10_000), do: row[:id] || {row.group, row.count}
      assert seen == rows(model)
      assert MemberList.member_count(list) == map_size(model)
    end)
  end

  defp check(upsert, before, now, id) do
    assert upsert.index == Enum.find_index(now, &(&1 == id))
    assert upsert.old_index == Enum.find_index(before, &(&1 == id))
    assert upsert.is_new == is_nil(upsert.old_index)
  end

  defp rows(model) do
    for group <- @groups,
        members = for({id, {^group, key}} <- model, do: {key, id}),
        members != [],
        row <- [{group, length(members)} | for({_, id} <- Enum.sort(members), do: id)] do
      row
    end
  end

  test "ids are integers, UUIDs or text" do
    for {ids, good, beyond, bad} <- [
          {:integer, [-0x8000000000000000, -5, 0, 1, 0xFFFFFFFFFFFFFFFF],
           [-0x8000000000000001, 0x10000000000000000], ["1", 1.0, :a]},
          {:uuid, ["00000000-0000-0000-0000-00000000000a"], ["a", "0000", ""], [1, <<255>>]},
          {:text, ["a", "日本", String.duplicate("x", 64)], ["", String.duplicate("x", 65), "\n"],
           [1, :a, <<255>>]}
        ] do
      list = MemberList.new(ids: ids, groups: ["g"])

      for id <- good do
        assert {:ok, %{is_new: true}} = MemberList.upsert(list, id, group: "g", key: 1)
        assert MemberList.get(list, id).id == id
        assert is_integer(MemberList.index_of(list, id))
      end

      check_many(list, good ++ good)

      for id <- beyond do
        # No member can have it.
        assert MemberList.get(list, id) == nil
        assert MemberList.index_of(list, id) == nil
        assert MemberList.remove(list, id) == nil
        found = MemberList.index_of_many(list, good)
        assert MemberList.index_of_many(list, [id | good] ++ [id]) == [nil | found] ++ [nil]
        assert [nil, {_, _} | _] = MemberList.rows_of(list, [id | good])
        snapshot = MemberList.snapshot(list)
        assert {Snapshot.get(snapshot, id), Snapshot.index_of(snapshot, id)} == {nil, nil}
        place = [group: "g", key: 1]

        for {:error, {:bad_id, message}} <- [
              MemberList.upsert(list, id, place),
              MemberList.set_group(list, id, "g"),
              MemberList.set_key(list, id, {:key, 1}),
              MemberList.set_attrs(list, id, 1),
              MemberList.set_payload(list, id, ""),
              MemberList.touch(list, id)
            ] do
          in_batch = {:error, {:in_batch, "change 1 of the batch: " <> message}}
          first = {:touch, hd(good)}
          assert MemberList.apply_batch(list, [first, {:remove, id}]) == in_batch
          assert MemberList.apply_batch(list, [first, {:upsert, id, place}]) == in_batch
          assert MemberList.bulk_load(list, [{hd(good), place}, {id, place}]) == in_batch
          assert MemberList.set_group_many(list, [hd(good), id], "g") == in_batch
        end
      end

      for id <- bad do
        raises = fn fun -> assert_raise ArgumentError, ~r/not an id of this list/, fun end
        raises.(fn -> MemberList.upsert(list, id, group: "g", key: 1) end)
        raises.(fn -> MemberList.get(list, id) end)
        raises.(fn -> MemberList.index_of(list, id) end)
        raises.(fn -> MemberList.index_of_many(list, good ++ [id]) end)
        raises.(fn -> MemberList.rows_of(list, [id | good]) end)
        raises.(fn -> MemberList.remove(list, id) end)
        raises.(fn -> MemberList.touch(list, id) end)
        raises.(fn -> MemberList.set_group(list, id, "g") end)
      end
    end
  end

  test "integers below 0 are ordered as numbers, and beyond the bounds the error says these" do
    list = MemberList.new(groups: ["g"], headers: false)
    ids = [-0x8000000000000000, -0x7FFFFFFFFFFFFFFF, -5, -1, 0, 3, 0x8000000000000000]
    for id <- Enum.shuffle(ids), do: MemberList.upsert!(list, id, group: "g", name: "the same")
    assert Enum.map(list, & &1.id) == ids
    assert MemberList.index_of_many(list, [-5, -6, 3]) == [2, nil, 5]
    changes = [{:remove, -5}, {:upsert, -7, group: "g", name: "the same"}]
    assert {:ok, %{inserted: 1, removed: 1}} = MemberList.apply_batch(list, changes)
    assert Enum.map(list, & &1.id) == List.replace_at(ids, 2, -7)

    for id <- [-0x8000000000000001, 0x10000000000000000] do
      message = "an integer id is from -2^63 to 2^64 - 1, not #{id}"
      assert MemberList.touch(list, id) == {:error, {:bad_id, message}}
    end

    long = Integer.pow(10, 1_000)
    assert {:error, {:bad_id, message}} = MemberList.touch(list, long)
    assert message =~ ~r/not a term of \d+ bytes$/

    assert MemberList.size(list) == 7
  end

  test "many rows are those of single calls" do
    list = MemberList.new(groups: ["a", "hidden", "collapsed"])

    for id <- 1..3_000 do
      group = Enum.at(["a", "hidden", "collapsed"], rem(id, 3))
      MemberList.upsert(list, id, group: group, key: rem(id * 7, 100), attrs: rem(id, 5))
    end

    :ok = MemberList.set_group_hidden(list, "hidden", true)
    :ok = MemberList.set_group_collapsed(list, "collapsed", true)

    for amount <- [0, 1, 99, 100, 101, 5_000],
        do: check_many(list, Enum.take(4_000..1//-1, amount))

    assert_raise ArgumentError, fn -> MemberList.index_of_many(list, [1, "1"]) end
    assert_raise FunctionClauseError, fn -> MemberList.index_of_many(list, [1 | 2]) end
    assert_raise FunctionClauseError, fn -> MemberList.rows_of(list, :all) end
  end

  defp check_many(list, ids) do
    indexes = for id <- ids, do: MemberList.index_of(list, id)
    assert MemberList.index_of_many(list, ids) == indexes
    rows = for index <- indexes, do: index && {index, MemberList.row_at(list, index)}
    assert MemberList.rows_of(list, ids) == rows
  end

  test "groups are hidden, collapsed, moved, renamed and removed" do
    list = MemberList.new(groups: ["a", "b"])

    for id <- 1..4,
        do: MemberList.upsert(list, id, group: if(id < 3, do: "a", else: "b"), key: id)

    assert MemberList.size(list) == 6
    :ok = MemberList.set_group_collapsed(list, "a", true)
    assert MemberList.size(list) == 4
    assert MemberList.index_of(list, 1) == nil
    :ok = MemberList.set_group_hidden(list, "a", true)
    assert MemberList.size(list) == 3
    assert {:ok, %{index: nil, old_index: 1}} = MemberList.set_group(list, 3, "a")
    :ok = MemberList.set_group_hidden(list, "a", false)
    :ok = MemberList.set_group_collapsed(list, "a", false)
    :ok = MemberList.move_group(list, "b", 0)
    :ok = MemberList.rename_group(list, "a", "z")

    assert [%{name: "b", count: 1}, %{name: "z", count: 3, first_index: 2}] =
             MemberList.groups(list)

    assert {:error, {:group_not_empty, _}} = MemberList.remove_group(list, "z")
    assert {:error, {:group_exists, _}} = MemberList.add_group(list, "b")
    assert {:error, {:unknown_group, _}} = MemberList.set_group_hidden(list, "?", true)
    assert {:error, {:bad_group_name, _}} = MemberList.add_group(list, String.duplicate("x", 65))
    assert_raise ArgumentError, fn -> MemberList.add_group(list, :atom) end
    assert inspect(list) == "#Headcount.MemberList<4 members, b: 1, z: 3>"
  end

  test "a batch happens whole or not at all" do
    list = MemberList.new(groups: ["a"], payloads: true)

    changes = [
      {:upsert, 1, group: "a", name: "x"},
      {:set_payload, 1, "body"},
      {:set_attrs, 1, 3},
      {:set_key, 1, {:name, "y"}},
      {:set_group, 9, "a"},
      {:remove, 8}
    ]

    assert {:ok, %{inserted: 1, updated: 3, removed: 0, missing: 2}} =
             MemberList.apply_batch(list, changes)

    assert %{payload: "body", attrs: 3, revision: 2, key: "y"} = MemberList.get(list, 1)

    for bad <- [{:upsert, 2, group: "grün", name: "x"}, {:set_group, 1, "grün"}], at <- 0..2 do
      changes = List.insert_at([{:remove, 1}, {:touch, 1}], at, bad)
      message = "change #{at} of the batch: there is no group \"grün\""
      assert MemberList.apply_batch(list, changes) == {:error, {:in_batch, message}}
      error = assert_raise(Headcount.Error, fn -> MemberList.apply_batch!(list, changes) end)
      assert error.reason == {:in_batch, message}

      members = for id <- [5, 6], do: {id, group: "a", name: "x"}
      members = List.insert_at(members, at, {7, group: "grün", name: "x"})
      assert MemberList.bulk_load(list, members) == {:error, {:in_batch, message}}
    end

    for {change, why} <- [
          {{:remove, :x}, "not an id of this list .*: :x"},
          {{:remove, "1"}, "not an id of this list .*: \"1\""},
          {{:upsert, "1", group: "a", key: 1}, "not an id of this list .*: \"1\""},
          {{:upsert, 1, group: 7, key: 1}, "not a name: 7"},
          {{:upsert, 1, :a}, "options of a member are .* got: :a"},
          {{:what, 1}, "not a change: {:what, 1}"},
          {{:set_group, 1, 1}, "not a change: {:set_group, 1, 1}"},
          {:x, "not a change: :x"}
        ] do
      assert_raise ArgumentError, ~r/^change 1 of the batch: #{why}$/, fn ->
        MemberList.apply_batch(list, [{:remove, 1}, change])
      end
    end

    for {member, why} <- [
          {{"b", group: "a", key: 1}, "not an id of this list .*: \"b\""},
          {{2, group: "a"}, "one of :name and :key is needed"},
          {{2, 3}, "options of a member are .* got: 3"},
          {:x, "not a member {id, options}: :x"}
        ] do
      assert_raise ArgumentError, ~r/^change 1 of the batch: #{why}$/, fn ->
        MemberList.bulk_load(list, [{1, group: "a", key: 1}, member])
      end
    end

    assert MemberList.member_count(list) == 1
  end

  test "a normal scheduler applies a batch of a thousand, but does not copy long payloads" do
    list = MemberList.new(groups: ["a", "b"], payloads: true)
    for id <- 1..1_001, do: {:ok, _} = MemberList.upsert(list, id, group: "a", key: id)

    for {count, group} <- [{1_000, "b"}, {1_001, "a"}] do
      changes = for id <- 1..count, do: {:set_group, id, group}
      assert {:ok, %{rows: rows}} = MemberList.apply_batch(list, changes)
      assert length(rows) == count
      assert MemberList.get(list, count).group == group
    end

    body = String.duplicate("x", 60_000)
    long = for id <- 1..20, do: {:set_payload, id, body}
    assert Headcount.Native.member_list_apply_batch(list.ref, long) == :busy
    assert MemberList.get(list, 1).payload == ""
    assert {:ok, %{updated: 20}} = MemberList.apply_batch(list, long)
    assert MemberList.get(list, 20).payload == body
  end

  test "a hundred thousand members are loaded at once" do
    list = MemberList.new(groups: ["a", "b"])
    members = for id <- Enum.shuffle(1..100_000), do: {id, group: "a", name: "user #{id}"}
    assert {:ok, %{loaded: 100_000, duplicates: []}} = MemberList.bulk_load(list, members)
    assert {:ok, %{loaded: 0, duplicates: [{0, _} | _]}} = MemberList.bulk_load(list, members)
    assert MemberList.size(list) == 100_001
    snapshot = MemberList.snapshot(list)
    for id <- 1..1_000, do: MemberList.set_group(list, id, "b")
    assert length(Snapshot.slice(snapshot, 0, 1_000_000)) == 100_001
    assert [%{count: 100_000}, %{count: 0}] = Snapshot.groups(snapshot)
    assert MemberList.memory(list) < 100_000 * 150
  end

  test "wrong arguments raise with a reason" do
    list = MemberList.new(groups: ["a"])
    raises = fn message, fun -> assert_raise ArgumentError, message, fun end
    raises.(~r/one of :name and :key/, fn -> MemberList.upsert(list, 1, group: "a") end)
    raises.(~r/options of a member are/, fn -> MemberList.upsert(list, 1, group: "a", x: 1) end)
    raises.(~r/not a name/, fn -> MemberList.upsert(list, 1, key: 1) end)
    raises.(~r/32 bits/, fn -> MemberList.upsert(list, 1, group: "a", key: 1, attrs: :x) end)
    raises.(~r/sort key/, fn -> MemberList.upsert(list, 1, group: "a", key: :x) end)
    raises.(~r/sort key/, fn -> MemberList.set_key(list, 1, {:key, {1, :x}}) end)
    raises.(~r/not UTF-8/, fn -> MemberList.set_key(list, 1, {:name, <<255>>}) end)
    raises.(~r/non-negative/, fn -> MemberList.slice(list, -1, 1) end)
    raises.(~r/non-negative/, fn -> MemberList.row_at(list, :a) end)
    raises.(~r/ids must be/, fn -> MemberList.new(ids: :x) end)
    raises.(~r/ids must be/, fn -> MemberList.new(ids: "text") end)
    raises.(~r/headers must be true or false, got: :no/, fn -> MemberList.new(headers: :no) end)
    raises.(~r/not a name: 7/, fn -> MemberList.new(name: 7) end)
    raises.(~r/not a list of names: "a"/, fn -> MemberList.new(groups: "a") end)
    raises.(~r/not a list of names/, fn -> MemberList.reorder_groups(list, ["a" | "b"]) end)

    for epoch <- [-1, 0, 2 ** 53],
        do:
          raises.(~r/from 1 to 9007199254740991, not #{epoch}$/, fn ->
            MemberList.new(epoch: epoch)
          end)

    raises.(~r/epoch must be an integer/, fn -> MemberList.new(epoch: :now) end)
    raises.(~r/group "a" already/, fn -> MemberList.new(groups: ["a", "a"]) end)
    assert MemberList.slice(list, 0, 3_000_000_000_000) == []
    assert MemberList.slice(list, Integer.pow(10, 30), Integer.pow(10, 30)) == []
    assert {:error, {:unknown_member, _}} = MemberList.touch(list, 5)
    assert {:error, {:unknown_member, _}} = MemberList.set_payload(list, 5, "x")
    payloads = MemberList.new(groups: ["a"], payloads: true)
    MemberList.upsert(payloads, 1, group: "a", key: 1)
    long = String.duplicate("x", 70_000)
    assert {:error, {:payload_too_long, _}} = MemberList.set_payload(payloads, 1, long)
  end

  test "broken limits are errors that say the limit, alone and in a batch" do
    list = MemberList.new(groups: ["a"])
    {:ok, _} = MemberList.upsert(list, 1, group: "a", key: 1)
    long = String.duplicate("x", 65)

    for {what, rule, key} <- [
          {:key_too_long, "a raw sort key has at most 64 bytes, not 65", long},
          {:bad_key, "a number as a sort key is from 0 to 2^64 - 1, not -1", -1},
          {:bad_key, "a number as a sort key is from 0 to 2^64 - 1, not #{2 ** 64}", 2 ** 64},
          {:bad_key, "a number as a sort key is from 0 to 2^64 - 1, not -3", {1, -3}},
          {:bad_key, "a number as a sort key is from 0 to 2^64 - 1, not -2", {-2, -3}}
        ] do
      in_batch = {:error, {:in_batch, "change 1 of the batch: " <> rule}}
      place = [group: "a", key: key]
      assert MemberList.upsert(list, 2, place) == {:error, {what, rule}}
      assert MemberList.set_key(list, 1, {:key, key}) == {:error, {what, rule}}
      assert MemberList.apply_batch(list, [{:remove, 1}, {:upsert, 2, place}]) == in_batch
      assert MemberList.apply_batch(list, [{:remove, 1}, {:set_key, 1, {:key, key}}]) == in_batch
      assert MemberList.bulk_load(list, [{3, group: "a", key: 1}, {2, place}]) == in_batch
      assert_raise Headcount.Error, rule, fn -> MemberList.upsert!(list, 2, place) end
      # No key begins with it.
      assert {MemberList.find_prefix(list, {:key, key}),
              MemberList.search_prefix(list, {:key, key})} == {[], []}
    end

    for attrs <- [-1, 2 ** 32] do
      rule = "attrs are 32 bits, from 0 to 2^32 - 1, not #{attrs}"
      place = [group: "a", key: 1, attrs: attrs]
      assert MemberList.upsert(list, 1, place) == {:error, {:attrs_too_high, rule}}
      assert MemberList.set_attrs(list, 1, attrs) == {:error, {:attrs_too_high, rule}}
      in_batch = {:error, {:in_batch, "change 0 of the batch: " <> rule}}
      assert MemberList.apply_batch(list, [{:set_attrs, 1, attrs}]) == in_batch
      assert MemberList.bulk_load(list, [{2, place}]) == in_batch
    end

    text = MemberList.new(ids: :text, groups: ["a"])
    rule = "a text id has 1 to 64 bytes and no control characters, not 65"
    assert MemberList.upsert(text, long, group: "a", name: "a") == {:error, {:bad_id, rule}}
    assert {MemberList.member_count(list), MemberList.get(list, 1).attrs} == {1, 0}
  end

  test "many members are moved to a group at once, and those of a group to another one" do
    list = MemberList.new(groups: ["a", "b", "c"])
    for id <- 1..5, do: MemberList.upsert!(list, id, group: "a", key: id)
    assert MemberList.set_group_many(list, [1, 3, 5, 77], "b") == {:ok, 3}
    assert MemberList.set_group_many!(list, [], "b") == 0
    assert MemberList.merge_group(list, "b", "c") == {:ok, 3}
    assert for(group <- MemberList.groups(list), do: group.count) == [2, 0, 3]
    assert MemberList.merge_group!(list, "b", "c") == 0
    assert {:error, {:unknown_group, _}} = MemberList.merge_group(list, "b", "?")
    assert {:error, {:unknown_group, _}} = MemberList.set_group_many(list, [1], "?")

    assert_raise ArgumentError, ~r/not an id/, fn ->
      MemberList.set_group_many(list, ["1"], "a")
    end

    assert_raise FunctionClauseError, fn -> MemberList.set_group_many(list, [1 | 2], "a") end
  end

  test "a snapshot finds members" do
    list = MemberList.new(groups: ["a", "b"], payloads: true)
    for id <- 1..3, do: MemberList.upsert!(list, id, group: "a", key: id, attrs: id)
    MemberList.set_payload!(list, 2, "body")
    :ok = MemberList.set_group_hidden(list, "b", true)
    MemberList.set_group!(list, 3, "b")
    snapshot = MemberList.snapshot(list)
    for id <- 1..3, do: MemberList.remove(list, id)
    assert for(id <- 1..4, do: Snapshot.index_of(snapshot, id)) == [1, 2, nil, nil]
    assert Snapshot.get(snapshot, 2) == Snapshot.row_at(snapshot, 2)
    assert %{group: "a", payload: "body", attrs: 2} = Snapshot.get(snapshot, 2)
    assert %{id: 3, group: "b"} = Snapshot.get(snapshot, 3)
    assert Snapshot.get(snapshot, 4) == nil
    assert_raise ArgumentError, ~r/not an id/, fn -> Snapshot.get(snapshot, "2") end
  end

  test "reads name the right one of 4,096 groups" do
    names = for n <- 1..4_096, do: "group #{n}"
    list = MemberList.new(groups: names)
    by_id = for {name, id} <- Enum.with_index(names), n <- [0, 4_096], do: {id + n, name}
    members = for {id, name} <- by_id, do: {id, [group: name, key: id]}
    {:ok, %{loaded: 8_192}} = MemberList.bulk_load(list, members)
    {:ok, %{is_new: false}} = MemberList.upsert(list, 0, group: "group 1", key: "")

    MemberList.rename_group(list, "group 7", "seven")
    name = fn name -> if name == "group 7", do: "seven", else: name end
    expected = for n <- names, _ <- 1..3, do: name.(n)

    for {read, reads} <- [{MemberList, list}, {MemberList.Snapshot, MemberList.snapshot(list)}] do
      assert for(row <- read.slice(reads, 0, 20_000), do: row.group) == expected
      assert for(at <- 0..12_287, do: read.row_at(reads, at).group) == expected
    end

    for {id, group} <- by_id, do: assert(MemberList.get(list, id).group == name.(group))
    ids = for {id, _} <- by_id, do: id
    found = for {_, row} <- MemberList.rows_of(list, ids), do: row.group
    assert found == for({_, group} <- by_id, do: name.(group))
    counts = for {group, 2, _} <- MemberList.search_prefix(list, {:key, ""}), do: group
    assert counts == Enum.map(names, name)
    firsts = for {group, row} <- MemberList.find_prefix(list, {:key, ""}), do: {group, row}
    assert firsts == for({n, at} <- Enum.with_index(names), do: {name.(n), 3 * at + 1})
  end

  test "a search finds how many members begin with a prefix, and where" do
    list = MemberList.new(groups: ["online", "away", "offline"])

    for {id, group, name} <- [
          {1, "online", "Anna"},
          {2, "online", "Max"},
          {3, "online", "moritz"},
          {4, "away", "Mona"},
          {5, "offline", "Mia"}
        ],
        do: MemberList.upsert(list, id, group: group, name: name)

    search = &MemberList.search_prefix(list, &1)
    assert search.({:name, "m"}) == [{"online", 2, 2}, {"away", 1, 5}, {"offline", 1, 7}]
    assert search.({:name, "MO"}) == [{"online", 1, 3}, {"away", 1, 5}]
    assert search.({:name, "x"}) == []
    assert search.({:key, "mo"}) == search.({:name, "mo"})
    :ok = MemberList.set_group_collapsed(list, "away", true)
    :ok = MemberList.set_group_hidden(list, "offline", true)
    assert search.({:name, "m"}) == [{"online", 2, 2}, {"away", 1, nil}]
    assert_raise ArgumentError, fn -> search.("m") end
  end
end
