defmodule Headcount.Tracker.Config do
  @moduledoc false
  import Bitwise, only: [&&&: 2]

  # Checks the options of a tracker, and finds its parts by name.

  @enforce_keys [
    :name,
    :replica,
    :presence,
    :owners,
    :changes,
    :unsent,
    :signals,
    :replicator,
    :shards,
    :pool_size
  ]
  defstruct @enforce_keys

  @defaults [
    name: nil,
    cluster: nil,
    pubsub_server: nil,
    transport: nil,
    broadcast_period: 1_500,
    max_silent_periods: 10,
    down_period: nil,
    permdown_period: 20 * 60 * 1_000,
    partitions: 32,
    mode: :all,
    counts: false,
    unwatch_after: 30_000,
    watch_tracked: false,
    relay: false,
    vacate_after: 60_000,
    ready_after: 5_000,
    clock_sample_periods: 2,
    max_delta_sizes: [100, 1_000, 10_000],
    pool_size: 1,
    log_level: :debug,
    permdown_on_shutdown: false,
    report_events_to: nil,
    grace: 0,
    link: false,
    codec: :term,
    key: nil,
    node_name: nil
  ]

  # The longest name of a replica, in bytes, in all languages.
  @name_max 64

  # The length of the secret of a cluster, in bytes, in all languages.
  @key_bytes 16
  @partitions_max 65_536
  # Each has another one of counts.
  @counted_partitions_max 32_768

  # The longest time in milliseconds: 8,900 years, which the NIF counts in microseconds of 64 bits.
  @time_max 0xFFFF_FFFF_FFFF
  @times [
    :broadcast_period,
    :down_period,
    :permdown_period,
    :unwatch_after,
    :vacate_after,
    :ready_after,
    :grace
  ]

  # Those of Logger, `:warn` being an old name of one.
  @levels ~w(emergency alert critical error warning warn notice info debug)a ++ [false, nil]

  # Shards have names, and names are atoms.
  @pool_size_max 1_024

  @doc false
  # The options with their defaults; those of another package are left out, as `Phoenix.Tracker` does.
  def options(options) do
    if Keyword.keyword?(options) do
      options = Keyword.merge(@defaults, Keyword.take(options, Keyword.keys(@defaults)))
      period = options[:broadcast_period]
      silent = options[:max_silent_periods]

      down =
        options[:down_period] || (positive?(period) and positive?(silent) && period * silent * 2)

      options = Keyword.put(options, :down_period, down)

      case for {false, message} <- checks(options, down) ++ bounds(options), do: message do
        [] -> {:ok, options}
        [message | _] -> {:error, message}
      end
    else
      {:error, "the options must be a keyword list"}
    end
  end

  defp checks(options, down) do
    period = options[:broadcast_period]
    permdown = options[:permdown_period]
    cluster = options[:cluster]

    [
      {is_atom(options[:name]) and options[:name] != nil, "the :name option is required"},
      {positive?(period), "broadcast_period must be a positive integer (milliseconds)"},
      {positive?(options[:max_silent_periods]), "max_silent_periods must be a positive integer"},
      {positive?(down), "down_period must be a positive integer (milliseconds)"},
      {down >= double(period), "down_period must be at least twice the broadcast_period"},
      {positive?(permdown) and permdown > down, "permdown_period must be above the down_period"},
      {partitions?(options[:partitions]),
       "partitions must be a power of two from 1 to #{@partitions_max}"},
      {options[:mode] in [:all, :interest], "mode must be :all or :interest"},
      {is_boolean(options[:counts]), "counts must be true or false"},
      {options[:counts] != true or options[:mode] == :interest,
       "counts are for the mode :interest: in the mode :all every node counts what it holds"},
      {options[:counts] != true or options[:partitions] <= @counted_partitions_max,
       "partitions must be at most #{@counted_partitions_max} with counts"},
      {time?(options[:unwatch_after]),
       "unwatch_after must be 0 or a positive integer (milliseconds)"},
      {is_boolean(options[:watch_tracked]), "watch_tracked must be true or false"},
      {is_boolean(options[:relay]), "relay must be true or false"},
      {options[:relay] != true or options[:mode] == :all,
       "relay is for the mode :all, in which every node holds everything"},
      {positive?(options[:vacate_after]),
       "vacate_after must be a positive integer (milliseconds)"},
      {positive?(options[:ready_after]), "ready_after must be a positive integer (milliseconds)"},
      {positive?(options[:pool_size]) and options[:pool_size] <= @pool_size_max,
       "pool_size must be an integer of 1 to #{@pool_size_max}"},
      {time?(options[:grace]), "grace must be 0 or a positive integer (milliseconds)"},
      {is_boolean(options[:link]), "link must be true or false"},
      {is_boolean(options[:permdown_on_shutdown]), "permdown_on_shutdown must be true or false"},
      {codec(options[:codec]) != :error, codec_message(options[:codec])},
      {transport?(options[:transport]), "transport must be a module or {module, options}"},
      {name?(cluster), "cluster must be a string or an atom"},
      {level?(options[:log_level]), "log_level must be false or a level of Logger"},
      {receiver?(options[:report_events_to]),
       "report_events_to must be a pid, a registered name or {name, node}"},
      check_key(options[:key]),
      check_node_name(options[:node_name])
    ]
  end

  defp bounds(options) do
    for time <- @times do
      {options[time] <= @time_max, "#{time} must be at most #{@time_max} (milliseconds)"}
    end
  end

  defp positive?(number), do: is_integer(number) and number > 0

  defp time?(number), do: is_integer(number) and number >= 0

  defp partitions?(number) do
    positive?(number) and number <= @partitions_max and (number &&& number - 1) == 0
  end

  defp name?(name), do: is_binary(name) or is_atom(name)

  defp double(number) when is_integer(number), do: 2 * number
  defp double(_number), do: 0

  defp level?(level), do: level in @levels

  # A name need not be registered yet.
  defp receiver?({name, node}), do: is_atom(name) and is_atom(node)
  defp receiver?(receiver), do: is_pid(receiver) or is_atom(receiver)

  defp transport?({module, options}), do: is_atom(module) and is_list(options)
  defp transport?(module), do: is_atom(module)

  # The messages do not show a secret.
  defp check_key(nil), do: {true, nil}

  defp check_key(key) when is_binary(key) do
    len = byte_size(key)
    {len == @key_bytes, "key must have #{@key_bytes} bytes, not #{len}"}
  end

  defp check_key(_key), do: {false, "key must be a binary of #{@key_bytes} bytes"}

  defp check_node_name(name) when is_binary(name) or is_atom(name) do
    len = byte_size(to_string(name))
    {len <= @name_max, "node_name has #{len} bytes, at most #{@name_max} are allowed"}
  end

  defp check_node_name(_name), do: {false, "node_name must be a string or an atom"}

  @doc false
  # Returns whether entries are JSON, and whether keys of metas become atoms that exist.
  def codec(:term), do: {false, false}
  def codec(:json), do: {true, false}
  def codec({:json, keys: :strings}), do: {true, false}
  def codec({:json, keys: :existing_atoms}), do: {true, true}
  def codec(_other), do: :error

  @doc false
  def codec!(codec) do
    with :error <- codec(codec), do: raise(ArgumentError, codec_message(codec))
  end

  defp codec_message(codec) do
    "codec must be :term, :json, {:json, keys: :strings} or {:json, keys: :existing_atoms}, " <>
      "got: #{Headcount.Show.term(codec)}"
  end

  @doc false
  def transport(options) do
    case {options[:transport], options[:pubsub_server]} do
      {nil, nil} -> {Headcount.Transport.PG, []}
      {nil, server} -> {Headcount.Transport.PubSub, server: server}
      {{module, options}, _} -> {module, options}
      {module, _} -> {module, []}
    end
  end

  @doc false
  def cluster(options), do: to_string(options[:cluster] || inspect(options[:name]))

  @doc false
  def replica(options) do
    if options[:node_name],
      do: to_string(options[:node_name]),
      else: Headcount.Native.replica_name(to_string(node()))
  end

  @doc false
  def shard_name(name, shard), do: :"#{name}_shard#{shard}"

  @doc false
  # The number of the shard whose process runs the functions and the callbacks of a topic.
  def shard_of(%__MODULE__{} = config, topic),
    do: Headcount.Native.shard_of(topic, config.pool_size)

  @doc false
  def put(%__MODULE__{} = config) do
    table = :ets.new(config.name, [:named_table, read_concurrency: true])
    :ets.insert(table, presence: config.presence, config: config)
  end

  @doc false
  # Returns the longest frame that a transport ever carries.
  def frame_max(transport) do
    if Code.ensure_loaded?(transport) and function_exported?(transport, :frame_max, 0),
      do: transport.frame_max(),
      else: 256 * 1024
  end

  @doc false
  # Microseconds since the VM started: never negative, never backwards.
  def now do
    start = :erlang.system_info(:start_time)
    System.convert_time_unit(System.monotonic_time() - start, :native, :microsecond)
  end

  @doc false
  # Reads a table that ends with the tracker: cheaper than a message.
  def presence!(name), do: fetch!(name, :presence)

  @doc false
  def fetch!(name), do: fetch!(name, :config)

  defp fetch!(name, what) do
    :ets.lookup_element(name, what, 2)
  rescue
    ArgumentError ->
      reraise ArgumentError,
              "no tracker runs under the name #{Headcount.Show.term(name)}",
              __STACKTRACE__
  end
end
