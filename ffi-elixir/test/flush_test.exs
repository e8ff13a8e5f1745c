defmodule Headcount.FlushTest do
  # Changes of this node reach its callbacks before they travel, when no more come for a moment.
  use ExUnit.Case, async: false

  alias Headcount.Native

  setup do
    times = {1_500, 30_000, 1_200_000, 60_000, 5_000, 30_000, 0}
    own = {false, false, 256 * 1024, 0}

    {:ok,
     presence:
       Native.presence_new(
         {"a", 1},
         {"flush", 32, false, false, false},
         nil,
         times,
         own,
         {false, false}
       )}
  end

  defp diffs(changes, presence),
    do:
      for({0, _number, changes} <- changes, do: Native.presence_changes_dirty(presence, changes))

  defp step(presence, now), do: Native.presence_step(presence, now, [], 1, true)

  test "what was flushed is told once", %{presence: presence} do
    {:ok, ref} = Native.presence_track(presence, self(), "room", 1, %{})
    assert changes = Native.presence_flush(presence, 1)
    assert diffs(changes, presence) == [%{"room" => {[{1, %{phx_ref: ref}}], []}}]
    assert [] = Native.presence_flush(presence, 1)
    {:ok, _} = Native.presence_track(presence, self(), "room", 2, %{})
    {[], [], frames, [], changes, _next} = step(presence, 1)
    assert [%{"room" => {[{2, _}], []}}] = diffs(changes, presence)
    assert frames != []
    assert [] = Native.presence_flush(presence, 1)
  end

  test "what a process took and did not deliver is told to the next", %{presence: presence} do
    {:ok, _} = Native.presence_track(presence, self(), "room", 1, %{})
    taken = Task.await(Task.async(fn -> Native.presence_flush(presence, 1) end))
    assert [{0, number, changes}] = parts = taken
    assert ^parts = Native.presence_flush(presence, 1)
    assert [] = Native.presence_flush(presence, 1)

    # What was handled is not told again.
    {:ok, _} = Native.presence_track(presence, self(), "room", 2, %{})
    step = fn -> Native.presence_step(presence, 1, [], 1, true) end
    {[], [], _frames, [], [{0, next, other}] = parts, _due} = Task.await(Task.async(step))
    assert next > number
    Native.presence_drop_changes(changes)
    assert {[], [], _frames, [], ^parts, _due} = Task.await(Task.async(step))
    Native.presence_drop_changes(other)
    assert {[], [], _frames, [], [], _due} = Task.await(Task.async(step))
    assert Native.presence_changes(presence, other) == %{}
  end

  test "many changes wait for the step", %{presence: presence} do
    {:ok, _} = Native.presence_track(presence, self(), "room", 1, %{n: 0})
    assert [_] = Native.presence_flush(presence, 1)
    for n <- 1..1_001, do: {:ok, _} = Native.presence_update(presence, self(), "room", 1, %{n: n})
    assert Native.presence_flush(presence, 1) == :busy
    {[], [], _frames, [], changes, _next} = step(presence, 1)
    # Each version that a read could have shown is a leave.
    assert [%{"room" => {[{1, %{n: 1_001}}], leaves}}] = diffs(changes, presence)
    assert Enum.sort(for {1, %{n: n}} <- leaves, do: n) == Enum.to_list(0..1_000)
    {:ok, _} = Native.presence_update(presence, self(), "room", 1, %{n: 0})

    assert [%{"room" => {[{1, %{n: 0}}], [{1, %{n: 1_001}}]}}] =
             diffs(Native.presence_flush(presence, 1), presence)
  end

  test "owners with many entries that are untracked wait for the step", %{presence: presence} do
    for n <- 1..1_001, do: {:ok, _} = Native.presence_track(presence, self(), "room", n, %{})
    step(presence, 1)
    assert Native.presence_untrack_owners(presence, [self()]) == 1_001
    assert Native.presence_flush(presence, 1) == :busy
    {[], [], _frames, [], changes, _next} = step(presence, 2)
    assert [%{"room" => {[], leaves}}] = diffs(changes, presence)
    assert length(leaves) == 1_001
  end

  test "many entries, and long metas, become terms on a dirty scheduler", %{presence: presence} do
    long = %{text: String.duplicate("x", 16_000)}

    for {topic, count, meta} <- [{"many", 501, %{}}, {"long", 20, long}, {"few", 500, %{}}] do
      for n <- 1..count, do: {:ok, _} = Native.presence_track(presence, self(), topic, n, meta)
      [{0, _number, changes}] = Native.presence_flush(presence, 1)
      short? = topic == "few"
      assert Native.presence_changes(presence, changes) == :busy == not short?
      assert Native.presence_leave_reasons(presence, changes) == :busy == not short?
      assert %{^topic => {joins, []}} = Native.presence_changes_dirty(presence, changes)
      assert length(joins) == count
      assert Native.presence_drop_changes(changes) == :busy == not short?
      Native.presence_drop_changes_dirty(changes)
      assert Native.presence_changes(presence, changes) == %{}
    end
  end

  test "a few changes reach the callbacks while all dirty schedulers are busy" do
    test = self()
    start_supervised!({Headcount.Test.Diffs, name: :flushed, on_diff: &send(test, {:diff, &1})})
    # It has made its first steps, which take a dirty scheduler.
    {:ok, _} = Headcount.Tracker.track(:flushed, self(), "room", 1, %{})
    assert_receive {:diff, %{"room" => {[{1, _}], []}}}
    Process.sleep(50)
    busy = for _ <- 1..:erlang.system_info(:dirty_cpu_schedulers_online), do: busy(2_000)
    Process.sleep(50)
    {:ok, _} = Headcount.Tracker.track(:flushed, self(), "room", 2, %{})
    assert_receive {:diff, %{"room" => {[{2, _}], []}}}, 1_000
    assert Enum.all?(busy, &Process.alive?/1)
  end

  defp busy(milliseconds), do: spawn_link(fn -> :erts_debug.dirty_cpu(:wait, milliseconds) end)
end
