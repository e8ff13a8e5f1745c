defmodule Headcount.Transport.PG do
  @moduledoc """
  Erlang distribution: the trackers of one cluster find each other through a `:pg` group.

  A broken connection to a node hides its entries at once; a new connection is used at once.

  In mode `:interest` each partition has a group of its own. To join one costs a message to every node, so a node
  that wants more than `:groups_max` partitions (4,096) joins a group of all instead:

      transport: {Headcount.Transport.PG, groups_max: 1_000}

  ## Partial meshes

  Frames go to the nodes that this one is connected to. Where not all nodes are connected to each other, as with
  `-connect_all false`, the option `relay: true` of all trackers has nodes pass frames on. It also allows to choose
  among connected nodes: `:neighbours` is a list of nodes, and two nodes exchange frames if one of them lists the
  other.

      Headcount.Tracker.start_link(MyTracker, [],
        name: MyTracker,
        relay: true,
        transport: {Headcount.Transport.PG, neighbours: [:"web-2@host", :"web-3@host"]}
      )
  """

  @behaviour Headcount.Transport

  alias Headcount.Transport.Groups

  @scope __MODULE__
  # First and last wait for the groups of a new node.
  @greet_ms 10
  @greet_ms_max 2_000

  @impl true
  def init(cluster, options) do
    group = {__MODULE__, cluster}

    with {:ok, neighbours} <- neighbours(options[:neighbours]),
         {:ok, groups} <- Groups.new(group, options) do
      :ok = :net_kernel.monitor_nodes(true)
      :ok = :pg.join(@scope, group, self())
      state = %{group: group, groups: groups, monitors: %{}, hello: nil, neighbours: neighbours}
      {:ok, state}
    end
  end

  defp neighbours(nil), do: {:ok, :all}

  defp neighbours(nodes) do
    if is_list(nodes) and Enum.all?(nodes, &is_atom/1),
      do: {:ok, MapSet.new(nodes)},
      else: {:error, "neighbours must be a list of nodes"}
  end

  # One that has sent a frame lists this node.
  defp neighbour?(_pid, %{neighbours: :all}), do: true

  defp neighbour?(pid, state),
    do: node(pid) in state.neighbours or is_map_key(state.monitors, address(pid))

  @impl true
  def transmit(:all, frame, state) do
    for pid <- :pg.get_members(@scope, state.group), pid != self(), neighbour?(pid, state) do
      send_frame(pid, frame)
    end

    if hello?(frame), do: %{state | hello: frame}, else: state
  end

  def transmit({:group, partition}, frame, state) do
    for pid <- Groups.members(state.groups, partition), do: send_frame(pid, frame)
    state
  end

  def transmit(address, frame, state) do
    case Map.fetch(state.monitors, address) do
      {:ok, pid} -> send_frame(pid, frame)
      :error -> :ok
    end

    state
  end

  @impl true
  def subscribe(partition, state),
    do: %{state | groups: Groups.subscribe(state.groups, partition)}

  @impl true
  def unsubscribe(partition, state),
    do: %{state | groups: Groups.unsubscribe(state.groups, partition)}

  @impl true
  def handle_info({__MODULE__, pid, frame}, state) do
    address = address(pid)

    if is_map_key(state.monitors, address) do
      {:frame, address, frame, state}
    else
      Process.monitor(pid)
      # Before any answer: a peer introduces itself to one whose Hello is the first that it hears.
      introduce(pid, state)
      {:frame, address, frame, put_in(state.monitors[address], pid)}
    end
  end

  def handle_info({:DOWN, _ref, :process, pid, _reason}, state) do
    case Map.pop(state.monitors, address(pid)) do
      {nil, _monitors} -> :unknown
      {pid, monitors} -> {:gone, address(pid), %{state | monitors: monitors}}
    end
  end

  # The groups of a new node are known a little later. (`:pg.monitor/2` would report them, but in
  # OTP 25 it crashes when a member that monitors its own group exits.)
  def handle_info({:nodeup, node}, state), do: greet(node, @greet_ms, state)
  def handle_info({:nodedown, _node}, state), do: {:ok, state}
  def handle_info({__MODULE__, :greet, node, wait}, state), do: greet(node, wait, state)
  def handle_info(_message, _state), do: :unknown

  # Small enough for several to fit into the buffer of a connection.
  @impl true
  def frame_max, do: 64 * 1024

  @impl true
  def trusted?(_state), do: true

  defp hello?(<<"HC", _version::16, 1, _rest::binary>>), do: true
  defp hello?(_frame), do: false

  # The Hello of this node, which it sends at its start, makes the new member introduce itself.
  defp greet(node, wait, state) do
    case Enum.filter(:pg.get_members(@scope, state.group), &(node(&1) == node)) do
      [] when wait <= @greet_ms_max ->
        Process.send_after(self(), {__MODULE__, :greet, node, wait * 2}, wait)

      members ->
        for pid <- members, neighbour?(pid, state), do: introduce(pid, state)
    end

    {:ok, state}
  end

  defp introduce(pid, state), do: if(state.hello, do: send_frame(pid, state.hello))

  # A slow or broken connection loses frames; it delays no other peer.
  defp send_frame(pid, frame) do
    Process.send(pid, {__MODULE__, self(), frame}, [:noconnect, :nosuspend])
  end

  defp address(pid), do: pid |> :erlang.pid_to_list() |> List.to_string()
end
