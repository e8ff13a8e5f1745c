defmodule Headcount.SortedSet do
  @moduledoc """
  A sorted set of terms that finds the index of a member, and the member at an index.

      iex> set = Headcount.SortedSet.new()
      iex> {0, set} = Headcount.SortedSet.index_add(set, {1, "zoe", 7})
      iex> {0, set} = Headcount.SortedSet.index_add(set, {0, "adam", 3})
      iex> Headcount.SortedSet.to_list(set)
      [{0, "adam", 3}, {1, "zoe", 7}]
      iex> Headcount.SortedSet.find_index(set, {1, "zoe", 7})
      1

  The functions, their arguments and what they return are those of `Discord.SortedSet` 2.0, so that
  a project changes the name of the module and nothing else; the guide "Coming from sorted_set_nif"
  lists the improvements and the differences.

  ## Order

  Exactly the Erlang term order, for integers of any size, floats, atoms, binaries, bitstrings,
  tuples, lists and maps, nested up to 128 deep and up to 16 MiB a member (long ones are written and read on
  dirty schedulers). References, functions,
  ports and pids have no order that survives a node and are `{:error, :unsupported_type}`.

  `1` and `1.0` compare equal but do not match: both may be members, side by side. `-0.0` is stored
  as `0.0`.

  ## One set, many processes

  A set is mutable and shared: it lives outside the heap of any process, and `add/2` changes it for
  all processes that hold it. A thread of its own frees the memory when the last process has dropped
  the set. Reads and writes from any number of processes are safe. A call that finds the set
  locked for longer than a moment waits on a dirty scheduler, so callers never retry. Long lists
  are read from a copy, which costs O(1): each shows the set at one moment.

  Every function that takes a set raises `ArgumentError` for something else. The costs below are
  for a set of n members.
  """

  import Headcount.Twin, only: [call: 2]
  alias Headcount.Native

  @enforce_keys [:ref]
  defstruct [:ref]

  @typedoc "A set. It is mutable: two variables may hold the same one."
  @type t :: %__MODULE__{ref: reference()}

  @typedoc """
  The terms that a set may hold: numbers, atoms, bitstrings, and tuples, lists and maps of such.
  """
  @type supported_term :: number() | atom() | bitstring() | tuple() | list() | map()

  @type unsupported :: {:error, :unsupported_type}

  @default_capacity 500
  @default_bucket_size 500
  # The longest slice that a normal scheduler copies.
  @slice_normal_max 500
  # Above every index.
  @index_max 0xFFFF_FFFF

  @doc """
  Returns an empty set.

  Capacity and bucket size are hints of the original; they are checked and have no effect, as the
  structure grows and shrinks by itself.

      iex> Headcount.SortedSet.new() |> Headcount.SortedSet.size()
      0
  """
  @spec new(capacity :: pos_integer(), bucket_size :: pos_integer()) :: t()
  def new(capacity \\ @default_capacity, bucket_size \\ @default_bucket_size) do
    check_hint(:capacity, capacity)
    check_hint(:bucket_size, bucket_size)
    %__MODULE__{ref: Native.sorted_set_new()}
  end

  @doc """
  Returns a set of the terms, which may be in any order and repeat. O(n log n).

      iex> Headcount.SortedSet.from_enumerable([:b, 2, :a, 2]) |> Headcount.SortedSet.to_list()
      [2, :a, :b]
  """
  @spec from_enumerable(Enumerable.t(), bucket_size :: pos_integer()) :: t() | unsupported()
  def from_enumerable(terms, bucket_size \\ @default_bucket_size) do
    check_hint(:bucket_size, bucket_size)
    from_list(terms, false)
  end

  @doc """
  Returns a set of terms that are sorted and do not repeat. O(n).

  Terms that are out of order or repeat raise `ArgumentError`.

      iex> Headcount.SortedSet.from_proper_enumerable(1..3) |> Headcount.SortedSet.to_list()
      [1, 2, 3]
  """
  @spec from_proper_enumerable(Enumerable.t(), bucket_size :: pos_integer()) ::
          t() | unsupported()
  def from_proper_enumerable(terms, bucket_size \\ @default_bucket_size) do
    check_hint(:bucket_size, bucket_size)
    from_list(terms, true)
  end

  @doc """
  Adds a member, unless the set has it. O(log n).

      iex> set = Headcount.SortedSet.new()
      iex> set |> Headcount.SortedSet.add(2) |> Headcount.SortedSet.add(1) |> Enum.to_list()
      [1, 2]
      iex> Headcount.SortedSet.add(set, self())
      {:error, :unsupported_type}
  """
  @spec add(t(), supported_term()) :: t() | unsupported()
  def add(%__MODULE__{ref: ref} = set, item) do
    case call(:sorted_set_add, [ref, item]) do
      error when error in [:unsupported_type, :too_deep, :too_large] -> error(error)
      _index -> set
    end
  end

  @doc """
  Adds a member and returns its index, `nil` if the set had it before. O(log n).

      iex> set = Headcount.SortedSet.from_enumerable([1, 3])
      iex> {1, set} = Headcount.SortedSet.index_add(set, 2)
      iex> {nil, _set} = Headcount.SortedSet.index_add(set, 2)
  """
  @spec index_add(t(), supported_term()) :: {non_neg_integer() | nil, t()} | unsupported()
  def index_add(%__MODULE__{ref: ref} = set, item) do
    case call(:sorted_set_add, [ref, item]) do
      error when error in [:unsupported_type, :too_deep, :too_large] -> error(error)
      index -> {index, set}
    end
  end

  @doc """
  Removes a member, if the set has it. O(log n).

      iex> Headcount.SortedSet.from_enumerable([1, 2]) |> Headcount.SortedSet.remove(1) |> Enum.to_list()
      [2]
  """
  @spec remove(t(), supported_term()) :: t() | unsupported()
  def remove(%__MODULE__{ref: ref} = set, item) do
    case call(:sorted_set_remove, [ref, item]) do
      error when error in [:unsupported_type, :too_deep, :too_large] -> error(error)
      _index -> set
    end
  end

  @doc """
  Removes a member and returns the index that it had, `nil` if the set did not have it. O(log n).

      iex> set = Headcount.SortedSet.from_enumerable([:a, :b])
      iex> {1, set} = Headcount.SortedSet.index_remove(set, :b)
      iex> {nil, _set} = Headcount.SortedSet.index_remove(set, :b)
  """
  @spec index_remove(t(), supported_term()) :: {non_neg_integer() | nil, t()} | unsupported()
  def index_remove(%__MODULE__{ref: ref} = set, item) do
    case call(:sorted_set_remove, [ref, item]) do
      error when error in [:unsupported_type, :too_deep, :too_large] -> error(error)
      index -> {index, set}
    end
  end

  @doc """
  Returns the number of members. O(1).

      iex> Headcount.SortedSet.from_enumerable([1, 2, 2]) |> Headcount.SortedSet.size()
      2
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{ref: ref}), do: call(:sorted_set_size, [ref])

  @doc """
  Returns all members in order. O(n).

      iex> Headcount.SortedSet.from_enumerable([3, 1]) |> Headcount.SortedSet.to_list()
      [1, 3]
  """
  @spec to_list(t()) :: [supported_term()]
  def to_list(%__MODULE__{ref: ref}), do: Native.sorted_set_to_list(ref)

  @doc """
  Returns the member at an index, `default` past the end. O(log n).

      iex> set = Headcount.SortedSet.from_enumerable([:a, :b])
      iex> {Headcount.SortedSet.at(set, 1), Headcount.SortedSet.at(set, 2, :none)}
      {:b, :none}
  """
  @spec at(t(), index :: non_neg_integer(), default :: any()) :: supported_term() | any()
  def at(%__MODULE__{ref: ref}, index, default \\ nil) do
    case call(:sorted_set_at, [ref, check_index(:index, index)]) do
      {:ok, term} -> term
      :error -> default
    end
  end

  @doc """
  Returns up to `amount` members from the index `start` on; fewer past the end. O(log n + amount).

      iex> set = Headcount.SortedSet.from_enumerable(1..10)
      iex> {Headcount.SortedSet.slice(set, 8, 100), Headcount.SortedSet.slice(set, 10, 1)}
      {[9, 10], []}
  """
  @spec slice(t(), start :: non_neg_integer(), amount :: non_neg_integer()) :: [supported_term()]
  def slice(%__MODULE__{ref: ref}, start, amount) do
    start = check_index(:start, start)

    case check_index(:amount, amount) do
      amount when amount <= @slice_normal_max -> call(:sorted_set_slice, [ref, start, amount])
      amount -> Native.sorted_set_slice_dirty(ref, start, amount)
    end
  end

  @doc """
  Returns the index of a member, `nil` if the set does not have it. O(log n).

      iex> set = Headcount.SortedSet.from_enumerable(["a", "c"])
      iex> {Headcount.SortedSet.find_index(set, "c"), Headcount.SortedSet.find_index(set, "b")}
      {1, nil}
  """
  @spec find_index(t(), supported_term()) :: non_neg_integer() | nil | unsupported()
  def find_index(%__MODULE__{ref: ref}, item) do
    case call(:sorted_set_find_index, [ref, item]) do
      error when error in [:unsupported_type, :too_deep, :too_large] -> error(error)
      index -> index
    end
  end

  @doc """
  Returns the capacity hint that `new/2` takes when none is given.

      iex> Headcount.SortedSet.default_capacity()
      500
  """
  @spec default_capacity() :: pos_integer()
  def default_capacity, do: @default_capacity

  @doc """
  Returns the bucket size hint that `new/2` takes when none is given.

      iex> Headcount.SortedSet.default_bucket_size()
      500
  """
  @spec default_bucket_size() :: pos_integer()
  def default_bucket_size, do: @default_bucket_size

  @doc """
  Returns a line of text with the size and the memory of the set. O(n).

      iex> Headcount.SortedSet.from_enumerable([1, 2]) |> Headcount.SortedSet.debug() =~ "2 members"
      true
  """
  @spec debug(t()) :: String.t()
  def debug(%__MODULE__{} = set) do
    "SortedSet of #{size(set)} members in #{memory(set)} bytes"
  end

  @doc """
  Returns the bytes that the set occupies outside the heaps of processes. O(n).

      iex> Headcount.SortedSet.memory(Headcount.SortedSet.new()) < 10_000
      true
  """
  @spec memory(t()) :: non_neg_integer()
  def memory(%__MODULE__{ref: ref}), do: Native.sorted_set_memory(ref)

  defp from_list(terms, proper) do
    case Native.sorted_set_from_list(Enum.to_list(terms), proper) do
      error when error in [:unsupported_type, :too_deep, :too_large] ->
        error(error)

      :improper ->
        raise ArgumentError, "the terms of a set must be a proper list"

      {:unsorted, at} ->
        raise ArgumentError, "the term at index #{at} is not above the one before"

      ref ->
        %__MODULE__{ref: ref}
    end
  end

  defp error(:unsupported_type), do: {:error, :unsupported_type}

  defp error(:too_deep) do
    raise ArgumentError, "a member of a sorted set may nest 128 deep, this one nests deeper"
  end

  defp error(:too_large) do
    raise ArgumentError, "a member of a sorted set may be 16 MiB long, this one is longer"
  end

  defp check_hint(_name, value) when is_integer(value) and value > 0, do: :ok

  defp check_hint(name, value) do
    raise ArgumentError, "#{name} must be a positive integer, got: #{Headcount.Show.term(value)}"
  end

  defp check_index(_name, value) when is_integer(value) and value >= 0,
    do: min(value, @index_max)

  defp check_index(name, value) do
    raise ArgumentError,
          "#{name} must be a non-negative integer, got: #{Headcount.Show.term(value)}"
  end

  defimpl Enumerable do
    alias Headcount.{Pages, SortedSet}

    def count(set), do: {:ok, SortedSet.size(set)}

    def member?(set, item) do
      case SortedSet.find_index(set, item) do
        index when is_integer(index) -> {:ok, true}
        _absent -> {:ok, false}
      end
    end

    def slice(set) do
      {:ok, SortedSet.size(set), Pages.slicer(&SortedSet.slice(set, &1, &2))}
    end

    def reduce(set, acc, fun), do: Pages.reduce(&SortedSet.slice(set, &1, &2), acc, fun)
  end

  defimpl Collectable do
    alias Headcount.SortedSet

    def into(set), do: {set, &collect/2}

    defp collect(set, {:cont, item}) do
      case SortedSet.add(set, item) do
        {:error, :unsupported_type} ->
          raise ArgumentError, "a sorted set cannot hold #{Headcount.Show.term(item)}"

        set ->
          set
      end
    end

    defp collect(set, :done), do: set
    defp collect(_set, :halt), do: :ok
  end

  defimpl Inspect do
    import Inspect.Algebra
    alias Headcount.SortedSet

    # The first members only: a set may hold millions.
    @shown 5

    def inspect(set, opts) do
      size = SortedSet.size(set)
      first = SortedSet.slice(set, 0, min(@shown, limit(opts.limit)))
      more = if size > length(first), do: ", ...", else: ""
      members = first |> Enum.map(&to_doc(&1, opts)) |> Enum.intersperse(", ")
      concat(["#Headcount.SortedSet<#{size} members: [" | members] ++ [more, "]>"])
    end

    defp limit(:infinity), do: @shown
    defp limit(limit), do: limit
  end
end
