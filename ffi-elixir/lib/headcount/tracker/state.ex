defmodule Headcount.Tracker.State do
  @moduledoc """
  The tracker without its processes: who is present, as a value that nodes can send each other.

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
  a script. `Headcount.Tracker.new/1` and the functions of `Headcount.Tracker` take a state as well
  as the name of a running tracker.

  An *entry* is a topic, a key (who is present: any term), an owner (what holds it there: any term,
  usually a pid) and a meta (a map). Each version of an entry has a reference, which is in its meta
  as `:phx_ref`; after an update `:phx_ref_prev` is the one before.

  ## Replication

  A state knows its own entries and those of every replica whose frames it applied. What a replica
  did is a chain of operations with a clock; `clock/1` says how far this state has come with each
  replica, `delta_since/2` gives the frames that someone with such clocks misses, and `apply/2` takes
  a frame in. Applying a frame twice, or an old one, changes nothing.

  A state is mutable and shared, as a `Headcount.SortedSet` is. Terms of frames are decoded with
  `:safe`: atoms that this VM does not know are not created; what does not decode is listed as
  `{:undecodable, binary}`.
  """

  import Kernel, except: [apply: 2]
  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native
  alias Headcount.Tracker.Config

  @enforce_keys [:ref]
  defstruct [:ref]

  @typedoc "A state. It is mutable: two variables may hold the same one."
  @type t :: %__MODULE__{ref: reference()}

  @type topic :: String.t()
  @type key :: term()
  @type owner :: term()
  @type meta :: map()
  @type ref :: String.t()

  @typedoc "A life of a replica: its name, when it began, and a random number."
  @type replica ::
          {name :: String.t(), incarnation :: non_neg_integer(), salt :: non_neg_integer()}
  @type clock :: %{replica() => non_neg_integer()}

  @typedoc "What changed in each topic. An update is in both lists. Take joins in before leaves."
  @type diff :: %{topic() => {joins :: [{key(), meta()}], leaves :: [{key(), meta()}]}}

  @typedoc "Why an operation was refused; nothing has changed then."
  @type track_error ::
          {:error,
           {:topic_too_long | :key_too_long | :owner_too_long | :meta_too_large,
            len :: pos_integer(), max :: pos_integer()}
           | {:owner_full | :too_many_entries, max :: pos_integer()}
           | {atom(), message :: String.t()}}

  @typedoc "Why a frame was refused; nothing has changed then."
  @type apply_error ::
          {:error,
           {:decode, offset :: non_neg_integer(), kind :: atom()}
           | {:gap, clock :: non_neg_integer(), from :: non_neg_integer()}
           | {atom(), message :: String.t()}}

  @doc """
  An empty state of the replica of this name, 1 to 64 bytes long.

  Each call is a new life of that replica, later than all before. The option `:codec` is that of
  `Headcount.Tracker`.

      iex> Headcount.Tracker.State.new("node-1") |> Headcount.Tracker.State.size()
      0
  """
  @spec new(String.t(), keyword()) :: t()
  def new(name, options \\ []) when is_binary(name) do
    codec = Config.codec(Keyword.validate!(options, codec: :term)[:codec])

    case Native.tracker_new(name, nil, codec) do
      {:error, {_, message}} -> raise ArgumentError, message
      ref -> %__MODULE__{ref: ref}
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

  @doc """
  Gives an entry another meta: a map, or a function of the meta it has. O(1).

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

  @doc """
  Tracks an entry, or updates it when it is tracked. O(1).

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

  @doc """
  Removes an entry of this replica; an unknown one is no error. O(1).

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
  The entries of a topic, in no particular order. O(entries of the topic).

      iex> Headcount.Tracker.State.new("a") |> Headcount.Tracker.State.list("room")
      []
  """
  @spec list(t(), topic()) :: [{key(), meta()}]
  def list(%__MODULE__{ref: ref}, topic), do: Native.tracker_list(ref, check_topic(topic))

  @doc """
  The entries of a key in a topic, with their owners. O(such entries).

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
  How many entries a topic has. O(replicas present in the topic).

      iex> Headcount.Tracker.State.new("a") |> Headcount.Tracker.State.count("room")
      0
  """
  @spec count(t(), topic()) :: non_neg_integer()
  def count(%__MODULE__{ref: ref}, topic), do: call(:tracker_count, [ref, check_topic(topic)])

  @doc """
  How many keys a topic has: a user with two devices counts once. O(replicas present in the topic).

      iex> state = Headcount.Tracker.State.new("a")
      iex> for owner <- [1, 2], do: Headcount.Tracker.State.track(state, owner, "room", "ann", %{})
      iex> Headcount.Tracker.State.count_keys(state, "room")
      1
  """
  @spec count_keys(t(), topic()) :: non_neg_integer()
  def count_keys(%__MODULE__{ref: ref}, topic) do
    call(:tracker_count_keys, [ref, check_topic(topic)])
  end

  @doc """
  How many entries there are in all topics. O(1).

      iex> Headcount.Tracker.State.new("a") |> Headcount.Tracker.State.size()
      0
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{ref: ref}), do: call(:tracker_size, [ref])

  @doc """
  What this replica changed since the last call. O(changes).

  Two updates of one entry become one, but nothing is dropped that `list/2` could have shown: each
  version that is over is among the leaves, with the meta it had, and an entry that came and went is
  in both lists. So a copy of a list that takes in the diffs after it, joins before leaves, by key and
  `:phx_ref`, stays right, whenever it was read.

      iex> state = Headcount.Tracker.State.new("a")
      iex> {:ok, ref} = Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> Headcount.Tracker.State.take_diff(state)
      %{"room" => {[{"ann", %{phx_ref: ref}}], []}}
      iex> Headcount.Tracker.State.take_diff(state)
      %{}
  """
  @spec take_diff(t()) :: diff()
  def take_diff(%__MODULE__{ref: ref}), do: Native.tracker_take_diff(ref)

  @doc """
  How far this state has come with each replica. O(replicas).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.track(state, 1, "room", "ann", %{})
      iex> [{{"a", _incarnation, _salt}, 1}] = Map.to_list(Headcount.Tracker.State.clock(state))
  """
  @spec clock(t()) :: clock()
  def clock(%__MODULE__{ref: ref}), do: Map.new(Native.tracker_clock(ref))

  @doc """
  The frames that a state with these clocks misses. O(what it misses).

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
  Takes a frame of another state in and tells what changed. O(changes).

      iex> state = Headcount.Tracker.State.new("a")
      iex> Headcount.Tracker.State.apply(state, "a frame?")
      {:error, {:decode, 8, :truncated}}
  """
  @spec apply(t(), binary()) :: {:ok, diff()} | apply_error()
  def apply(%__MODULE__{ref: ref}, frame) when is_binary(frame),
    do: Native.tracker_apply(ref, frame)

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

  @doc false
  def check_meta(meta) when is_map(meta), do: meta

  def check_meta(meta) do
    raise ArgumentError, "a meta must be a map, got: #{Headcount.Show.term(meta)}"
  end

  defimpl Inspect do
    def inspect(state, _opts) do
      "#Headcount.Tracker.State<#{Headcount.Tracker.State.size(state)} entries>"
    end
  end
end
