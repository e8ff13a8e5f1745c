defmodule Headcount.Tracker.Supervisor do
  @moduledoc false
  # Owns the presence of the NIF and the tables of owners and changes, which outlive all other processes.

  use Supervisor
  alias Headcount.Native
  alias Headcount.Tracker.{Config, Replicator, Shard}

  @doc false
  def start_link(module, arg, options) do
    with :ok <- callbacks(module),
         {:ok, options} <- Config.options(options),
         {:ok, presence} <- presence(options) do
      # The processes do not keep the secret in their states, which crash reports show.
      options = Keyword.delete(options, :key)
      Supervisor.start_link(__MODULE__, {module, arg, presence, options}, name: options[:name])
    end
  end

  @impl true
  def init({module, arg, presence, options}) do
    name = options[:name]
    pool_size = options[:pool_size]

    config = %Config{
      name: name,
      replica: Config.replica(options),
      presence: presence,
      owners: :ets.new(:owners, [:public, write_concurrency: true]),
      changes: :ets.new(:changes, [:public, :ordered_set]),
      # The frames that the transport has not sent, in all its lives.
      unsent: :counters.new(1, []),
      # The signals that wait for each shard, and the number of those that were dropped.
      signals: :counters.new(pool_size + 1, []),
      replicator: :"#{name}_replicator",
      shards: List.to_tuple(for n <- 0..(pool_size - 1), do: Config.shard_name(name, n)),
      pool_size: pool_size
    }

    Config.put(config)

    shards =
      for shard <- 0..(pool_size - 1) do
        args = {module, arg, shard, config, options[:link]}
        Supervisor.child_spec({Shard, args}, id: {Shard, shard}, restart: :transient)
      end

    # Callbacks that raise again and again restart their shard and nothing else.
    shard_supervisor = %{
      id: :shards,
      type: :supervisor,
      start:
        {Supervisor, :start_link,
         [shards, [strategy: :one_for_one, max_restarts: 1_000, max_seconds: 1]]}
    }

    # Both stop `:normal` after a goodbye.
    replicator = {Replicator, {config, Config.transport(options), options}}

    # The entries are lost only if this supervisor ends, so it allows many restarts.
    Supervisor.init([shard_supervisor, replicator],
      strategy: :one_for_one,
      max_restarts: 100,
      max_seconds: 10
    )
  end

  # One of them is needed, so the compiler asks for neither.
  defp callbacks(module) do
    if Code.ensure_loaded?(module) and
         Enum.any?(2..3, &function_exported?(module, :handle_diff, &1)),
       do: :ok,
       else: {:error, "#{inspect(module)} has neither handle_diff/2 nor handle_diff/3"}
  end

  defp presence(options) do
    {transport, _options} = Config.transport(options)
    <<seed::64>> = :crypto.strong_rand_bytes(8)
    replica = {Config.replica(options), seed}

    shared =
      {Config.cluster(options), options[:partitions], options[:mode] == :interest,
       options[:counts], options[:relay]}

    times =
      {options[:broadcast_period], options[:down_period], options[:permdown_period],
       options[:vacate_after], options[:ready_after], options[:unwatch_after], options[:grace]}

    own = {options[:link], options[:watch_tracked], Config.frame_max(transport), Config.now()}

    codec = Config.codec(options[:codec])

    case Native.presence_new(replica, shared, options[:key], times, own, codec) do
      {:error, {_what, message}} -> {:error, message}
      presence -> {:ok, presence}
    end
  end
end
