defmodule Headcount.Tracker.Writes do
  @moduledoc false
  # Writes of presences for `Headcount.Tracker`, one or many, with leases or without.

  alias Headcount.Native
  alias Headcount.Tracker.{Config, Shard, State}

  # The most writes in one call of the NIF.
  @writes_max 10_000

  # The longest lease: 49 days.
  @ttl_max 0xFFFF_FFFF

  @doc false
  # The shard of the topic calls the function, as no other process writes there.
  def update(name, {_pid, topic, _key} = entry, fun, ttl) do
    config = Config.fetch!(name)
    shard = elem(config.shards, Config.shard_of(config, State.check_topic(topic)))

    if Process.whereis(shard) == self(),
      do: updated(Shard.update(config, entry, fun, ttl)),
      else: updated(GenServer.call(shard, {:update, entry, fun, ttl}))
  end

  defp updated({:bad_meta, meta}), do: State.check_meta(meta)
  defp updated({:raised, kind, reason, stack}), do: :erlang.raise(kind, reason, stack)
  defp updated(result), do: result

  @doc false
  def one(name, {verb, pid, topic, key, meta}, ttl) do
    [result] = write_all(name, verb, [{pid, topic, key, meta}], ttl)
    result
  end

  @doc false
  # A state has no leases.
  def many(%State{} = state, verb, entries, []) do
    for {owner, topic, key, meta} <- entries do
      case verb do
        :track -> State.track(state, owner, topic, key, meta)
        :update -> State.update(state, owner, topic, key, State.check_meta(meta))
        :untrack -> State.untrack(state, owner, topic, key)
      end
    end
  end

  def many(name, verb, entries, options) when is_atom(name) do
    write_all(name, verb, entries, ttl(options))
  end

  # Checks all arguments before it writes the first entry.
  defp write_all(name, verb, entries, ttl) do
    presence = Config.presence!(name)

    entries
    |> Enum.map(fn {pid, topic, key, meta} when is_pid(pid) ->
      meta = if verb == :untrack, do: nil, else: State.check_meta(meta)
      {verb, pid, State.check_topic(topic), key, meta, ttl}
    end)
    |> Enum.chunk_every(@writes_max)
    |> Enum.flat_map(fn writes ->
      written = Native.presence_write(presence, Config.now(), writes)
      for {written, write} <- Enum.zip(written, writes), do: result(written, name, write)
    end)
  end

  @doc false
  # A process that the NIF cannot watch is watched by a shard.
  def result({:ok, ref, pid}, name, _write) do
    Shard.count(Config.fetch!(name), pid, 1)
    {:ok, ref}
  end

  def result({:ok, pid}, name, write) when is_pid(pid) and elem(write, 0) == :untrack do
    Shard.count(Config.fetch!(name), pid, -1)
  end

  def result({:error, :already_tracked}, _name, write) do
    {:error, {:already_tracked, elem(write, 1), elem(write, 2), elem(write, 3)}}
  end

  def result(result, _name, _write), do: result

  @doc false
  def ttl(options) do
    ttl = Keyword.validate!(options, ttl: nil)[:ttl]
    ttl && check_ttl(ttl)
  end

  @doc false
  def check_ttl(ttl) when is_integer(ttl) and ttl in 1..@ttl_max, do: ttl

  def check_ttl(ttl) do
    raise ArgumentError,
          "a ttl is 1 to #{@ttl_max} milliseconds, got: #{Headcount.Show.term(ttl)}"
  end
end
