# One tracker end to end: processes, monitors, callbacks. No other node.
alias Headcount.{Bench, Tracker}

defmodule Headcount.Bench.Counter do
  @moduledoc false
  use Headcount.Tracker

  @impl true
  def init(counter), do: {:ok, counter}

  @impl true
  def handle_diff(diff, counter) do
    :counters.add(counter, 1, 1)

    for {_topic, {joins, leaves}} <- diff do
      :counters.add(counter, 2, length(joins))
      :counters.add(counter, 3, length(leaves))
    end

    {:ok, counter}
  end
end

name = :bench_tracker
counter = :counters.new(3, [:write_concurrency])
{:ok, _} = Tracker.start_link(Headcount.Bench.Counter, counter, name: name)
count = String.to_integer(System.get_env("BENCH_PROCESSES", "100000"))

await = fn index, goal ->
  Stream.repeatedly(fn -> Process.sleep(1) && :counters.get(counter, index) end)
  |> Enum.find(&(&1 >= goal))
end

rate = fn count, us ->
  "#{round(count / us * 1_000_000)} /s, #{Float.round(us / count, 2)} us each"
end

meta = %{online_at: 1_700_000_000, device: "phone"}

Bench.head("Tracker with #{count} processes in one topic")

pids = for _ <- 1..count, do: spawn(fn -> Process.sleep(:infinity) end)
keyed = Enum.with_index(pids, fn pid, n -> {pid, "user:#{n}"} end)

{us, _} =
  :timer.tc(fn ->
    for {pid, key} <- keyed, do: {:ok, _} = Tracker.track(name, pid, "big", key, meta)
    await.(2, count)
  end)

Bench.line("track, until handle_diff saw all", rate.(count, us) <> " (goal 215000 /s)")
Bench.line("  calls of handle_diff", "#{:counters.get(counter, 1)}")

# As when a channel joins: again and again a few, each time until all callbacks ran.
spin = fn spin, index, goal ->
  if :counters.get(counter, index) < goal, do: :erlang.yield() && spin.(spin, index, goal)
end

hundred = Enum.take(keyed, 100)

rounds =
  for _ <- 1..500 do
    [joins, leaves] = for index <- [2, 3], do: :counters.get(counter, index)

    {track, _} =
      :timer.tc(fn ->
        for {pid, key} <- hundred, do: {:ok, _} = Tracker.track(name, pid, "few", key, meta)
        spin.(spin, 2, joins + 100)
      end)

    {untrack, _} =
      :timer.tc(fn ->
        for {pid, key} <- hundred, do: :ok = Tracker.untrack(name, pid, "few", key)
        spin.(spin, 3, leaves + 100)
      end)

    {track, untrack}
  end

for {label, times} <- Enum.zip(["track 100", "untrack 100"], Tuple.to_list(Enum.unzip(rounds))) do
  median = Enum.at(Enum.sort(times), 250)
  Bench.line(label <> ", until handle_diff saw them", rate.(100, median))
end

some = keyed |> Enum.take_random(20_000) |> List.to_tuple()
pick = &elem(some, rem(&1, tuple_size(some)))

Bench.time("get_by_key", 5, 20_000, fn i ->
  [_] = Tracker.get_by_key(name, "big", elem(pick.(i), 1))
end)

Bench.time("count", "", 20_000, fn _ -> Tracker.count(name, "big") end)

small = for n <- 1..100, do: "small:#{n}"

for {topic, n} <- Enum.with_index(small), {pid, key} <- Enum.slice(keyed, n * 100, 100) do
  {:ok, _} = Tracker.track(name, pid, topic, key, meta)
end

Bench.time_each("list of 100", 90, 2_000, fn i ->
  100 = length(Tracker.list(name, Enum.at(small, rem(i, 100))))
end)

Bench.time_each("list of all", "", 5, fn _ -> ^count = length(Tracker.list(name, "big")) end)

Bench.time("update", "", 20_000, fn i ->
  {pid, key} = pick.(i)
  {:ok, _} = Tracker.update(name, pid, "big", key, meta)
end)

# Lists while others write.
writer =
  spawn_link(fn ->
    Stream.iterate(0, &(&1 + 1))
    |> Enum.each(fn n ->
      {pid, key} = pick.(n)
      Tracker.untrack(name, pid, "other", key)
      Tracker.track(name, pid, "other", key, meta)
    end)
  end)

Bench.time_each("list of 100 beside a busy writer", 90, 2_000, fn i ->
  Tracker.list(name, Enum.at(small, rem(i, 100)))
end)

Process.unlink(writer)
Process.exit(writer, :kill)
Process.sleep(200)

{us, _} =
  :timer.tc(fn ->
    for {pid, key} <- keyed, do: :ok = Tracker.untrack(name, pid, "big", key)
  end)

Bench.line("untrack", rate.(count, us) <> " (Phoenix.Tracker: 22000 /s)")

for {pid, key} <- keyed, do: {:ok, _} = Tracker.track(name, pid, "big", key, meta)
Process.sleep(500)
before = for i <- [1, 3], do: :counters.get(counter, i)
size = Tracker.size(name)

{us, _} =
  :timer.tc(fn ->
    Enum.each(pids, &Process.exit(&1, :kill))
    Stream.repeatedly(fn -> Process.sleep(1) && Tracker.size(name) end) |> Enum.find(&(&1 == 0))
    await.(3, List.last(before) + size)
  end)

calls = :counters.get(counter, 1) - hd(before)

Bench.line(
  "mass exit, #{size} entries",
  "#{div(us, 1000)} ms (goal 370), #{calls} calls of handle_diff"
)

# What a change of another node costs here.
alias Headcount.Tracker.State
there = State.new("there")
million = String.to_integer(System.get_env("BENCH_ENTRIES", "1000000"))

for n <- 1..million,
    do: {:ok, _} = State.track(there, rem(n, 1000), "room:#{rem(n, 1000)}", n, %{})

here = State.new("here")

{us, _} =
  :timer.tc(fn ->
    for frame <- State.delta_since(there, %{}), do: {:ok, _} = State.apply(here, frame)
  end)

Bench.line("late join to #{million} entries (apply)", "#{div(us, 1000)} ms")

frames =
  for n <- 1..500 do
    {:ok, _} = State.update(there, rem(n, 1000), "room:#{rem(n, 1000)}", n, %{n: n})
    clock = State.clock(there) |> Map.new(fn {replica, clock} -> {replica, clock - 1} end)
    [frame] = State.delta_since(there, clock)
    frame
  end

frames = List.to_tuple(frames)

Bench.time_each("1-entry delta into #{million}", 50, 500, fn i ->
  {:ok, _} = State.apply(here, elem(frames, i - 1))
end)
