defmodule Headcount.Tracker do
  @moduledoc """
  Presence of processes in topics, on all nodes: the contract of `Phoenix.Tracker`.

      children = [
        {MyApp.Tracker, [name: MyApp.Tracker]}
      ]

  with a module of callbacks:

      defmodule MyApp.Tracker do
        use Headcount.Tracker

        def start_link(opts) do
          opts = Keyword.merge([name: __MODULE__], opts)
          Headcount.Tracker.start_link(__MODULE__, opts, opts)
        end

        @impl true
        def init(opts), do: {:ok, %{server: opts[:name]}}

        @impl true
        def handle_diff(diff, state) do
          for {topic, {joins, leaves}} <- diff do
            for {key, meta} <- joins, do: IO.inspect({:join, topic, key, meta})
            for {key, meta} <- leaves, do: IO.inspect({:leave, topic, key, meta})
          end

          {:ok, state}
        end
      end

  Now any process can be tracked, and every node lists it:

      {:ok, ref} = Headcount.Tracker.track(MyApp.Tracker, self(), "room:1", user_id, %{device: "phone"})
      Headcount.Tracker.list(MyApp.Tracker, "room:1")
      #=> [{user_id, %{device: "phone", phx_ref: ref}}]

  The first argument may also be a `Headcount.Tracker.State`: the pure form, without processes.

      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> {:ok, ref} = Headcount.Tracker.track(tracker, self(), "room", "ann", %{device: "phone"})
      iex> Headcount.Tracker.list(tracker, "room")
      [{"ann", %{device: "phone", phx_ref: ref}}]

  ## Options of `start_link/3`

  A wrong option is `{:error, message}`. Options with other names are ignored, as `Phoenix.Tracker` does, so
  that one keyword list may serve as options and as the argument of `c:init/1`.

    * `:name` - required: the name of the supervisor and the first argument of the other functions
    * `:cluster` - the name under which the trackers of all nodes find each other, 64 bytes at most
      (the `:name`)
    * `:pubsub_server` - a `Phoenix.PubSub` to talk through; without it Erlang distribution is used
    * `:transport` - `{module, options}` of a `Headcount.Transport`
    * `:broadcast_period` - milliseconds between heartbeats (1500). Changes do not wait for it: they
      travel within a few milliseconds
    * `:down_period` - a node that was silent for this long is down, its entries are hidden
      (`broadcast_period * max_silent_periods * 2`, 30 s). A broken connection hides at once
    * `:permdown_period` - a node that was silent for this long is forgotten (20 minutes)
    * `:permdown_on_shutdown` - say goodbye when the supervisor stops, so that other nodes drop the entries
      at once (`false`)
    * `:pool_size` - processes that monitor and run callbacks (1). Nodes may have different ones
    * `:log_level` - level of log lines about the cluster, or `false` (default)
    * `:codec` - how keys and metas travel: `:term`, as Erlang terms (default), or `:json`, see below
    * `:link` - link tracked processes to a shard while they have entries, as `Phoenix.Tracker` does
      (`false`)
    * `:report_events_to` - a process that gets `{:replica_up | :replica_down | :replica_permdown, name}`
      and `{:refused, name, from, message}` when entries of a node break a limit of this node or cannot
      be read: once, until a frame of that node is accepted again
    * `:node_name` - the name of this replica, 64 bytes at most (the name of the node, cut if it is longer)
    * `:max_silent_periods` - only for the default of `:down_period`; a heartbeat is sent in each period
    * `:clock_sample_periods`, `:max_delta_sizes` - accepted without effect: a node always knows exactly
      what it misses

  ## What differs from Phoenix.Tracker

    * Tracked processes are monitored, not linked, and a callback that raises kills none of them: its
      process restarts, the entries stay. Changes that `handle_diff/2` failed to handle come again, each
      topic by itself, so a topic may come twice; one that fails by itself is dropped and logged.
    * `track/5`, `update/5` and `untrack/4` write in the caller, reads never pass through a process;
      reading inside `handle_diff/2` works.
    * `handle_diff/2` is called a few milliseconds after a change, with all changes since the last
      call: a hundred thousand processes that die at once cause a few calls. Of several updates of an
      entry only the last one is a join, but a diff drops nothing that `list/2` could have shown: each
      replaced version is a leave, and an entry that was tracked and untracked since the last call is in
      both lists. Apply joins before leaves, by key and `:phx_ref`, as the JavaScript client of
      Phoenix does.
    * Entries whose process has ended are removed without the grace period that the Rust crate and the
      Python module offer: a process does not come back under its pid.
    * The order of `list/2` is not defined.
    * Keys, topics and metas have limits (256 bytes, 256 bytes, 16 KiB as Erlang terms), owners of a
      `Headcount.Tracker.State` that are no pids too (64 bytes); beyond them the call returns
      `{:error, {what, length, limit}}`.
    * A meta or key that a node cannot decode is listed there as `{:undecodable, binary}`. Over a
      transport that is not trusted no atoms are created.

  ## Clusters with other languages

  With `codec: :json` the entries of this node travel as UTF-8 text, so that nodes in Rust and Python
  read them and this node reads theirs. All Elixir nodes of a cluster use the same codec: the same
  key in another codec is another key.

    * a key is a string in UTF-8
    * a meta holds numbers of up to 64 bits, `true`, `false`, `nil`, strings in UTF-8, other atoms,
      lists and maps with strings or atoms as keys, 64 deep. Anything else is
      `{:error, {:not_json, message}}`, and nothing is tracked
    * metas read back as maps with strings as keys, also those that were written here; atoms read
      back as strings; only `:phx_ref` and `:phx_ref_prev` stay atoms. With
      `codec: {:json, keys: :existing_atoms}` keys that this node knows as atoms are atoms
    * a pid means something to Elixir nodes only; for others the owner of such an entry is a text
      without a meaning: `erlang:` and the numbers of the pid. An owner from another language reads
      as a string, and so does the pid of a node with a name of over 64 bytes that this one is not
      connected to
    * the meta of an entry from another language that is no JSON object is listed as
      `{:undecodable, binary}`; an empty one is `%{}`

  ## Upgrades

  The state lives in the NIF, not in a process: it stays when shards and callbacks restart or are
  upgraded. The NIF itself cannot be replaced while it runs: a reload of its module is refused with a
  warning, and the old code stays with all entries. For a new version of the NIF restart the VM.
  """

  import Headcount.Bang, only: [bang: 1]
  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native
  alias Headcount.Tracker.{Config, Replicator, Shard, State}

  @type topic :: String.t()
  @type key :: term()
  @type meta :: map()
  @type ref :: String.t()

  @typedoc "A running tracker by name, or the pure form."
  @type tracker :: atom() | State.t()

  @typedoc "Changes as `{joins, leaves}` of each topic. An update is in both lists; apply joins first."
  @type diff :: %{topic() => {joins :: [{key(), meta()}], leaves :: [{key(), meta()}]}}

  @doc "Makes the state of the callbacks, once for each shard."
  @callback init(arg :: term()) :: {:ok, state :: term()}

  @doc "Receives all changes, of this node and of the others."
  @callback handle_diff(diff(), state :: term()) :: {:ok, state :: term()}

  @doc "Receives the other messages to the shard."
  @callback handle_info(message :: term(), state :: term()) :: {:noreply, state :: term()}

  @optional_callbacks handle_info: 2

  # The longest list that a normal scheduler makes.
  @list_normal_max 200

  @doc false
  defmacro __using__(_options) do
    quote do
      @behaviour Headcount.Tracker

      @doc false
      def child_spec(options) do
        %{id: __MODULE__, start: {__MODULE__, :start_link, [options]}, type: :supervisor}
      end

      defoverridable child_spec: 1
    end
  end

  @doc """
  Starts a tracker with a module of callbacks and its argument; see "Options" above.
  """
  @spec start_link(module(), arg :: term(), keyword()) :: Supervisor.on_start()
  def start_link(module, arg, options) do
    Headcount.Tracker.Supervisor.start_link(module, arg, options)
  end

  @doc """
  Tracks a process under a key in a topic, until the process ends. O(1).

      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> {:ok, _ref} = Headcount.Tracker.track(tracker, self(), "room", "ann", %{})
      iex> {:error, {:already_tracked, _pid, "room", "ann"}} =
      ...>   Headcount.Tracker.track(tracker, self(), "room", "ann", %{})
  """
  @spec track(tracker(), pid(), topic(), key(), meta()) ::
          {:ok, ref()} | {:error, {:already_tracked, pid(), topic(), key()}} | State.track_error()
  def track(%State{} = state, owner, topic, key, meta) do
    State.track(state, owner, topic, key, meta)
  end

  def track(name, pid, topic, key, meta) when is_pid(pid) do
    presence = Config.presence!(name)
    topic = State.check_topic(topic)

    case call(:presence_track, [presence, pid, topic, key, State.check_meta(meta)]) do
      {:ok, ref} ->
        {:ok, ref}

      {:ok, ref, _pid} ->
        Shard.count(Config.fetch!(name), pid, 1)
        {:ok, ref}

      {:error, :already_tracked} ->
        {:error, {:already_tracked, pid, topic, key}}

      error ->
        error
    end
  end

  bang(
    track!(tracker :: tracker(), pid :: pid(), topic :: topic(), key :: key(), meta :: meta()) ::
      ref()
  )

  @doc """
  Replaces the meta of an entry by a map, or by what a function returns for the present meta. O(1).

  The function runs in a shard; an exception in it is raised in the caller.

      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> Headcount.Tracker.update(tracker, self(), "room", "ann", %{})
      {:error, :nopresence}
  """
  @spec update(tracker(), pid(), topic(), key(), meta() | (meta() -> meta())) ::
          {:ok, ref()} | {:error, :nopresence} | State.track_error()
  def update(%State{} = state, owner, topic, key, meta) do
    State.update(state, owner, topic, key, meta)
  end

  def update(name, pid, topic, key, fun) when is_pid(pid) and is_function(fun, 1) do
    config = Config.fetch!(name)
    State.check_topic(topic)
    shard = elem(config.shards, :erlang.phash2(topic, config.pool_size))

    if Process.whereis(shard) == self() do
      updated(Shard.update(config, pid, topic, key, fun))
    else
      updated(GenServer.call(shard, {:update, pid, topic, key, fun}))
    end
  end

  def update(name, pid, topic, key, meta) when is_pid(pid) do
    presence = Config.presence!(name)
    topic = State.check_topic(topic)
    call(:presence_update, [presence, pid, topic, key, State.check_meta(meta)])
  end

  bang(
    update!(
      tracker :: tracker(),
      pid :: pid(),
      topic :: topic(),
      key :: key(),
      meta :: meta() | (meta() -> meta())
    ) :: ref()
  )

  @doc """
  Stops tracking a process under a key in a topic; does nothing when it is not tracked. O(1).

      iex> Headcount.Tracker.untrack(Headcount.Tracker.State.new("node-1"), self(), "room", "ann")
      :ok
  """
  @spec untrack(tracker(), pid(), topic(), key()) :: :ok
  def untrack(%State{} = state, owner, topic, key), do: State.untrack(state, owner, topic, key)

  def untrack(name, pid, topic, key) when is_pid(pid) do
    case call(:presence_untrack, [Config.presence!(name), pid, State.check_topic(topic), key]) do
      :ok -> :ok
      {:ok, _pid} -> Shard.count(Config.fetch!(name), pid, -1)
    end
  end

  @doc """
  Stops tracking a process everywhere. O(its entries).

      iex> Headcount.Tracker.untrack(Headcount.Tracker.State.new("node-1"), self())
      :ok
  """
  @spec untrack(tracker(), pid()) :: :ok
  def untrack(%State{} = state, owner), do: State.untrack(state, owner)

  def untrack(name, pid) when is_pid(pid) do
    config = Config.fetch!(name)
    Shard.count(config, pid, -Native.presence_untrack_owners(config.presence, [pid]))
  end

  @doc """
  Returns the entries of a topic on all nodes that are up, in no particular order. O(entries of the topic).

  More than #{@list_normal_max} entries are read in pages, so that writers wait for one page only. Such a list does
  not show one moment, but each entry that exists throughout the call is in it exactly once.

      iex> Headcount.Tracker.list(Headcount.Tracker.State.new("node-1"), "room")
      []
  """
  @spec list(tracker(), topic()) :: [{key(), meta()}]
  def list(%State{} = state, topic), do: State.list(state, topic)

  def list(name, topic) do
    presence = Config.presence!(name)
    State.check_topic(topic)

    case Native.presence_list_short(presence, topic, @list_normal_max) do
      :many -> Native.presence_list(presence, topic)
      list -> list
    end
  end

  @doc """
  Returns the processes of a key in a topic, with their metas. O(such entries).

      iex> Headcount.Tracker.get_by_key(Headcount.Tracker.State.new("node-1"), "room", "ann")
      []
  """
  @spec get_by_key(tracker(), topic(), key()) :: [{pid(), meta()}]
  def get_by_key(%State{} = state, topic, key), do: State.get_by_key(state, topic, key)

  def get_by_key(name, topic, key) do
    call(:presence_get_by_key, [Config.presence!(name), State.check_topic(topic), key])
  end

  @doc """
  Returns the number of entries of a topic. O(nodes present in the topic).

      iex> Headcount.Tracker.count(Headcount.Tracker.State.new("node-1"), "room")
      0
  """
  @spec count(tracker(), topic()) :: non_neg_integer()
  def count(%State{} = state, topic), do: State.count(state, topic)

  def count(name, topic) do
    call(:presence_count, [Config.presence!(name), State.check_topic(topic)])
  end

  @doc """
  Returns the number of different keys of a topic: a user with two devices counts once.

      iex> Headcount.Tracker.count_keys(Headcount.Tracker.State.new("node-1"), "room")
      0
  """
  @spec count_keys(tracker(), topic()) :: non_neg_integer()
  def count_keys(%State{} = state, topic), do: State.count_keys(state, topic)

  def count_keys(name, topic) do
    Native.presence_count_keys(Config.presence!(name), State.check_topic(topic))
  end

  @doc """
  Returns the number of entries in all topics, on all nodes.

      iex> Headcount.Tracker.size(Headcount.Tracker.State.new("node-1"))
      0
  """
  @spec size(tracker()) :: non_neg_integer()
  def size(%State{} = state), do: State.size(state)
  def size(name), do: call(:presence_size, [Config.presence!(name)])

  @doc """
  Returns whether this node has caught up, at least once, with everything its known peers advertised.
  """
  @spec synced?(atom()) :: boolean()
  def synced?(name), do: Native.presence_is_synced(Config.presence!(name))

  @doc """
  Returns the other nodes of a tracker and whether they are up.
  """
  @spec replicas(atom()) :: [{name :: String.t(), up :: boolean()}]
  def replicas(name) do
    for {replica, _incarnation, up} <- Native.presence_replicas(Config.presence!(name)) do
      {replica, up}
    end
  end

  @doc """
  Leaves the cluster for good: other nodes drop the entries of this one at once. Stops the tracker.
  """
  @spec graceful_permdown(atom()) :: :ok
  def graceful_permdown(name) do
    config = Config.fetch!(name)
    Replicator.leave_gracefully(config)
    for shard <- Tuple.to_list(config.shards), do: GenServer.stop(shard)
    Supervisor.stop(name)
  end

  defp updated({:bad_meta, meta}), do: State.check_meta(meta)
  defp updated({:raised, kind, reason, stack}), do: :erlang.raise(kind, reason, stack)
  defp updated(result), do: result
end
