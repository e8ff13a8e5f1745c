# Batches of a member list beside single calls: alone, and while as many processes as there are schedulers compute.
alias Headcount.{Bench, MemberList}

size = 100_000
list = MemberList.new(groups: ["a", "b"])
members = for n <- 1..size, do: {n, group: "a", name: "user-#{:erlang.phash2(n)}"}
{:ok, _} = MemberList.bulk_load(list, members)

spin = fn spin, n -> spin.(spin, :erlang.phash2(n)) end

# Changes that change something each time.
changes = fn count, round ->
  group = elem({"a", "b"}, rem(round, 2))
  for n <- 1..count, do: {:set_group, rem(n * 7_919, size) + 1, group}
end

compare = fn title ->
  Bench.head("MemberList of #{size}, #{title}")

  for count <- [10, 100, 300, 1_000], rounds = div(20_000, count) do
    Bench.time_each("apply_batch of #{count}", "", rounds, fn round ->
      {:ok, _} = MemberList.apply_batch(list, changes.(count, round))
    end)

    Bench.time_each("#{count} single calls", "", rounds, fn round ->
      for {:set_group, id, group} <- changes.(count, round) do
        {:ok, _} = MemberList.set_group(list, id, group)
      end
    end)
  end
end

compare.("alone")
busy = for n <- 1..System.schedulers_online(), do: spawn_link(fn -> spin.(spin, n) end)
compare.("beside busy processes")

for pid <- busy do
  Process.unlink(pid)
  Process.exit(pid, :kill)
end
