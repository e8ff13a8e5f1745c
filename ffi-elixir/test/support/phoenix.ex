# What Headcount calls of Phoenix at run time, as small as it can be: the real one is a Hex package
# and this project has none. It refuses what the real one refuses.
defmodule Phoenix.PubSub.PG2 do
  @moduledoc false
  # The adapter: one process a node, which passes messages of other nodes on to its registry.
  use GenServer

  def start_link({server, name}), do: GenServer.start_link(__MODULE__, server, name: name)

  @impl true
  def init(server) do
    :ok = :pg.join(Phoenix.PubSub, server, self())
    {:ok, server}
  end

  @impl true
  def handle_info({:forward_to_local, topic, message, dispatcher}, server) do
    Phoenix.PubSub.local_broadcast(server, topic, message, dispatcher)
    {:noreply, server}
  end
end

defmodule Phoenix.PubSub do
  @moduledoc false

  def start_link(server) do
    name = Module.concat(server, Adapter)

    children = [
      %{id: :pg, start: {__MODULE__, :start_pg, []}},
      {Registry, keys: :duplicate, name: server, meta: [pubsub: {__MODULE__.PG2, name}]},
      {__MODULE__.PG2, {server, name}}
    ]

    Supervisor.start_link(children, strategy: :rest_for_one, max_restarts: 100)
  end

  # Several servers of a node share it.
  def start_pg do
    case :pg.start_link(__MODULE__) do
      {:error, {:already_started, _}} -> :ignore
      started -> started
    end
  end

  def node_name(server) when is_atom(server), do: node()

  def subscribe(server, topic) when is_binary(topic) do
    {:ok, _} = Registry.register(server, topic, nil)
    :ok
  end

  def unsubscribe(server, topic) when is_binary(topic), do: Registry.unregister(server, topic)

  def broadcast_from(server, from, topic, message) when is_pid(from) and is_binary(topic) do
    for pid <- :pg.get_members(__MODULE__, server), node(pid) != node() do
      send(pid, {:forward_to_local, topic, message, __MODULE__})
    end

    dispatch(Registry.lookup(server, topic), from, message)
  end

  def direct_broadcast(node, server, topic, message)
      when is_atom(node) and is_atom(server) and is_binary(topic) do
    {:ok, {_adapter, adapter}} = Registry.meta(server, :pubsub)
    send({adapter, node}, {:forward_to_local, topic, message, __MODULE__})
    :ok
  end

  def local_broadcast(server, topic, message, dispatcher \\ __MODULE__)
      when is_atom(server) and is_binary(topic) and is_atom(dispatcher) do
    dispatcher.dispatch(Registry.lookup(server, topic), :none, message)
    :ok
  end

  def dispatch(entries, from, message) do
    for {pid, _} <- entries, pid != from, do: send(pid, message)
    :ok
  end
end

defmodule Phoenix.Socket do
  @moduledoc false
  defstruct [:channel_pid, :topic]
end

defmodule Phoenix.Socket.Broadcast do
  @moduledoc false
  defstruct topic: nil, event: nil, payload: nil
end

defmodule Phoenix.Channel.Server do
  @moduledoc false

  alias Phoenix.Socket.Broadcast

  def local_broadcast(server, topic, event, payload)
      when is_binary(topic) and is_binary(event) and is_map(payload) do
    broadcast = %Broadcast{topic: topic, event: event, payload: payload}
    Phoenix.PubSub.local_broadcast(server, topic, broadcast, __MODULE__)
  end

  # A message that is no broadcast is a mistake of the sender.
  def dispatch(subscribers, from, %Broadcast{} = message) do
    Phoenix.PubSub.dispatch(subscribers, from, message)
  end
end
