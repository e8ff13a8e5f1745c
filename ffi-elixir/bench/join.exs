# A node joins another one that has many entries: how long until it has them, and how long does a
# caller wait meanwhile? Both trackers are in this VM and talk as two nodes would.
alias Headcount.{Bench, Tracker}

defmodule Headcount.Bench.Silent do
  @moduledoc false
  use Headcount.Tracker

  @impl true
  def init(_), do: {:ok, nil}

  @impl true
  def handle_diff(_diff, state), do: {:ok, state}

  # Calls a tracker without pause and gives the longest call of each kind in microseconds, and how
  # many there were.
  def caller(name, worst \\ %{}, calls \\ 0) do
    key = rem(calls, 1_000)

    worst =
      Enum.reduce(
        [
          track: fn -> Tracker.track(name, self(), "calls", key, %{n: key}) end,
          get_by_key: fn -> Tracker.get_by_key(name, "calls", key) end,
          list: fn -> Tracker.list(name, "room:#{key}") end,
          untrack: fn -> Tracker.untrack(name, self(), "calls", key) end
        ],
        worst,
        fn {call, fun}, worst ->
          {us, _} = :timer.tc(fun)
          Map.update(worst, call, us, &max(&1, us))
        end
      )

    receive do
      {:tell, to} -> send(to, {:told, worst, calls * map_size(worst)})
    after
      0 -> caller(name, worst, calls + 1)
    end
  end
end

entries = String.to_integer(System.get_env("BENCH_JOIN", "500000"))
options = fn name -> [name: name, cluster: "bench", node_name: name] end
Bench.head("Late join to #{entries} entries")
{:ok, _} = Tracker.start_link(Headcount.Bench.Silent, nil, options.(:bench_old))
owners = for _ <- 1..1_000, do: spawn(fn -> Process.sleep(:infinity) end)

Enum.each(Enum.with_index(owners), fn {owner, o} ->
  Enum.each(1..div(entries, 1_000), fn n ->
    {:ok, _} = Tracker.track(:bench_old, owner, "room:#{rem(n, 10_000)}", {o, n}, %{n: n})
  end)
end)

Process.sleep(500)
start = System.monotonic_time(:microsecond)
{:ok, _} = Tracker.start_link(Headcount.Bench.Silent, nil, options.(:bench_new))

callers =
  for name <- [:bench_old, :bench_new],
      do: spawn_link(fn -> Headcount.Bench.Silent.caller(name) end)

late = fn -> Tracker.size(:bench_new) < entries end
Stream.repeatedly(fn -> Process.sleep(1) && late.() end) |> Enum.find(&(not &1))
took = System.monotonic_time(:microsecond) - start
Bench.line("until it has all", "#{div(took, 1000)} ms (goal 2000)")

for {caller, who} <- Enum.zip(callers, ["old", "new"]) do
  send(caller, {:tell, self()})

  receive do
    {:told, worst, calls} ->
      longest =
        Enum.map_join(worst, ", ", fn {call, us} -> "#{call} #{Float.round(us / 1000, 1)}" end)

      Bench.line("  longest calls on the #{who} one", "#{longest} ms of #{calls} (goal 5)")
  end
end
