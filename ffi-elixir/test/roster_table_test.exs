defmodule Headcount.RosterTableTest do
  # `Headcount.Roster` over a `Headcount.MemberTable`. What both kinds of rosters do is in `Headcount.RosterTest`.
  use ExUnit.Case, async: true

  alias Headcount.{MemberList, MemberTable, Roster}
  alias Headcount.MemberList.Viewer
  alias Headcount.MemberTable.ListView
  alias Headcount.Test.Members
  alias Headcount.Tracker.State

  @online 0
  @idle 1
  @dnd 31
  @own [@online, @idle, @dnd]
  @staff 40

  @everyone [
    name: "everyone",
    default_group: "offline",
    groups: [{[all: [@online]], "online"}, {[any: [@idle, @dnd]], "away"}]
  ]
  @here [name: "here", admit: [[any: @own]], headers: false, descending: true]
  @office [name: "office", admit: [[all: [@staff], none: [@dnd]]]]

  defp attrs(:online), do: [@online]
  defp attrs(:idle), do: [@idle]
  defp attrs(:dnd), do: [@online, @dnd]
  defp attrs(_hidden), do: []

  defp status(meta), do: meta[:headcount_status] || :online

  # Keys that are hard to bear, always the same ones for a user.
  defp keys_of(key, columns) do
    keys = Members.keys()
    for column <- 1..columns, do: Enum.at(keys, :erlang.phash2({key, column}, length(keys)))
  end

  defp table(ids, columns) do
    table = MemberTable.new(ids: ids, key_columns: columns, shown: @own)
    for spec <- specs(columns), do: MemberTable.add_list!(table, spec)
    table
  end

  defp specs(columns), do: [@everyone, Keyword.put(@here, :sort_by, columns - 1), @office]

  defp report(roster, state, options \\ []) do
    {joins, leaves} = State.take_diff(state)["room"] || {[], []}
    Roster.apply(roster, {joins, leaves}, options)
  end

  defp track(state, key, meta \\ %{}, owner \\ :phone),
    do: State.upsert!(state, owner, "room", key, meta)

  # The keys as a table has them.
  defp stored(sorts) do
    table = MemberTable.new(key_columns: length(sorts))
    MemberTable.upsert!(table, 1, sorts)
    MemberTable.get(table, 1).keys
  end

  for {ids, columns} <- [integer: 1, text: 2, integer: 3, uuid: 4], offline <- [nil, :stay] do
    test "random sessions: the lists equal a model (#{ids}, #{columns} key columns, #{inspect(offline)})" do
      :rand.seed(:exsss, ExUnit.configuration()[:seed])
      {columns, offline} = {unquote(columns), unquote(offline)}
      ids = Enum.take(Members.ids(unquote(ids)), 12)
      table = table(unquote(ids), columns)
      mapping = fn key, meta -> keys_of(key, columns) ++ [attrs: attrs(status(meta))] end
      roster = Roster.new(table, mapping, offline: offline, status_bits: @own)

      loaded = for id <- Enum.take(ids, 6), do: {id, [{:name, "日本"}, attrs: [@staff, 511]]}
      loaded = for {id, [key | attrs]} <- loaded, do: {id, List.duplicate(key, columns) ++ attrs}
      twice = {hd(ids), [key: 1, attrs: []]}
      refused = Roster.load_offline(roster, loaded ++ List.duplicate(twice, 1))
      if columns == 1, do: assert({:ok, %{loaded: 6, duplicates: [{6, _}]}} = refused)
      if columns > 1, do: assert({:error, {:in_batch, "change 6 " <> _}} = refused)
      if columns > 1, do: Roster.load_offline!(roster, loaded)
      name = stored(List.duplicate({:name, "日本"}, columns))
      keys = for id <- ids, into: %{}, do: {id, stored(keys_of(id, columns))}
      members = for {id, _} <- loaded, into: %{}, do: {id, {name, [@staff, 511]}}

      model = %{members: members, sessions: %{}, offline: offline, keys: keys}
      state = State.new("a")

      Enum.reduce(1..60, model, fn _, model ->
        model = write_as_the_application(table, model, ids)
        sessions = change_sessions(state, model.sessions, ids)
        {expected, model} = play(model, sessions)
        report = report(roster, state)
        changed = for {_, old, new} = change <- report.changes, old != new, do: change
        assert {Enum.sort(changed), report.refused} == {Enum.sort(expected), []}
        check(roster, table, model, specs(columns))
        model
      end)
    end
  end

  # Attributes that are not the roster's, of members that exist.
  defp write_as_the_application(table, model, ids) do
    id = Enum.random(ids)
    set = Enum.take_random([@staff, 511], :rand.uniform(3) - 1)

    case MemberTable.set_attrs(table, id, clear: [@staff, 511], set: set) do
      {:ok, _moves} ->
        update_in(model.members[id], fn {keys, attrs} ->
          {keys, (attrs -- [@staff, 511]) ++ set}
        end)

      {:error, {:unknown_member, _}} ->
        refute is_map_key(model.members, id)
        model
    end
  end

  defp change_sessions(state, sessions, ids) do
    Enum.reduce(1..:rand.uniform(6), sessions, fn _, sessions ->
      {owner, key} = {:rand.uniform(3), Enum.random(ids)}
      status = Enum.random([:online, :idle, :dnd, :invisible])

      if :rand.uniform(3) == 1 do
        State.untrack(state, owner, "room", key)
        Map.delete(sessions, {key, owner})
      else
        track(state, key, %{headcount_status: status}, owner)
        Map.put(sessions, {key, owner}, status)
      end
    end)
  end

  # Of the statuses of a user this one is the first.
  defp own_status(sessions, key) do
    statuses = for {{^key, _}, status} <- sessions, do: status
    Enum.find([:invisible, :dnd, :online, :idle], :offline, &(&1 in statuses))
  end

  defp outward(:invisible), do: :offline
  defp outward(status), do: status

  defp play(model, sessions) do
    users = Enum.uniq(for {{key, _}, _} <- Enum.concat(model.sessions, sessions), do: key)

    changes =
      for key <- users,
          old = outward(own_status(model.sessions, key)),
          new = outward(own_status(sessions, key)),
          old != new,
          do: {key, old, new}

    members = Enum.reduce(changes, model.members, &place(&1, &2, model))
    {changes, %{model | members: members, sessions: sessions}}
  end

  defp place({key, _old, :offline}, members, %{offline: nil}), do: Map.delete(members, key)

  defp place({key, _old, :offline}, members, %{offline: :stay}),
    do: Map.update!(members, key, fn {keys, attrs} -> {keys, attrs -- @own} end)

  defp place({key, _old, new}, members, model) do
    {_, attrs} = Map.get(members, key, {[], []})
    Map.put(members, key, {model.keys[key], (attrs -- @own) ++ attrs(new)})
  end

  defp check(roster, table, model, specs) do
    ids = Map.keys(model.keys)
    assert MemberTable.size(table) == map_size(model.members)

    for {id, {keys, attrs}} <- model.members do
      member = MemberTable.get(table, id)
      assert {member.keys, member.attrs} == {keys, Enum.sort(attrs)}
    end

    for spec <- specs do
      list = MemberTable.list_named(table, spec[:name])
      assert Members.shown(list) == Members.rows(model.members, spec)
    end

    statuses = for id <- ids, do: own_status(model.sessions, id)
    assert for(id <- ids, do: Roster.own_status(roster, id)) == statuses
    seen = Enum.map(statuses, &outward/1)
    assert for(id <- ids, do: Roster.status(roster, id)) == seen
    assert Roster.online_count(roster) == Enum.count(seen, &(&1 != :offline))
  end

  test "a session that cannot be placed is refused and no other" do
    table = MemberTable.new(ids: :text, key_columns: 2)
    here = MemberTable.add_list!(table, name: "here", admit: [[all: [@online]]])

    places = %{
      "é" => [name: "é", key: 1, attrs: [@online]],
      "raise" => [name: "x", key: 1, status: :away],
      "group" => [group: "here", name: "x", key: 1],
      "one key" => [name: "x"],
      "three keys" => [key: 1, key: 2, key: 3],
      "bad key" => [key: -1, key: 1],
      "not its own" => [name: "x", key: 1, attrs: [5]],
      "too high" => [name: "x", key: 1, attrs: [32]],
      "no attrs" => [name: "x", key: 1, attrs: 1],
      "payload" => [name: "x", key: 1, payload: "x"],
      "no payload" => [name: "x", key: 1, payload: :x],
      "no options" => :here,
      "improper" => [{:name, "x"} | :y],
      "nowhere" => [attrs: [@online]],
      "uncounted" => nil
    }

    roster = Roster.new(table, fn key, _meta -> places[key] end, status_bits: [@online])
    state = State.new("a")
    for {key, _} <- places, do: track(state, key)
    # Longer than an id can be, and no text.
    for key <- [String.duplicate("x", 65), 7, <<255>>, ""], do: track(state, key)
    report = report(roster, state)
    assert report.foreign == 4

    # The row of these is refused, not the session.
    counted = [{"nowhere", :offline, :online}, {"payload", :offline, :online}]
    assert Enum.sort(report.changes) == counted ++ [{"é", :offline, :online}]

    for {key, message} <- [
          {"raise", "the status of a session is one of"},
          {"group", "options of a place in a table are"},
          {"one key", "1 sort keys, a row has 2"},
          {"three keys", "3 sort keys, a row has 2"},
          {"bad key", "a sort key is"},
          {"not its own", "the attribute bits 0x20, the roster may write 0x1"},
          {"too high", "from 0 to 31, not 32"},
          {"no attrs", "attributes are a list"},
          {"payload", "payload"},
          {"no payload", "a payload is a binary"},
          {"no options", "options of a place in a table are"},
          {"improper", "options of a place in a table are"},
          {"nowhere", "a new row needs"}
        ] do
      assert {^key, why} = List.keyfind(report.refused, key, 0)
      assert why =~ message
    end

    assert length(report.refused) == 13
    assert Members.shown(here) == [{"members", 1}, "é"]
    assert MemberTable.size(table) == 1
  end

  test "what the mapping leaves out is the application's" do
    table = MemberTable.new(payloads: :json, shown: [@online])
    list = MemberTable.add_list!(table, name: "all", groups: [{[all: [@online]], "online"}])

    mapping = fn
      _key, %{body: body} -> [name: "from the mapping", payload: body, attrs: [@online]]
      _key, _meta -> [attrs: [@online]]
    end

    roster = Roster.new(table, mapping, offline: :stay, status_bits: [@online])
    members = [{7, name: "Zoë", attrs: [@staff], payload: ~s("own")}, {8, name: "Ann"}]
    assert Roster.load_offline!(roster, members) == %{loaded: 2, duplicates: []}
    state = State.new("a")
    track(state, 7)
    assert report(roster, state).changes == [{7, :offline, :online}]
    assert %{attrs: [@online, @staff], payload: ~s("own")} = MemberTable.get(table, 7)
    [zoe, ann] = for id <- [7, 8], do: MemberTable.get(table, id).keys
    assert Members.shown(list) == [{"online", 1}, 7, {"members", 1}, 8]

    track(state, 7, %{body: ~s("é")})
    assert report(roster, state).changes == [{7, :online, :online}]
    assert %{payload: ~s("é"), keys: keys} = MemberTable.get(table, 7)
    assert keys not in [zoe, ann]
    MemberTable.set_key!(table, 7, 0, {:name, "Zoë"})
    State.untrack(state, :phone)
    assert report(roster, state, now: 77).changes == [{7, :online, :offline}]
    assert %{attrs: [@staff], payload: ~s("é"), keys: ^zoe} = MemberTable.get(table, 7)
    assert {Roster.last_seen(roster, 7), Roster.last_seen(roster, 8)} == {77, nil}
  end

  test "the table below a roster is as usable as before" do
    table = table(:integer, 1)
    mapping = fn key, meta -> [key: key, attrs: attrs(status(meta))] end
    roster = Roster.new(table, mapping, offline: :stay, status_bits: @own)
    here = MemberTable.list_named(table, "here")
    viewer = Viewer.new(here)
    assert %{frames: [%{rows: []}]} = Viewer.open!(viewer, "c:0")
    state = State.new("a")
    for key <- 1..9, do: track(state, key)
    assert length(Roster.reset(roster, State.list(state, "room")).changes) == 9
    # The diff after the list tells of them again.
    assert report(roster, state).changes == []
    bundle = Viewer.bundle(viewer, MemberTable.tick(table))

    assert Enum.any?(
             bundle.frames,
             &(&1[:inserts] not in [nil, []] or &1[:rows] not in [nil, []])
           )

    assert MemberTable.apply_batch!(table, [{:remove, 1}, {:touch, 2}]).removed == 1
    assert {ListView.index_of(here, 9), ListView.size(here)} == {0, 8}
    assert inspect(roster) == "#Headcount.Roster<8 members, online: 9>"
    assert {roster.list, roster.table} == {nil, table}

    path = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}")
    :ok = MemberTable.save(table, path)
    loaded = MemberTable.load!(path)
    File.rm!(path)
    assert Enum.to_list(MemberTable.list_named(loaded, "here")) == Enum.to_list(here)
    # The roster is not saved: a new one can be made.
    again = Roster.new(loaded, mapping, offline: :stay, status_bits: @own)
    assert Roster.online_count(again) == 0

    for key <- 2..9, do: State.untrack(state, :phone, "room", key)
    Roster.reset(roster, State.list(state, "room"))
    # The member that was removed above is there again: its session counts.
    assert {Enum.map(here, & &1.id), MemberTable.size(table)} == {[1], 9}
    assert Roster.online_count(roster) == 1
  end

  test "users who go offline may stay where they are in a list, too" do
    list = MemberList.new(groups: ["here", "away"])
    mapping = fn key, meta -> [key: key, group: meta[:group], attrs: 0b10] end
    mapping = fn key, meta -> Enum.reject(mapping.(key, meta), &(&1 == {:group, nil})) end
    roster = Roster.new(list, mapping, offline: :stay, status_bits: 0b11)
    state = State.new("a")
    for key <- [7, 8, 9], do: track(state, key, %{group: "away"})
    assert length(report(roster, state).changes) == 3
    {:ok, _} = MemberList.set_attrs(list, 7, 0b110)
    # Without a group the row stays in its own.
    {:ok, _} = MemberList.set_group(list, 8, "here")
    track(state, 8)
    State.untrack(state, :phone, "room", 7)

    assert Enum.sort(report(roster, state).changes) == [
             {7, :online, :offline},
             {8, :online, :online}
           ]

    assert %{group: "away", attrs: 0b100, revision: revision} = MemberList.get(list, 7)
    assert revision > 0
    assert %{group: "here", attrs: 0b10} = MemberList.get(list, 8)
    track(state, 10)
    assert %{refused: [{10, why}]} = report(roster, state)
    assert why =~ "a new row needs a group"
    assert MemberList.member_count(list) == 3
  end

  test "a mistake raises, and leaves the table without a roster" do
    table = MemberTable.new()
    mapping = fn key, _meta -> [key: key] end

    for {options, message} <- [
          {[offline: "offline"], ~r/over a table :offline is nil or :stay/},
          {[offline: :gone], ~r/over a table :offline is nil or :stay/},
          {[status_bits: 1], ~r/attributes are a list/},
          {[status_bits: [32]], ~r/from 0 to 31, not 32/},
          {[status_bits: [-1]], ~r/bits are 0 to 511, not -1/},
          {[status_bits: [1 | 2]], ~r/attributes are a list/},
          {[priority: [:away]], ~r/status of a session/},
          {[last_seen_max: -1], ~r/argument error/},
          {[group: "x"], ~r/unknown keys/}
        ] do
      assert_raise ArgumentError, message, fn -> Roster.new(table, mapping, options) end
    end

    list = MemberList.new(groups: ["stay"])

    assert_raise ArgumentError, ~r/not a name/, fn ->
      Roster.new(list, mapping, offline: :gone)
    end

    assert_raise ArgumentError, ~r/32 bits/, fn -> Roster.new(list, mapping, status_bits: [0]) end
    assert_raise FunctionClauseError, fn -> Roster.new(table.ref, mapping) end
    assert_raise FunctionClauseError, fn -> Roster.new(table, fn _ -> nil end) end

    # A group may have any name.
    assert inspect(Roster.new(list, mapping, offline: "stay")) ==
             "#Headcount.Roster<0 members, online: 0>"

    roster = Roster.new(table, mapping)

    assert_raise ArgumentError, "the table has a roster already", fn ->
      Roster.new(table, mapping)
    end

    assert_raise ArgumentError, ~r/not an id/, fn -> Roster.status(roster, "seven") end
    assert {:error, {:in_batch, _}} = Roster.load_offline(roster, [{1, key: 1}, {2, []}])
    assert_raise ArgumentError, fn -> Roster.load_offline(roster, [{"x", key: 1}]) end
    assert_raise Headcount.Error, fn -> Roster.load_offline!(roster, [{2, []}]) end
    assert MemberTable.size(table) == 0
  end
end
