defmodule Headcount.Test.Cluster do
  @moduledoc false
  # Nodes of this machine, with the code of this one.

  # Starts distribution, so that this node can have peers.
  def start do
    {_, 0} = System.cmd("epmd", ["-daemon"])
    name = :"headcount_#{System.pid()}"

    case :net_kernel.start([name, :shortnames]) do
      {:ok, _} -> :ok
      {:error, {:already_started, _}} -> :ok
    end
  end

  # Starts a node, which stops with the test.
  def node_up(name) do
    {:ok, peer, node} =
      :peer.start(%{
        name: :"#{name}_#{System.pid()}_#{System.unique_integer([:positive])}",
        connection: :standard_io,
        args:
          Enum.map(
            ["-setcookie", to_string(Node.get_cookie()), "-connect_all", "false"],
            &to_charlist/1
          )
      })

    :ok = call(peer, :code, :add_paths, [:code.get_path()])
    {:ok, _} = call(peer, :application, :ensure_all_started, [:headcount])
    true = call(peer, Code, :ensure_loaded?, [Headcount.Test.Diffs])
    ExUnit.Callbacks.on_exit(fn -> node_down(%{peer: peer}) end)
    %{peer: peer, node: node}
  end

  # Stops a node that may be stopped already.
  def node_down(%{peer: peer}) do
    :peer.stop(peer)
  catch
    :exit, _ -> :ok
  end

  # Not over distribution, so that a netsplit does not stop the test.
  def call(%{peer: peer}, module, function, args), do: call(peer, module, function, args)
  def call(peer, module, function, args), do: :peer.call(peer, module, function, args, 60_000)

  def connect(nodes), do: pairs(nodes, &call(&1, :net_kernel, :connect_node, [&2.node]))

  def split(a, b) do
    for one <- a, other <- b do
      # A cookie that is wrong keeps them apart.
      call(one, :erlang, :set_cookie, [other.node, :apart])
      call(other, :erlang, :set_cookie, [one.node, :apart])
      call(one, :erlang, :disconnect_node, [other.node])
    end
  end

  def heal(a, b) do
    for one <- a, other <- b do
      call(one, :erlang, :set_cookie, [other.node, Node.get_cookie()])
      call(other, :erlang, :set_cookie, [one.node, Node.get_cookie()])
      true = call(one, :net_kernel, :connect_node, [other.node])
    end
  end

  # Runs in a peer: a process that lives until it is told.
  def spawn_idle, do: spawn(fn -> receive(do: (:stop -> :ok)) end)
  def spawn_idle(count), do: for(_ <- 1..count, do: spawn_idle())

  # Runs in a peer: many entries of one process.
  def track_many(name, topic, range) do
    pid = spawn_idle()
    for n <- range, do: {:ok, _} = Headcount.Tracker.track(name, pid, topic, n, %{n: n})
    pid
  end

  # Runs in a peer: a process that comes and goes.
  def write_without_pause(name, topic) do
    spawn(fn -> Enum.each(Stream.cycle(1..100), &come_and_go(name, topic, &1)) end)
  end

  defp come_and_go(name, topic, key) do
    {:ok, _} = Headcount.Tracker.track(name, self(), topic, key, %{})
    :ok = Headcount.Tracker.untrack(name, self(), topic, key)
  end

  # Runs in a peer: a server of Phoenix.PubSub that lives longer than the call.
  def start_pub_sub(server) do
    parent = self()

    spawn(fn ->
      send(parent, {:started, Phoenix.PubSub.start_link(server)})
      Process.sleep(:infinity)
    end)

    receive(do: ({:started, started} -> started))
  end

  # Runs in a peer: notes to whom the frames go that it is sent as well.
  def spy(server, topic) do
    {:ok, frames} = Agent.start(fn -> [] end)

    spawn(fn ->
      :ok = Phoenix.PubSub.subscribe(server, topic)
      note(frames)
    end)

    frames
  end

  defp note(frames) do
    receive do
      {Headcount.Transport.PubSub, _from, to, _frame} -> Agent.update(frames, &[to | &1])
    end

    note(frames)
  end

  # Runs in a peer: a process that watches a topic, or its counts, and another one with what it is told.
  def watch(name, topic, function \\ :watch) do
    {:ok, told} = Agent.start(fn -> [] end)

    pid =
      spawn(fn ->
        :ok = apply(Headcount.Tracker, function, [name, topic])
        keep(told)
      end)

    {pid, told}
  end

  defp keep(told) do
    receive(do: (message -> Agent.update(told, &(&1 ++ [message]))))
    keep(told)
  end

  # Runs in a peer: a process with the number of frames of each kind that the tracker receives from now on.
  def count_frames(name) do
    {:ok, counts} = Agent.start(fn -> %{} end)
    parent = self()

    spawn(fn ->
      1 = :erlang.trace(Process.whereis(:"#{name}_replicator"), true, [:receive])
      send(parent, :traces)
      count(counts)
    end)

    receive(do: (:traces -> counts))
  end

  # Runs in a peer: a process with the nodes that the tracker receives frames of from now on.
  def senders(name) do
    {:ok, nodes} = Agent.start(fn -> [] end)
    parent = self()

    spawn(fn ->
      1 = :erlang.trace(Process.whereis(:"#{name}_replicator"), true, [:receive])
      send(parent, :traces)
      note_senders(nodes)
    end)

    receive(do: (:traces -> nodes))
  end

  defp note_senders(nodes) do
    receive do
      {:trace, _, :receive, {Headcount.Transport.PG, pid, frame}} when is_binary(frame) ->
        Agent.update(nodes, &Enum.uniq([node(pid) | &1]))

      _other ->
        :ok
    end

    note_senders(nodes)
  end

  defp count(counts) do
    receive do
      {:trace, _, :receive, message} ->
        with <<"HC", _version::16, kind, _rest::binary>> <- last(message),
             do: Agent.update(counts, &Map.update(&1, kind, 1, fn count -> count + 1 end))
    end

    count(counts)
  end

  defp last(message) when is_tuple(message) and tuple_size(message) > 0,
    do: elem(message, tuple_size(message) - 1)

  defp last(_message), do: nil

  # Runs in a peer: a tracker that lives longer than the call. Its diffs are kept in a process.
  def start_tracker(options) do
    {:ok, diffs} = Agent.start(fn -> %{} end)
    test = diffs

    on_diff = fn diff -> Agent.update(test, &Map.merge(&1, diff, fn _, a, b -> add(a, b) end)) end
    parent = self()

    spawn(fn ->
      # A start that fails is an answer too.
      Process.flag(:trap_exit, true)
      options = [on_diff: on_diff, log_level: false] ++ options
      send(parent, {:started, Headcount.Test.Diffs.start_link(options)})
      Process.sleep(:infinity)
    end)

    receive do
      {:started, {:ok, supervisor}} -> {supervisor, diffs}
      {:started, error} -> raise "no tracker: #{inspect(error)}"
    end
  end

  defp add({j, l}, {more_j, more_l}), do: {j ++ more_j, l ++ more_l}

  defp pairs(nodes, fun) do
    for {a, i} <- Enum.with_index(nodes), {b, j} <- Enum.with_index(nodes), i < j, do: fun.(a, b)
  end
end
