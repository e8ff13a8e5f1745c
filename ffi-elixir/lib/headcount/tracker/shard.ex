defmodule Headcount.Tracker.Shard do
  @moduledoc """
  A process of a tracker that runs the callbacks of the tracker's module.

  An exception in a callback restarts the shard and changes nothing else: the entries live in the NIF,
  which monitors the tracked processes of this node. The shard monitors tracked processes of other
  nodes, and all of them with `link: true`.
  """

  use GenServer
  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native
  alias Headcount.Tracker.Config

  # Exits taken together.
  @exits_max 1_000

  @doc """
  Returns the entries of a topic, as `Headcount.Tracker.list/2` does.

  Exists because `Phoenix.Tracker.Shard` has it; the first argument is the registered name of a shard.
  Unlike there, entries of nodes that are down are left out.
  """
  @spec dirty_list(atom(), String.t()) :: [{term(), map()}]
  def dirty_list(shard, topic) do
    [name, _] = Regex.run(~r/^(.*)_shard\d+$/, to_string(shard), capture: :all_but_first) ++ [nil]
    Headcount.Tracker.list(String.to_existing_atom(name), topic)
  end

  @doc false
  def start_link({_module, _arg, shard, config, _link} = args) do
    GenServer.start_link(__MODULE__, args, name: Config.shard_name(config.name, shard))
  end

  @doc false
  # Called after the entry was written, so that an exit seen from now on removes it.
  def watch(%Config{} = config, owner) do
    if :ets.insert_new(config.owners, {owner}) do
      GenServer.cast(elem(config.shards, home(owner, config)), {:watch, owner})
    end

    :ok
  end

  @impl true
  def init({module, arg, shard, config, link}) do
    if link, do: Process.flag(:trap_exit, true)

    case module.init(arg) do
      {:ok, module_state} ->
        state = %{
          module: module,
          module_state: module_state,
          config: config,
          link: link,
          monitors: %{},
          infos?: function_exported?(module, :handle_info, 2)
        }

        {:ok, watch_again(state, shard)}

      other ->
        {:stop, {:bad_return_value, other}}
    end
  end

  @impl true
  def handle_cast({:watch, owner}, state), do: {:noreply, monitor(owner, state)}

  @impl true
  def handle_call({:update, owner, topic, key, fun}, _from, state) do
    {:reply, update(state.config, owner, topic, key, fun), state}
  end

  @doc false
  # Runs in the shard, so that two functions never work on the same meta. An exception of the function
  # is returned, and raised in the caller.
  def update(config, owner, topic, key, fun) do
    sessions = call(:presence_get_by_key, [config.presence, topic, key])

    case List.keyfind(sessions, owner, 0) do
      nil -> {:error, :nopresence}
      {_owner, meta} -> {:meta, fun.(meta)}
    end
  catch
    kind, reason -> {:raised, kind, reason, __STACKTRACE__}
  else
    {:meta, meta} when is_map(meta) ->
      call(:presence_update, [config.presence, owner, topic, key, meta])

    {:meta, other} ->
      {:bad_meta, other}

    error ->
      error
  end

  @impl true
  def handle_info({:changes, changes}, state) do
    diff = Native.presence_changes(changes)

    case state.module.handle_diff(diff, state.module_state) do
      {:ok, module_state} ->
        {:noreply, %{state | module_state: module_state}}

      other ->
        raise "expected #{inspect(state.module)}.handle_diff/2 to return {:ok, state}, " <>
                "got: #{inspect(other)}"
    end
  end

  def handle_info({:DOWN, ref, :process, owner, _reason} = message, state) do
    case state.monitors do
      %{^owner => ^ref} -> {:noreply, leave([owner | exits(state, @exits_max)], state)}
      _ -> forward(message, state)
    end
  end

  def handle_info({:EXIT, owner, _reason} = message, state) do
    if is_map_key(state.monitors, owner), do: {:noreply, state}, else: forward(message, state)
  end

  def handle_info(message, state), do: forward(message, state)

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

    Native.presence_untrack_owners(config.presence, owners)
    %{state | monitors: Map.drop(state.monitors, owners)}
  end

  defp watch_again(%{config: config} = state, shard) do
    owners = for {owner} <- :ets.tab2list(config.owners), home(owner, config) == shard, do: owner
    Enum.reduce(owners, state, &monitor/2)
  end

  defp monitor(owner, state) when is_map_key(state.monitors, owner), do: state

  defp monitor(owner, state) do
    if state.link, do: link(owner)
    put_in(state.monitors[owner], Process.monitor(owner))
  end

  # An owner that has ended cannot be linked; its monitor reports that.
  defp link(owner) do
    Process.link(owner)
  rescue
    ErlangError -> :ok
  end

  defp home(owner, config), do: :erlang.phash2(owner, config.pool_size)
end
