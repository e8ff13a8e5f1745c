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
  options of `Headcount.Tracker`. `:dispatcher` is a dispatcher of `Phoenix.PubSub` for the broadcasts
  (`Phoenix.Channel.Server`). Phoenix is called at run time: this package does not depend on it.
  Without `:pubsub_server` nodes talk over Erlang distribution and nothing is broadcast; use
  `c:handle_metas/4`.

  ## What differs from Phoenix.Presence

    * Diffs of a few milliseconds come as one broadcast for each topic.
    * `c:fetch/2` runs in a task for each topic, many topics at once. The broadcasts of a topic keep their
      order; those of different topics may overtake each other. Diffs that come while the task of their topic
      runs are fetched together.
    * An exception in `c:fetch/2` is logged, and the diff is broadcast as it is. So are diffs when more than 64 MiB of
      them wait for calls of `c:fetch/2` that do not return: these are ended. An exception in
      `c:handle_metas/4` or `c:handle_signal/2` is logged, and the state of before is kept. No process ends.
    * The metas of a key are in the order in which they joined; those of different nodes, by node.
    * A key that has no text form, such as a tuple, is shown as `inspect/1` prints it.
    * In mode `:interest` a topic is watched while a process of this node is tracked in it (`:watch_tracked`). Until
      it is ready `list` and `get_by_key` return `{:error, :not_ready}`, and without a process
      `{:error, :not_watched}`. A channel that calls `Headcount.Tracker.watch/2` is told:

          def handle_info(:after_join, socket) do
            {:ok, _ref} = Presence.track(socket, socket.assigns.user_id, %{online_at: now()})
            :ok = Headcount.Tracker.watch(Presence, socket.topic)
            {:noreply, socket}
          end

          def handle_info({Presence, {:ready, _topic, _age, _missing}}, socket) do
            push(socket, "presence_state", Presence.list(socket))
            {:noreply, socket}
          end

      With `counts: true` a channel that shows how many are in other topics, such as a list of rooms, calls
      `Headcount.Tracker.watch_counts/2` and `Headcount.Tracker.count/2` with the module as the name.
    * See also `Headcount.Tracker`: its leases, its signals and its other functions take the module as the name.
  """

  use Supervisor
  alias Headcount.Presence.{Metas, Publisher}
  alias Headcount.Tracker

  @type topic :: String.t()
  @type presence :: %{:metas => [map()], optional(atom()) => any()}
  @type presences :: %{String.t() => presence()}

  @doc """
  Extends presences by data for the clients, such as users from one database query.

  Called for each list and for the joins and the leaves of each diff. Must keep the keys of the map.
  """
  @callback fetch(topic(), presences()) :: presences()

  @doc "Makes the state of `c:handle_metas/4` and `c:handle_signal/2`."
  @callback init(state :: term()) :: {:ok, new_state :: term()}

  @doc """
  Receives the changes of a topic, and all its metas by key after them. A key that joins is in them: when one has left
  again by then, there is a call for the joins and another one for the leaves.

  A shard keeps a copy of the metas of all its topics only for modules that have this callback.
  """
  @callback handle_metas(
              topic(),
              diff :: %{joins: presences(), leaves: presences()},
              presences :: %{String.t() => [map()]},
              state :: term()
            ) :: {:ok, term()}

  @doc """
  Receives the signs of `Headcount.Tracker.signal/5`, such as "is typing", of this node and of the others.
  """
  @callback handle_signal(Headcount.Tracker.Signal.t(), state :: term()) :: {:ok, term()}

  @doc "Tracks the process of a socket in its topic."
  @callback track(socket :: map(), key :: term(), meta :: map()) ::
              {:ok, String.t()} | {:error, term()}

  @doc "Tracks a process in a topic."
  @callback track(pid(), topic(), key :: term(), meta :: map()) ::
              {:ok, String.t()} | {:error, term()}

  @doc "Stops tracking the process of a socket in its topic."
  @callback untrack(socket :: map(), key :: term()) :: :ok

  @doc "Stops tracking a process in a topic."
  @callback untrack(pid(), topic(), key :: term()) :: :ok

  @doc "Replaces the meta of the presence of a socket by a map, or by what a function returns."
  @callback update(socket :: map(), key :: term(), map() | (map() -> map())) ::
              {:ok, String.t()} | {:error, term()}

  @doc "Replaces the meta of a presence by a map, or by what a function returns."
  @callback update(pid(), topic(), key :: term(), map() | (map() -> map())) ::
              {:ok, String.t()} | {:error, term()}

  @doc "Returns all presences of a topic, or of the topic of a socket."
  @callback list(socket :: map() | topic()) :: presences() | Tracker.unreadable()

  @doc "Returns the presence of a key, `[]` if there is none."
  @callback get_by_key(socket :: map() | topic(), key :: term()) ::
              presence() | [] | Tracker.unreadable()

  @doc "Returns the processes that run `c:fetch/2` at the moment."
  @callback fetchers_pids() :: [pid()]

  @optional_callbacks init: 1, handle_metas: 4, handle_signal: 2

  @doc false
  defmacro __using__(options) do
    quote location: :keep, bind_quoted: [options: options] do
      @behaviour Headcount.Presence
      @headcount_options options

      if options[:otp_app] == nil do
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

      @impl Headcount.Presence
      def track(%{__struct__: Phoenix.Socket} = socket, key, meta) do
        track(socket.channel_pid, socket.topic, key, meta)
      end

      @impl Headcount.Presence
      def track(pid, topic, key, meta) do
        Headcount.Tracker.track(__MODULE__, pid, topic, key, meta)
      end

      @impl Headcount.Presence
      def untrack(%{__struct__: Phoenix.Socket} = socket, key) do
        untrack(socket.channel_pid, socket.topic, key)
      end

      @impl Headcount.Presence
      def untrack(pid, topic, key), do: Headcount.Tracker.untrack(__MODULE__, pid, topic, key)

      @impl Headcount.Presence
      def update(%{__struct__: Phoenix.Socket} = socket, key, meta) do
        update(socket.channel_pid, socket.topic, key, meta)
      end

      @impl Headcount.Presence
      def update(pid, topic, key, meta) do
        Headcount.Tracker.update(__MODULE__, pid, topic, key, meta)
      end

      @impl Headcount.Presence
      def list(%{__struct__: Phoenix.Socket, topic: topic}), do: list(topic)
      def list(topic), do: Headcount.Presence.list(__MODULE__, topic)

      @impl Headcount.Presence
      def get_by_key(%{__struct__: Phoenix.Socket, topic: topic}, key), do: get_by_key(topic, key)
      def get_by_key(topic, key), do: Headcount.Presence.get_by_key(__MODULE__, topic, key)

      @impl Headcount.Presence
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
    Supervisor.start_link(__MODULE__, options, name: Module.concat(module, Supervisor))
  end

  @doc false
  @impl Supervisor
  # Owns the table of the publishers, which outlives them.
  def init(options) do
    {dispatcher, options} = Keyword.pop(options, :dispatcher)
    module = options[:name]

    arg = %{
      name: module,
      module: module,
      fetchers: fetchers(module),
      pubsub_server: options[:pubsub_server],
      dispatcher: dispatcher,
      table: :ets.new(:diffs, [:public]),
      interest?: options[:mode] == :interest
    }

    options = Keyword.put_new(options, :watch_tracked, true)

    children = [
      {Task.Supervisor, name: fetchers(module)},
      %{id: Tracker, start: {Tracker, :start_link, [Publisher, arg, options]}, type: :supervisor}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end

  @doc """
  Returns all presences of a topic, grouped by key and extended by the module's `c:fetch/2`.
  """
  @spec list(module(), topic()) :: presences() | Tracker.unreadable()
  def list(module, topic) do
    with entries when is_list(entries) <- Tracker.list(module, topic),
         do: module.fetch(topic, Metas.group(entries))
  end

  @doc """
  Returns the presence of a key, extended by the module's `c:fetch/2`; `[]` if there is none.
  """
  @spec get_by_key(module(), topic(), key :: term()) :: presence() | [] | Tracker.unreadable()
  def get_by_key(module, topic, key) do
    with [_ | _] = sessions <- Tracker.get_by_key(module, topic, key) do
      metas = Metas.sort(for {_pid, meta} <- sessions, do: meta)
      name = Metas.name(key)
      Map.fetch!(module.fetch(topic, %{name => %{metas: metas}}), name)
    end
  end

  @doc """
  Returns the processes that run the module's `c:fetch/2` at the moment.
  """
  @spec fetchers_pids(module()) :: [pid()]
  def fetchers_pids(module), do: Task.Supervisor.children(fetchers(module))

  defp fetchers(module), do: Module.concat(module, Fetchers)
end
