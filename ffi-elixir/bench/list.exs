# Lists of a topic: alone, and when an entry changes before each. One node.
alias Headcount.{Bench, Tracker}

defmodule Headcount.Bench.Lists do
  @moduledoc false
  use Headcount.Tracker

  @impl true
  def init(_arg), do: {:ok, nil}

  @impl true
  def handle_diff(_diff, state), do: {:ok, state}
end

name = :bench_lists
{:ok, _} = Tracker.start_link(Headcount.Bench.Lists, nil, name: name)
meta = %{online_at: 1_700_000_000, device: "phone"}
Bench.head("Lists")

for {size, goal, count} <- [{100, 16, 2_000}, {1_000, "", 500}, {10_000, 3_000, 100}] do
  topic = "topic:#{size}"
  pids = for _ <- 1..size, do: spawn(fn -> Process.sleep(:infinity) end)
  entries = for {pid, n} <- Enum.with_index(pids), do: {pid, topic, "user:#{n}", meta}
  Tracker.track_many(name, entries)
  Process.sleep(100)

  Bench.time_each("list of #{size}", goal, count, fn _ -> Tracker.list(name, topic) end)

  times =
    for i <- 1..count do
      {pid, topic, key, meta} = Enum.at(entries, rem(i, size))
      {:ok, _} = Tracker.update(name, pid, topic, key, meta)
      {us, _} = :timer.tc(fn -> Tracker.list(name, topic) end)
      us
    end

  [median, p99] = for p <- [0.5, 0.99], do: Enum.at(Enum.sort(times), trunc(count * p))
  Bench.row("list of #{size} after a change", median, p99, "")
end
