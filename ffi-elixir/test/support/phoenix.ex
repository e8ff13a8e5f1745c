# What Headcount calls of Phoenix at run time, as small as it can be: the real one is a Hex package
# and this project has none.
defmodule Phoenix.PubSub do
  @moduledoc false

  def start_link(server) do
    Registry.start_link(keys: :duplicate, name: server, meta: [pubsub: {__MODULE__.PG2, server}])
  end

  def subscribe(server, topic) do
    {:ok, _} = Registry.register(server, topic, nil)
    :ok
  end

  def broadcast_from(server, from, topic, message) do
    for {pid, _} <- Registry.lookup(server, topic), pid != from, do: send(pid, message)
    :ok
  end
end

defmodule Phoenix.Socket do
  @moduledoc false
  defstruct [:channel_pid, :topic]
end

defmodule Phoenix.Channel.Server do
  @moduledoc false

  def local_broadcast(server, topic, event, payload) do
    for {pid, _} <- Registry.lookup(server, topic) do
      send(pid, %{event: event, topic: topic, payload: payload})
    end

    :ok
  end
end
