defmodule Headcount.ClusterTest do
  # Several nodes of this machine: not at the same time as other tests.
  use ExUnit.Case, async: false

  alias Headcount.Test.Cluster
  alias Headcount.Test.Wait
  alias Headcount.Tracker

  @moduletag :cluster
  @moduletag timeout: 120_000
  @name :cluster_tracker
  @fast [name: @name, broadcast_period: 100, down_period: 1_000, permdown_period: 60_000]

  setup_all do
    Cluster.start()
  end

  defp nodes(names, options \\ @fast) do
    nodes = for name <- names, do: up(name, options)
    Cluster.connect(nodes)
    nodes
  end

  defp up(name, options \\ @fast) do
    node = Cluster.node_up(name)
    Map.put(node, :tracker, Cluster.call(node, Cluster, :start_tracker, [options]))
  end

  defp tracker(node, function, args), do: Cluster.call(node, Tracker, function, [@name | args])
  defp keys(node, topic), do: Enum.sort(for {key, _} <- tracker(node, :list, [topic]), do: key)
  defp idle(node), do: Cluster.call(node, Cluster, :spawn_idle, [])
  defp tracker?(name), do: String.starts_with?("#{name}", "#{@name}")

  defp diffs(%{tracker: {_, diffs}} = node, topic) do
    diffs = Cluster.call(node, Agent, :get, [diffs, Function, :identity, []])
    {joins, leaves} = Map.get(diffs, topic, {[], []})
    {Enum.sort(for {key, _} <- joins, do: key), Enum.sort(for {key, _} <- leaves, do: key)}
  end

  test "join, update, leave and the death of a process are seen everywhere" do
    [a, b] = nodes([:a, :b])
    pid = idle(a)
    {:ok, ref} = tracker(a, :track, [pid, "room", "ann", %{n: 1}])
    Wait.until(fn -> keys(b, "room") == ["ann"] end)
    assert tracker(b, :get_by_key, ["room", "ann"]) == [{pid, %{n: 1, phx_ref: ref}}]

    {:ok, next} = tracker(a, :update, [pid, "room", "ann", %{n: 2}])
    meta = %{n: 2, phx_ref: next, phx_ref_prev: ref}
    Wait.until(fn -> tracker(b, :list, ["room"]) == [{"ann", meta}] end)

    :ok = tracker(a, :untrack, [pid, "room", "ann"])
    Wait.until(fn -> keys(b, "room") == [] end)

    {:ok, _} = tracker(a, :track, [pid, "room", "ann", %{}])
    Wait.until(fn -> keys(b, "room") == ["ann"] end)
    Cluster.call(a, Process, :exit, [pid, :kill])
    Wait.until(fn -> keys(b, "room") == [] end)
    Wait.until(fn -> match?({[_ | _], [_ | _]}, diffs(b, "room")) end)
    {joins, leaves} = diffs(b, "room")
    assert length(joins) == length(leaves)
  end

  test "a newcomer gets everything at once" do
    [a] = nodes([:a])
    Cluster.call(a, Cluster, :track_many, [@name, "room", 1..20_000])
    b = up(:b)
    Cluster.connect([a, b])
    Wait.until(fn -> tracker(b, :count, ["room"]) == 20_000 end)
    Wait.until(fn -> tracker(b, :synced?, []) end)
    Wait.until(fn -> diffs(b, "room") == {Enum.to_list(1..20_000), []} end)
  end

  test "a newcomer that writes without pause gets everything too" do
    [a] = nodes([:a])
    Cluster.call(a, Cluster, :track_many, [@name, "room", 1..20_000])
    b = up(:b)
    busy = Cluster.call(b, Cluster, :write_without_pause, [@name, "busy"])
    Cluster.connect([a, b])
    Wait.until(fn -> tracker(b, :count, ["room"]) == 20_000 end)
    Wait.until(fn -> diffs(b, "room") == {Enum.to_list(1..20_000), []} end)
    Cluster.call(b, Process, :exit, [busy, :kill])
    for node <- [a, b], do: Wait.until(fn -> keys(node, "busy") == [] end)
  end

  test "a newcomer does not wait for a heartbeat" do
    slow = [name: @name, broadcast_period: 60_000, permdown_period: 1_000_000_000]
    [a, b] = for name <- [:a, :b], do: up(name, slow)
    on_exit(fn -> Enum.each([a, b], &Cluster.node_down/1) end)

    for {node, key} <- [{a, 1}, {b, 2}],
        do: {:ok, _} = tracker(node, :track, [idle(node), "room", key, %{}])

    Process.sleep(500)
    Cluster.connect([a, b])
    for node <- [a, b], do: Wait.until(fn -> keys(node, "room") == [1, 2] end)
  end

  test "a netsplit hides, the heal shows, and only what changed travels" do
    [a, b, c] = nodes([:a, :b, :c])

    for {node, key} <- [{a, 1}, {b, 2}, {c, 3}],
        do: tracker(node, :track, [idle(node), "room", key, %{}])

    for node <- [a, b, c], do: Wait.until(fn -> keys(node, "room") == [1, 2, 3] end)

    Cluster.split([a], [b, c])
    Wait.until(fn -> keys(a, "room") == [1] end)
    for node <- [b, c], do: Wait.until(fn -> keys(node, "room") == [2, 3] end)
    Wait.until(fn -> match?({_, [2, 3]}, diffs(a, "room")) end)
    {:ok, _} = tracker(a, :track, [idle(a), "room", 4, %{}])
    {:ok, _} = tracker(b, :track, [idle(b), "room", 5, %{}])
    Wait.until(fn -> keys(c, "room") == [2, 3, 5] end)

    Cluster.heal([a], [b, c])
    for node <- [a, b, c], do: Wait.until(fn -> keys(node, "room") == [1, 2, 3, 4, 5] end)
    Wait.until(fn -> match?({[1, 2, 2, 3, 3, 4, 5], [2, 3]}, diffs(a, "room")) end)
  end

  test "a node that was paused takes in what has arrived before it hides anyone" do
    [a] = nodes([:a], Keyword.merge(@fast, broadcast_period: 20))
    [b] = nodes([:b], Keyword.merge(@fast, broadcast_period: 300))
    Cluster.connect([a, b])
    {:ok, _} = tracker(b, :track, [idle(b), "room", 1, %{}])
    Wait.until(fn -> keys(a, "room") == [1] end)
    replicator = :"#{@name}_replicator"

    # Its timer fires while it stands still, before most of the heartbeats come.
    :ok = Cluster.call(a, :sys, :suspend, [replicator])
    Process.sleep(1_600)
    :ok = Cluster.call(a, :sys, :resume, [replicator])
    Process.sleep(500)
    assert keys(a, "room") == [1]
    assert diffs(a, "room") == {[1], []}
  end

  test "a tracker that crashes takes no data of other nodes, and comes back" do
    [a, b] = nodes([:a, :b])
    {:ok, _} = tracker(a, :track, [idle(a), "room", 1, %{}])
    {:ok, _} = tracker(b, :track, [idle(b), "room", 2, %{}])
    for node <- [a, b], do: Wait.until(fn -> keys(node, "room") == [1, 2] end)

    {supervisor, _} = a.tracker
    Cluster.call(a, Process, :exit, [supervisor, :kill])
    Wait.until(fn -> keys(b, "room") == [2] end)
    # Its processes die one after the other, and with each a name.
    Wait.until(fn -> not Enum.any?(Cluster.call(a, Process, :registered, []), &tracker?/1) end)

    a = %{a | tracker: Cluster.call(a, Cluster, :start_tracker, [@fast])}
    Wait.until(fn -> keys(a, "room") == [2] end)
    {:ok, _} = tracker(a, :track, [idle(a), "room", 3, %{}])
    Wait.until(fn -> keys(b, "room") == [2, 3] end)
  end

  test "a node that restarts leaves no ghosts" do
    [a, b] = nodes([:a, :b], [node_name: nil] ++ @fast)
    {:ok, _} = tracker(a, :track, [idle(a), "room", 1, %{}])
    Wait.until(fn -> keys(b, "room") == [1] end)
    Cluster.node_down(a)
    Wait.until(fn -> keys(b, "room") == [] end)
    again = up(:again, [node_name: a.node] ++ @fast)
    Cluster.connect([again, b])
    {:ok, _} = tracker(again, :track, [idle(again), "room", 2, %{}])
    Wait.until(fn -> keys(b, "room") == [2] end)
    assert [{_, true}] = tracker(b, :replicas, [])
  end

  test "graceful_permdown and permdown_on_shutdown leave at once" do
    [a, b, c] = nodes([:a, :b, :c], [permdown_on_shutdown: true] ++ @fast)
    for {node, key} <- [{a, 1}, {b, 2}], do: tracker(node, :track, [idle(node), "room", key, %{}])
    Wait.until(fn -> keys(c, "room") == [1, 2] end)
    :ok = tracker(a, :graceful_permdown, [])
    Wait.until(fn -> keys(c, "room") == [2] end)
    {supervisor, _} = b.tracker
    Cluster.call(b, Supervisor, :stop, [supervisor, :shutdown])
    Wait.until(fn -> keys(c, "room") == [] end)
    Wait.until(fn -> tracker(c, :replicas, []) == [] end)
    Wait.until(fn -> diffs(c, "room") == {[1, 2], [1, 2]} end)
  end

  test "a node that stays away is forgotten" do
    [a, b] =
      nodes(
        [:a, :b],
        [down_period: 300, permdown_period: 600] ++
          Keyword.take(@fast, [:name, :broadcast_period])
      )

    {:ok, _} = tracker(a, :track, [idle(a), "room", 1, %{}])
    Wait.until(fn -> keys(b, "room") == [1] end)
    Cluster.split([a], [b])
    Wait.until(fn -> keys(b, "room") == [] end)
    Wait.until(fn -> tracker(b, :replicas, []) == [] end)
    Wait.until(fn -> tracker(b, :size, []) == 0 end)
    Wait.until(fn -> diffs(b, "room") == {[1], [1]} end)
    Cluster.heal([a], [b])
    Wait.until(fn -> keys(b, "room") == [1] end)
  end

  test "a process of another node is tracked here, and leaves when it dies or its node goes" do
    [a, b] = nodes([:a, :b])
    [one, two] = [idle(b), idle(b)]
    {:ok, _} = tracker(a, :track, [one, "room", 1, %{}])
    {:ok, _} = tracker(a, :track, [two, "room", 2, %{}])
    Wait.until(fn -> keys(b, "room") == [1, 2] end)
    assert [{^one, _}] = tracker(a, :get_by_key, ["room", 1])
    Cluster.call(b, Process, :exit, [one, :kill])
    Wait.until(fn -> keys(a, "room") == [2] end)
    Cluster.node_down(b)
    Wait.until(fn -> keys(a, "room") == [] end)
  end

  test "with JSON a pid is a pid on all nodes" do
    [a, b] = nodes([:a, :b], [codec: :json] ++ @fast)
    pid = idle(a)
    {:ok, ref} = tracker(a, :track, [pid, "room", "ann", %{n: 1}])
    meta = %{"n" => 1, phx_ref: ref}
    Wait.until(fn -> tracker(b, :get_by_key, ["room", "ann"]) == [{pid, meta}] end)
    Cluster.call(a, Process, :exit, [pid, :kill])
    Wait.until(fn -> keys(b, "room") == [] end)
  end

  test "a rolling replacement of all nodes loses nobody who is there" do
    nodes = nodes([:a, :b, :c])

    for {node, n} <- Enum.with_index(nodes),
        do: tracker(node, :track, [idle(node), "room", n, %{}])

    Enum.reduce(3..5, nodes, fn n, [old | rest] ->
      new = up(:new)
      Cluster.connect([new | rest])
      {:ok, _} = tracker(new, :track, [idle(new), "room", n, %{}])
      Cluster.node_down(old)
      rest = rest ++ [new]
      for node <- rest, do: Wait.until(fn -> keys(node, "room") == Enum.to_list((n - 2)..n) end)
      rest
    end)
  end

  test "one name twice: one of the two is heard, the third node goes on" do
    [a, b] = nodes([:a, :b], [node_name: "same"] ++ @fast)
    {:ok, _} = tracker(a, :track, [idle(a), "room", 1, %{}])
    {:ok, _} = tracker(b, :track, [idle(b), "room", 2, %{}])
    c = up(:c)
    Cluster.connect([a, b, c])
    {:ok, _} = tracker(c, :track, [idle(c), "room", 3, %{}])
    Wait.until(fn -> keys(c, "room") in [[1, 3], [2, 3]] end)
    assert [{"same", true}] = tracker(c, :replicas, [])
    assert 1 in keys(a, "room")
    assert 2 in keys(b, "room")
  end

  test "pools of different sizes work together" do
    a = up(:a, [pool_size: 1] ++ @fast)
    b = up(:b, [pool_size: 5] ++ @fast)
    on_exit(fn -> Enum.each([a, b], &Cluster.node_down/1) end)
    Cluster.connect([a, b])
    pid = idle(a)
    for n <- 1..100, do: tracker(a, :track, [pid, "room#{n}", n, %{}])
    Wait.until(fn -> tracker(b, :size, []) == 100 end)
    for n <- 1..100, do: Wait.until(fn -> diffs(b, "room#{n}") == {[n], []} end)
  end

  test "three nodes and a hundred thousand presences agree" do
    nodes = nodes([:a, :b, :c])

    for {node, i} <- Enum.with_index(nodes) do
      range = (i * 33_334 + 1)..min((i + 1) * 33_334, 100_000)
      Cluster.call(node, Cluster, :track_many, [@name, "room", range])
    end

    for node <- nodes, do: Wait.until(fn -> tracker(node, :count, ["room"]) == 100_000 end, 2_000)
    [a | _] = nodes
    exactly = %Headcount.Keys{at_least: 100_000, at_most: 100_000}
    assert tracker(a, :count_keys, ["room"]) == exactly
    assert keys(a, "room") == Enum.to_list(1..100_000)
  end
end
