defmodule Headcount.Presence.Publisher do
  @moduledoc false
  # The callbacks of the tracker under a presence. It extends the diffs of a topic by `fetch/2` in a task, then
  # broadcasts them.
  #
  # Tasks of many topics run at once, one of each topic: its diffs are broadcast in order, and those that come
  # while its task runs are fetched together by the next task. A table outside has all diffs that are not
  # broadcast yet, so that none is lost when this process restarts.

  @behaviour Headcount.Tracker
  require Logger
  alias Headcount.Presence.Metas
  alias Headcount.Tracker

  # A bound for memory: a pool of connections that is smaller makes the tasks wait by itself.
  @tasks_max 256
  # The most bytes of diffs that wait for tasks when the next one comes, as many as may wait for a callback. Beyond it
  # the tasks are ended, and their diffs broadcast as they are.
  @held_max 64 * 1024 * 1024

  @impl true
  # `:table` is public and ordered, and outlives this process.
  def init(%{module: module, table: table} = arg) do
    {:registered_name, shard} = Process.info(self(), :registered_name)
    restarted? = not :ets.insert_new(table, {{shard, :started}})

    state =
      Map.merge(arg, %{
        shard: shard,
        restarted?: restarted?,
        # `{number, diff}` of the diffs of a topic that wait, the last one first.
        waiting: %{},
        # The bytes of all diffs that are not broadcast.
        held: 0,
        # Topics that wait and have no task.
        ready: :queue.new(),
        # `{task, topic, numbers, diff, bytes}` by the reference of the task.
        tasks: %{},
        busy: MapSet.new(),
        metas?: function_exported?(module, :handle_metas, 4),
        signals?: function_exported?(module, :handle_signal, 2),
        # Metas by topic and key, for `handle_metas/4`.
        topics: %{},
        client_state: nil
      })

    with {:ok, state} <- init_client(state) do
      left = :ets.select(table, [{{{shard, :"$1", :"$2"}, :"$3"}, [], [{{:"$1", :"$2", :"$3"}}]}])
      left = Enum.sort_by(left, fn {_topic, number, _diff} -> number end)
      state = Enum.reduce(left, state, fn {t, number, diff}, s -> wait(t, number, diff, s) end)
      {:ok, start_tasks(state)}
    end
  end

  defp init_client(%{metas?: false, signals?: false} = state), do: {:ok, state}

  defp init_client(state) do
    with {:ok, client_state} <- state.module.init(%{}),
         do: {:ok, %{state | client_state: client_state}}
  end

  @impl true
  def handle_signal(_signal, %{signals?: false} = state), do: {:ok, state}

  def handle_signal(signal, state) do
    {:ok, call_client(:handle_signal, [signal, state.client_state], state)}
  end

  @impl true
  def handle_diff(diff, state) do
    state =
      Enum.reduce(diff, relieve(state), fn {topic, diff}, state ->
        number = :erlang.unique_integer([:monotonic])
        :ets.insert(state.table, {{state.shard, topic, number}, diff})
        wait(topic, number, diff, state)
      end)

    {:ok, start_tasks(state)}
  end

  @impl true
  def handle_unwatched(topic, state),
    do: {:ok, %{state | topics: Map.delete(state.topics, topic)}}

  @impl true
  def handle_info({ref, fetched}, %{tasks: tasks} = state) when is_map_key(tasks, ref) do
    Process.demonitor(ref, [:flush])
    {:noreply, publish(ref, fetched, state)}
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{tasks: tasks} = state)
      when is_map_key(tasks, ref) do
    {:noreply, publish_bare(ref, Exception.format_exit(reason), state)}
  end

  def handle_info(_message, state), do: {:noreply, state}

  defp wait(topic, number, diff, state) do
    new? = not is_map_key(state.waiting, topic) and topic not in state.busy
    ready = if new?, do: :queue.in(topic, state.ready), else: state.ready
    waiting = Map.update(state.waiting, topic, [{number, diff}], &[{number, diff} | &1])
    held = state.held + :erlang.external_size(diff)
    %{state | ready: ready, waiting: waiting, held: held}
  end

  # Ends the tasks until there is room for the next diff.
  defp relieve(%{held: held} = state) when held <= @held_max, do: state

  defp relieve(%{tasks: tasks} = state) do
    tasks
    |> Enum.reduce(state, fn {ref, {task, _topic, _numbers, _diff, _bytes}}, state ->
      case Task.shutdown(task, :brutal_kill) do
        {:ok, fetched} -> publish(ref, fetched, state)
        _ended -> publish_bare(ref, "ended, as too many diffs wait for it", state)
      end
    end)
    |> relieve()
  end

  defp start_tasks(%{tasks: tasks} = state) when map_size(tasks) >= @tasks_max, do: state

  defp start_tasks(state) do
    case :queue.out(state.ready) do
      {:empty, _} -> state
      {{:value, topic}, ready} -> start_tasks(start_task(topic, %{state | ready: ready}))
    end
  end

  defp start_task(topic, state) do
    {diffs, waiting} = Map.pop!(state.waiting, topic)
    {numbers, diffs} = diffs |> Enum.reverse() |> Enum.unzip()
    bytes = Enum.sum(Enum.map(diffs, &:erlang.external_size/1))
    diff = Enum.reduce(tl(diffs), hd(diffs), &Metas.merge(&2, &1))
    seed? = seed?(topic, state)
    %{module: module, name: name} = state

    task =
      Task.Supervisor.async_nolink(state.fetchers, fn ->
        fetch(&checked_fetch(module, &1, &2), topic, diff, seed?, %{name: name})
      end)

    tasks = Map.put(state.tasks, task.ref, {task, topic, numbers, diff, bytes})
    %{state | waiting: waiting, tasks: tasks, busy: MapSet.put(state.busy, topic)}
  end

  # After a restart the metas of a topic are those of its list, and so are those of a topic whose watch begins.
  defp seed?(topic, state) do
    state.metas? and (state.restarted? or state.interest?) and not is_map_key(state.topics, topic)
  end

  defp fetch(fetch, topic, {joins, leaves}, seed?, %{name: name}) do
    diff = %{
      joins: fetch.(topic, Metas.group(joins)),
      leaves: fetch.(topic, Metas.group(leaves))
    }

    {diff, if(seed?, do: seed(fetch, topic, name), else: nil)}
  end

  # `:unreadable` for a topic that is watched no longer, or not ready.
  defp seed(fetch, topic, name) do
    case Tracker.list(name, topic) do
      {:error, _reason} -> :unreadable
      entries -> fetch.(topic, Metas.group(entries))
    end
  end

  defp grouped(_topic, presences), do: presences

  defp checked_fetch(_module, _topic, none) when none == %{}, do: %{}

  defp checked_fetch(module, topic, presences) do
    fetched = module.fetch(topic, presences)
    true = Enum.all?(fetched, fn {_key, %{metas: metas}} -> is_list(metas) end)
    Map.new(fetched)
  end

  # Publishes a diff that was not fetched.
  defp publish_bare(ref, why, state) do
    Logger.error("#{inspect(state.module)}.fetch/2 failed: #{why}")
    {_task, topic, _numbers, diff, _bytes} = Map.fetch!(state.tasks, ref)
    publish(ref, fetch(&grouped/2, topic, diff, seed?(topic, state), state), state)
  end

  defp publish(ref, {diff, seed}, state) do
    {{_task, topic, numbers, _diff, bytes}, tasks} = Map.pop!(state.tasks, ref)
    busy = MapSet.delete(state.busy, topic)
    state = %{state | tasks: tasks, busy: busy, held: state.held - bytes}
    broadcast(topic, diff, state)
    for number <- numbers, do: :ets.delete(state.table, {state.shard, topic, number})
    state = if state.metas?, do: metas(topic, diff, seed, state), else: state
    waits? = is_map_key(state.waiting, topic)
    ready = if waits?, do: :queue.in(topic, state.ready), else: state.ready
    start_tasks(%{state | ready: ready})
  end

  defp broadcast(_topic, _diff, %{pubsub_server: nil}), do: :ok

  defp broadcast(topic, diff, state) do
    broadcast(topic, diff, state.pubsub_server, state.dispatcher)
  rescue
    # Without its server nobody is subscribed.
    error -> Logger.error("#{inspect(state.module)}: #{Exception.message(error)}")
  end

  # Phoenix is called at run time.
  defp broadcast(topic, diff, server, nil) do
    if Code.ensure_loaded?(Phoenix.Channel.Server) do
      apply(Phoenix.Channel.Server, :local_broadcast, [server, topic, "presence_diff", diff])
    else
      message = %{topic: topic, event: "presence_diff", payload: diff}
      apply(Phoenix.PubSub, :local_broadcast, [server, topic, message])
    end
  end

  defp broadcast(topic, diff, server, dispatcher) do
    fields = [topic: topic, event: "presence_diff", payload: diff]
    message = struct!(Phoenix.Socket.Broadcast, fields)
    apply(Phoenix.PubSub, :local_broadcast, [server, topic, message, dispatcher])
  end

  defp metas(topic, diff, seed, state) do
    {known, kept?} = known(topic, seed, state)

    joined =
      Enum.reduce(diff.joins, known, fn {key, %{metas: metas}}, known ->
        Map.put(known, key, Metas.join(Map.get(known, key, []), metas))
      end)

    # After the joins: what was tracked and untracked within the diff is in both.
    left =
      Enum.reduce(diff.leaves, joined, fn {key, %{metas: metas}}, known ->
        case Metas.leave(Map.get(known, key, []), metas) do
          [] -> Map.delete(known, key)
          metas -> Map.put(known, key, metas)
        end
      end)

    topics =
      if left == %{} or not kept?,
        do: Map.delete(state.topics, topic),
        else: Map.put(state.topics, topic, left)

    topic
    |> calls(diff, joined, left)
    |> Enum.reduce(%{state | topics: topics}, fn arguments, state ->
      call_client(:handle_metas, arguments ++ [state.client_state], state)
    end)
  end

  # Callbacks look up each key that joins. One that has left by now takes a call of its own, for the joins before.
  defp calls(topic, diff, joined, left) do
    if Enum.all?(diff.joins, fn {key, _presence} -> is_map_key(left, key) end),
      do: [[topic, diff, left]],
      else: [[topic, %{diff | leaves: %{}}, joined], [topic, %{diff | joins: %{}}, left]]
  end

  # Returns the metas before a diff, and whether those after it are all that there are.
  defp known(topic, seed, state) do
    case {state.topics, seed} do
      {%{^topic => known}, _seed} -> {known, true}
      {_topics, %{}} -> {Map.new(seed, fn {key, %{metas: metas}} -> {key, metas} end), true}
      # The watch has ended meanwhile: the next diff begins with the list.
      {_topics, nil} -> {%{}, not state.interest?}
      {_topics, :unreadable} -> {%{}, false}
    end
  end

  # An exception loses this call and nothing else.
  defp call_client(callback, arguments, state) do
    {:ok, client_state} = apply(state.module, callback, arguments)
    %{state | client_state: client_state}
  catch
    kind, reason ->
      text = Exception.format(kind, reason, __STACKTRACE__)
      name = "#{inspect(state.module)}.#{callback}/#{length(arguments)}"
      Logger.error("#{name} failed: #{text}")
      state
  end
end
