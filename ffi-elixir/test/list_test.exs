defmodule Headcount.ListTest do
  # Lists are kept as terms until they change: no read may show an old one.
  use ExUnit.Case, async: true

  alias Headcount.Test.{Diffs, Wait}
  alias Headcount.Tracker

  defp start(name, options) do
    start_supervised!({Diffs, [name: name, broadcast_period: 50] ++ options}, id: name)
    name
  end

  # Made of other reads, which keep nothing.
  defp anew(name, topic, keys) do
    Enum.sort(
      for key <- keys, {_pid, meta} <- Tracker.get_by_key(name, topic, key), do: {key, meta}
    )
  end

  for size <- [8, 150, 600, 1_500] do
    @tag timeout: 120_000
    test "a list shows each change, read once or often: #{size} entries" do
      name = start(:"list_#{unquote(size)}", [])
      keys = Enum.to_list(1..unquote(size))
      entries = for key <- keys, do: {self(), "room", key, %{n: 0}}
      Tracker.track_many(name, entries)
      :rand.seed(:exsss, {unquote(size), 2, 3})

      for n <- 1..60 do
        key = Enum.random(keys)

        case :rand.uniform(5) do
          1 -> :ok = Tracker.untrack(name, self(), "room", key)
          2 -> Tracker.track(name, self(), "room", key, %{n: n})
          3 -> Tracker.update(name, self(), "room", key, %{n: n})
          4 -> {:ok, _} = Tracker.track(name, self(), "other", {key, n}, %{})
          5 -> :ok
        end

        for _ <- 1..:rand.uniform(3) do
          assert Enum.sort(Tracker.list(name, "room")) == anew(name, "room", keys)
        end
      end

      Tracker.untrack(name, self())
      assert Tracker.list(name, "room") == []
      # A topic that is there again is another one.
      {:ok, ref} = Tracker.track(name, self(), "room", 1, %{})
      assert Tracker.list(name, "room") == [{1, %{phx_ref: ref}}]
    end
  end

  test "entries of a node that comes and goes" do
    here = start(:list_here, cluster: "lists", node_name: "here")
    {:ok, mine} = Tracker.track(here, self(), "room", :mine, %{})

    for n <- 1..3 do
      there = start(:list_there, cluster: "lists", node_name: "there")
      {:ok, ref} = Tracker.track(there, self(), "room", :theirs, %{n: n})
      both = [{:mine, %{phx_ref: mine}}, {:theirs, %{n: n, phx_ref: ref}}]
      Wait.until(fn -> Enum.sort(Tracker.list(here, "room")) == both end)
      for _ <- 1..3, do: assert(Enum.sort(Tracker.list(here, "room")) == both)
      assert Enum.sort(Tracker.Shard.dirty_list(:list_here_shard0, "room")) == both
      :ok = stop_supervised(there)
      Wait.until(fn -> Tracker.list(here, "room") == [{:mine, %{phx_ref: mine}}] end)
      # A node that is down may come back with them.
      assert Enum.sort(Tracker.Shard.dirty_list(:list_here_shard0, "room")) == both
    end
  end

  test "more lists than are kept" do
    name = start(:list_many, [])

    for topic <- 1..20 do
      entries = for key <- 1..5_000, do: {self(), "room #{topic}", key, %{}}
      Tracker.track_many(name, entries)
      for _ <- 1..3, do: assert(length(Tracker.list(name, "room #{topic}")) == 5_000)
    end

    Tracker.untrack(name, self(), "room 3", 7)

    for topic <- [1, 3, 20], _ <- 1..3 do
      keys = MapSet.new(Tracker.list(name, "room #{topic}"), fn {key, _meta} -> key end)

      assert MapSet.equal?(
               keys,
               MapSet.new(if(topic == 3, do: Enum.reject(1..5_000, &(&1 == 7)), else: 1..5_000))
             )
    end
  end
end
