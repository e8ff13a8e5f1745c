defmodule Headcount.Tracker.Config do
  @moduledoc false
  # Checks the options of a tracker, and finds its parts by name.

  @enforce_keys [:name, :presence, :owners, :changes, :replicator, :shards, :pool_size]
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
    clock_sample_periods: 2,
    max_delta_sizes: [100, 1_000, 10_000],
    pool_size: 1,
    log_level: false,
    permdown_on_shutdown: false,
    report_events_to: nil,
    link: false,
    codec: :term,
    node_name: nil
  ]

  # The longest name of a cluster and of a replica, in bytes, in all languages.
  @name_max 64

  @doc false
  def options!(options) do
    options = Keyword.validate!(options, @defaults)
    check!(is_atom(options[:name]) and options[:name] != nil, "the :name option is required")
    period = options[:broadcast_period]
    down = options[:down_period] || period * options[:max_silent_periods] * 2
    positive = &(is_integer(&1) and &1 > 0)
    check!(positive.(period), "broadcast_period must be a positive integer (milliseconds)")
    check!(positive.(options[:pool_size]), "pool_size must be a positive integer")
    check!(down >= 2 * period, "down_period must be at least twice the broadcast_period")
    check!(options[:permdown_period] > down, "permdown_period must be above the down_period")
    check!(is_boolean(options[:link]), "link must be true or false")
    codec(options[:codec])

    for {what, option} <- [cluster: options[:cluster], node_name: options[:node_name]] do
      len = byte_size(to_string(option))
      check!(len <= @name_max, "#{what} has #{len} bytes, at most #{@name_max} are allowed")
    end

    Keyword.put(options, :down_period, down)
  end

  @doc false
  # Returns whether entries are JSON, and whether keys of metas become atoms that exist.
  def codec(:term), do: {false, false}
  def codec(:json), do: {true, false}
  def codec({:json, keys: :strings}), do: {true, false}
  def codec({:json, keys: :existing_atoms}), do: {true, true}

  def codec(other) do
    raise ArgumentError,
          "codec must be :term, :json, {:json, keys: :strings} or {:json, keys: :existing_atoms}, " <>
            "got: #{Headcount.Show.term(other)}"
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
  def cluster(options), do: to_string(options[:cluster] || short(inspect(options[:name])))

  @doc false
  def replica(options) do
    if options[:node_name],
      do: to_string(options[:node_name]),
      else: Headcount.Native.replica_name(to_string(node()))
  end

  @doc false
  def shard_name(name, shard), do: :"#{name}_shard#{shard}"

  @doc false
  def put(%__MODULE__{} = config) do
    table = :ets.new(config.name, [:named_table, read_concurrency: true])
    :ets.insert(table, presence: config.presence, config: config)
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

  defp short(name) when byte_size(name) <= @name_max, do: name
  defp short(name), do: Base.encode16(:crypto.hash(:md5, name))

  defp check!(true, _message), do: :ok
  defp check!(false, message), do: raise(ArgumentError, message)
end
