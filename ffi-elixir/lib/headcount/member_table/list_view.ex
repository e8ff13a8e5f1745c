defmodule Headcount.MemberTable.ListView do
  @moduledoc """
  A list of a `Headcount.MemberTable`, live: it shows the list as it is when it is asked.

      iex> alias Headcount.MemberTable
      iex> alias Headcount.MemberTable.ListView
      iex> table = MemberTable.new()
      iex> for {id, name, attrs} <- [{7, "Bob", [3]}, {9, "ada", []}],
      ...>   do: MemberTable.upsert!(table, id, name: name, attrs: attrs)
      iex> staff = MemberTable.add_list!(table, name: "staff", admit: [[all: [3]]])
      iex> MemberTable.build(table)
      iex> for row <- staff, do: row[:id] || {row.group, row.count}
      [{"members", 1}, 7]
      iex> {ListView.index_of(staff, 7), ListView.index_of(staff, 9)}
      {1, nil}

  Rows are those of a `Headcount.MemberList`; the `attrs` of a row are the shown ones, as bits. Views of the
  same list are equal. All reads raise `Headcount.Error` while the list is built for the first time
  (`:list_building`), and after it was removed (`:unknown_list`); then `set_group_hidden/3` and
  `set_group_collapsed/3` return that error. A list is `Enumerable`: `Enum` and `Stream` go over the rows of a snapshot.
  """

  import Headcount.Bang, only: [bang: 1]
  import Headcount.MemberList.Args
  import Headcount.Twin, only: [call: 2]
  alias Headcount.{MemberList, Native}
  alias Headcount.MemberList.Snapshot

  @enforce_keys [:table, :id]
  defstruct [:table, :id]

  @type t :: %__MODULE__{table: reference(), id: non_neg_integer()}

  # The longest slice that a normal scheduler copies.
  @slice_normal_max 500

  # The most members that a normal scheduler looks for at once.
  @found_normal_max 100

  @doc """
  Returns the name of the list.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.ListView.name(Headcount.MemberTable.add_list!(table, name: "all"))
      "all"
  """
  @spec name(t()) :: String.t()
  def name(%__MODULE__{table: ref, id: id}), do: read(Native.view_name(ref, id))

  @doc """
  Returns the number of rows: headers and members that are shown. O(1).

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.ListView.size(Headcount.MemberTable.add_list!(table, name: "all"))
      0
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{} = list), do: elem(sizes(list), 0)

  @doc """
  Returns the number of members that the list admits, shown or not. O(1).

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.ListView.member_count(Headcount.MemberTable.add_list!(table, name: "all"))
      0
  """
  @spec member_count(t()) :: non_neg_integer()
  def member_count(%__MODULE__{} = list), do: elem(sizes(list), 1)

  @doc """
  Returns the row of a member; `nil` when the list has no such member, or its group is not shown. O(log n).

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.ListView.index_of(Headcount.MemberTable.add_list!(table, name: "all"), 7)
      nil
  """
  @spec index_of(t(), MemberList.id()) :: MemberList.index() | nil
  def index_of(%__MODULE__{table: ref, id: list}, id) do
    found(call(:view_index_of, [ref, list, id]), id)
  end

  @doc """
  Returns the row of each of many members, in the order of the ids: for each what `index_of/2` returns, in less time.
  O(ids x log n).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> for {id, name} <- [{7, "Bob"}, {9, "Ada"}], do: Headcount.MemberTable.upsert!(table, id, name: name)
      iex> Headcount.MemberTable.ListView.index_of_many(list, [7, 8, 9, 7])
      [2, nil, 1, 2]
  """
  @spec index_of_many(t(), [MemberList.id()]) :: [MemberList.index() | nil]
  # A few ids do not wait for a dirty scheduler.
  def index_of_many(%__MODULE__{table: ref, id: list}, ids) when length(ids) <= @found_normal_max,
    do: found_many(call(:view_index_of_many, [ref, list, ids]), ids)

  def index_of_many(%__MODULE__{table: ref, id: list}, ids) when length(ids) > @found_normal_max,
    do: found_many(Native.view_index_of_many_dirty(ref, list, ids), ids)

  @doc """
  Returns the row of each of many members and what it shows, in the order of the ids: for each what `index_of/2` returns
  and `row_at/2` has there, or `nil`. O(ids x log n).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Bob")
      iex> Headcount.MemberTable.ListView.rows_of(list, [7, 8])
      [{1, %{id: 7, group: "members", revision: 0, attrs: 0, payload: ""}}, nil]
  """
  @spec rows_of(t(), [MemberList.id()]) :: [{MemberList.index(), MemberList.row()} | nil]
  # A few ids do not wait for a dirty scheduler.
  def rows_of(%__MODULE__{table: ref, id: list}, ids) when length(ids) <= @found_normal_max,
    do: found_many(call(:view_rows_of, [ref, list, ids]), ids)

  def rows_of(%__MODULE__{table: ref, id: list}, ids) when length(ids) > @found_normal_max,
    do: found_many(Native.view_rows_of_dirty(ref, list, ids), ids)

  @doc """
  Returns the group of a member; `nil` when the list has no such member. O(groups).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> Headcount.MemberTable.ListView.group_of(list, 7)
      "members"
  """
  @spec group_of(t(), MemberList.id()) :: MemberList.group() | nil
  def group_of(%__MODULE__{table: ref, id: list}, id) do
    found(call(:view_group_of, [ref, list, id]), id)
  end

  @doc """
  Returns the row at an index, `nil` past the end. O(log n).

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.ListView.row_at(Headcount.MemberTable.add_list!(table, name: "all"), 0)
      nil
  """
  @spec row_at(t(), MemberList.index()) :: MemberList.row() | nil
  def row_at(%__MODULE__{table: ref, id: list}, index) do
    read(call(:view_row_at, [ref, list, check_index(:index, index)]))
  end

  @doc """
  Returns up to `amount` rows from the index `start` on; fewer past the end. O(log n + amount).

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.ListView.slice(Headcount.MemberTable.add_list!(table, name: "all"), 0, 9)
      []
  """
  @spec slice(t(), MemberList.index(), non_neg_integer()) :: [MemberList.row()]
  def slice(%__MODULE__{table: ref, id: id} = list, start, amount) do
    start = check_index(:start, start)

    case check_index(:amount, amount) do
      amount when amount <= @slice_normal_max -> read(call(:view_slice, [ref, id, start, amount]))
      amount -> list |> snapshot() |> Snapshot.slice(start, amount)
    end
  end

  @doc """
  Returns all groups in order, also hidden and empty ones. O(groups).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all", groups: [{[all: [1]], "online"}])
      iex> for group <- Headcount.MemberTable.ListView.groups(list), do: group.name
      ["online", "members"]
  """
  @spec groups(t()) :: [MemberList.group_info()]
  def groups(%__MODULE__{table: ref, id: id}), do: read(Native.view_groups(ref, id))

  @doc """
  Returns, for each group, the row of the first member whose key begins with a prefix; see
  `Headcount.MemberList.find_prefix/2`.

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Moritz")
      iex> Headcount.MemberTable.ListView.find_prefix(list, {:name, "mo"})
      [{"members", 1}]
  """
  @spec find_prefix(t(), MemberList.sort()) :: [{MemberList.group(), MemberList.index()}]
  def find_prefix(%__MODULE__{table: ref, id: id}, prefix) do
    read(Native.view_find_prefix(ref, id, prefix(prefix)))
  end

  @doc """
  Returns, for each group with members whose key begins with a prefix, how many there are and the row of the
  first one, which the others follow; `nil` when the group is collapsed. O(groups x log n).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> for {id, name} <- [{1, "Max"}, {2, "Moritz"}], do: Headcount.MemberTable.upsert!(table, id, name: name)
      iex> Headcount.MemberTable.ListView.search_prefix(list, {:name, "m"})
      [{"members", 2, 1}]
  """
  @spec search_prefix(t(), MemberList.sort()) :: [
          {MemberList.group(), pos_integer(), MemberList.index() | nil}
        ]
  def search_prefix(%__MODULE__{table: ref, id: id}, prefix) do
    read(Native.view_search_prefix(ref, id, prefix(prefix)))
  end

  @doc """
  Returns the list at this moment, for readers: later writes do not change it. O(1).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> before = Headcount.MemberTable.ListView.snapshot(list)
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> {Enum.count(before), Enum.count(list)}
      {0, 2}
  """
  @spec snapshot(t()) :: Snapshot.t()
  def snapshot(%__MODULE__{table: ref, id: id}) do
    %Snapshot{ref: read(Native.view_snapshot(ref, id))}
  end

  @doc """
  Hides a group and its header, or shows them again. O(groups).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.ListView.set_group_hidden(list, "members", true)
      :ok
      iex> {:error, {:unknown_group, _}} = Headcount.MemberTable.ListView.set_group_hidden(list, "?", true)
  """
  @spec set_group_hidden(t(), MemberList.group(), boolean()) :: :ok | MemberList.error()
  def set_group_hidden(list, name, hidden), do: set_group(list, name, false, hidden)

  bang(set_group_hidden!(list :: t(), name :: MemberList.group(), hidden :: boolean()) :: :ok)

  @doc """
  Collapses a group to its header, or shows its members again. O(groups).

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.ListView.set_group_collapsed(list, "members", true)
      :ok
  """
  @spec set_group_collapsed(t(), MemberList.group(), boolean()) :: :ok | MemberList.error()
  def set_group_collapsed(list, name, collapsed), do: set_group(list, name, true, collapsed)

  bang(
    set_group_collapsed!(list :: t(), name :: MemberList.group(), collapsed :: boolean()) :: :ok
  )

  defp set_group(%__MODULE__{table: ref, id: id}, name, collapse?, value)
       when is_boolean(value) do
    with {:ok, nil} <- Native.view_set_group(ref, id, check_name(name), collapse?, value), do: :ok
  end

  defp sizes(%__MODULE__{table: ref, id: id}), do: read(call(:view_size, [ref, id]))

  defp found(:bad_id, id), do: MemberList.bad_id(id)
  defp found(found, _id), do: read(found)

  defp found_many(found, ids), do: read(MemberList.found_many(found, ids))

  defp read({:error, {what, message} = reason}) when is_atom(what) and is_binary(message) do
    raise Headcount.Error, reason: reason
  end

  defp read(value), do: value

  defimpl Enumerable do
    # All rows of one moment.
    alias Headcount.MemberTable.ListView

    def count(list), do: {:ok, ListView.size(list)}
    def member?(_list, _row), do: {:error, __MODULE__}
    def slice(list), do: list |> ListView.snapshot() |> Enumerable.slice()
    def reduce(list, acc, fun), do: list |> ListView.snapshot() |> Enumerable.reduce(acc, fun)
  end

  defimpl Inspect do
    alias Headcount.MemberTable.ListView

    def inspect(list, _opts) do
      name = Kernel.inspect(ListView.name(list))
      members = ListView.member_count(list)

      "#Headcount.MemberTable.ListView<#{name}, #{Headcount.Show.members(members, ListView.groups(list))}>"
    rescue
      error in Headcount.Error -> "#Headcount.MemberTable.ListView<#{elem(error.reason, 0)}>"
    end
  end
end
