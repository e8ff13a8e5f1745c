defmodule Headcount.RosterTest do
  use ExUnit.Case, async: true
  doctest Headcount.Roster

  alias Headcount.{MemberList, Roster}
  alias Headcount.Tracker.State

  import Headcount.Test.States, only: [sync: 2]

  defp roster(options \\ []) do
    {list, options} = Keyword.split(options, [:ids])
    list = MemberList.new(list ++ [groups: ["here", "away", "offline"]])
    Roster.new(list, &place/2, options)
  end

  defp place(:bot, _meta), do: nil
  defp place(_key, %{wrong: :raise}), do: raise("no place for it")
  defp place(key, %{wrong: group}), do: [group: group, key: key]

  defp place(key, meta) do
    [group: if(meta[:headcount_status] == :idle, do: "away", else: "here"), key: key]
  end

  defp changes(roster, state, now \\ 0) do
    case State.take_diff(state) do
      %{"room" => diff} -> Roster.apply(roster, diff, now: now).changes
      none when none == %{} -> []
    end
  end

  defp ids(roster), do: for(%{id: id, group: group} <- roster.list, do: {id, group})

  test "the first of the priority decides over the sessions of a user" do
    roster = roster(offline: "offline")
    state = State.new("a")
    State.track!(state, :phone, "room", 7, %{headcount_status: :idle})
    assert changes(roster, state) == [{7, :offline, :idle}]
    State.track!(state, :laptop, "room", 7, %{})
    assert changes(roster, state) == [{7, :idle, :online}]
    assert ids(roster) == [{7, "here"}]
    State.update!(state, :laptop, "room", 7, %{headcount_status: :invisible})
    assert changes(roster, state, 50) == [{7, :online, :offline}]
    assert {Roster.status(roster, 7), Roster.own_status(roster, 7)} == {:offline, :invisible}
    assert {ids(roster), Roster.last_seen(roster, 7)} == {[{7, "offline"}], 50}
    # What nobody saw changes nothing for others.
    State.untrack(state, :phone)
    State.untrack(state, :laptop)
    assert changes(roster, state, 60) == []
    assert {Roster.online_count(roster), Roster.last_seen(roster, 7)} == {0, 50}
  end

  test "the newest time of a user who is not visible is when they were last seen" do
    roster = roster(offline: "offline")
    state = State.new("a")
    assert Roster.note_last_seen(roster, 7, 50) == :ok
    assert Roster.note_last_seen(roster, 7, 40) == :ok
    assert {Roster.last_seen(roster, 7), Roster.visible?(roster, 7)} == {50, false}
    State.track!(state, :phone, "room", 7, %{})
    changes(roster, state, 60)
    assert Roster.note_last_seen(roster, 7, 70) == :ok
    assert {Roster.last_seen(roster, 7), Roster.visible?(roster, 7)} == {nil, true}
    State.update!(state, :phone, "room", 7, %{headcount_status: :invisible})
    changes(roster, state, 80)
    assert {Roster.last_seen(roster, 7), Roster.visible?(roster, 7)} == {80, false}

    # No member has an id over the limit; what is no id is a mistake.
    assert Roster.note_last_seen(roster, 2 ** 64, 50) == :ok
    refute Roster.visible?(roster, 2 ** 64)
    assert_raise ArgumentError, fn -> Roster.note_last_seen(roster, :ann, 50) end
    assert_raise ArgumentError, fn -> Roster.visible?(roster, :ann) end
    assert_raise FunctionClauseError, fn -> Roster.note_last_seen(roster, 7, -1) end
  end

  test "another priority, and users who leave the list" do
    roster = roster(priority: [:idle, :online])
    state = State.new("a")

    for {owner, status} <- [phone: :idle, laptop: :online, tablet: :dnd],
        do: State.track!(state, owner, "room", 7, %{headcount_status: status})

    assert changes(roster, state) == [{7, :offline, :idle}]
    State.untrack(state, :phone)
    assert changes(roster, state) == [{7, :idle, :online}]
    State.untrack(state, :laptop)
    State.untrack(state, :tablet)
    assert changes(roster, state) == [{7, :online, :offline}]
    assert MemberList.member_count(roster.list) == 0
  end

  test "a session that cannot be placed is refused and no other" do
    roster = roster()
    state = State.new("a")
    State.track!(state, 1, "room", 1, %{})
    State.track!(state, 2, "room", 2, %{wrong: :raise})
    State.track!(state, 3, "room", 3, %{wrong: "nowhere"})
    State.track!(state, 4, "room", 4, %{wrong: :no_group})
    State.track!(state, 5, "room", :bot, %{})
    State.track!(state, 6, "room", "not a number", %{})
    %{"room" => diff} = State.take_diff(state)
    report = Roster.apply(roster, diff)
    assert report.changes == [{1, :offline, :online}]
    assert [{2, "no place for it"}, {3, why}, {4, _}] = Enum.sort(report.refused)
    assert why =~ "group"
    assert report.foreign == 2
    assert ids(roster) == [{1, "here"}]
  end

  test "the attribute bits of the application stay" do
    list = MemberList.new(groups: ["here", "offline"])

    place = fn key, meta ->
      [group: "here", key: key, attrs: if(meta[:headcount_status] == :dnd, do: 2, else: 1)]
    end

    roster = Roster.new(list, place, offline: "offline", status_bits: 1)
    state = State.new("a")
    State.track!(state, :phone, "room", 7, %{})
    assert changes(roster, state) == [{7, :offline, :online}]
    MemberList.set_attrs(list, 7, 0b1001)
    State.update!(state, :phone, "room", 7, %{headcount_status: :idle})
    assert changes(roster, state) == [{7, :online, :idle}]
    assert %{attrs: 0b1001} = MemberList.get(list, 7)
    State.update!(state, :phone, "room", 7, %{headcount_status: :dnd})
    %{"room" => diff} = State.take_diff(state)
    assert %{changes: [{7, :idle, :offline}], refused: [{7, why}]} = Roster.apply(roster, diff)
    assert why =~ "attribute bits 0x2"
    assert %{attrs: 0b1000} = MemberList.get(list, 7)
  end

  test "the mapping may give the payload" do
    list = MemberList.new(groups: ["here", "offline"], payloads: :json)

    place = fn
      key, %{text: text} -> [group: "here", key: key, payload: ~s("#{text}")]
      key, _meta -> [group: "here", key: key, payload: nil]
    end

    roster = Roster.new(list, place, offline: "offline")
    state = State.new("a")
    viewer = MemberList.Viewer.new(list)
    State.track!(state, :phone, "room", 7, %{text: "hello"})
    assert changes(roster, state) == [{7, :offline, :online}]
    assert %{payload: ~s("hello")} = MemberList.get(list, 7)
    {:ok, %{frames: [frame]}} = MemberList.Viewer.open(viewer, {:chunk, 0})
    assert [_header, %{id: 7, body: ~s("hello")}] = frame.rows
    State.update!(state, :phone, "room", 7, %{text: "away"})
    assert changes(roster, state) == [{7, :online, :online}]
    assert %{payload: ~s("away")} = MemberList.get(list, 7)
    # Without one it stays as it is, and the application may set it.
    State.update!(state, :phone, "room", 7, %{})
    changes(roster, state)
    assert %{payload: ~s("away")} = MemberList.get(list, 7)
    {:ok, _} = MemberList.set_payload(list, 7, ~s("own"))
    State.untrack(state, :phone)
    changes(roster, state)
    assert %{group: "offline", payload: ~s("own")} = MemberList.get(list, 7)
  end

  test "a payload that cannot be is refused" do
    state = State.new("a")
    State.track!(state, :phone, "room", 7, %{})
    %{"room" => diff} = State.take_diff(state)

    for {payloads, payload, text} <- [
          {:raw, :text, "a payload is a binary"},
          {:raw, String.duplicate("x", 70_000), "payload"},
          {false, "x", "payload"}
        ] do
      list = MemberList.new(groups: ["here"], payloads: payloads)
      mapping = fn key, _ -> [group: "here", key: key, payload: payload] end
      assert %{refused: [{7, why}]} = Roster.apply(Roster.new(list, mapping), diff)
      assert why =~ text
      assert MemberList.get(list, 7) == nil
    end
  end

  test "a mapping that exits or throws refuses that entry only" do
    mapping = fn
      7, _meta -> exit(:no_user)
      8, _meta -> throw(:no_user)
      key, _meta -> [group: "here", key: key]
    end

    roster = Roster.new(MemberList.new(groups: ["here"]), mapping)
    state = State.new("a")
    for key <- 7..9, do: State.track!(state, key, "room", key, %{})
    report = Roster.reset(roster, State.list(state, "room"))
    assert Enum.sort(report.refused) == [{7, "** (exit) :no_user"}, {8, "** (throw) :no_user"}]
    assert report.changes == [{9, :offline, :online}]
  end

  test "it begins in mid-life, and again after diffs were missed" do
    roster = roster()
    state = State.new("a")
    for key <- 1..9, do: State.track!(state, key, "room", key, %{})
    assert length(Roster.reset(roster, State.list(state, "room")).changes) == 9
    # The diff after the list tells of them again.
    assert changes(roster, state) == []
    for key <- 1..5, do: State.untrack(state, key, "room", key)
    State.update!(state, 9, "room", 9, %{headcount_status: :dnd})
    State.track!(state, 10, "room", 10, %{})
    _missed = State.take_diff(state)
    report = Roster.reset(roster, State.list(state, "room"))
    left = for key <- 1..5, do: {key, :online, :offline}
    assert Enum.sort(report.changes) == left ++ [{9, :online, :dnd}, {10, :offline, :online}]
    assert Roster.online_count(roster) == 5
  end

  test "statuses of other nodes and with other codecs" do
    for codec <- [:term, :json] do
      roster = roster(ids: :text)
      a = State.new("a", codec: codec)
      b = State.new("b", codec: codec)
      State.track!(a, :phone, "room", "7", %{headcount_status: :dnd})
      assert [%{"room" => diff}] = sync(a, b)
      assert Roster.apply(roster, diff).changes == [{"7", :offline, :dnd}]
      assert [{"7", %{headcount_status: :dnd} = meta}] = State.list(b, "room")
      assert map_size(meta) == 2
      State.update!(a, :phone, "room", "7", &Map.delete(&1, :headcount_status))
      assert [%{"room" => diff}] = sync(a, b)
      assert Roster.apply(roster, diff).changes == [{"7", :dnd, :online}]
    end
  end

  test "random sessions: the roster equals one that is made anew" do
    :rand.seed(:exsss, {1, 2, 3})
    roster = roster(offline: "offline")
    state = State.new("a")
    statuses = [:online, :idle, :dnd, :invisible]

    for _ <- 1..300 do
      for _ <- 1..:rand.uniform(5) do
        {owner, key} = {:rand.uniform(4), :rand.uniform(6)}
        meta = %{headcount_status: Enum.random(statuses)}

        if :rand.uniform(3) == 1,
          do: State.untrack(state, owner, "room", key),
          else: State.upsert!(state, owner, "room", key, meta)
      end

      changes(roster, state)
      fresh = roster(offline: "offline")
      Roster.reset(fresh, State.list(state, "room"))
      for key <- 1..6, do: assert(Roster.own_status(roster, key) == Roster.own_status(fresh, key))
      assert Roster.online_count(roster) == Roster.online_count(fresh)
      online = &Enum.reject(ids(&1), fn {_id, group} -> group == "offline" end)
      assert Enum.sort(online.(roster)) == Enum.sort(online.(fresh))
    end
  end

  test "a mistake raises" do
    list = MemberList.new(groups: ["here"])
    assert_raise ArgumentError, fn -> Roster.new(list, &place/2, offline: "nowhere") end
    assert_raise ArgumentError, fn -> Roster.new(list, &place/2, priority: [:away]) end
    assert_raise ArgumentError, fn -> Roster.new(list, &place/2, status_bits: -1) end
    roster = Roster.new(list, &place/2)
    assert_raise ArgumentError, ~r/has a roster/, fn -> Roster.new(list, &place/2) end
    assert_raise ArgumentError, ~r/not an id/, fn -> Roster.status(roster, "seven") end

    assert_raise ArgumentError, ~r/:headcount_status/, fn ->
      State.track(State.new("a"), 1, "room", 1, %{headcount_status: :offline})
    end
  end
end
