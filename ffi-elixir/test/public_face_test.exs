defmodule Headcount.PublicFaceTest do
  # What all modules have in common: returns and `!` twins, `Enumerable`, `Inspect`.
  use ExUnit.Case, async: true
  doctest Headcount.Error

  alias Headcount.{MemberList, SortedSet}
  alias Headcount.MemberList.{Snapshot, Viewer}
  alias Headcount.Tracker.State

  @modules [
    MemberList,
    Headcount.MemberTable,
    Headcount.Collation,
    Viewer,
    State,
    Headcount.Tracker,
    Headcount.Roster
  ]

  defp list(members) do
    list = MemberList.new(groups: ["online"])

    {:ok, _} =
      MemberList.bulk_load(list, for(id <- members, do: {id, [group: "online", key: id]}))

    list
  end

  for module <- @modules do
    test "each function of #{inspect(module)} that returns {:error, _} has a twin with a !" do
      Code.ensure_loaded!(unquote(module))
      {:ok, specs} = Code.Typespec.fetch_specs(unquote(module))

      for {{name, arity}, [spec | _]} <- specs do
        text = name |> Code.Typespec.spec_to_quoted(spec) |> Macro.to_string()
        refuses? = text =~ ~r/error\(\)|\{:error/

        if refuses? do
          assert function_exported?(unquote(module), :"#{name}!", arity), "#{name}!/#{arity}"
        end
      end
    end
  end

  test "a twin with a ! returns the value or raises the reason" do
    list = list([7])
    assert MemberList.set_attrs!(list, 7, 1) == 1
    assert MemberList.add_group!(list, "offline") == :ok
    error = assert_raise Headcount.Error, fn -> MemberList.remove_group!(list, "online") end
    assert {:error, error.reason} == MemberList.remove_group(list, "online")
    state = State.new("node-1")
    ref = State.track!(state, 1, "room", "ann", %{})
    assert [{"ann", %{phx_ref: ^ref}}] = State.list(state, "room")

    for {message, refused} <- [
          {~s(1 is already tracked under the key "ann" in the topic "room"),
           fn -> State.track!(state, 1, "room", "ann", %{}) end},
          {"there is no such entry to update", fn -> State.update!(state, 2, "room", 1, %{}) end},
          {"topic too long: 300 bytes, at most 256",
           fn -> State.track!(state, 1, String.duplicate("x", 300), 1, %{}) end},
          {"the frame does not decode at byte 4: truncated",
           fn -> State.apply!(state, "none") end}
        ] do
      assert_raise Headcount.Error, message, refused
    end
  end

  test "lists, snapshots and sets are enumerable" do
    list = list(1..1_234)
    snapshot = MemberList.snapshot(list)
    set = SortedSet.from_enumerable(0..1_234)

    for rows <- [list, snapshot] do
      assert Enum.count(rows) == 1_235
      assert Enum.to_list(rows) == Snapshot.slice(snapshot, 0, 2_000)
      assert hd(Enum.to_list(rows)) in rows
      assert Enum.at(rows, 1_234).id == 1_234
      assert for(%{id: id} <- rows, do: id) == Enum.to_list(1..1_234)
      assert rows |> Stream.take(3) |> Enum.map(& &1[:id]) == [nil, 1, 2]
      assert Enum.map(Enum.slice(rows, 1_230, 9), & &1.id) == [1_230, 1_231, 1_232, 1_233, 1_234]
      assert rows |> Enum.slice(1..1_000//3) |> Enum.map(& &1.id) == Enum.to_list(1..1_000//3)
    end

    assert Enum.slice(set, 1..1_000//7) == Enum.to_list(1..1_000//7)
    MemberList.remove(list, 1)
    assert Enum.count(snapshot) == 1_235
  end

  test "values print what is in them" do
    list = list([7, 9])
    viewer = Viewer.new(list, format: :json)
    Viewer.open!(viewer, {:chunk, 0})

    assert inspect(MemberList.snapshot(list)) ==
             "#Headcount.MemberList.Snapshot<2 members, online: 2>"

    assert inspect(viewer) == "#Headcount.MemberList.Viewer<:json, windows: [c:0]>"

    assert inspect(MemberList.tick(MemberList.new())) ==
             "#Headcount.MemberList.Tick<version 1, empty>"

    assert inspect(State.new("node-1")) == ~s(#Headcount.Tracker.State<"node-1": 0 entries>)
    :ok = MemberList.set_groups(list, for(n <- 1..10, do: "g#{n}"))

    assert inspect(list) ==
             "#Headcount.MemberList<2 members, g1: 0, g2: 0, g3: 0, g4: 0, g5: 0, ...>"
  end
end
