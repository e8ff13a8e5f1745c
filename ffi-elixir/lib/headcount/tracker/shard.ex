defmodule Headcount.Tracker.Shard do
  @moduledoc """
  A process of a tracker that runs the callbacks of the tracker's module.

  An exception in a callback restarts the shard and changes nothing else: the entries live in the NIF,
  which monitors the tracked processes of this node. The shard monitors tracked processes of other
  nodes, and all of them with `link: true`.
  """

  use GenServer
  require Logger
  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native
  alias Headcount.Tracker.{Config, Signal, State}

  # The most signals that wait for a shard.
  @signals_max 4_096

  # Exits taken together, and owners asked about together.
  @exits_max 1_000

  # The pause between two looks for owners whose entries left by themselves, as a lease ran out or a grace ended.
  @idle_ms 30_000

  @doc """
  Returns the entries of a topic, those of nodes that are down too. O(entries of the topic).

  Exists because `Phoenix.Tracker.Shard` has it; the first argument is the registered name of a shard.
  `Headcount.Tracker.list/2` shows who is here.
  """
  @spec dirty_list(atom(), String.t()) ::
          [{term(), map()}] | {:error, :not_watched | :not_ready}
  def dirty_list(shard, topic) do
    [name, _] = Regex.run(~r/^(.*)_shard\d+$/, to_string(shard), capture: :all_but_first) ++ [nil]
    presence = Config.presence!(String.to_existing_atom(name))
    Native.presence_dirty_list(presence, State.check_topic(topic))
  end

  @doc false
  def start_link({_module, _arg, shard, config, _link} = args) do
    GenServer.start_link(__MODULE__, args, name: Config.shard_name(config.name, shard))
  end

  @doc false
  # Counts entries of an owner that a shard watches. Called after they were written, so that an exit seen from
  # now on removes them.
  def count(%Config{} = config, owner, entries) when entries > 0 do
    if :ets.update_counter(config.owners, owner, {2, entries}, {owner, 0}) == entries do
      GenServer.cast(elem(config.shards, home(owner, config)), {:watch, owner})
    end

    :ok
  end

  def count(%Config{} = config, owner, entries) do
    # An owner that is not in the table is watched by the NIF.
    if :ets.member(config.owners, owner) and
         :ets.update_counter(config.owners, owner, {2, entries}, {owner, 0}) <= 0 do
      GenServer.cast(elem(config.shards, home(owner, config)), {:unwatch, owner})
    end

    :ok
  end

  @doc false
  # Changes stay in the table until the callback has handled them, so a shard that restarts misses none. A replicator
  # that restarts delivers some again, under the same number.
  def deliver(%Config{} = config, {shard, number, changes}) do
    :ets.insert_new(config.changes, {{shard, number, 0}, changes, :new})

    case Process.whereis(elem(config.shards, shard)) do
      nil -> :ok
      pid -> send(pid, :changes)
    end
  end

  @doc false
  # A shard that restarts misses it, and so does one that is behind: a signal is worth nothing later.
  def signal(%Config{signals: waiting} = config, signal) do
    shard = Config.shard_of(config, signal.topic)
    pid = Process.whereis(elem(config.shards, shard))

    if pid && :counters.get(waiting, shard + 1) < @signals_max do
      :counters.add(waiting, shard + 1, 1)
      send(pid, {__MODULE__, signal})
    else
      :counters.add(waiting, config.pool_size + 1, 1)
    end

    :ok
  end

  @doc false
  # How many signals were not given to a callback.
  def signals_dropped(%Config{} = config),
    do: :counters.get(config.signals, config.pool_size + 1)

  @doc false
  # A shard that restarts misses it, and has nothing left of the topic.
  def unwatched(%Config{} = config, shard, topic) do
    pid = Process.whereis(elem(config.shards, shard))
    if pid, do: send(pid, {__MODULE__, :unwatched, topic})
    :ok
  end

  @impl true
  def init({module, arg, shard, config, link}) do
    if link, do: Process.flag(:trap_exit, true)
    :counters.put(config.signals, shard + 1, 0)

    case module.init(arg) do
      {:ok, module_state} ->
        state = %{
          module: module,
          module_state: module_state,
          config: config,
          shard: shard,
          link: link,
          monitors: %{},
          reasons?: function_exported?(module, :handle_diff, 3),
          unwatched?: function_exported?(module, :handle_unwatched, 2),
          infos?: function_exported?(module, :handle_info, 2),
          signals?: function_exported?(module, :handle_signal, 2)
        }

        look_later()
        {:ok, watch_again(state, shard), {:continue, :changes}}

      other ->
        {:stop, {:bad_return_value, other}}
    end
  end

  @impl true
  def handle_cast({:watch, owner}, state), do: {:noreply, monitor(owner, state)}

  # The owner may have entries again by now.
  def handle_cast({:unwatch, owner}, %{config: config} = state) do
    empty = [{{owner, :"$1"}, [{:"=<", :"$1", 0}], [true]}]

    if :ets.select_delete(config.owners, empty) == 1,
      do: {:noreply, unwatch(owner, state)},
      else: {:noreply, state}
  end

  @impl true
  def handle_call({:update, entry, fun, ttl}, _from, state) do
    {:reply, update(state.config, entry, fun, ttl), state}
  end

  @doc false
  # Runs in the shard, so that two functions never work on the same meta; again if the entry got another meta
  # meanwhile, as writes run in their callers. An exception of the function is returned, and raised in the caller.
  def update(config, entry, fun, ttl) do
    case Native.presence_own_meta(config.presence, entry) do
      nil -> {:error, :nopresence}
      {ref, meta} -> {:meta, ref, fun.(meta)}
    end
  catch
    kind, reason -> {:raised, kind, reason, __STACKTRACE__}
  else
    {:meta, ref, meta} ->
      if State.meta?(meta),
        do: write(config, entry, ref, {meta, ttl}) || update(config, entry, fun, ttl),
        else: {:bad_meta, meta}

    error ->
      error
  end

  # `nil` if the entry has another reference by now.
  defp write(config, entry, ref, content) do
    written = Native.presence_update_if(config.presence, Config.now(), entry, ref, content)

    if written != :changed, do: written
  end

  # What the shard left before it restarted.
  @impl true
  def handle_continue(:changes, state) do
    :ets.foldl(
      fn {key, _, mark}, keys -> retry(key, mark, keys, state) end,
      [],
      state.config.changes
    )
    |> Enum.each(&split(&1, state))

    {:noreply, handle_all(state)}
  end

  @impl true
  def handle_info(:changes, state) do
    {_any?, state} = handle_next(state)
    {:noreply, state}
  end

  def handle_info({__MODULE__, %Signal{} = signal}, state) do
    :counters.sub(state.config.signals, state.shard + 1, 1)
    {:noreply, handle_signal(signal, state)}
  end

  def handle_info({__MODULE__, :unwatched, topic}, state) do
    {:noreply, handle_unwatched(topic, state)}
  end

  def handle_info({__MODULE__, :look}, state) do
    look_later()
    owners = Enum.chunk_every(Map.keys(state.monitors), @exits_max)
    {:noreply, Enum.reduce(owners, state, &unwatch_idle/2)}
  end

  def handle_info({:DOWN, ref, :process, owner, _reason} = message, state) do
    case state.monitors do
      %{^owner => ^ref} -> {:noreply, leave([owner | exits(state, @exits_max)], state)}
      _ -> forward(message, state)
    end
  end

  # The links are those to owners, or to one that was an owner when it ended. Its monitor reports the end.
  def handle_info({:EXIT, _from, _reason}, %{link: true} = state), do: {:noreply, state}

  def handle_info(message, state), do: forward(message, state)

  defp retry({shard, _, _} = key, :tried, keys, %{shard: shard}), do: [key | keys]
  defp retry(_key, _mark, keys, _state), do: keys

  # A callback that failed is called again for each topic by itself; a topic that fails by itself is dropped.
  defp split({shard, number, 0} = key, %{config: config} = state) do
    [{_key, changes, :tried}] = :ets.lookup(config.changes, key)
    {diff, reasons} = diff(changes, state)

    if map_size(diff) == 1 do
      drop(key, Map.keys(diff), state)
    else
      for {{topic, diff}, place} <- Enum.with_index(diff, 1) do
        part = {%{topic => diff}, Map.take(reasons, [topic])}
        :ets.insert(config.changes, {{shard, number, place}, part, :new})
      end

      call(:presence_drop_changes, [changes])
      :ets.delete(config.changes, key)
    end
  end

  defp split(key, %{config: config} = state) do
    [{_key, {diff, _reasons}, :tried}] = :ets.lookup(config.changes, key)
    drop(key, Map.keys(diff), state)
  end

  defp drop(key, topics, %{config: config} = state) do
    Logger.error("#{handle_diff_name(state)} failed, changes are lost to it: #{inspect(topics)}")

    :ets.delete(config.changes, key)
  end

  defp handle_all(state) do
    case handle_next(state) do
      {true, state} -> handle_all(state)
      {false, state} -> state
    end
  end

  # Returns whether there was something to handle.
  defp handle_next(%{config: %{changes: table}, shard: shard} = state) do
    with {^shard, _, _} = key <- next(table, shard) do
      [{_key, changes, :new}] = :ets.lookup(table, key)
      :ets.update_element(table, key, {3, :tried})
      {diff, reasons} = diff(changes, state)
      # Without a topic it was handled already.
      state = if diff == %{}, do: state, else: handle_diff(diff, reasons, state)
      if is_reference(changes), do: call(:presence_drop_changes, [changes])
      :ets.delete(table, key)
      {true, state}
    else
      _other_shard -> {false, state}
    end
  end

  # The changes, and the reasons of their leaves if the callback takes those.
  defp diff({_diff, _reasons} = changes, _state), do: changes

  defp diff(changes, %{config: %{presence: presence}} = state) do
    reasons = if state.reasons?, do: call(:presence_leave_reasons, [presence, changes]), else: %{}
    {call(:presence_changes, [presence, changes]), reasons}
  end

  # The smallest key of a shard: `{shard, ...}` is above `{shard - 1, :end, :end}`.
  defp next(table, shard), do: :ets.next(table, {shard - 1, :end, :end})

  defp handle_diff(diff, reasons, state) do
    case call_handle_diff(diff, reasons, state) do
      {:ok, module_state} ->
        %{state | module_state: module_state}

      other ->
        raise "expected #{handle_diff_name(state)} to return {:ok, state}, got: #{inspect(other)}"
    end
  end

  defp call_handle_diff(diff, reasons, %{reasons?: true} = state),
    do: state.module.handle_diff(diff, reasons, state.module_state)

  defp call_handle_diff(diff, _reasons, state),
    do: state.module.handle_diff(diff, state.module_state)

  defp handle_diff_name(state),
    do: "#{inspect(state.module)}.handle_diff/#{if state.reasons?, do: 3, else: 2}"

  defp handle_signal(_signal, %{signals?: false} = state), do: state

  defp handle_signal(signal, state) do
    case state.module.handle_signal(signal, state.module_state) do
      {:ok, module_state} ->
        %{state | module_state: module_state}

      other ->
        raise "expected #{inspect(state.module)}.handle_signal/2 to return {:ok, state}, " <>
                "got: #{inspect(other)}"
    end
  end

  defp handle_unwatched(_topic, %{unwatched?: false} = state), do: state

  defp handle_unwatched(topic, state) do
    case state.module.handle_unwatched(topic, state.module_state) do
      {:ok, module_state} ->
        %{state | module_state: module_state}

      other ->
        raise "expected #{inspect(state.module)}.handle_unwatched/2 to return {:ok, state}, " <>
                "got: #{inspect(other)}"
    end
  end

  defp forward(message, %{infos?: true} = state) do
    case state.module.handle_info(message, state.module_state) do
      {:noreply, module_state} ->
        {:noreply, %{state | module_state: module_state}}

      other ->
        raise "expected #{inspect(state.module)}.handle_info/2 to return {:noreply, state}, " <>
                "got: #{inspect(other)}"
    end
  end

  defp forward(_message, state), do: {:noreply, state}

  # The owners that exited as well and whose messages wait.
  defp exits(_state, 0), do: []

  defp exits(%{monitors: monitors} = state, left) do
    receive do
      {:DOWN, ref, :process, owner, _reason} when :erlang.map_get(owner, monitors) == ref ->
        [owner | exits(state, left - 1)]
    after
      0 -> []
    end
  end

  # Forgets the owners first: a later `track` of one of them starts a new monitor.
  defp leave(owners, %{config: config} = state) do
    Enum.each(owners, &:ets.delete(config.owners, &1))

    Native.presence_owners_lost(config.presence, Config.now(), owners)
    %{state | monitors: Map.drop(state.monitors, owners)}
  end

  defp watch_again(%{config: config} = state, shard) do
    owners =
      for {owner, _count} <- :ets.tab2list(config.owners), home(owner, config) == shard, do: owner

    Enum.reduce(owners, state, &monitor/2)
  end

  defp monitor(owner, state) when is_map_key(state.monitors, owner), do: state

  defp monitor(owner, state) do
    if state.link, do: link(owner)
    put_in(state.monitors[owner], Process.monitor(owner))
  end

  defp unwatch(owner, state) do
    {ref, monitors} = Map.pop(state.monitors, owner)
    if ref, do: Process.demonitor(ref, [:flush])
    if ref && state.link, do: Process.unlink(owner)
    %{state | monitors: monitors}
  end

  defp look_later, do: Process.send_after(self(), {__MODULE__, :look}, @idle_ms)

  # The count goes before the owner is asked about again: an entry that is written from then on has it watched again.
  defp unwatch_idle(owners, %{config: %{owners: table, presence: presence}} = state) do
    idle = Native.presence_idle_owners(presence, owners)
    counts = Map.new(for owner <- idle, do: {owner, :ets.take(table, owner)})
    gone = Native.presence_idle_owners(presence, idle)

    for {owner, [{_, entries}]} <- Map.drop(counts, gone),
        do: :ets.update_counter(table, owner, {2, entries}, {owner, 0})

    Enum.reduce(gone, state, &unwatch/2)
  end

  # An owner that has ended cannot be linked; its monitor reports that.
  defp link(owner) do
    Process.link(owner)
  rescue
    ErlangError -> :ok
  end

  defp home(owner, config), do: :erlang.phash2(owner, config.pool_size)
end
