defmodule Headcount.HostileTest do
  # Every function with every hostile value in every argument: an answer or an ordinary exception.
  use ExUnit.Case, async: false

  alias Headcount.{MemberList, MemberTable, Roster, SortedSet, Tracker}
  alias Headcount.MemberList.Viewer
  alias Headcount.MemberTable.ListView
  alias Headcount.Tracker.State

  @moduletag timeout: 600_000

  # What ordinary Elixir raises; a NIF that panicked raises `ErlangError`, a NIF that crashed ends the VM.
  @allowed [
    ArgumentError,
    BadFunctionError,
    BadMapError,
    CaseClauseError,
    FunctionClauseError,
    KeyError,
    Headcount.Error,
    Protocol.UndefinedError,
    MatchError,
    BadArityError,
    UndefinedFunctionError
  ]

  defp deep(depth, fun), do: Enum.reduce(1..depth, [], fn _, inner -> fun.(inner) end)

  defp hostile do
    Process.get(:hostile) || tap(make_hostile(), &Process.put(:hostile, &1))
  end

  defp make_hostile do
    list = Enum.to_list(1..100_000)

    [
      nil,
      true,
      -1,
      0,
      0xFFFF_FFFF,
      0x1_0000_0000,
      0xFFFF_FFFF_FFFF_FFFF,
      0x1_0000_0000_0000_0000,
      -0x8000_0000_0000_0001,
      Integer.pow(2, 800_000),
      -0.0,
      1.7976931348623157e308,
      "",
      <<255>>,
      <<5::3>>,
      <<0>>,
      String.duplicate("x", 10_000_000),
      String.duplicate("é", 1_000),
      "c:4294967295",
      "a:1:4294967295:4294967295",
      [],
      [1 | 2],
      [{:group, "online"} | :tail],
      [group: "online", name: 1],
      {[1, 2 | :x]},
      ["online", "online"],
      [{:upsert, 1, []}],
      [{:upsert, 1}],
      [{1, [group: "online", name: "x"]} | 5],
      deep(100_000, &[&1]),
      deep(100_000, &{&1}),
      deep(200, &%{&1 => 1}),
      list,
      List.to_tuple(list),
      Map.new(list, &{&1, &1}),
      %{},
      %{1 => 2, 1.0 => 3},
      %{__struct__: :none},
      {},
      {:chunk, -1},
      {:anchored, [1 | 2], -1, 0x1_0000_0000_0000_0000},
      make_ref(),
      self(),
      &is_atom/1,
      hd(Port.list()),
      URI.parse("http://x"),
      1..10_000_000_000_000,
      %SortedSet{ref: make_ref()},
      %SortedSet{ref: MemberList.new(groups: ["a"]).ref},
      %MemberList{ref: nil},
      %MemberTable{ref: make_ref()},
      %ListView{table: make_ref(), id: 0},
      %ListView{table: MemberTable.new().ref, id: 1.5},
      %State{ref: 5, name: "five"},
      %Viewer{ref: make_ref(), format: :map}
    ]
  end

  # Enumerates without an end, or for hours: not for functions that take any enumerable.
  defp endless?(%Range{}), do: true
  defp endless?(_value), do: false

  defp set, do: SortedSet.from_enumerable([1, "a", {2, 3}])

  defp member_list(ids \\ :integer) do
    list = MemberList.new(ids: ids, groups: ["online", "offline"], payloads: true)
    if ids == :integer, do: MemberList.upsert(list, 1, group: "online", name: "Ann")
    list
  end

  defp viewer do
    viewer = Viewer.new(member_list())
    {:ok, _} = Viewer.open(viewer, {:chunk, 0})
    viewer
  end

  defp state(codec \\ :term) do
    state = State.new("a", codec: codec)
    {:ok, _} = State.track(state, self(), "room", "ann", %{n: 1})
    state
  end

  defp attempt(label, module, function, args) do
    apply(module, function, args)
    []
  rescue
    error ->
      if error.__struct__ in @allowed,
        do: [],
        else: ["#{label}: #{inspect(error, limit: 5, printable_limit: 100)}"]
  catch
    kind, reason -> ["#{label}: #{kind} #{inspect(reason, limit: 5, printable_limit: 100)}"]
  end

  defp calls(module, make, good) do
    for {function, arities} <- good,
        args <- arities,
        spoilt <- 0..(length(args) - 1)//1,
        {value, number} <- Enum.with_index(hostile()),
        not endless?(value),
        wrong <-
          attempt(
            "#{inspect(module)}.#{function} argument #{spoilt + 1} value #{number}",
            module,
            function,
            [make.() | List.replace_at(args, spoilt, value)]
          ),
        do: wrong
  end

  defp without_target(module, good) do
    for {function, args} <- good,
        spoilt <- 0..(length(args) - 1)//1,
        {value, number} <- Enum.with_index(hostile()),
        not endless?(value),
        wrong <-
          attempt(
            "#{inspect(module)}.#{function} argument #{spoilt + 1} value #{number}",
            module,
            function,
            List.replace_at(args, spoilt, value)
          ),
        do: wrong
  end

  test "sorted sets" do
    assert calls(SortedSet, &set/0,
             add: [[1]],
             remove: [[1]],
             at: [[0], [0, nil]],
             slice: [[0, 1]],
             find_index: [[1]]
           ) == []

    assert without_target(SortedSet,
             new: [1],
             from_enumerable: [[1]],
             from_proper_enumerable: [[1]],
             size: [set()],
             to_list: [set()]
           ) == []
  end

  test "member lists" do
    options = [group: "online", name: "Bob"]

    good = [
      upsert: [[1, options]],
      remove: [[1]],
      set_group: [[1, "online"]],
      set_key: [[1, {:name, "x"}]],
      set_attrs: [[1, 1]],
      set_payload: [[1, "x"]],
      touch: [[1]],
      get: [[1]],
      index_of: [[1]],
      index_of_many: [[[1]]],
      rows_of: [[[1]]],
      row_at: [[0]],
      slice: [[0, 1]],
      find_prefix: [["a"]],
      apply_batch: [[[{:remove, 1}]]],
      bulk_load: [[[{2, options}]]],
      add_group: [["new"]],
      set_groups: [[["online"]]],
      rename_group: [["online", "new"]],
      reorder_groups: [[["online", "offline"]]],
      move_group: [["online", 0]],
      set_group_hidden: [["online", true]],
      set_group_collapsed: [["online", true]],
      merge_group: [["online", "offline"]],
      set_group_many: [[[1], "online"]],
      remove_group: [["online"]],
      tick: [[1]],
      begin_epoch: [["room", 2]]
    ]

    for ids <- [:integer, :uuid, :text] do
      assert calls(MemberList, fn -> member_list(ids) end, good) == []
    end

    assert without_target(MemberList, new: [[groups: ["a"]]], size: [member_list()]) == []

    for option <- [:ids, :groups, :headers, :payloads, :name, :epoch] do
      for value <- hostile(), not endless?(value) do
        assert attempt(option, MemberList, :new, [[{option, value}]]) == []
      end
    end
  end

  test "member tables" do
    make = fn ids ->
      fn ->
        table = MemberTable.new(ids: ids, payloads: true)
        if ids == :integer, do: MemberTable.upsert!(table, 1, name: "Ann", attrs: [1])
        table
      end
    end

    other = MemberTable.add_list!(MemberTable.new(), name: "other")

    good = [
      add_list: [[[name: "a"]]],
      set_spec: [[other, [name: "a"]]],
      revoke: [[other, [name: "a"]]],
      remove_list: [[other]],
      build: [[1]],
      built?: [[other]],
      list_named: [["a"]],
      upsert: [[1, [name: "x", attrs: [1]]]],
      remove: [[1]],
      set_key: [[1, 0, {:name, "x"}]],
      set_attrs: [[1, [set: [1]]]],
      set_attrs_many: [[[1], [set: [1]]]],
      touch: [[1]],
      set_payload: [[1, "x"]],
      apply_batch: [[[{:remove, 1}]], [[{:remove, 1}], [rows: true]]],
      bulk_load: [[[{2, [name: "x", payload: "x"]}]]],
      get: [[1]]
    ]

    for ids <- [:integer, :uuid, :text], do: assert(calls(MemberTable, make.(ids), good) == [])

    for option <- [:ids, :key_columns, :payloads, :shown, :first_epoch],
        value <- hostile(),
        not endless?(value) do
      assert attempt(option, MemberTable, :new, [[{option, value}]]) == []
    end

    for change <- [
          {:upsert, 1, [name: "x"]},
          {:remove, 1},
          {:set_key, 1, 0, {:key, 1}},
          {:set_attrs, 1, [set: [1]]},
          {:set_payload, 1, "x"},
          {:touch, 1}
        ],
        spoilt <- 0..(tuple_size(change) - 1),
        value <- hostile(),
        not endless?(value),
        function <- [:apply_batch, :bulk_load] do
      change = put_elem(change, spoilt, value)
      args = [make.(:integer).(), [change, change]]
      assert attempt(elem(change, 0), MemberTable, function, args) == []
    end

    table = make.(:integer).()
    options = [:name, :default_group, :sort_by, :descending, :headers]

    for option <- options ++ [:admit, :always, :never, :groups],
        value <- hostile(),
        not endless?(value) do
      spec = Keyword.put([name: "list #{System.unique_integer()}"], option, value)
      assert attempt(option, MemberTable, :add_list, [table, spec]) == []
    end

    list = fn ->
      table = make.(:integer).()
      list = MemberTable.add_list!(table, name: "all")
      MemberTable.build(table)
      list
    end

    assert calls(ListView, list,
             index_of: [[1]],
             index_of_many: [[[1]]],
             rows_of: [[[1]]],
             group_of: [[1]],
             row_at: [[0]],
             slice: [[0, 1]],
             find_prefix: [[{:name, "a"}]],
             search_prefix: [[{:name, "a"}]],
             set_group_hidden: [["members", true]],
             set_group_collapsed: [["members", true]]
           ) == []

    assert calls(Viewer, fn -> Viewer.new(list.()) end,
             open: [["c:0"]],
             switch: [[other, ["c:0"]]]
           ) == []
  end

  test "rosters" do
    list = fn -> Roster.new(member_list(), fn key, _ -> [group: "online", key: key] end) end
    table = fn -> Roster.new(MemberTable.new(), fn key, _ -> [key: key] end) end
    entry = {1, %{phx_ref: "x"}}

    for make <- [list, table] do
      assert calls(Roster, make,
               status: [[1]],
               own_status: [[1]],
               last_seen: [[1]],
               load_offline: [[[{2, [key: 1]}]]],
               apply: [[{[entry], []}]],
               reset: [[[entry]]]
             ) == []

      for value <- hostile(), not endless?(value) do
        assert attempt("entries", Roster, :reset, [make.(), [{value, %{phx_ref: "x"}}]]) == []
        assert attempt("refs", Roster, :reset, [make.(), [{1, %{phx_ref: value}}]]) == []
      end
    end

    state = State.new("a")
    State.track!(state, self(), "room", 1, %{})
    entries = State.list(state, "room")

    for target <- [&member_list/0, &MemberTable.new/0], value <- hostile(), not endless?(value) do
      roster = Roster.new(target.(), fn _, _ -> value end)
      assert attempt("place", Roster, :reset, [roster, entries]) == []

      for option <- [:group, :key, :name, :attrs, :status, :payload] do
        roster = Roster.new(target.(), fn _, _ -> [{option, value}] end)
        assert attempt(option, Roster, :reset, [roster, entries]) == []
      end

      for option <- [:offline, :priority, :last_seen_max, :status_bits] do
        args = [target.(), fn _, _ -> nil end, [{option, value}]]
        assert attempt(option, Roster, :new, args) == []
      end
    end
  end

  test "viewers" do
    assert calls(Viewer, &viewer/0,
             open: [["c:0"]],
             retarget: [["c:0", "c:1"]],
             close: [["c:0"]],
             resync: [[["c:0"]]],
             resume: [[[%{window: "c:0", epoch: %{node: "n", number: 1}, version: 1}]]],
             set_hidden: [[true]],
             bundle: [[MemberList.tick(member_list())]]
           ) == []
  end

  test "trackers" do
    for codec <- [:term, :json] do
      assert calls(State, fn -> state(codec) end,
               track: [[self(), "room", "bob", %{}]],
               update: [[self(), "room", "ann", %{}]],
               untrack: [[self(), "room", "ann"], [self()]],
               list: [["room"]],
               get_by_key: [["room", "ann"]],
               count: [["room"]],
               count_keys: [["room"]],
               delta_since: [[%{}]],
               apply: [["frame"]]
             ) == []
    end

    assert without_target(State, new: ["a"], size: [state()], take_diff: [state()]) == []
    assert without_target(State, new: ["a", [codec: :term]]) == []
    assert without_target(Tracker, count: [:none, "room"], size: [:none]) == []

    options = [name: :hostile_watch, mode: :interest, counts: true, watch_tracked: true]
    start_supervised!({Headcount.Test.Diffs, options})

    assert calls(Tracker, fn -> :hostile_watch end,
             watch: [["room"]],
             unwatch: [["room"]],
             watch_counts: [["room"]],
             unwatch_counts: [["room"]],
             count: [["room"]],
             count_keys: [["room"]],
             track: [[self(), "room", "ann", %{}]],
             list: [["room"]],
             get_by_key: [["room", "ann"]]
           ) == []
  end

  test "ten million groups are refused, in any order" do
    list = MemberList.new()
    names = List.duplicate("online", 10_000_000)
    assert {:error, {:group_exists, _}} = MemberList.set_groups(list, names)
    :ok = MemberList.set_groups(list, for(n <- 1..4_096, do: "group #{n}"))
    last = List.duplicate("group 4096", 10_000_000)
    assert {:error, {:bad_group_order, _}} = MemberList.reorder_groups(list, last)
    many = for n <- 1..1_000_000, do: "other #{n}"
    assert {:error, {:too_many_groups, _}} = MemberList.set_groups(list, many)
    assert length(MemberList.groups(list)) == 4_096
  end
end
