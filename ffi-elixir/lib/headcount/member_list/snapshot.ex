defmodule Headcount.MemberList.Snapshot do
  @moduledoc """
  The rows of a member list at the moment of `Headcount.MemberList.snapshot/1`.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> snapshot = Headcount.MemberList.snapshot(list)
      iex> Headcount.MemberList.remove(list, 7)
      iex> Headcount.MemberList.Snapshot.slice(snapshot, 0, 100)
      [%{group: "online", count: 1}, %{id: 7, group: "online", revision: 0, attrs: 0, payload: ""}]

  It costs O(1) to make and lives as long as a process holds it; meanwhile a write to the list
  copies the few nodes on its path. Reads never wait for writers. It is `Enumerable`: `Enum` and
  `Stream` go over its rows.
  """

  import Headcount.Twin, only: [call: 2]
  alias Headcount.{MemberList, Native}
  alias Headcount.MemberList.Args

  @enforce_keys [:ref]
  defstruct [:ref]

  @type t :: %__MODULE__{ref: reference()}

  # The longest slice that a normal scheduler copies.
  @slice_normal_max 500

  @doc """
  Returns the number of rows. O(1).

      iex> Headcount.MemberList.new() |> Headcount.MemberList.snapshot() |> Headcount.MemberList.Snapshot.size()
      0
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{ref: ref}), do: elem(call(:snapshot_size, [ref]), 0)

  @doc """
  Returns the number of members, shown or not. O(1).

      iex> Headcount.MemberList.new() |> Headcount.MemberList.snapshot() |> Headcount.MemberList.Snapshot.member_count()
      0
  """
  @spec member_count(t()) :: non_neg_integer()
  def member_count(%__MODULE__{ref: ref}), do: elem(call(:snapshot_size, [ref]), 1)

  @doc """
  Returns the row of a member, `nil` if it does not exist or its group is not shown. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> snapshot = Headcount.MemberList.snapshot(list)
      iex> Headcount.MemberList.remove(list, 7)
      iex> Headcount.MemberList.Snapshot.index_of(snapshot, 7)
      1
  """
  @spec index_of(t(), MemberList.id()) :: MemberList.index() | nil
  def index_of(%__MODULE__{} = snapshot, id) do
    with {index, _row} <- find(snapshot, id), do: index
  end

  @doc """
  Returns what the row of a member shows, also where its group is not shown; `nil` if it does not exist. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> Headcount.MemberList.Snapshot.get(Headcount.MemberList.snapshot(list), 7)
      %{id: 7, group: "online", revision: 0, attrs: 0, payload: ""}
  """
  @spec get(t(), MemberList.id()) :: MemberList.member() | nil
  def get(%__MODULE__{} = snapshot, id) do
    with {_index, row} <- find(snapshot, id), do: row
  end

  defp find(%__MODULE__{ref: ref}, id) do
    case call(:snapshot_find, [ref, id]) do
      :bad_id -> MemberList.bad_id(id)
      found -> found
    end
  end

  @doc """
  Returns the row at an index, `nil` past the end. O(log n).

      iex> Headcount.MemberList.new() |> Headcount.MemberList.snapshot() |> Headcount.MemberList.Snapshot.row_at(0)
      nil
  """
  @spec row_at(t(), MemberList.index()) :: MemberList.row() | nil
  def row_at(%__MODULE__{ref: ref}, index) do
    call(:snapshot_row_at, [ref, Args.check_index(:index, index)])
  end

  @doc """
  Returns up to `amount` rows from the index `start` on; fewer past the end. O(log n + amount).

      iex> Headcount.MemberList.new() |> Headcount.MemberList.snapshot() |> Headcount.MemberList.Snapshot.slice(0, 9)
      []
  """
  @spec slice(t(), MemberList.index(), non_neg_integer()) :: [MemberList.row()]
  def slice(%__MODULE__{ref: ref}, start, amount) do
    start = Args.check_index(:start, start)

    case Args.check_index(:amount, amount) do
      amount when amount <= @slice_normal_max -> call(:snapshot_slice, [ref, start, amount])
      amount -> Native.snapshot_slice_dirty(ref, start, amount)
    end
  end

  @doc """
  Returns all groups in order, also hidden and empty ones. O(groups).

      iex> Headcount.MemberList.new() |> Headcount.MemberList.snapshot() |> Headcount.MemberList.Snapshot.groups()
      []
  """
  @spec groups(t()) :: [MemberList.group_info()]
  def groups(%__MODULE__{ref: ref}), do: Native.snapshot_groups(ref)

  defimpl Enumerable do
    alias Headcount.MemberList.Snapshot
    alias Headcount.Pages

    def count(snapshot), do: {:ok, Snapshot.size(snapshot)}
    def member?(_snapshot, _row), do: {:error, __MODULE__}

    def slice(snapshot) do
      {:ok, Snapshot.size(snapshot), Pages.slicer(&Snapshot.slice(snapshot, &1, &2))}
    end

    def reduce(snapshot, acc, fun), do: Pages.reduce(&Snapshot.slice(snapshot, &1, &2), acc, fun)
  end

  defimpl Inspect do
    def inspect(snapshot, _opts) do
      groups = Headcount.MemberList.Snapshot.groups(snapshot)
      members = Headcount.MemberList.Snapshot.member_count(snapshot)
      "#Headcount.MemberList.Snapshot<#{Headcount.Show.members(members, groups)}>"
    end
  end
end
