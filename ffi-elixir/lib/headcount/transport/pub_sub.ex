defmodule Headcount.Transport.PubSub do
  @moduledoc """
  `Phoenix.PubSub`, named by the option `pubsub_server` of a tracker.

  Phoenix is called at run time: this package does not depend on it. A frame for one peer is sent to its node
  only. With the adapter that uses Erlang distribution (`Phoenix.PubSub.PG2`, the default one) peers are
  trusted, and a broken connection hides their entries at once; with any other adapter they are not trusted.

  In mode `:interest` frames of a partition go to the nodes that watch it through process groups of Erlang
  distribution, as those of `Headcount.Transport.PG`, with the same option `:groups_max`: a broadcast of
  `Phoenix.PubSub` reaches every node, whatever its topic. With an adapter that does not use Erlang distribution they
  are broadcast, and nodes that do not watch the partition drop them: the mode then saves memory and work, no
  traffic.
  """

  @behaviour Headcount.Transport

  alias Headcount.Transport.Groups

  # Peers whose nodes are remembered; frames for others go to all nodes.
  @peers_max 10_000
  @retry_ms 100

  @impl true
  def init(cluster, options) do
    server = Keyword.fetch!(options, :server)
    node = pubsub(:node_name, [server])
    topic = "headcount:" <> cluster

    state = %{
      server: server,
      topic: topic,
      # `nil` where frames of a partition are broadcast.
      groups: nil,
      node: node,
      address: "#{node}/#{Base.url_encode64(:crypto.strong_rand_bytes(9))}",
      # Nodes by address, and addresses of processes that are monitored.
      peers: %{},
      monitored: %{}
    }

    with :ok <- subscribe_server(state),
         {:ok, groups} <- Groups.new({__MODULE__, server, topic}, options) do
      {:ok, if(trusted?(state), do: %{state | groups: groups}, else: state)}
    end
  end

  @impl true
  def transmit({:group, partition} = to, frame, %{groups: %{} = groups} = state) do
    message = message(to, frame, state)

    # A slow or broken connection loses frames; it delays no other peer.
    for pid <- Groups.members(groups, partition),
        do: Process.send(pid, message, [:noconnect, :nosuspend])

    state
  end

  def transmit(to, frame, state) do
    message = message(to, frame, state)

    case state.peers do
      %{^to => node} ->
        pubsub(:direct_broadcast, [node, state.server, state.topic, message])

      _unknown_or_all ->
        pubsub(:broadcast_from, [state.server, self(), state.topic, message])
    end

    state
  end

  defp message(to, frame, state),
    do: {__MODULE__, {state.address, state.node, self()}, to, frame}

  @impl true
  def subscribe(_partition, %{groups: nil} = state), do: state

  def subscribe(partition, state),
    do: %{state | groups: Groups.subscribe(state.groups, partition)}

  @impl true
  def unsubscribe(_partition, %{groups: nil} = state), do: state

  def unsubscribe(partition, state),
    do: %{state | groups: Groups.unsubscribe(state.groups, partition)}

  @impl true
  def handle_info({__MODULE__, {address, _node, _pid}, _to, _frame}, %{address: address} = state),
    do: {:ok, state}

  def handle_info({__MODULE__, {from, node, pid}, to, frame}, %{address: address} = state) do
    state = meet(from, node, pid, state)

    if to in [:all, address] or match?({:group, _}, to),
      do: {:frame, from, frame, state},
      else: {:ok, state}
  end

  def handle_info({:DOWN, _ref, :process, pid, _reason}, %{monitored: monitored} = state)
      when is_map_key(monitored, pid) do
    {address, monitored} = Map.pop!(monitored, pid)
    {:gone, address, %{state | monitored: monitored, peers: Map.delete(state.peers, address)}}
  end

  # A part of the server that restarts has lost the subscription; it was linked to this process.
  def handle_info({:EXIT, pid, _reason}, state) when is_pid(pid),
    do: {:ok, subscribe_again(state)}

  def handle_info({__MODULE__, :subscribe}, state), do: {:ok, subscribe_again(state)}
  def handle_info(_message, _state), do: :unknown

  @impl true
  def trusted?(state) do
    match?({:ok, {Phoenix.PubSub.PG2, _name}}, Registry.meta(state.server, :pubsub))
  end

  defp meet(address, _node, _pid, %{peers: peers} = state)
       when is_map_key(peers, address) or map_size(peers) >= @peers_max,
       do: state

  defp meet(address, node, pid, state) do
    state = put_in(state.peers[address], node)

    if trusted?(state) do
      Process.monitor(pid)
      put_in(state.monitored[pid], address)
    else
      state
    end
  end

  defp subscribe_again(state) do
    pubsub(:unsubscribe, [state.server, state.topic])
    :ok = subscribe_server(state)
    state
  rescue
    # The server is not back yet.
    ArgumentError ->
      Process.send_after(self(), {__MODULE__, :subscribe}, @retry_ms)
      state
  end

  defp subscribe_server(state), do: pubsub(:subscribe, [state.server, state.topic])

  defp pubsub(function, args), do: apply(Phoenix.PubSub, function, args)
end
