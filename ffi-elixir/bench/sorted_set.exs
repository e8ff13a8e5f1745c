# SortedSet with members {group, name, id}, at several sizes.
alias Headcount.{Bench, SortedSet}

sizes =
  case System.get_env("BENCH_SIZES") do
    nil -> [10_000, 1_000_000]
    sizes -> sizes |> String.split(",") |> Enum.map(&String.to_integer/1)
  end

member = fn n ->
  id = :erlang.phash2(n, 0x7FFFFFFF) * 0x40000000 + n
  {:erlang.phash2({n, 1}, 5), "user-#{:erlang.phash2({n, 2}, 100_000_000)}", id}
end

calls = 50_000

for size <- sizes do
  Bench.head("SortedSet of #{size} {group, name, id}")
  members = Enum.map(1..size, member)
  {load, set} = :timer.tc(fn -> SortedSet.from_enumerable(members) end)
  # As a set that grew one by one: nodes are not full.
  grown = SortedSet.new()
  {grow, _} = :timer.tc(fn -> Enum.each(members, &SortedSet.add(grown, &1)) end)
  probes = members |> Enum.take_random(calls) |> List.to_tuple()
  fresh = Enum.map(1..calls, &member.(&1 + 1_000_000_000)) |> List.to_tuple()
  at = Enum.map(1..calls, fn _ -> :rand.uniform(size) - 1 end) |> List.to_tuple()
  pick = fn tuple, i -> elem(tuple, rem(i, tuple_size(tuple))) end

  Bench.time("add", 1.2, calls, &SortedSet.add(grown, pick.(fresh, &1)))
  Bench.time("remove", "", calls, &SortedSet.remove(grown, pick.(fresh, &1)))

  Bench.time("add at the front", 0.48, calls, &SortedSet.add(grown, {-1, "front", -&1}))
  Bench.time("remove at the front", "", calls, &SortedSet.remove(grown, {-1, "front", -&1}))

  Bench.time("move (remove + add)", 2.2, calls, fn i ->
    {_, set} = SortedSet.index_remove(grown, pick.(probes, i))
    SortedSet.index_add(set, put_elem(pick.(probes, i), 0, rem(i, 5)))
  end)

  moved = for i <- 0..(tuple_size(probes) - 1), do: put_elem(elem(probes, i), 0, rem(i, 5))
  moved = List.to_tuple(moved)
  Bench.time("index_of", 1.0, calls, &SortedSet.find_index(grown, pick.(moved, &1)))
  Bench.time("at", 0.6, calls, &SortedSet.at(grown, pick.(at, &1)))
  Bench.time("slice of 100", 8, 5_000, &SortedSet.slice(grown, pick.(at, &1), 100))
  Bench.line("from_enumerable", "#{div(load, 1000)} ms")
  Bench.line("one by one", "#{Float.round(grow / size, 2)} us each")
  Bench.line("memory loaded", "#{Float.round(SortedSet.memory(set) / size, 1)} B a member")
  Bench.line("memory grown", "#{Float.round(SortedSet.memory(grown) / size, 1)} B a member")
end

for size <- sizes do
  Bench.head("SortedSet of #{size} integers")
  set = SortedSet.from_enumerable(1..size)
  Bench.time("add at the front", 0.48, calls, &SortedSet.add(set, -&1))
  Bench.time("remove at the front", "", calls, &SortedSet.remove(set, -&1))
end
