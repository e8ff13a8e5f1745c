defmodule Headcount.RelayTest do
  # Partial meshes: five nodes of this machine in a ring, each of which talks to two others.
  use ExUnit.Case, async: false

  alias Headcount.Test.{Cluster, Diffs, Wait}
  alias Headcount.Tracker

  @name :relay_tracker
  @options [name: @name, relay: true, broadcast_period: 100, down_period: 1_500] ++
             [permdown_period: 60_000]

  describe "five nodes" do
    @describetag :cluster
    @describetag timeout: 120_000

    setup do
      Cluster.start()
      nodes = for name <- [:a, :b, :c, :d, :e], do: Cluster.node_up(name)
      {:ok, nodes: nodes}
    end

    # Pairs of a node and its successor, the last one and the first one too.
    defp ring(nodes), do: Enum.zip(nodes, tl(nodes) ++ [hd(nodes)])

    defp start(node, options),
      do: Cluster.call(node, Cluster, :start_tracker, [@options ++ options])

    defp track(node, key) do
      pid = Cluster.call(node, Cluster, :spawn_idle, [])
      {:ok, _} = Cluster.call(node, Tracker, :track, [@name, pid, "room", key, %{}])
    end

    defp keys(node) do
      entries = Cluster.call(node, Tracker, :list, [@name, "room"])
      Enum.sort(for {key, _} <- entries, do: key)
    end

    defp all_list(nodes, keys), do: Wait.until(fn -> Enum.all?(nodes, &(keys(&1) == keys)) end)

    test "that are connected in a ring see each other, lose a link and a node", %{nodes: nodes} do
      for {one, next} <- ring(nodes), do: Cluster.connect([one, next])
      for node <- nodes, do: start(node, [])
      for {node, key} <- Enum.zip(nodes, 1..5), do: track(node, key)
      all_list(nodes, [1, 2, 3, 4, 5])
      connected = for node <- nodes, do: length(Cluster.call(node, Node, :list, []))
      assert connected == [2, 2, 2, 2, 2]

      # The other way round the ring is left.
      [a, b, c, d, e] = nodes
      Cluster.split([a], [b])
      track(a, 6)
      track(b, 7)
      all_list(nodes, [1, 2, 3, 4, 5, 6, 7])
      Process.sleep(2_000)
      assert Enum.map(nodes, &keys/1) == List.duplicate([1, 2, 3, 4, 5, 6, 7], 5)

      # Two parts, each of which lists its own.
      Cluster.node_down(d)
      all_list([b, c], [2, 3, 7])
      all_list([a, e], [1, 5, 6])
      Cluster.heal([a], [b])
      all_list([a, b, c, e], [1, 2, 3, 5, 6, 7])
    end

    test "that choose their neighbours hear of no others", %{nodes: nodes} do
      Cluster.connect(nodes)

      for {node, next} <- ring(nodes),
          do: start(node, transport: {Headcount.Transport.PG, neighbours: [next.node]})

      for {node, key} <- Enum.zip(nodes, 1..5), do: track(node, key)
      all_list(nodes, [1, 2, 3, 4, 5])

      for node <- nodes, do: assert(length(Cluster.call(node, Node, :list, [])) == 4)
      spies = for node <- nodes, do: Cluster.call(node, Cluster, :senders, [@name])
      Process.sleep(1_000)
      [a, b, c, d, e] = for node <- nodes, do: node.node
      around = [[b, e], [a, c], [b, d], [c, e], [a, d]]

      for {node, spy, around} <- Enum.zip([nodes, spies, around]) do
        senders = Cluster.call(node, Agent, :get, [spy, Function, :identity, []])
        assert Enum.sort(senders) == Enum.sort(around)
      end
    end
  end

  test "options that are wrong" do
    for {options, message} <- [
          {[relay: 1], "relay must be true or false"},
          {[relay: true, mode: :interest], "relay is for the mode :all"}
        ] do
      assert {:error, text} = Tracker.start_link(Diffs, [], [name: :relay_wrong] ++ options)
      assert text =~ message
    end

    Process.flag(:trap_exit, true)
    transport = {Headcount.Transport.PG, neighbours: :all}
    options = [name: :relay_wrong, relay: true, transport: transport]
    assert {:error, {:shutdown, {_, _, reason}}} = Tracker.start_link(Diffs, [], options)
    assert reason == "neighbours must be a list of nodes"
  end
end
