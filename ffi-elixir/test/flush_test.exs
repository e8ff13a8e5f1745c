defmodule Headcount.FlushTest do
  # Changes of this node reach its callbacks before they travel, when no more come for a moment.
  use ExUnit.Case, async: true

  alias Headcount.Native

  setup do
    times = {1_500, 30_000, 1_200_000, 60_000, 5_000, 30_000, 0}
    own = {false, false, 256 * 1024, 0}

    {:ok,
     presence:
       Native.presence_new(
         {"a", 1},
         {"flush", 32, false, false, false},
         times,
         own,
         {false, false}
       )}
  end

  defp diffs(changes, presence),
    do: for({0, _number, changes} <- changes, do: Native.presence_changes(presence, changes))

  defp step(presence, now), do: Native.presence_step(presence, now, [], 1, true)

  test "what was flushed is told once", %{presence: presence} do
    {:ok, ref} = Native.presence_track(presence, self(), "room", 1, %{})
    assert {changes, _cost} = Native.presence_flush(presence, 1, 50, 10_000_000)
    assert diffs(changes, presence) == [%{"room" => {[{1, %{phx_ref: ref}}], []}}]
    assert {[], _cost} = Native.presence_flush(presence, 1, 50, 10_000_000)
    {:ok, _} = Native.presence_track(presence, self(), "room", 2, %{})
    {[], [], frames, [], changes, _next} = step(presence, 1)
    assert [%{"room" => {[{2, _}], []}}] = diffs(changes, presence)
    assert frames != []
    assert {[], _cost} = Native.presence_flush(presence, 1, 50, 10_000_000)
  end

  test "what a process took and did not deliver is told to the next", %{presence: presence} do
    {:ok, _} = Native.presence_track(presence, self(), "room", 1, %{})
    taken = Task.await(Task.async(fn -> Native.presence_flush(presence, 1, 50, 10_000_000) end))
    assert {[{0, number, changes}] = parts, _cost} = taken
    assert {^parts, _cost} = Native.presence_flush(presence, 1, 50, 10_000_000)
    assert {[], _cost} = Native.presence_flush(presence, 1, 50, 10_000_000)

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

  test "changes without a pause wait for the step", %{presence: presence} do
    {:ok, _} = Native.presence_track(presence, self(), "room", 1, %{})
    step(presence, 1)
    owner = self()
    writer = spawn_link(fn -> write(presence, owner, 1) end)
    assert Native.presence_flush(presence, 1, 300_000, 600_000) == :busy
    send(writer, :stop)
    assert_receive {:written, last}
    {[], [], _frames, [], changes, _next} = step(presence, 2)
    assert [%{"room" => {[{1, %{n: ^last}}], [_ | _]}}] = diffs(changes, presence)
  end

  defp write(presence, owner, n) do
    :ok = updated(Native.presence_update(presence, owner, "room", 1, %{n: n}))

    receive do
      :stop -> send(owner, {:written, n})
    after
      1 -> write(presence, owner, n + 1)
    end
  end

  defp updated({:ok, _ref}), do: :ok
end
