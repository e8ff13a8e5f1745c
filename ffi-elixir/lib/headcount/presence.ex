defmodule Headcount.Presence do
  @moduledoc """
  Presence for channels and processes: the contract of `Phoenix.Presence`.

      children = [
        {Phoenix.PubSub, name: MyApp.PubSub},
        MyAppWeb.Presence,
        MyAppWeb.Endpoint
      ]

  with

      defmodule MyAppWeb.Presence do
        use Headcount.Presence, otp_app: :my_app, pubsub_server: MyApp.PubSub
      end

  An app with `use Phoenix.Presence` changes that word. Then, in a channel:

      def handle_info(:after_join, socket) do
        {:ok, _ref} = Presence.track(socket, socket.assigns.user_id, %{online_at: now()})
        push(socket, "presence_state", Presence.list(socket))
        {:noreply, socket}
      end

  All subscribers of the topic, on all nodes, receive `"presence_diff"` broadcasts with
  `%{joins: %{key => %{metas: [...]}}, leaves: %{...}}`, which the JavaScript client of Phoenix reads.

  ## Options

  `:otp_app` and `:pubsub_server` as in Phoenix (also in the configuration of the app), and all
  options of `Headcount.Tracker`. Phoenix is called at run time: this package does not depend on it.
  Without `:pubsub_server` nodes talk over Erlang distribution and nothing is broadcast; use
  `c:handle_metas/4`.

  ## What differs from Phoenix.Presence

    * Diffs of a few milliseconds come as one broadcast for each topic.
    * A `c:fetch/2` that raises is logged, and the diff goes out as it is; no process dies.
    * The order of metas is not defined.
    * See also `Headcount.Tracker`.
  """

  require Logger
  alias Headcount.Tracker

  @type topic :: String.t()
  @type presence :: %{:metas => [map()], optional(atom()) => any()}
  @type presences :: %{String.t() => presence()}

  @doc """
  Extends presences by data for the clients, such as users from one database query.

  Called for each list and for the joins and the leaves of each diff. Must keep the keys of the map.
  """
  @callback fetch(topic(), presences()) :: presences()

  @doc "Makes the state of `c:handle_metas/4`."
  @callback init(state :: term()) :: {:ok, new_state :: term()}

  @doc """
  Receives the changes of a topic, and all its metas by key after them.

  A shard keeps a copy of the metas of all its topics only for modules that have this callback.
  """
  @callback handle_metas(
              topic(),
              diff :: %{joins: presences(), leaves: presences()},
              presences :: %{String.t() => [map()]},
              state :: term()
            ) :: {:ok, term()}

  @optional_callbacks init: 1, handle_metas: 4

  @doc false
  defmacro __using__(options) do
    quote location: :keep, bind_quoted: [options: options] do
      @behaviour Headcount.Presence
      @headcount_options options

      unless options[:otp_app] do
        raise ArgumentError, "use Headcount.Presence needs the option :otp_app"
      end

      @doc false
      def child_spec(options) do
        options = Keyword.merge(@headcount_options, options)

        %{
          id: __MODULE__,
          start: {Headcount.Presence, :start_link, [__MODULE__, options]},
          type: :supervisor
        }
      end

      @impl Headcount.Presence
      def fetch(_topic, presences), do: presences

      defoverridable child_spec: 1, fetch: 2

      @doc "Tracks the process of a socket in its topic."
      @spec track(map(), term(), map()) :: {:ok, String.t()} | {:error, term()}
      def track(%{__struct__: Phoenix.Socket} = socket, key, meta) do
        track(socket.channel_pid, socket.topic, key, meta)
      end

      @doc "Tracks a process in a topic."
      @spec track(pid(), String.t(), term(), map()) :: {:ok, String.t()} | {:error, term()}
      def track(pid, topic, key, meta) do
        Headcount.Tracker.track(__MODULE__, pid, topic, key, meta)
      end

      @doc "Stops tracking the process of a socket in its topic."
      @spec untrack(map(), term()) :: :ok
      def untrack(%{__struct__: Phoenix.Socket} = socket, key) do
        untrack(socket.channel_pid, socket.topic, key)
      end

      @doc "Stops tracking a process in a topic."
      @spec untrack(pid(), String.t(), term()) :: :ok
      def untrack(pid, topic, key), do: Headcount.Tracker.untrack(__MODULE__, pid, topic, key)

      @doc "Replaces the meta of the presence of a socket by a map, or by what a function returns."
      @spec update(map(), term(), map() | (map() -> map())) ::
              {:ok, String.t()} | {:error, term()}
      def update(%{__struct__: Phoenix.Socket} = socket, key, meta) do
        update(socket.channel_pid, socket.topic, key, meta)
      end

      @doc "Replaces the meta of a presence by a map, or by what a function returns."
      @spec update(pid(), String.t(), term(), map() | (map() -> map())) ::
              {:ok, String.t()} | {:error, term()}
      def update(pid, topic, key, meta) do
        Headcount.Tracker.update(__MODULE__, pid, topic, key, meta)
      end

      @doc "Returns all presences of a topic, or of the topic of a socket."
      @spec list(map() | String.t()) :: Headcount.Presence.presences()
      def list(%{__struct__: Phoenix.Socket, topic: topic}), do: list(topic)
      def list(topic), do: Headcount.Presence.list(__MODULE__, topic)

      @doc "Returns the presence of a key, `[]` if there is none."
      @spec get_by_key(map() | String.t(), term()) :: Headcount.Presence.presence() | []
      def get_by_key(%{__struct__: Phoenix.Socket, topic: topic}, key), do: get_by_key(topic, key)
      def get_by_key(topic, key), do: Headcount.Presence.get_by_key(__MODULE__, topic, key)

      @doc "Returns the processes that run `fetch/2` at the moment."
      @spec fetchers_pids() :: [pid()]
      def fetchers_pids, do: Headcount.Presence.fetchers_pids(__MODULE__)
    end
  end

  @doc """
  Starts the presence of a module that uses this one; its child spec calls this.
  """
  @spec start_link(module(), keyword()) :: Supervisor.on_start()
  def start_link(module, options) do
    {otp_app, options} = Keyword.pop(options, :otp_app)
    configured = if otp_app, do: Application.get_env(otp_app, module, []), else: []
    options = options |> Keyword.merge(configured) |> Keyword.put(:name, module)
    fetchers = fetchers(module)

    children = [
      {Task.Supervisor, name: fetchers},
      %{
        id: Tracker,
        start:
          {Tracker, :start_link,
           [__MODULE__, {module, fetchers, options[:pubsub_server]}, options]},
        type: :supervisor
      }
    ]

    Supervisor.start_link(children,
      strategy: :rest_for_one,
      name: Module.concat(module, Supervisor)
    )
  end

  @doc """
  Returns all presences of a topic, grouped by key and extended by the module's `c:fetch/2`.
  """
  @spec list(module(), topic()) :: presences()
  def list(module, topic), do: module.fetch(topic, group(Tracker.list(module, topic)))

  @doc """
  Returns the presence of a key, extended by the module's `c:fetch/2`; `[]` if there is none.
  """
  @spec get_by_key(module(), topic(), key :: term()) :: presence() | []
  def get_by_key(module, topic, key) do
    case Tracker.get_by_key(module, topic, key) do
      [] ->
        []

      sessions ->
        metas = for {_pid, meta} <- sessions, do: meta
        name = to_string(key)
        Map.fetch!(module.fetch(topic, %{name => %{metas: metas}}), name)
    end
  end

  @doc """
  Returns the processes that run the module's `c:fetch/2` at the moment.
  """
  @spec fetchers_pids(module()) :: [pid()]
  def fetchers_pids(module), do: Task.Supervisor.children(fetchers(module))

  # The callbacks of the tracker. Diffs are enriched in tasks, one after the other, so that
  # broadcasts keep their order.
  @behaviour Tracker

  @doc false
  @impl Tracker
  def init({module, fetchers, pubsub_server}) do
    metas? = function_exported?(module, :handle_metas, 4)

    state = %{
      module: module,
      fetchers: fetchers,
      pubsub_server: pubsub_server,
      waiting: :queue.new(),
      running: nil,
      topics: %{},
      metas?: metas?,
      client_state: nil
    }

    if metas? do
      with {:ok, client_state} <- module.init(%{}),
           do: {:ok, %{state | client_state: client_state}}
    else
      {:ok, state}
    end
  end

  @doc false
  @impl Tracker
  def handle_diff(diff, state) do
    {:ok, run_next(%{state | waiting: :queue.in(diff, state.waiting)})}
  end

  @doc false
  @impl Tracker
  def handle_info({ref, fetched}, %{running: {ref, diff}} = state) do
    Process.demonitor(ref, [:flush])
    {:noreply, finished(fetched, diff, state)}
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{running: {ref, diff}} = state) do
    Logger.error("#{inspect(state.module)}.fetch/2 failed: #{Exception.format_exit(reason)}")
    {:noreply, finished(grouped(diff), diff, state)}
  end

  def handle_info(_message, state), do: {:noreply, state}

  defp run_next(%{running: nil} = state) do
    case :queue.out(state.waiting) do
      {:empty, _} ->
        state

      {{:value, diff}, waiting} ->
        task = Task.Supervisor.async_nolink(state.fetchers, fn -> fetch(state.module, diff) end)
        %{state | waiting: waiting, running: {task.ref, diff}}
    end
  end

  defp run_next(state), do: state

  defp finished(fetched, diff, state) do
    Enum.each(fetched, &broadcast(&1, state))
    state = if state.metas?, do: Enum.reduce(fetched, state, &metas(&1, diff, &2)), else: state
    run_next(%{state | running: nil})
  end

  # Runs in a task.
  defp fetch(module, diff) do
    for {topic, %{joins: joins, leaves: leaves}} <- grouped(diff) do
      {topic, %{joins: fetch(module, topic, joins), leaves: fetch(module, topic, leaves)}}
    end
  end

  defp fetch(_module, _topic, none) when none == %{}, do: %{}
  defp fetch(module, topic, presences), do: module.fetch(topic, presences)

  defp grouped(diff) do
    for {topic, {joins, leaves}} <- diff do
      {topic, %{joins: group(joins), leaves: group(leaves)}}
    end
  end

  defp group(entries) do
    Enum.reduce(entries, %{}, fn {key, meta}, grouped ->
      Map.update(grouped, to_string(key), %{metas: [meta]}, &%{&1 | metas: [meta | &1.metas]})
    end)
  end

  defp broadcast(_diff, %{pubsub_server: nil}), do: :ok

  defp broadcast({topic, diff}, %{pubsub_server: server}) do
    if Code.ensure_loaded?(Phoenix.Channel.Server) do
      apply(Phoenix.Channel.Server, :local_broadcast, [server, topic, "presence_diff", diff])
    else
      message = %{topic: topic, event: "presence_diff", payload: diff}
      apply(Phoenix.PubSub, :local_broadcast, [server, topic, message])
    end
  end

  defp metas({topic, fetched}, diff, state) do
    {joins, leaves} = Map.fetch!(diff, topic)
    known = Enum.reduce(joins, Map.get(state.topics, topic, %{}), &join/2)
    # After the joins: what came and went within the diff is in both.
    known = Enum.reduce(leaves, known, &leave/2)
    {:ok, client_state} = state.module.handle_metas(topic, fetched, known, state.client_state)

    topics =
      if known == %{},
        do: Map.delete(state.topics, topic),
        else: Map.put(state.topics, topic, known)

    %{state | topics: topics, client_state: client_state}
  end

  defp join({key, meta}, known) do
    Map.update(
      known,
      to_string(key),
      [meta],
      &[meta | Enum.reject(&1, fn m -> same?(m, meta) end)]
    )
  end

  defp leave({key, meta}, known) do
    key = to_string(key)

    case Enum.reject(Map.get(known, key, []), &same?(&1, meta)) do
      [] -> Map.delete(known, key)
      metas -> Map.put(known, key, metas)
    end
  end

  defp same?(%{phx_ref: ref}, %{phx_ref: ref}), do: true
  defp same?(one, other), do: one == other

  defp fetchers(module), do: Module.concat(module, Fetchers)
end
