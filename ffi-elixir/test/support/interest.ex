defmodule Headcount.Test.Interest do
  @moduledoc false
  # Trackers in the mode `:interest`, and processes that watch.

  import ExUnit.Assertions
  import ExUnit.Callbacks

  alias Headcount.Test.{Cluster, Diffs, Wait}
  alias Headcount.Tracker

  # Options of trackers that notice soon what others do, and stop doing.
  def fast do
    [
      mode: :interest,
      partitions: 4_096,
      broadcast_period: 50,
      down_period: 1_000,
      permdown_period: 60_000,
      unwatch_after: 300
    ]
  end

  # Trackers of one cluster on this node, over Erlang distribution or a transport.
  def pair(names, options \\ []) do
    for name <- names do
      options = Keyword.merge(fast(), [name: name, cluster: "pair", node_name: name] ++ options)
      start_supervised!({Diffs, [to: self()] ++ options}, id: name)
    end

    Wait.until(fn -> Enum.all?(names, &Tracker.synced?/1) end)
    Wait.until(fn -> Enum.all?(names, &(length(Tracker.replicas(&1)) >= length(names) - 1)) end)
  end

  # Nodes of one cluster, each with a tracker.
  def nodes_up(names, options) do
    Cluster.start()
    nodes = for name <- names, do: Cluster.node_up(name)
    Cluster.connect(nodes)

    nodes =
      for node <- nodes do
        if server = options[:pubsub_server],
          do: {:ok, _} = Cluster.call(node, Cluster, :start_pub_sub, [server])

        Map.put(node, :tracker, Cluster.call(node, Cluster, :start_tracker, [options]))
      end

    for node <- nodes do
      call = &Cluster.call(node, Tracker, &1, [options[:name]])
      up = fn -> Enum.count(call.(:replicas), fn {_, up?} -> up? end) end
      Wait.until(fn -> call.(:synced?) and up.() == length(nodes) - 1 end)
    end

    nodes
  end

  # A process that watches topics, or their counts, and passes on what it gets.
  def watcher(name, topics, watch \\ &Tracker.watch/2) do
    test = self()

    pid =
      spawn(fn ->
        for topic <- topics, do: :ok = watch.(name, topic)
        send(test, {self(), :watches})
        pass_on(test)
      end)

    assert_receive {^pid, :watches}
    pid
  end

  defp pass_on(test) do
    receive do
      {:do, fun} -> send(test, {self(), :answer, fun.()})
      message -> send(test, {self(), message})
    end

    pass_on(test)
  end

  def in_process(pid, fun) do
    send(pid, {:do, fun})
    assert_receive {^pid, :answer, answer}
    answer
  end

  def kill(pid) do
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, _, _, _}
  end
end
