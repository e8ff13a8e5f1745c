defmodule Headcount.Transport.NATS do
  @moduledoc """
  NATS, for nodes without Erlang distribution between them.

      Headcount.Tracker.start_link(MyTracker, [],
        name: MyTracker,
        transport: {Headcount.Transport.NATS, servers: "nats://127.0.0.1:4222"}
      )

  The NIF of a release has the client in it; one that is built from source needs
  `HEADCOUNT_NIF_FEATURES=nats`. A lost connection is made again. When there is none at the start, whatever the reason,
  the tracker starts, the reason is logged, and the next attempt follows, at last every two seconds. A user that may not
  subscribe or publish does not connect. What the server refuses later counts as frames that were not sent, and the
  first refusal is logged. A server that stalls stops no tracker: frames that it does not take are dropped and counted.

  Frames are as long as the `max_payload` of the server lets them be, and no longer than 256 KiB. Peers are not trusted:
  their terms create no atoms. In mode `:interest` each partition has a subject of its own; a node that wants
  more than 4,096 subscribes to all of them.

  ## Options

    * `:servers` - one address or several, separated by commas; `"nats://127.0.0.1:4222"` by default
    * `:credentials` - a file with the JWT and the seed of a user, as `nsc` writes it
    * `:user` and `:password` - may stand in the address too
    * `:token`
    * `:nkey` - the seed of an NKey
    * `:tls` - whether a connection without TLS is refused; it is too with any of the following
    * `:tls_first` - whether TLS begins before the server speaks (its option `handshake_first`)
    * `:tls_ca` - a PEM file of root certificates, instead of those of the system
    * `:tls_cert` and `:tls_key` - PEM files with the certificate of this client and its key
  """

  @behaviour Headcount.Transport

  require Logger
  alias Headcount.Native

  @default [
    credentials: nil,
    user: nil,
    password: nil,
    token: nil,
    nkey: nil,
    tls: false,
    tls_first: false,
    tls_ca: nil,
    tls_cert: nil,
    tls_key: nil
  ]

  @impl true
  def init(cluster, options) do
    {servers, options} = Keyword.pop(options, :servers, "nats://127.0.0.1:4222")

    with :ok <- check([servers: servers] ++ options) do
      options = Map.new(Keyword.merge(@default, options))

      case Native.nats_connect(servers, cluster, options, self()) do
        {:ok, connection} -> {:ok, connection}
        {:error, message} -> {:error, message}
        :not_built -> {:error, "the NIF was built without nats: set HEADCOUNT_NIF_FEATURES=nats"}
      end
    end
  end

  # The value of an option may be a secret, so no message has it.
  defp check(options) do
    Enum.find_value(options, :ok, fn
      {flag, value} when flag in [:tls, :tls_first] ->
        if not is_boolean(value), do: {:error, "#{flag} of NATS is true or false"}

      {name, value} ->
        cond do
          name != :servers and not Keyword.has_key?(@default, name) ->
            {:error, "NATS has no option #{inspect(name)}"}

          not (is_binary(value) or (is_nil(value) and name != :servers)) ->
            {:error, "#{name} of NATS is a string"}

          true ->
            nil
        end
    end)
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
  def handle_info({:headcount_nats, :error, message}, connection) do
    Logger.warning("NATS: #{message}")
    {:ok, connection}
  end

  def handle_info({:headcount_nats, from, :gone}, connection), do: {:gone, from, connection}

  def handle_info({:headcount_nats, from, frame}, connection),
    do: {:frame, from, frame, connection}

  def handle_info(_message, _connection), do: :unknown

  @impl true
  def trusted?(_connection), do: false
end
