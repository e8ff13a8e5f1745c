defmodule Headcount.Tracker.State do
  @moduledoc """
  A tracker as a value, without processes: entries, and frames that other states apply.

      iex> alias Headcount.Tracker.State
      iex> a = State.new("a")
      iex> {:ok, ref} = State.track(a, self(), "room", "ann", %{device: "phone"})
      iex> State.list(a, "room")
      [{"ann", %{device: "phone", phx_ref: ref}}]
      iex> b = State.new("b")
      iex> for frame <- State.delta_since(a, State.clock(b)), do: {:ok, _diff} = State.apply(b, frame)
      iex> State.count(b, "room")
      1

  `Headcount.Tracker` runs one of these behind processes that monitor the tracked ones and talk to
  the other nodes. Use this module to build your own transport, to test, or to merge presence in
  a script. The functions of `Headcount.Tracker` take a state as well as the name of a running tracker.

  An *entry* is one session: a key (a user: any term) in a topic (a room), held by an owner (a
  connection: any term, usually a pid), with a meta (a map). Each version of an entry has a reference,
  which is in its meta as `:phx_ref`; after an update `:phx_ref_prev` is the reference before.

  ## Replication

  A state has its own entries and those of every replica whose frames it applied. The operations of a
  replica are numbered; the number of the newest one is its clock. `clock/1` returns the clocks that this
  state has applied, `delta_since/2` returns the frames that a state with other clocks misses, and `apply/2`
  applies a frame. Applying a frame twice, or an old frame, changes nothing.

  A state is mutable and shared, as a `Headcount.SortedSet` is. Terms of frames are decoded with
  `:safe`: they create no atoms; a key or meta that does not decode is listed as `{:undecodable, binary}`.
  """

  import Kernel, except: [apply: 2, apply: 3]
  import Headcount.Bang, only: [bang: 1]
  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native
  alias Headcount.Tracker.Config

  @enforce_keys [:ref, :name]
  defstruct [:ref, :name]

  @typedoc "A state. It is mutable: two variables may hold the same one."
  @type t :: %__MODULE__{ref: reference(), name: String.t()}

  @type topic :: String.t()
  @type key :: term()
  @type owner :: term()
  @type meta :: map()
  @type ref :: String.t()

  @typedoc "A replica: its name, its incarnation, which is greater at every start, and a random number."
  @type replica ::
          {name :: String.t(), incarnation :: non_neg_integer(), salt :: non_neg_integer()}
  @type clock :: %{replica() => non_neg_integer()}

  @typedoc "The changes of each topic. An update is in both lists. Apply joins before leaves."
  @type diff :: %{topic() => {joins :: [{key(), meta()}], leaves :: [{key(), meta()}]}}

  @typedoc "The reasons of the leaves of a diff, for each topic in the order of its leaves."
  @type leave_reasons :: %{topic() => [Headcount.Tracker.leave_reason()]}

  @typedoc "The reason of a refused operation, which has changed nothing."
  @type track_error ::
          {:error,
           {:topic_too_long | :key_too_long | :owner_too_long | :meta_too_large,
            len :: pos_integer(), max :: pos_integer()}
           | {:owner_full | :too_many_entries, max :: pos_integer()}
           | {atom(), message :: String.t()}}

  @typedoc "The reason of a refused frame, which has changed nothing."
  @type apply_error ::
          {:error,
           {:decode, offset :: non_neg_integer(), kind :: atom()}
           | {:gap, clock :: non_neg_integer(), from :: non_neg_integer()}
           | {atom(), message :: String.t()}}

  @doc """
  Returns an empty state of the replica of this name, which has 1 to 64 bytes.

  Each call begins a new incarnation of that replica. The option `:codec` is that of
  `Headcount.Tracker`.

      iex> Headcount.Tracker.State.new("node-1") |> Headcount.Tracker.State.size()
      0
  """
  @spec new(String.t(), keyword()) :: t()
  def new(name, options \\ []) when is_binary(name) do
    codec = Config.codec!(Keyword.validate!(options, codec: :term)[:codec])

    case Native.tracker_new(name, nil, codec) do
      {:error, {_, message}} -> raise ArgumentError, message
      ref -> %__MODULE__{ref: ref, name: name}
    end
  end

  @doc """
  Tracks an entry. O(1).

      iex> state = Headcount.Tracker.State.new("a")
      iex> {:ok, _ref} = Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      {:error, {:already_tracked, 1, "room", "ann"}}
  """
  @spec track(t(), owner(), topic(), key(), meta()) ::
          {:ok, ref()} | {:error, {:already_tracked, owner(), topic(), key()}} | track_error()
  def track(%__MODULE__{ref: ref}, owner, topic, key, meta) do
    case call(:tracker_track, [ref, owner, check_topic(topic), key, check_meta(meta)]) do
      {:error, :already_tracked} -> {:error, {:already_tracked, owner, topic, key}}
      result -> result
    end
  end

  bang(
    track!(state :: t(), owner :: owner(), topic :: topic(), key :: key(), meta :: meta()) ::
      ref()
  )

  @doc """
  Replaces the meta of an entry by a map, or by what a function returns for the present meta. O(1).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.update(state, 1, "room", "ann", %{})
      {:error, :nopresence}
      iex> {:ok, old} = Headcount.Tracker.State.track(state, 1, "room", "ann", %{n: 1})
      iex> {:ok, new} = Headcount.Tracker.State.update(state, 1, "room", "ann", &%{&1 | n: 2})
      iex> Headcount.Tracker.State.get_by_key(state, "room", "ann")
      [{1, %{n: 2, phx_ref: new, phx_ref_prev: old}}]
  """
  @spec update(t(), owner(), topic(), key(), meta() | (meta() -> meta())) ::
          {:ok, ref()} | {:error, :nopresence} | track_error()
  def update(%__MODULE__{ref: ref} = state, owner, topic, key, fun) when is_function(fun, 1) do
    case List.keyfind(get_by_key(state, topic, key), owner, 0) do
      nil ->
        {:error, :nopresence}

      {_owner, meta} ->
        call(:tracker_update, [ref, owner, topic, key, check_meta(fun.(meta))])
    end
  end

  def update(%__MODULE__{ref: ref}, owner, topic, key, meta) do
    call(:tracker_update, [ref, owner, check_topic(topic), key, check_meta(meta)])
  end

  bang(
    update!(
      state :: t(),
      owner :: owner(),
      topic :: topic(),
      key :: key(),
      meta :: meta() | (meta() -> meta())
    ) :: ref()
  )

  @doc """
  Tracks an entry, or updates it if it is tracked. O(1).

      iex> state = Headcount.Tracker.State.new("a")
      iex> {:ok, _ref} = Headcount.Tracker.State.upsert(state, 1, "room", "ann", %{n: 1})
      iex> {:ok, _ref} = Headcount.Tracker.State.upsert(state, 1, "room", "ann", %{n: 2})
      iex> Headcount.Tracker.State.count(state, "room")
      1
  """
  @spec upsert(t(), owner(), topic(), key(), meta()) :: {:ok, ref()} | track_error()
  def upsert(%__MODULE__{} = state, owner, topic, key, meta) do
    case update(state, owner, topic, key, meta) do
      {:error, :nopresence} -> track(state, owner, topic, key, meta)
      result -> result
    end
  end

  bang(
    upsert!(state :: t(), owner :: owner(), topic :: topic(), key :: key(), meta :: meta()) ::
      ref()
  )

  @doc """
  Removes an entry of this replica, if it exists. O(1).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.untrack(state, 1, "room", "ann")
      :ok
  """
  @spec untrack(t(), owner(), topic(), key()) :: :ok
  def untrack(%__MODULE__{ref: ref}, owner, topic, key) do
    call(:tracker_untrack, [ref, owner, check_topic(topic), key])
    :ok
  end

  @doc """
  Removes all entries of an owner, in all topics. O(its entries).

      iex> state = Headcount.Tracker.State.new("a")
      iex> for topic <- ["x", "y"], do: {:ok, _} = Headcount.Tracker.State.track(state, 1, topic, "ann", %{})
      iex> Headcount.Tracker.State.untrack(state, 1)
      iex> Headcount.Tracker.State.size(state)
      0
  """
  @spec untrack(t(), owner()) :: :ok
  def untrack(%__MODULE__{ref: ref}, owner) do
    Native.tracker_untrack_owner(ref, owner)
    :ok
  end

  @doc """
  Returns the entries of a topic, in no particular order. O(entries of the topic).

      iex> Headcount.Tracker.State.new("a") |> Headcount.Tracker.State.list("room")
      []
  """
  @spec list(t(), topic()) :: [{key(), meta()}]
  def list(%__MODULE__{ref: ref}, topic), do: Native.tracker_list(ref, check_topic(topic))

  @doc """
  Returns the entries of a key in a topic, with their owners. O(such entries).

      iex> state = Headcount.Tracker.State.new("a")
      iex> {:ok, ref} = Headcount.Tracker.State.track(state, :phone, "room", "ann", %{})
      iex> Headcount.Tracker.State.get_by_key(state, "room", "ann")
      [{:phone, %{phx_ref: ref}}]
  """
  @spec get_by_key(t(), topic(), key()) :: [{owner(), meta()}]
  def get_by_key(%__MODULE__{ref: ref}, topic, key) do
    call(:tracker_get_by_key, [ref, check_topic(topic), key])
  end

  @doc """
  Returns the number of entries of a topic. O(replicas present in the topic).

      iex> Headcount.Tracker.State.new("a") |> Headcount.Tracker.State.count("room")
      0
  """
  @spec count(t(), topic()) :: non_neg_integer()
  def count(%__MODULE__{ref: ref}, topic), do: call(:tracker_count, [ref, check_topic(topic)])

  @doc """
  Returns the number of keys of a topic: a user with two devices counts once. O(replicas present in the topic).

  A state holds all entries, so both bounds are that number.

      iex> state = Headcount.Tracker.State.new("a")
      iex> for owner <- [1, 2], do: Headcount.Tracker.State.track(state, owner, "room", "ann", %{})
      iex> Headcount.Tracker.State.count_keys(state, "room")
      %Headcount.Keys{at_least: 1, at_most: 1}
  """
  @spec count_keys(t(), topic()) :: Headcount.Keys.t()
  def count_keys(%__MODULE__{ref: ref}, topic) do
    call(:tracker_count_keys, [ref, check_topic(topic)])
  end

  @doc """
  Returns the number of entries in all topics. O(1).

      iex> Headcount.Tracker.State.new("a") |> Headcount.Tracker.State.size()
      0
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{ref: ref}), do: call(:tracker_size, [ref])

  @doc """
  Returns the changes that this replica made since the last call. O(changes).

  Two updates of one entry become one join, but a diff drops nothing that `list/2` could have shown: each
  replaced version is a leave, with the meta it had, and an entry that was tracked and untracked since the
  last call is in both lists. So a copy of a list, read at any moment, stays right if it applies the diffs
  after it: joins before leaves, by key and `:phx_ref`.

      iex> state = Headcount.Tracker.State.new("a")
      iex> {:ok, ref} = Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> Headcount.Tracker.State.take_diff(state)
      %{"room" => {[{"ann", %{phx_ref: ref}}], []}}
      iex> Headcount.Tracker.State.take_diff(state)
      %{}

  """
  @spec take_diff(t()) :: diff()
  def take_diff(%__MODULE__{ref: ref}) do
    {diff, _reasons} = Native.tracker_take_diff(ref)
    diff
  end

  @doc """
  Returns what `take_diff/1` does, and the reason of each leave. O(changes).

      iex> state = Headcount.Tracker.State.new("a")
      iex> {:ok, ref} = Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> _joins = Headcount.Tracker.State.take_diff(state)
      iex> Headcount.Tracker.State.untrack(state, 1)
      iex> Headcount.Tracker.State.take_diff(state, reasons: true)
      {%{"room" => {[], [{"ann", %{phx_ref: ref}}]}}, %{"room" => [:owner_gone]}}
  """
  @spec take_diff(t(), [{:reasons, true}]) :: {diff(), leave_reasons()}
  def take_diff(%__MODULE__{ref: ref}, reasons: true), do: Native.tracker_take_diff(ref)

  @doc """
  Returns the clock of each replica that this state has applied. O(replicas).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> [{{"a", _incarnation, _salt}, 1}] = Map.to_list(Headcount.Tracker.State.clock(state))
  """
  @spec clock(t()) :: clock()
  def clock(%__MODULE__{ref: ref}), do: Map.new(Native.tracker_clock(ref))

  @doc """
  Returns the frames that a state with these clocks misses. O(changes in them).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> [_frame] = Headcount.Tracker.State.delta_since(state, %{})
      iex> Headcount.Tracker.State.delta_since(state, Headcount.Tracker.State.clock(state))
      []
  """
  @spec delta_since(t(), clock()) :: [binary()]
  def delta_since(%__MODULE__{ref: ref}, clock) when is_map(clock) do
    Native.tracker_delta_since(ref, Map.to_list(clock))
  end

  @doc """
  Applies a frame of another state and returns the changes. O(changes).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.apply(state, "a frame?")
      {:error, {:decode, 8, :truncated}}
  """
  @spec apply(t(), binary()) :: {:ok, diff()} | apply_error()
  def apply(%__MODULE__{ref: ref}, frame) when is_binary(frame) do
    with {:ok, {diff, _reasons}} <- Native.tracker_apply(ref, frame), do: {:ok, diff}
  end

  bang(apply!(state :: t(), frame :: binary()) :: diff())

  @doc """
  Does what `apply/2` does, and returns the reason of each leave too. O(changes).

      iex> alias Headcount.Tracker.State
      iex> [a, b] = for name <- ["a", "b"], do: State.new(name)
      iex> sync = fn -> for frame <- State.delta_since(a, State.clock(b)), do: State.apply(b, frame, reasons: true) end
      iex> {:ok, ref} = State.track(a, 1, "room", "ann", %{})
      iex> sync.()
      [ok: {%{"room" => {[{"ann", %{phx_ref: ref}}], []}}, %{"room" => []}}]
      iex> State.untrack(a, 1, "room", "ann")
      iex> sync.()
      [ok: {%{"room" => {[], [{"ann", %{phx_ref: ref}}]}}, %{"room" => [:untracked]}}]
  """
  @spec apply(t(), binary(), [{:reasons, true}]) ::
          {:ok, {diff(), leave_reasons()}} | apply_error()
  def apply(%__MODULE__{ref: ref}, frame, reasons: true) when is_binary(frame),
    do: Native.tracker_apply(ref, frame)

  bang(
    apply!(state :: t(), frame :: binary(), options :: [{:reasons, true}]) ::
      {diff(), leave_reasons()}
  )

  @doc false
  def check_topic(topic) when is_binary(topic) do
    if String.valid?(topic) do
      topic
    else
      raise ArgumentError, "a topic must be valid UTF-8, got: #{Headcount.Show.term(topic)}"
    end
  end

  def check_topic(topic) do
    raise ArgumentError, "a topic must be a string, got: #{Headcount.Show.term(topic)}"
  end

  # `:offline` is the status of those who have no session.
  @statuses [:online, :idle, :dnd, :invisible]

  @doc false
  def meta?(%{headcount_status: status}), do: status in @statuses
  def meta?(meta), do: is_map(meta)

  @doc false
  def check_meta(%{headcount_status: status} = meta) when status in @statuses, do: meta

  def check_meta(%{headcount_status: status}) do
    raise ArgumentError,
          "the :headcount_status of a meta is one of #{inspect(@statuses)}, " <>
            "got: #{Headcount.Show.term(status)}"
  end

  def check_meta(meta) when is_map(meta), do: meta

  def check_meta(meta) do
    raise ArgumentError, "a meta must be a map, got: #{Headcount.Show.term(meta)}"
  end

  defimpl Inspect do
    def inspect(state, _opts) do
      size = Headcount.Tracker.State.size(state)
      "#Headcount.Tracker.State<#{Kernel.inspect(state.name)}: #{size} entries>"
    end
  end
end
