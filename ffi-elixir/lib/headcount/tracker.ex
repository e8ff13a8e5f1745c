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
    * `:cluster` - the name under which the trackers of all nodes find each other (the `:name`)
    * `:key` - 16 secret bytes that all nodes of the cluster share (none). Frames then carry a keyed MAC, and a node
      drops those of nodes that do not have the key: it sees none of their entries. The secret is in the `:key` of Rust
      and of Python too. Frames are not encrypted
    * `:partitions` - the number of parts that topics are spread over, a power of two from 1 to 65,536 (32). It
      is the same on all nodes of a cluster: a node with another one hears nothing of the others
    * `:mode` - what a node holds of the others: everything (`:all`), or, with `:interest`, what it watches. The same
      on all nodes of a cluster, see "More presence than a node can hold" below
    * `:counts` - whether nodes tell how many entries they have in each topic, for `watch_counts/2`, in mode
      `:interest` (`false`). The same on all nodes of a cluster, which has 32,768 `:partitions` at most then
    * `:unwatch_after` - milliseconds for which what others have in a topic is held after its last watch has ended
      (30,000), in mode `:interest`
    * `:watch_tracked` - whether a topic is watched while a process is tracked in it by this node, in mode
      `:interest` (`false`; `true` for a `Headcount.Presence`)
    * `:relay` - whether nodes pass frames of others on (`false`), as a cluster needs in which not all nodes reach each
      other; the same on all nodes, in mode `:all`. See `Headcount.Transport.PG`
    * `:pubsub_server` - a `Phoenix.PubSub` to talk through; without it Erlang distribution is used
    * `:transport` - `{module, options}` of a `Headcount.Transport`
    * `:broadcast_period` - milliseconds between heartbeats (1500). Changes do not wait for it: they
      travel within a few milliseconds
    * `:down_period` - a node that was silent for this long is down, its entries are hidden
      (`broadcast_period * max_silent_periods * 2`, 30 s). A broken connection hides at once
    * `:permdown_period` - a node that was silent for this long is forgotten (20 minutes)
    * `:permdown_on_shutdown` - say goodbye when the supervisor stops, so that other nodes drop the entries
      at once (`false`). It is said three times within 40 ms, as frames may be lost
    * `:ready_after` - milliseconds after two heartbeats for which this node waits for nodes that it does not catch
      up with, before the event `{:ready, missing}` names them (5,000)
    * `:vacate_after` - milliseconds after which a partition without entries of this node is given up, and with it
      what is remembered of those that left (60,000)
    * `:pool_size` - processes that monitor and run callbacks (1). Nodes may have different ones
    * `:log_level` - level of the log lines about nodes that come and go (`:debug`); what is wrong is logged
      as a warning or an error. With `false` nothing is logged
    * `:codec` - how keys and metas travel: `:term`, as Erlang terms (default), or `:json`, see below
    * `:grace` - milliseconds for which the entries of a process that has ended, and those of a node that
      starts again under its name, stay: until then a process that tracks the same topic and key takes an
      entry over, which is an update for everyone (0)
    * `:link` - link tracked processes to a shard while they have entries, as `Phoenix.Tracker` does
      (`false`). A process whose entries left without `untrack` (a lease that ran out, `owner_lost/2`, another process
      that took them over) is unlinked within a minute
    * `:report_events_to` - a process that gets the events of "What an operator sees" below, as tuples: a pid, a
      registered name or `{name, node}`. What comes while no process has the name is not kept
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
    * `c:handle_diff/3`, in place of `handle_diff/2`, gets the reason of each leave too.
    * The order of `list/2` is not defined.
    * Keys, topics and metas have limits (256 bytes, 256 bytes, 16 KiB as Erlang terms), owners of a
      `Headcount.Tracker.State` that are no pids too (64 bytes); beyond them the call returns
      `{:error, {what, length, limit}}`. They are written out first: a meta of 100 MB holds a scheduler for a tenth of
      a second before it is refused.
    * Keys are compared by their external format, which is the same on every release of OTP: `1` and `1.0` are two
      keys. A function is the same key only where it was made.
    * A meta or key that a node cannot decode is listed there as `{:undecodable, binary}`. Over a
      transport that is not trusted no atoms are created.

  ## More presence than a node can hold

  With `mode: :interest` a node holds and is sent, beside its own entries, only those of the topics that it watches.
  Choose it with some thousands of `:partitions` when there is more presence than each node can hold, and place the
  users of a topic on few nodes.

      Headcount.Tracker.list(MyTracker, "room")
      #=> {:error, :not_watched}
      :ok = Headcount.Tracker.watch(MyTracker, "room")

      receive do
        {MyTracker, {:ready, "room", _age, _missing}} -> Headcount.Tracker.list(MyTracker, "room")
      end

    * `list/2`, `get_by_key/3`, `count/2` and `count_keys/2` return `{:error, :not_watched}` for a topic that this
      node does not watch, even if processes of its own are tracked in it, and `{:error, :not_ready}` until it is
      ready. They never return a part
    * `handle_diff/2` gets the changes of watched topics, from the watch on: what others had comes as joins. It gets
      no leaves when a watch ends: see `c:handle_unwatched/2`
    * signals go to the nodes that watch their topic
    * watches survive restarts of shards and callbacks; those of a process end with it

  With `counts: true` a node can count a topic without its entries, such as for the number beside each room of a list:

      :ok = Headcount.Tracker.watch_counts(MyTracker, "room")

      receive do
        {MyTracker, {:counts_ready, "room", _age, _missing}} -> Headcount.Tracker.count(MyTracker, "room")
      end

    * `count/2` and `count_keys/2` answer from the counts where the entries are not held. They are those of the last
      heartbeat of each other node, and of this one as it is now
    * nothing else of the topic can be read, `handle_diff/2` gets none of its changes, and `stats/1` has none of its
      entries
    * each node tells once in a `:broadcast_period` of the topics in which entries came or went: to follow a topic of
      any size costs a few bytes for each node that has entries in it

  ## Clusters with other languages

  With `codec: :json` the entries of this node travel as UTF-8 text, so that nodes in Rust and Python
  read them and this node reads theirs. All Elixir nodes of a cluster use the same codec: the same
  key in another codec is another key.

    * a key is a string in UTF-8
    * integers of other languages are read exactly, up to 4,300 digits; a meta with a longer one, or with a float that
      Erlang does not have, such as `1e999`, is listed as `{:undecodable, binary}`
    * a meta that is written holds numbers of up to 64 bits, `true`, `false`, `nil`, strings in UTF-8, other atoms,
      lists and maps with strings or atoms as keys, 64 deep. Anything else is
      `{:error, {:not_json, message}}`, and nothing is tracked
    * metas read back as maps with strings as keys, also those that were written here; atoms read
      back as strings; only `:phx_ref`, `:phx_ref_prev` and
      `:headcount_status` stay atoms. With
      `codec: {:json, keys: :existing_atoms}` keys that this node knows as atoms are atoms
    * a pid means something to Elixir nodes only; for others the owner of such an entry is a text
      without a meaning: `erlang:` and the numbers of the pid. An owner from another language reads
      as a string, and so does the pid of a node with a name of over 64 bytes that this one is not
      connected to
    * the meta of an entry from another language that is no JSON object is listed as
      `{:undecodable, binary}`; an empty one is `%{}`

  ## Statuses

  The key `:headcount_status` of a meta, one of `:online` (default), `:idle`, `:dnd` and `:invisible`, is the
  status of the session for a `Headcount.Roster`. It travels beside the meta, so nodes in all languages read it
  with any codec. It is in the metas that are read unless it is `:online`.

  ## What an operator sees

  What happens to the cluster is logged, sent to the process of `:report_events_to`, and, where the library
  `:telemetry` is loaded, executed as the event `[:headcount, :tracker, kind]`, with the measurement `count` (1, or
  the frames that were refused since the last such event) and the metadata `tracker` (its name), `event` (the
  tuple) and, if it is about one, `replica` (the name of a node) or `from` (the address of a node that is not known
  by its name):

    * `{:replica_up | :replica_down | :replica_permdown, name}` - a node is heard, silent, gone for good: it said
      goodbye, or was silent for the `:permdown_period` (Rust and Python tell these two apart)
    * `{:ready, missing}` - this node has caught up with all nodes that are up, but for those whose names are
      listed. If some are, it comes again, and `synced?/1` is true, when none is
    * `{:topic_ready, topic, age, missing}` - a watched topic can be read: what `watch/2` tells its processes. In the
      metadata of `:telemetry` there is `topic`
    * `{:counts_ready, topic, age, missing}` - a topic can be counted: what `watch_counts/2` tells its processes
    * `{:duplicate_name, name}` - an error: two nodes have one name, this one is silent until the other is gone
    * `{:refused, name, partition, message}` - entries of a node break a limit of this node or cannot be read.
      Reported once in a minute for each node and each rule
    * `{:divergence, name, partition}` - this node holds other entries of a node than that node has, and repairs
      that
    * `{:reincarnated, name}` - this node took a new identity, as an earlier one of its own was still around
    * `{:diffs_dropped, name}` - more versions came and went between two diffs than are kept, or diffs that waited
      took more than 64 MiB: lists are right, what was built of diffs is to be read again. Comes once for all that
      was dropped. Beside those that wait, the callbacks of all shards have up to 64 MiB: a callback that does not
      return holds up the changes of the other shards from then on
    * `{:peer_limit, name}` - a node was not let in, as 4,096 are up
    * `{:second_self, from}` - frames with the identity of this node come from there, and are dropped. Reported once
      in a minute
    * `{:handle_collision, name}` - an error: a node was not let in, as the hash by which frames name it is that of
      another one. Start it again
    * `{:shape_mismatch, from, ours, theirs}` - an error: a node of the cluster has other `:partitions`, another
      `:mode`, other `:counts` or another `:relay`. Both are `{partitions, mode, counts, relay}`, as in
      `{32, :all, false, false}`
    * `{:answer_too_long, partition, bytes}` - an error: entries are too long for a frame of the transport, so
      another node does not get them
    * `{:unreadable, from, what}` - frames of a node break the format, or are of another cluster. Reported once in
      a minute for each node and each rule, `what` in words
    * `{:too_many_pulls, name}` - a node asks for entries more often than any that follows the protocol: further
      questions are dropped until the next heartbeat
    * `{:others_refused, count}` - frames were refused of more nodes, or for more reasons, than the 1,024 that are
      reported one by one within a minute

  Frames that cannot be read at all are `[:headcount, :tracker, :frame_refused]` with the metadata `from` and
  `reason`, frames for which the transport raises `:transport_failed`; both make one log line in ten seconds.
  `[:headcount, :tracker, :step]` has the measurements `duration` (microseconds), `frames_in`, `frames_out`,
  `bytes_in`, `bytes_out` and `frames_unsent` (those that the transport has not sent, `:unsent` of `stats/1`) of each
  step of replication.

  `[:headcount, :tracker, :stats]` tells once in 40 `:broadcast_period`s, a minute by default, what `stats/1` returns,
  for gauges and counters that need no poller: the measurements are the numbers of `stats/1`, and `frames_sent`,
  `bytes_sent`, `frames_received`, `bytes_received` and `frames_refused` over all kinds; the metadata has `sent`,
  `received` and `refused` by kind, and `peers`.

  ## Upgrades

  The state lives in the NIF, not in a process: it stays when shards and callbacks restart or are
  upgraded. The NIF itself cannot be replaced while it runs: a reload of its module is refused with a
  warning, and the old code stays with all entries. For a new version of the NIF restart the VM.

  `:cluster`, `:key`, `:partitions`, `:mode`, `:counts`, `:relay` and `:codec` are equal on all nodes. How to change
  them, and how a mistake shows in each language, is in the page
  [Upgrades](https://github.com/headcount-rs/headcount/blob/main/core/docs/upgrades.md).
  """

  import Headcount.Bang, only: [bang: 1]
  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native
  alias Headcount.Tracker.{Config, Replicator, Shard, Signal, State, Stats, Writes}

  @type topic :: String.t()
  @type key :: term()
  @type meta :: map()
  @type ref :: String.t()

  @typedoc "A running tracker by name, or the pure form."
  @type tracker :: atom() | State.t()

  @typedoc "The options of a write: `ttl: milliseconds` gives the entry a lease."
  @type options :: [ttl: pos_integer()]

  @typedoc "The result of one of many writes."
  @type result ::
          {:ok, ref()}
          | {:error, :nopresence | {:already_tracked, pid(), topic(), key()}}
          | State.track_error()

  @typedoc "The answer of a read of a topic that cannot be read, in mode `:interest`."
  @type unreadable :: {:error, :not_watched | :not_ready}

  @typedoc "Changes as `{joins, leaves}` of each topic. An update is in both lists; apply joins first."
  @type diff :: %{topic() => {joins :: [{key(), meta()}], leaves :: [{key(), meta()}]}}

  @doc "Makes the state of the callbacks, once for each shard."
  @callback init(arg :: term()) :: {:ok, state :: term()}

  @typedoc """
  The reason of a leave.

    * `:untracked` - a program untracked the entry
    * `:owner_gone` - its process ended or was untracked
    * `:expired` - its lease ran out
    * `:updated` - a later version of the entry follows
    * `:replica_down` - its node is silent, or its connection broke; the entry joins again if the node comes back
    * `:replica_left` - its node said goodbye
    * `:replica_replaced` - its node has started again without it
    * `:unknown` - this node missed the leave and was only sent what is there now, or the other node has a later
      version of Headcount with reasons that this one does not know
  """
  @type leave_reason ::
          :untracked
          | :owner_gone
          | :expired
          | :updated
          | :replica_down
          | :replica_left
          | :replica_replaced
          | :unknown

  @typedoc "The reasons of the leaves of a `t:diff/0`, for each topic in the order of its leaves."
  @type leave_reasons :: %{topic() => [leave_reason()]}

  @doc "Receives all changes, of this node and of the others. Not called where `c:handle_diff/3` is."
  @callback handle_diff(diff(), state :: term()) :: {:ok, state :: term()}

  @doc """
  Receives all changes with the reason of each leave, in place of `c:handle_diff/2`.

      def handle_diff(diff, reasons, state) do
        for {topic, {_joins, leaves}} <- diff,
            {{key, _meta}, reason} <- Enum.zip(leaves, reasons[topic]),
            reason in [:untracked, :expired] do
          IO.inspect({key, :left, topic, :on_purpose})
        end

        {:ok, state}
      end

  The reasons come beside the diff, as its form is that of `Phoenix.Tracker`, and only a module with this function
  pays for them. A module has this function or `c:handle_diff/2`.
  """
  @callback handle_diff(diff(), leave_reasons(), state :: term()) :: {:ok, state :: term()}

  @doc "Receives the other messages to the shard."
  @callback handle_info(message :: term(), state :: term()) :: {:noreply, state :: term()}

  @doc """
  Receives that this node watches a topic no longer, in mode `:interest`: no more changes of it come, and what was
  built of them is to be dropped. When it is watched again, entries that are held still do not come as joins: begin
  with `list/2`.
  """
  @callback handle_unwatched(topic(), state :: term()) :: {:ok, state :: term()}

  @doc "Receives the signs of `signal/5`, of this node and of the others."
  @callback handle_signal(Signal.t(), state :: term()) :: {:ok, state :: term()}

  @optional_callbacks handle_diff: 2,
                      handle_diff: 3,
                      handle_info: 2,
                      handle_signal: 2,
                      handle_unwatched: 2

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

    written = call(:presence_track, [presence, pid, topic, key, State.check_meta(meta)])

    Writes.result(written, name, {:track, pid, topic, key, meta})
  end

  bang(
    track!(tracker :: tracker(), pid :: pid(), topic :: topic(), key :: key(), meta :: meta()) ::
      ref()
  )

  @doc """
  Tracks a process as `track/5` does, with options. O(log leases).

    * `:ttl` - a lease in milliseconds: the entry leaves when neither `lease/5` nor a write with `:ttl`
      renews it in time, or when the process ends. For presences without a process of their own, such as
      clients that poll
  """
  @spec track(atom(), pid(), topic(), key(), meta(), options()) ::
          {:ok, ref()} | {:error, {:already_tracked, pid(), topic(), key()}} | State.track_error()
  def track(name, pid, topic, key, meta, options) when is_pid(pid) do
    Writes.one(name, {:track, pid, topic, key, meta}, Writes.ttl(options))
  end

  bang(
    track!(
      tracker :: atom(),
      pid :: pid(),
      topic :: topic(),
      key :: key(),
      meta :: meta(),
      options :: options()
    ) :: ref()
  )

  @doc """
  Replaces the meta of an entry by a map, or by what a function returns for the present meta. O(1).

  The function runs in a shard, and runs again if the entry was written meanwhile: nothing that it has not seen is
  overwritten. An exception in it is raised in the caller.

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
    Writes.update(name, {pid, topic, key}, fun, nil)
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
  Does what `update/5` does, with the options of `track/6`. O(log leases).

  An update without `:ttl` leaves a lease as it is.
  """
  @spec update(atom(), pid(), topic(), key(), meta() | (meta() -> meta()), options()) ::
          {:ok, ref()} | {:error, :nopresence} | State.track_error()
  def update(name, pid, topic, key, fun, options) when is_pid(pid) and is_function(fun, 1) do
    Writes.update(name, {pid, topic, key}, fun, Writes.ttl(options))
  end

  def update(name, pid, topic, key, meta, options) when is_pid(pid) do
    Writes.one(name, {:update, pid, topic, key, meta}, Writes.ttl(options))
  end

  bang(
    update!(
      tracker :: atom(),
      pid :: pid(),
      topic :: topic(),
      key :: key(),
      meta :: meta() | (meta() -> meta()),
      options :: options()
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
    removed =
      call(:presence_untrack, [Config.presence!(name), pid, State.check_topic(topic), key])

    Writes.result(removed, name, {:untrack, pid, topic, key, nil})
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
  Tracks many processes: `[{pid, topic, key, meta}]`. Returns the result of `track/5` for each, in order.
  O(entries).

  One call costs less than as many calls of `track/5`. It is no transaction: what one entry is refused
  for stops no other. Takes the options of `track/6`, for all entries.

      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> entry = {self(), "room", "ann", %{}}
      iex> [{:ok, _ref}, {:error, {:already_tracked, _pid, "room", "ann"}}] =
      ...>   Headcount.Tracker.track_many(tracker, [entry, entry])
  """
  @spec track_many(tracker(), [{pid(), topic(), key(), meta()}], options()) :: [result()]
  def track_many(tracker, entries, options \\ []),
    do: Writes.many(tracker, :track, entries, options)

  @doc """
  Updates many entries: `[{pid, topic, key, meta}]`. Returns the result of `update/5` for each, in order.
  O(entries). See `track_many/3`.

      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> Headcount.Tracker.update_many(tracker, [{self(), "room", "ann", %{}}])
      [{:error, :nopresence}]
  """
  @spec update_many(tracker(), [{pid(), topic(), key(), meta()}], options()) :: [result()]
  def update_many(tracker, entries, options \\ []),
    do: Writes.many(tracker, :update, entries, options)

  @doc """
  Stops tracking many entries: `[{pid, topic, key}]`. Ignores those that are not tracked. O(entries).

      iex> Headcount.Tracker.untrack_many(Headcount.Tracker.State.new("node-1"), [{self(), "room", "ann"}])
      :ok
  """
  @spec untrack_many(tracker(), [{pid(), topic(), key()}]) :: :ok
  def untrack_many(tracker, entries) do
    entries = for {pid, topic, key} <- entries, do: {pid, topic, key, nil}
    Writes.many(tracker, :untrack, entries, [])
    :ok
  end

  @doc """
  Renews the lease of an entry, or gives it one: it leaves in `ttl` milliseconds unless it is renewed.
  O(log leases).

  An entry that is untracked and tracked again has no lease. See `track/6`.
  """
  @spec lease(atom(), pid(), topic(), key(), ttl :: pos_integer()) :: :ok | {:error, :nopresence}
  def lease(name, pid, topic, key, ttl) when is_pid(pid) do
    entry = {pid, State.check_topic(topic), key}

    if Native.presence_lease(Config.presence!(name), Config.now(), entry, Writes.check_ttl(ttl)),
      do: :ok,
      else: {:error, :nopresence}
  end

  bang(
    lease!(
      name :: atom(),
      pid :: pid(),
      topic :: topic(),
      key :: key(),
      ttl :: pos_integer()
    ) :: :ok
  )

  @doc """
  Renews the lease of a process, or gives it one: all its entries leave in `ttl` milliseconds unless it is
  renewed. O(log leases).

  `untrack/2` ends the lease.
  """
  @spec lease_owner(atom(), pid(), ttl :: pos_integer()) :: :ok
  def lease_owner(name, pid, ttl) when is_pid(pid) do
    Native.presence_lease_owner(Config.presence!(name), Config.now(), pid, Writes.check_ttl(ttl))
    :ok
  end

  @doc """
  Reports that the client of a process was lost. O(its entries).

  Its entries stay for the time of the option `:grace`, then they leave. Until then a process that tracks the
  same topic and key takes the entry over, which is an update for everyone, and `owner_back/2` or a write keeps
  it. A process that ends is reported by the tracker itself: call `untrack/2` before one ends that is to leave
  at once. Without `:grace` this is `untrack/2`.
  """
  @spec owner_lost(atom(), pid()) :: :ok
  def owner_lost(name, pid) when is_pid(pid) do
    Native.presence_owners_lost(Config.presence!(name), Config.now(), [pid])
    :ok
  end

  @doc """
  Reports that a client that was lost is back with its process: the entries stay. Returns whether it had any
  when it was lost and its grace is not over. O(log owners).
  """
  @spec owner_back(atom(), pid()) :: boolean()
  def owner_back(name, pid) when is_pid(pid) do
    Native.presence_owner_back(Config.presence!(name), pid)
  end

  @doc """
  Sends a short-lived sign, such as "is typing", to all nodes, this one included. O(nodes).

  Nothing is stored, and a full queue drops it first. Each node calls `c:handle_signal/2` of the tracker's
  module. Of several signs of a node about one topic, key and kind an older one that arrives late is dropped.
  `kind` is a number of 0 to 255 of your choice.

    * `:payload` - at most 256 bytes (none)
    * `:ttl` - milliseconds for which it holds (5,000)

  Topic, key and payload that are too long are `{:error, {:signal_too_long, length, limit}}`.
  """
  @spec signal(atom(), topic(), key(), kind :: 0..255, keyword()) ::
          :ok
          | {:error, {atom(), len :: pos_integer(), max :: pos_integer()} | {atom(), String.t()}}
  def signal(name, topic, key, kind, options \\ []) when kind in 0..255 do
    options = Keyword.validate!(options, payload: "", ttl: 5_000)
    config = Config.fetch!(name)
    content = {key, kind, options[:payload], Writes.check_ttl(options[:ttl])}
    {key, kind, payload, ttl} = content
    subject = {State.check_topic(topic), key}

    with :ok <- Native.presence_signal(config.presence, subject, {kind, ttl}, payload) do
      Shard.signal(config, Signal.new(config.replica, topic, content))
    end
  end

  bang(
    signal!(
      name :: atom(),
      topic :: topic(),
      key :: key(),
      kind :: 0..255,
      options :: keyword()
    ) :: :ok
  )

  @doc """
  Watches a topic for the calling process, in mode `:interest`: what other nodes have in it is held from now on. O(1),
  O(nodes) for the first topic of a partition.

  The process gets `{name, {:ready, topic, age, missing}}` when the topic can be read: normally one round trip later,
  two heartbeats after the start of the tracker at the earliest, and at the latest `:ready_after` milliseconds after
  that. Then the topic has every entry that a node had when it was heard last before the watch.

    * `age` - the milliseconds that have passed since the node was heard that was heard least recently of those whose
      entries are there: normally a heartbeat, never more than `:down_period`
    * `missing` - the names of the nodes that have not answered. If there are some, the message comes once more when
      none is

  A process that watches a topic which is ready gets the message at once, as it was when the topic became ready; the
  message may come twice. Watches are counted for each process: each is undone by an `unwatch/2`, and all by its end.
  In mode `:all` every topic can be read, and the message comes at once.
  """
  @spec watch(atom(), topic()) ::
          :ok | {:error, {:topic_too_long, len :: pos_integer(), max :: pos_integer()}}
  def watch(name, topic), do: watch(name, :entries, :ready, topic)

  bang(watch!(name :: atom(), topic :: topic()) :: :ok)

  @doc """
  Ends a watch of the calling process; does nothing when it has none of this topic. O(1).

  When nothing watches the topic any more it cannot be read, and what other nodes have in it is dropped after
  `:unwatch_after` milliseconds. Until then a new watch costs nothing.
  """
  @spec unwatch(atom(), topic()) :: :ok
  def unwatch(name, topic), do: unwatch(name, :entries, topic)

  @doc """
  Watches the counts of a topic for the calling process, in mode `:interest` with the option `:counts`: `count/2` and
  `count_keys/2` of the topic answer, and none of its entries are held. O(1), O(nodes) for the first topic of a
  partition.

  The process gets `{name, {:counts_ready, topic, age, missing}}` when the topic can be counted; `age`, `missing` and
  when it comes are as `watch/2` has them. The counts are those of the last heartbeat of each other node, and of this
  one as it is now. A node that is down counts nothing.

  Watches of counts are counted for each process and beside those of `watch/2`: each is undone by an
  `unwatch_counts/2`, and all by the end of the process. In a cluster without `:counts` the entries are watched
  instead. In mode `:all` every topic can be counted, and the message comes at once.
  """
  @spec watch_counts(atom(), topic()) ::
          :ok | {:error, {:topic_too_long, len :: pos_integer(), max :: pos_integer()}}
  def watch_counts(name, topic), do: watch(name, :counts, :counts_ready, topic)

  bang(watch_counts!(name :: atom(), topic :: topic()) :: :ok)

  @doc """
  Ends a watch of the counts of a topic by the calling process; does nothing when it has none. O(1).

  After the last one the topic cannot be counted, unless it is watched by `watch/2`. What is held of its counts is
  dropped after `:unwatch_after` milliseconds.
  """
  @spec unwatch_counts(atom(), topic()) :: :ok
  def unwatch_counts(name, topic), do: unwatch(name, :counts, topic)

  @doc """
  Returns the entries of a topic on all nodes that are up, in no particular order. O(entries of the topic).

  More than #{@list_normal_max} entries are read in pages, so that writers wait for one page only. Such a list does
  not show one moment, but each entry that exists throughout the call is in it exactly once.

      iex> Headcount.Tracker.list(Headcount.Tracker.State.new("node-1"), "room")
      []
  """
  @spec list(tracker(), topic()) :: [{key(), meta()}] | unreadable()
  def list(%State{} = state, topic), do: State.list(state, topic)

  def list(name, topic) do
    presence = Config.presence!(name)
    State.check_topic(topic)

    case Native.presence_list_short(presence, topic, @list_normal_max) do
      :many -> Native.presence_list(presence, topic)
      list -> list
    end
  end

  bang(list!(tracker :: tracker(), topic :: topic()) :: [{key(), meta()}])

  @doc """
  Returns the processes of a key in a topic, with their metas. O(such entries).

      iex> Headcount.Tracker.get_by_key(Headcount.Tracker.State.new("node-1"), "room", "ann")
      []
  """
  @spec get_by_key(tracker(), topic(), key()) :: [{pid(), meta()}] | unreadable()
  def get_by_key(%State{} = state, topic, key), do: State.get_by_key(state, topic, key)

  def get_by_key(name, topic, key) do
    call(:presence_get_by_key, [Config.presence!(name), State.check_topic(topic), key])
  end

  bang(get_by_key!(tracker :: tracker(), topic :: topic(), key :: key()) :: [{pid(), meta()}])

  @doc """
  Returns the number of entries of a topic: of those that are held, or by the counts of all nodes. O(nodes).

  In mode `:interest` it is `{:error, :not_watched}` for a topic of which this node watches neither the entries
  (`watch/2`) nor the counts (`watch_counts/2`), and `{:error, :not_ready}` until one of the two is ready.

      iex> Headcount.Tracker.count(Headcount.Tracker.State.new("node-1"), "room")
      0
  """
  @spec count(tracker(), topic()) :: non_neg_integer() | unreadable()
  def count(%State{} = state, topic), do: State.count(state, topic)

  def count(name, topic) do
    call(:presence_count, [Config.presence!(name), State.check_topic(topic)])
  end

  bang(count!(tracker :: tracker(), topic :: topic()) :: non_neg_integer())

  @doc """
  Returns bounds of the number of different keys of a topic: a user with two devices counts once.

  They are equal where the entries are held. Where they are not, but their counts are (`watch_counts/2`), a key on
  several nodes may count once or several times. The errors are those of `count/2`.

      iex> Headcount.Tracker.count_keys(Headcount.Tracker.State.new("node-1"), "room")
      %Headcount.Keys{at_least: 0, at_most: 0}
  """
  @spec count_keys(tracker(), topic()) :: Headcount.Keys.t() | unreadable()
  def count_keys(%State{} = state, topic), do: State.count_keys(state, topic)

  def count_keys(name, topic) do
    Native.presence_count_keys(Config.presence!(name), State.check_topic(topic))
  end

  bang(count_keys!(tracker :: tracker(), topic :: topic()) :: Headcount.Keys.t())

  @doc """
  Returns the number of entries in all topics, on all nodes.

      iex> Headcount.Tracker.size(Headcount.Tracker.State.new("node-1"))
      0
  """
  @spec size(tracker()) :: non_neg_integer()
  def size(%State{} = state), do: State.size(state)
  def size(name), do: call(:presence_size, [Config.presence!(name)])

  @doc """
  Returns whether this node has caught up, at least once, with all nodes that were up.
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

  @typedoc "Frames and their bytes, by the kind of frame."
  @type traffic :: %{
          String.t() => %{frames: non_neg_integer(), bytes: non_neg_integer()}
        }

  @typedoc "What a tracker holds on this node, how far it is behind the others, and what happened. See `stats/1`."
  @type stats :: %{
          entries: non_neg_integer(),
          topics: non_neg_integer(),
          leave_log_bytes: non_neg_integer(),
          diffs_bytes: non_neg_integer(),
          watches: non_neg_integer(),
          replicas_up: non_neg_integer(),
          replicas_down: non_neg_integer(),
          sent: traffic(),
          unsent: non_neg_integer(),
          signals_dropped: non_neg_integer(),
          received: traffic(),
          refused: %{String.t() => pos_integer()},
          refused_entries: non_neg_integer(),
          divergences: non_neg_integer(),
          ups: non_neg_integer(),
          downs: non_neg_integer(),
          peers: [
            %{
              name: String.t(),
              up: boolean(),
              silence: non_neg_integer(),
              partitions_behind: non_neg_integer()
            }
          ]
        }

  @doc """
  Returns what the tracker holds on this node and what happened since it started, for dashboards and probes.
  O(topics + nodes).

    * `:entries`, `:topics` - of all nodes, as far as they are held, those of silent nodes included
    * `:leave_log_bytes` - of the leaves that are remembered for nodes that missed them
    * `:diffs_bytes` - of the changes that wait for the callbacks, or are with them
    * `:watches` - of processes, by `watch/2` and `watch_counts/2`: one for each process and topic
    * `:replicas_up`, `:replicas_down` - the other nodes that are heard, and those that are silent and not forgotten
    * `:peers` - the other nodes: for how many milliseconds each has been silent (normally at most one
      `:broadcast_period`), and in how many partitions this node waits for what it has missed of it
    * `:sent`, `:received` - the frames and their bytes by their kind, such as `"beat"`, `"delta"`, `"pull"` (requests
      for missing changes) and `"repair"` (states of whole nodes)
    * `:unsent` - the frames that the transport has not sent since the start of the tracker: those of
      `c:Headcount.Transport.unsent/1`, and those for which `c:Headcount.Transport.transmit/3` raised
    * `:signals_dropped` - the signals that were not given to `c:handle_signal/2`, as 4,096 waited for its process or
      that was restarting
    * `:refused` - the frames that cannot be read, by the name of the rule that they break
    * `:refused_entries`, `:divergences`, `:ups`, `:downs` - how often the events `:refused`, `:divergence`,
      `:replica_up` and `:replica_down` were told

  What happens is told by `:telemetry` and the log, see "What an operator sees" above.
  """
  @spec stats(atom()) :: stats()
  def stats(name), do: Stats.read(Config.fetch!(name))

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

  defp watch(name, level, kind, topic) do
    presence = Config.presence!(name)

    case Native.presence_watch(presence, Config.now(), level, State.check_topic(topic)) do
      {:ready, age, missing} ->
        send(self(), {name, {kind, topic, age, missing}})
        :ok

      other ->
        other
    end
  end

  defp unwatch(name, level, topic) do
    Native.presence_unwatch(Config.presence!(name), Config.now(), level, State.check_topic(topic))
    :ok
  end
end
