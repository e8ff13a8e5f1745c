# Does any call hold a normal scheduler for over 5 ms? Everything here has a million entries.
# The first line is the noise of the machine: plain Elixir that allocates as the others do. Where it
# is not 0, other programs take the processors away; give the bench the right of way then, such as
# with `nice -n -19`.
alias Headcount.{Bench, MemberList, SortedSet, Tracker}

defmodule Headcount.Bench.Watch do
  @moduledoc false
  use Headcount.Tracker

  @impl true
  def init(_), do: {:ok, nil}

  @impl true
  def handle_diff(_diff, state), do: {:ok, state}

  # The long schedules while the function runs, in milliseconds.
  def long_schedules(fun) do
    watcher = spawn_link(fn -> collect([]) end)
    :erlang.system_monitor(watcher, [{:long_schedule, 5}])
    {time, _} = :timer.tc(fun)
    Process.sleep(100)
    :erlang.system_monitor(:undefined)
    send(watcher, {:tell, self()})

    receive do
      {:seen, seen} -> {time, seen}
    end
  end

  defp collect(seen) do
    receive do
      {:monitor, pid, :long_schedule, info} -> collect([{pid, info} | seen])
      {:tell, to} -> send(to, {:seen, seen})
    end
  end
end

n = String.to_integer(System.get_env("BENCH_ENTRIES", "1000000"))

show = fn label, fun ->
  {time, seen} = Headcount.Bench.Watch.long_schedules(fun)
  times = for {_, info} <- seen, do: info[:timeout]
  worst = Enum.max(times, fn -> 0 end)
  Bench.line(label, "#{length(seen)} over 5 ms, longest #{worst} ms, in #{div(time, 1000)} ms")

  if System.get_env("BENCH_VERBOSE") do
    for {_, info} <- Enum.sort_by(seen, fn {_, info} -> -info[:timeout] end) |> Enum.take(5) do
      IO.puts("  #{inspect(info)}")
    end
  end
end

run = fn fun -> Task.await(Task.async(fun), :infinity) end

Bench.head("Long schedules with #{n} entries")

# Code that is loaded for the first time takes long, and is not what is looked at here.
{:ok, first} = Tracker.start_link(Headcount.Bench.Watch, nil, name: :first)
Supervisor.stop(first)

show.("plain Elixir, for comparison", fn ->
  run.(fn ->
    for _ <- 1..5, do: Enum.reduce(1..n, %{}, &Map.put(&2, rem(&1, 1000), &1))
    rows = for i <- 1..n, do: {i, group: "a", name: "user-#{i}"}
    rows = Enum.map(rows, fn {i, row} -> {i, row[:group], {:name, row[:name]}, 0} end)
    length(rows)
  end)
end)

show.("SortedSet", fn ->
  run.(fn ->
    set = SortedSet.from_enumerable(for i <- 1..n, do: {rem(i, 5), "user-#{i}", i})
    Enum.each(1..100_000, &SortedSet.add(set, {1, "new-#{&1}", &1}))
    Enum.each(1..10_000, &SortedSet.slice(set, &1 * 7, 100))
    ^n = length(SortedSet.slice(set, 0, n))
    SortedSet.memory(set)
  end)
end)

show.("MemberList", fn ->
  run.(fn ->
    list = MemberList.new(groups: ["a", "b"])
    {:ok, _} = MemberList.bulk_load(list, for(i <- 1..n, do: {i, group: "a", name: "user-#{i}"}))
    viewer = MemberList.Viewer.new(list)
    {:ok, _} = MemberList.Viewer.open(viewer, {:chunk, 10})

    for round <- 1..20 do
      for i <- 1..1_000, do: MemberList.set_group(list, round * 1_000 + i, "b")
      MemberList.Viewer.bundle(viewer, MemberList.tick(list))
    end

    snapshot = MemberList.snapshot(list)
    ^n = length(MemberList.Snapshot.slice(snapshot, 0, n))
    MemberList.set_group_hidden(list, "a", true)
  end)
end)

show.("Tracker", fn ->
  run.(fn ->
    {:ok, tracker} = Tracker.start_link(Headcount.Bench.Watch, nil, name: :watched)
    owners = for _ <- 1..1_000, do: spawn(fn -> Process.sleep(:infinity) end)

    Enum.each(Enum.with_index(owners), fn {owner, o} ->
      Enum.each(1..div(n, 1_000), fn i ->
        {:ok, _} = Tracker.track(:watched, owner, "room:#{rem(i, 10)}", o * n + i, %{})
      end)
    end)

    true = length(Tracker.list(:watched, "room:1")) == Tracker.count(:watched, "room:1")
    Enum.each(owners, &Process.exit(&1, :kill))

    Stream.repeatedly(fn -> Process.sleep(5) && Tracker.size(:watched) end)
    |> Enum.find(&(&1 == 0))

    Supervisor.stop(tracker)
  end)
end)
