defmodule Headcount.PubSubTest do
  # Trackers over `Phoenix.PubSub`, on this node and on several.
  use ExUnit.Case, async: false

  alias Headcount.Test.{Cluster, Diffs, Wait}
  alias Headcount.Tracker

  @name :pub_sub_tracker
  @server __MODULE__.Server
  @options [pubsub_server: @server, broadcast_period: 100, down_period: 600_000] ++
             [permdown_period: 1_200_000]

  test "a part of the server that restarts is subscribed again" do
    start_supervised!(%{id: :server, start: {Phoenix.PubSub, :start_link, [@server]}})

    for name <- [:a, :b] do
      options = [name: name, cluster: "pair", node_name: name] ++ @options
      start_supervised!({Diffs, options}, id: name)
    end

    {:ok, _} = Tracker.track(:a, self(), "room", 1, %{})
    Wait.until(fn -> Tracker.count(:b, "room") == 1 end)
    replicators = for name <- [:a, :b], do: Process.whereis(:"#{name}_replicator")

    for round <- 2..4 do
      for {_, pid, _, _} <- Supervisor.which_children(@server), do: Process.exit(pid, :kill)
      {:ok, _} = Tracker.track(:a, self(), "room", round, %{})
      Wait.until(fn -> Tracker.count(:b, "room") == round end)
    end

    assert replicators == for(name <- [:a, :b], do: Process.whereis(:"#{name}_replicator"))
  end

  describe "several nodes" do
    @describetag :cluster

    setup do
      Cluster.start()
      nodes = for name <- [:a, :b, :c], do: Cluster.node_up(name)
      Cluster.connect(nodes)
      for node <- nodes, do: {:ok, _} = Cluster.call(node, Cluster, :start_pub_sub, [@server])
      {:ok, nodes: nodes}
    end

    defp start(node), do: Cluster.call(node, Cluster, :start_tracker, [[name: @name] ++ @options])
    defp count(node), do: Cluster.call(node, Tracker, :count, [@name, "room"])

    test "frames for one node go to that node only", %{nodes: [a, b, spy]} do
      frames = Cluster.call(spy, Cluster, :spy, [@server, "headcount:#{inspect(@name)}"])
      start(a)
      Cluster.call(a, Cluster, :track_many, [@name, "room", 1..2_000])
      start(b)
      Wait.until(fn -> count(b) == 2_000 end)
      addresses = Cluster.call(spy, Agent, :get, [frames, Function, :identity, []])
      assert Enum.uniq(addresses) == [:all]
    end

    test "a node that disconnects is hidden at once", %{nodes: [a, b, _c]} do
      start(a)
      start(b)
      Cluster.call(a, Cluster, :track_many, [@name, "room", 1..10])
      Wait.until(fn -> count(b) == 10 end)
      Cluster.split([a], [b])
      Wait.until(fn -> count(b) == 0 end)
      Cluster.heal([a], [b])
      Wait.until(fn -> count(b) == 10 end)
    end
  end
end
