defmodule Headcount.MemberTableBatchTest do
  use ExUnit.Case, async: true

  alias Headcount.MemberTable
  alias Headcount.MemberTable.ListView
  alias Headcount.Test.Members

  @attrs [0, 1, 31, 63, 64, 511]

  setup do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    :ok
  end

  defp specs(columns) do
    online = [all: [0]]

    [
      [name: "everyone", default_group: "offline", groups: [{online, "online"}]],
      [name: "staff", admit: [[any: [63, 511]]], sort_by: columns - 1, descending: true],
      [name: "bare", admit: [[none: [1]]], headers: false]
    ]
  end

  defp table(ids, columns, options \\ []) do
    table = MemberTable.new([ids: ids, key_columns: columns, shown: [0, 31]] ++ options)
    for spec <- specs(columns), do: MemberTable.add_list!(table, spec)
    table
  end

  defp attrs, do: Enum.take_random(@attrs, :rand.uniform(4) - 1)

  defp options(columns) do
    for(_ <- 1..columns, do: Enum.random(Members.keys())) ++ [attrs: attrs()]
  end

  defp change(id, columns) do
    case :rand.uniform(9) do
      n when n <= 4 -> {:upsert, id, options(columns)}
      5 -> {:remove, id}
      6 -> {:set_key, id, :rand.uniform(columns) - 1, Enum.random(Members.keys())}
      7 -> {:set_attrs, id, clear: attrs(), set: attrs()}
      8 -> {:set_payload, id, Enum.random(["", "é", <<255, 0>>])}
      9 -> {:touch, id}
    end
  end

  # Makes the single call of a change; returns what it did to the counts, and its moves.
  defp single(table, {:upsert, id, options}) do
    %{is_new: is_new, moves: moves} = MemberTable.upsert!(table, id, options)
    {if(is_new, do: :inserted, else: :updated), moves}
  end

  defp single(table, {:remove, id}) do
    case MemberTable.remove(table, id) do
      nil -> {:missing, []}
      moves -> {:removed, moves}
    end
  end

  defp single(table, change) do
    [verb | arguments] = Tuple.to_list(change)

    case apply(MemberTable, verb, [table | arguments]) do
      :ok -> {:updated, []}
      {:ok, moves} -> {:updated, moves}
      {:error, {:unknown_member, _}} -> {:missing, []}
    end
  end

  defp with_names(moves, table) do
    lists = table |> MemberTable.lists() |> Map.new(&{&1, ListView.name(&1)})
    for {at, move} <- moves, do: {at, Map.update!(move, :list, &Map.fetch!(lists, &1))}
  end

  defp state(table, ids) do
    lists = for list <- MemberTable.lists(table), do: {ListView.name(list), Enum.to_list(list)}
    {lists, for(id <- ids, do: MemberTable.get(table, id))}
  end

  for ids <- [:integer, :uuid, :text], columns <- 1..4 do
    test "batches are the single calls: ids #{ids}, #{columns} key columns" do
      {kind, columns} = {unquote(ids), unquote(columns)}
      ids = Members.ids(kind)
      [one, many] = for _ <- 1..2, do: table(kind, columns, payloads: true)

      for size <- [0, 1, 2, 49, 130, 300], rows? <- [true, false] do
        changes = for _ <- 1..size//1, do: change(Enum.random(ids), columns)
        done = for change <- changes, do: single(one, change)
        report = MemberTable.apply_batch!(many, changes, rows: rows?)
        counts = Enum.frequencies_by(done, &elem(&1, 0))

        for count <- [:inserted, :updated, :removed, :missing],
            do: assert(report[count] == Map.get(counts, count, 0))

        if rows? do
          rows = for {{_, moves}, at} <- Enum.with_index(done), move <- moves, do: {at, move}
          assert with_names(report.rows, many) == with_names(rows, one)
        else
          refute is_map_key(report, :rows)
        end

        assert state(many, ids) == state(one, ids)
      end
    end

    test "a load is that of a filtered and sorted copy: ids #{ids}, #{columns} key columns" do
      {kind, columns} = {unquote(ids), unquote(columns)}
      ids = Members.ids(kind)
      table = table(kind, columns, payloads: true)
      {known, new} = Enum.split(ids, 7)
      for id <- known, do: MemberTable.upsert!(table, id, options(columns))
      before = for id <- known, do: MemberTable.get(table, id)
      members = for id <- Enum.shuffle(new ++ new ++ known), do: {id, options(columns)}

      members =
        for {id, options} <- members,
            do: {id, options ++ Enum.random([[], [payload: nil], [payload: <<255>>]])}

      late = MemberTable.add_list!(table, name: "late", sort_by: columns - 1)

      first =
        Enum.uniq_by(for({id, _} = member <- members, id not in known, do: member), &elem(&1, 0))

      seen =
        Enum.with_index(members) -- for(member <- first, do: {member, index(members, member)})

      assert MemberTable.bulk_load!(table, members) == %{
               loaded: length(new),
               duplicates: for({{id, _}, at} <- seen, do: {at, id})
             }

      assert for(id <- known, do: MemberTable.get(table, id)) == before

      for {id, options} <- first do
        member = MemberTable.get(table, id)
        assert {member.attrs, member.revision} == {Enum.sort(options[:attrs]), 0}
        assert member.payload == (options[:payload] || "")
        assert member.keys == keys(options)
      end

      assert MemberTable.build(table) == 0

      copy =
        for id <- ids,
            member = MemberTable.get(table, id),
            into: %{},
            do: {id, {member.keys, member.attrs}}

      assert map_size(copy) == length(ids)

      for spec <- specs(columns) ++ [[name: "late", sort_by: columns - 1]] do
        list = MemberTable.list_named(table, spec[:name])
        assert Members.shown(list) == Members.rows(copy, spec)
      end

      assert ListView.member_count(late) == length(ids)
    end
  end

  defp index(members, member), do: Enum.find_index(members, &(elem(&1, 0) == elem(member, 0)))

  # The keys that a table of its own has.
  defp keys(options) do
    sorts = for {by, _} = sort <- options, by in [:name, :key], do: sort
    table = MemberTable.new(key_columns: length(sorts))
    MemberTable.upsert!(table, 1, sorts)
    MemberTable.get(table, 1).keys
  end

  test "one refused change or member refuses all, and is named by its place" do
    table = table(:integer, 2)
    MemberTable.upsert!(table, 1, name: "Ann", key: 1, attrs: [63])
    before = state(table, [1, 2])
    good = [{:upsert, 2, name: "é", key: 2}, {:remove, 1}]

    for {change, message} <- [
          {{:upsert, 3, name: "x"}, "a key for each of 2 columns, not 1"},
          {{:upsert, 3, []}, "a key for each of 2 columns, not 0"},
          {{:upsert, 3, name: "x", key: 1, attrs: [512]}, "attribute bits are 0 to 511, not 512"},
          {{:set_key, 3, 2, {:key, 1}}, "no key column 2 among 2"},
          {{:set_key, 3, 2 ** 70, {:key, 1}}, "no key column"},
          {{:set_attrs, 3, set: [0xFFFF]}, "attribute bits are 0 to 511, not 65535"},
          {{:set_attrs, 3, clear: [512]}, "attribute bits are 0 to 511, not 512"},
          {{:set_payload, 3, "x"}, "payload"}
        ],
        at <- 0..2,
        rows <- [true, false] do
      changes = List.insert_at(good, at, change)
      assert {:error, {:in_batch, text}} = MemberTable.apply_batch(table, changes, rows: rows)
      assert text =~ "change #{at} of the batch: " and text =~ message
      assert state(table, [1, 2, 3]) == {elem(before, 0), elem(before, 1) ++ [nil]}
    end

    good = for id <- [2, 4], do: {id, [name: "x", key: id]}

    for {options, message} <- [
          {[key: 1], "a key for each of 2 columns, not 1"},
          {[key: 1, key: 2, key: 3], "a key for each of 2 columns, not 3"},
          {[key: 1, key: 2, attrs: [512]], "attribute bits are 0 to 511, not 512"},
          {[key: 1, key: 2, payload: ""], "payload"}
        ],
        at <- 0..2 do
      members = List.insert_at(good, at, {3, options})
      assert {:error, {:in_batch, text}} = MemberTable.bulk_load(table, members)
      assert text =~ "change #{at} of the batch: " and text =~ message
      assert state(table, [1, 2]) == before
    end

    long = String.duplicate("x", 65_537)
    payloads = table(:integer, 1, payloads: true)

    assert {:error, {:in_batch, text}} =
             MemberTable.bulk_load(payloads, [{1, key: 1, payload: long}])

    assert text =~ "65537" and text =~ "65536"

    error =
      assert_raise Headcount.Error, fn ->
        MemberTable.apply_batch!(payloads, [{:upsert, 1, key: 1}, {:set_payload, 1, long}])
      end

    assert {:in_batch, "change 1 " <> _} = error.reason
    assert MemberTable.size(payloads) == 0
  end

  test "ids beyond the limits are refused with these, and change nothing" do
    integer = "an integer id is from -2^63 to 2^64 - 1, not "
    text = "a text id has 1 to 64 bytes and no control characters, not "

    for {ids, good, id, rule} <- [
          {:integer, 1, -0x8000_0000_0000_0001, integer <> "-9223372036854775809"},
          {:integer, 1, 0x1_0000_0000_0000_0000, integer <> "18446744073709551616"},
          {:text, "a", "", text <> "0"},
          {:text, "a", String.duplicate("x", 65), text <> "65"}
        ] do
      table = table(ids, 1, [])
      refused = {:error, {:in_batch, "change 1 of the batch: " <> rule}}
      add = {:upsert, good, key: 1}

      for change <- [
            {:remove, id},
            {:touch, id},
            {:upsert, id, key: 1},
            {:set_attrs, id, set: [1]}
          ],
          do: assert(MemberTable.apply_batch(table, [add, change]) == refused)

      assert MemberTable.bulk_load(table, [{good, key: 1}, {id, key: 1}]) == refused
      assert MemberTable.set_attrs_many(table, [good, id], set: [1]) == refused
      spec = [name: "x", always: [id]]

      for error <- [
            MemberTable.upsert(table, id, key: 1),
            MemberTable.set_key(table, id, 0, {:key, 1}),
            MemberTable.set_attrs(table, id, set: [1]),
            MemberTable.touch(table, id),
            MemberTable.add_list(table, spec)
          ],
          do: assert(error == {:error, {:bad_id, rule}})

      assert {MemberTable.get(table, id), MemberTable.remove(table, id)} == {nil, nil}
      assert {MemberTable.size(table), length(MemberTable.lists(table))} == {0, 3}
      list = MemberTable.add_list!(table, name: "all")
      MemberTable.upsert!(table, good, key: 1)
      assert ListView.index_of_many(list, [id, good]) == [nil, 1]
      assert [nil, {1, _}] = ListView.rows_of(list, [id, good])
      assert {ListView.index_of(list, id), ListView.group_of(list, id)} == {nil, nil}
    end
  end

  test "numbers beyond a limit are refused with it, alone and in a batch" do
    table = table(:integer, 1, [])
    MemberTable.upsert!(table, 1, key: 1)
    key = "a number as a sort key is from 0 to 2^64 - 1, not -1"
    long = "a raw sort key has at most 64 bytes, not 65"
    attr = "attribute bits are 0 to 511, not "

    for {change, what, rule} <- [
          {{:upsert, 1, key: -1}, :bad_key, key},
          {{:upsert, 1, key: String.duplicate("x", 65)}, :key_too_long, long},
          {{:set_key, 1, 0, {:key, -1}}, :bad_key, key},
          {{:set_key, 1, 99_999_999_999, {:key, 1}}, :unknown_key_column,
           "there is no key column 99999999999"},
          {{:set_key, 1, 7, {:key, 1}}, :unknown_key_column, "no key column 7 among 1"},
          {{:upsert, 1, key: 1, attrs: [3, 512]}, :attr_too_high, attr <> "512"},
          {{:upsert, 1, key: 1, attrs: [65_536]}, :attr_too_high, attr <> "65536"},
          {{:upsert, 1, key: 1, attrs: [3, -1]}, :attr_too_high, attr <> "-1"},
          {{:upsert, 1, key: 1, attrs: Enum.to_list(0..512)}, :attr_too_high, attr <> "512"},
          {{:set_attrs, 1, set: [65_536]}, :attr_too_high, attr <> "65536"},
          {{:set_attrs, 1, clear: [2 ** 70]}, :attr_too_high, attr <> "#{2 ** 70}"}
        ] do
      [name | arguments] = Tuple.to_list(change)
      assert apply(MemberTable, name, [table | arguments]) == {:error, {what, rule}}
      refused = {:error, {:in_batch, "change 1 of the batch: " <> rule}}
      assert MemberTable.apply_batch(table, [{:remove, 1}, change]) == refused
    end

    assert {:error, {:attr_too_high, _}} = MemberTable.set_attrs_many(table, [1], set: [65_536])

    for {what, spec} <- [
          attr_too_high: [admit: [[all: [65_536]]]],
          attr_too_high: [groups: [{[none: [512]], "x"}]],
          unknown_key_column: [sort_by: 2 ** 40],
          too_many_ids: [never: Enum.to_list(1..20_000)]
        ] do
      assert {:error, {^what, _}} = MemberTable.add_list(table, [name: "x"] ++ spec)
    end

    assert MemberTable.get(table, 1).attrs == []
  end

  test "what is no change and no member raises, and changes nothing" do
    for {ids, wrong} <- [
          integer: ["1", :a, 1.0, nil],
          uuid: [1, :a, <<255>>, nil],
          text: [1, :a, <<255>>, nil]
        ] do
      table = table(ids, 1, payloads: true)
      good = hd(Members.ids(ids))
      upsert = {:upsert, good, key: 1}

      for change <- Enum.flat_map(wrong, &[{:remove, &1}, {:touch, &1}, {:upsert, &1, key: 1}]) do
        not_an_id = ~r/^change 1 of the batch: not an id of this list/
        raises(not_an_id, fn -> MemberTable.apply_batch(table, [upsert, change]) end)
      end

      for change <-
            [:x, {}, {:remove}, {:what, good}, {:touch, good, 1}, {:set_payload, good, nil}] ++
              [{:upsert, good, [key: 1], []}, {:set_attrs, good, [1], [2]}] do
        raises(~r/^change 1 of the batch: not a change: /, fn ->
          MemberTable.apply_batch(table, [upsert, change])
        end)
      end

      for id <- wrong do
        members = [{good, key: 1}, {id, key: 1}]
        not_an_id = ~r/^change 1 of the batch: not an id of this list/
        raises(not_an_id, fn -> MemberTable.bulk_load(table, members) end)
      end

      for {change, message} <- [
            {{:upsert, good, key: :x}, ~r/^change 1 of the batch: a sort key is/},
            {{:upsert, good, x: 1}, ~r/options of a member/},
            {{:upsert, good, key: 1, payload: "x"}, ~r/options of a member/},
            {{:upsert, good, :x}, ~r/options of a member/},
            {{:set_key, good, -1, {:key, 1}}, ~r/column must be/},
            {{:set_key, good, 0, {:name, <<255>>}}, ~r/not UTF-8/},
            {{:set_attrs, good, set: [:a]}, ~r/attributes are/},
            {{:set_attrs, good, give: [1]}, ~r/unknown keys/}
          ] do
        raises(message, fn -> MemberTable.apply_batch(table, [upsert, change]) end)
      end

      raises(~r/a payload is/, fn ->
        MemberTable.bulk_load(table, [{good, key: 1, payload: 1}])
      end)

      raises(~r/options of a member/, fn -> MemberTable.bulk_load(table, [{good, 1}]) end)
      raises(~r/rows must be/, fn -> MemberTable.apply_batch(table, [upsert], rows: 1) end)
      raises(~r/unknown keys/, fn -> MemberTable.apply_batch(table, [upsert], moves: true) end)
      assert_raise FunctionClauseError, fn -> MemberTable.apply_batch(table, :all) end
      assert MemberTable.size(table) == 0
    end
  end

  defp raises(message, call), do: assert_raise(ArgumentError, message, call)

  test "a normal scheduler applies a thousand writes of lists, and copies no long payloads" do
    table = MemberTable.new(payloads: true)
    touches = for id <- 1..1_000, do: {:touch, id}
    native = &Headcount.Native.table_apply_batch(table.ref, &1, true)
    assert {:ok, {0, 0, 0, 1_000, []}} = native.(touches)
    for name <- ["a", "b"], do: MemberTable.add_list!(table, name: name)
    assert native.(touches) == :busy
    assert {:ok, {0, 0, 0, 500, []}} = native.(Enum.take(touches, 500))
    assert %{missing: 1_000, rows: []} = MemberTable.apply_batch!(table, touches, rows: true)
    assert %{missing: 1_001} = MemberTable.apply_batch!(table, [{:remove, 1} | touches])

    body = String.duplicate("x", 60_000)
    for id <- 1..20, do: MemberTable.upsert!(table, id, key: id)
    long = for id <- 1..20, do: {:set_payload, id, body}
    assert native.(long) == :busy
    assert MemberTable.get(table, 1).payload == ""
    assert %{updated: 20} = MemberTable.apply_batch!(table, long)
    assert MemberTable.get(table, 20).payload == body
  end

  test "fifty thousand members are loaded at once, and a viewer is sent its window whole" do
    table = MemberTable.new(key_columns: 2)
    everyone = MemberTable.add_list!(table, name: "everyone")
    newest = MemberTable.add_list!(table, name: "newest", sort_by: 1, descending: true)
    viewer = Headcount.MemberList.Viewer.new(newest)
    Headcount.MemberList.Viewer.open!(viewer, "c:0")
    members = for id <- Enum.shuffle(1..50_000), do: {id, name: "user #{id}", key: id}

    assert %{loaded: 50_000, duplicates: []} =
             MemberTable.bulk_load!(table, Stream.map(members, & &1))

    again = for({{id, _}, at} <- Enum.with_index(members), do: {at, id})
    assert MemberTable.bulk_load!(table, members) == %{loaded: 0, duplicates: again}
    assert {ListView.size(everyone), ListView.index_of(newest, 50_000)} == {50_001, 1}

    bundle = Headcount.MemberList.Viewer.bundle(viewer, MemberTable.tick(table))

    assert [_header, %{id: 50_000}, %{id: 49_999} | _] =
             Enum.find_value(bundle.frames, & &1[:rows])
  end
end
