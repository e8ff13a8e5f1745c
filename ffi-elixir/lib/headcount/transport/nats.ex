defmodule Headcount.Transport.NATS do
  @moduledoc """
  NATS, for nodes without Erlang distribution between them.

      Headcount.Tracker.start_link(MyTracker, [],
        name: MyTracker,
        transport: {Headcount.Transport.NATS, servers: "nats://127.0.0.1:4222"}
      )

  The NIF of a release has the client in it; one that is built from source needs
  `HEADCOUNT_NIF_FEATURES=nats`. `:servers` is one address or several, separated by commas; a lost
  connection is made again. Frames are as long as the `max_payload` of the server lets them be, and no
  longer than 256 KiB. Peers are not trusted: their terms create no atoms. In mode `:interest` each
  partition has a subject of its own; a node that wants more than 4,096 subscribes to all of them.
  """

  @behaviour Headcount.Transport

  alias Headcount.Native

  @impl true
  def init(cluster, options) do
    servers = Keyword.get(options, :servers, "nats://127.0.0.1:4222")

    case Native.nats_connect(servers, cluster, self()) do
      {:ok, connection} -> {:ok, connection}
      {:error, message} -> {:error, message}
      :not_built -> {:error, "the NIF was built without nats: set HEADCOUNT_NIF_FEATURES=nats"}
    end
  end

  @impl true
  def transmit(to, frame, connection) do
    to =
      case to do
        :all -> nil
        {:group, partition} -> partition
        address -> address
      end

    Native.nats_send(connection, to, frame)
    connection
  end

  @impl true
  def unsent(connection), do: Native.nats_unsent(connection)

  @impl true
  def frame_max(connection), do: Native.nats_frame_max(connection)

  @impl true
  def subscribe(partition, connection), do: subscribe(partition, true, connection)

  @impl true
  def unsubscribe(partition, connection), do: subscribe(partition, false, connection)

  defp subscribe(partition, wanted?, connection) do
    if not Native.nats_subscribe(connection, partition, wanted?),
      do: raise("too many frames wait for the connection to NATS")

    connection
  end

  @impl true
  def handle_info({:headcount_nats, from, :gone}, connection), do: {:gone, from, connection}

  def handle_info({:headcount_nats, from, frame}, connection),
    do: {:frame, from, frame, connection}

  def handle_info(_message, _connection), do: :unknown

  @impl true
  def trusted?(_connection), do: false
end
