defmodule Headcount.MemberList do
  @moduledoc """
  The list beside a chat: millions of members in groups, sorted, and read by the slice.

      iex> alias Headcount.MemberList
      iex> list = MemberList.new(groups: ["online", "offline"])
      iex> {:ok, %{index: 1}} = MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> {:ok, %{index: 1}} = MemberList.upsert(list, 9, group: "online", name: "ada")
      iex> {:ok, %{index: 3, old_index: 2}} = MemberList.set_group(list, 7, "offline")
      iex> for row <- MemberList.slice(list, 0, 100), do: row[:id] || {row.group, row.count}
      [{"online", 1}, 9, {"offline", 1}, 7]
      iex> MemberList.index_of(list, 7)
      3

  ## Rows

  A row is a member, `%{id: ..., group: ..., revision: ..., attrs: ..., payload: ...}`, or the header of a
  group that has members, `%{group: ..., count: ...}`. Rows are numbered from 0. You choose the order of
  the groups; in a group members are ordered by sort key, then by id. A *hidden* group has no rows, a
  *collapsed* one only its header.

  A member has

    * an id: an integer from -2^63 to 2^64 - 1, a UUID in its text form or a short text, see `new/1`
    * a group, by name
    * a sort key: `name: "Zoe"` (Unicode order without case), `key: <<...>>` (at most 64 bytes,
      compared as they are), `key: 42` or `key: {42, 7}` (64-bit non-negative integers)
    * `attrs`: 32 bits of your choice
    * a payload for display, in lists with `payloads: true`: at most 64 KiB
    * a revision, which grows with each change of attributes or payload, not when it moves

  Every write is O(log n) and returns the row that it changed.

  ## Live windows

  `Headcount.MemberList.Viewer` gives each client the rows of its windows and, after each `tick/1`, the
  changes in them.

  ## One list, many processes

  A list is mutable and shared, as a `Headcount.SortedSet` is: it lives outside the heap of any
  process, and reads and writes are safe from all of them. Reads do not pass through a process.
  `snapshot/1` freezes it in O(1) for a reader of many rows. A list is `Enumerable`: `Enum` and `Stream`
  go over the rows of a snapshot.

  Groups that do not exist, unknown members and broken limits are `{:error, {what, message}}` and change
  nothing; arguments of a wrong type raise `ArgumentError`. No member has an id beyond a limit: reads return `nil` for
  it. See "What functions return" in `Headcount`.

  ## What the Rust crate has beside this

    * `header_index`: it is `first_index` of a group in `groups/1`
    * `touch_fields`, which tells what of a body has changed: `touch/2` stands for all of it
    * `Snapshot::contains`: it is `Headcount.MemberList.Snapshot.get/2`, which returns `nil` for no member
  """

  import Headcount.Bang, only: [bang: 1]
  import Headcount.MemberList.Args
  import Headcount.Twin, only: [call: 2]
  alias Headcount.MemberList.{Snapshot, Tick}
  alias Headcount.Native

  @enforce_keys [:ref]
  defstruct [:ref]

  @typedoc "A list. It is mutable: two variables may hold the same one."
  @type t :: %__MODULE__{ref: reference()}

  @type id :: integer() | String.t()
  @type group :: String.t()

  @typedoc "A number, or that of a node."
  @type epoch :: pos_integer() | {node :: String.t(), pos_integer()}
  @type index :: non_neg_integer()
  @type row :: header() | member()
  @type header :: %{group: group(), count: pos_integer()}
  @type member :: %{
          id: id(),
          group: group(),
          revision: non_neg_integer(),
          attrs: non_neg_integer(),
          payload: binary()
        }

  @typedoc "A group with its name, its members, its first row and whether it is shown."
  @type group_info :: %{
          name: group(),
          count: non_neg_integer(),
          first_index: index() | nil,
          hidden: boolean(),
          collapsed: boolean()
        }

  @typedoc "The row of a member and its row before the write; `nil` while it has no row."
  @type upsert :: %{index: index() | nil, is_new: boolean(), old_index: index() | nil}

  @typedoc "What `apply_batch/2` did."
  @type batch :: %{
          inserted: non_neg_integer(),
          updated: non_neg_integer(),
          removed: non_neg_integer(),
          missing: non_neg_integer(),
          rows: [{index() | nil, index() | nil}]
        }

  @typedoc "What `bulk_load/2` did; duplicates with their places in the input."
  @type loaded :: %{loaded: non_neg_integer(), duplicates: [{non_neg_integer(), id()}]}

  @type sort ::
          {:name, String.t()}
          | {:key, binary() | non_neg_integer() | {non_neg_integer(), non_neg_integer()}}

  @type error :: {:error, {what :: atom(), message :: String.t()}}

  @typedoc "A change for `apply_batch/2`; the arguments are those of the function of that name."
  @type change ::
          {:upsert, id(), keyword()}
          | {:remove, id()}
          | {:touch, id()}
          | {:set_group, id(), group()}
          | {:set_key, id(), sort()}
          | {:set_attrs, id(), non_neg_integer()}
          | {:set_payload, id(), binary()}

  @defaults [ids: :integer, groups: [], headers: true, payloads: false, name: "", epoch: 1]

  # The longest slice that a normal scheduler copies.
  @slice_normal_max 500

  # The most changes that a normal scheduler applies at once: a millisecond with a million members, less with fewer.
  # Where the processors are busy a dirty scheduler begins several milliseconds later.
  @batch_normal_max 1_000

  # The most members that it looks for at once.
  @found_normal_max 100

  @doc """
  Returns an empty list.

    * `:ids` - `:integer` (default), `:uuid` or `:text` (1 to 64 bytes)
    * `:groups` - names of groups in their order, default none
    * `:headers` - whether groups have header rows, default `true`
    * `:payloads` - `false` (default), `:json` (each payload must be one JSON value nested at most 128
      deep, which JSON frames contain unchecked: clients refuse others) or `:raw` (any bytes, base64 in
      JSON frames), which `true` means too
    * `:name` - the name of the list in frames, default `""`
    * `:epoch` - see `begin_epoch/3`, default 1

  It raises `ArgumentError` for what it refuses.

        iex> list = Headcount.MemberList.new(ids: :text, groups: ["here"], headers: false)
        iex> {:ok, %{index: 0}} = Headcount.MemberList.upsert(list, "ann", group: "here", key: 1)
        iex> Headcount.MemberList.size(list)
        1
  """
  @spec new(keyword()) :: t()
  def new(options \\ []) do
    options = Keyword.validate!(options, @defaults)
    ids = check_ids(options[:ids])
    headers = check_flag(:headers, options[:headers])
    list = %__MODULE__{ref: Native.member_list_new(ids, headers, payloads(options[:payloads]))}
    made!(begin_epoch(list, options[:name], options[:epoch]))
    made!(set_groups(list, options[:groups]))
    list
  end

  @doc """
  Inserts a member, or moves it and sets its attributes. O(log n).

  Options are `:group` and `:name` or `:key`, and `:attrs` (default 0). A payload is set by `set_payload/3`.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      {:ok, %{index: 1, is_new: true, old_index: nil}}
      iex> {:error, {:unknown_group, _message}} = Headcount.MemberList.upsert(list, 7, group: "?", key: 1)
  """
  @spec upsert(t(), id(), keyword()) :: {:ok, upsert()} | error()
  def upsert(%__MODULE__{ref: ref}, id, options) do
    {group, sort, attrs} = placement(options)
    result(call(:member_list_upsert, [ref, id, group, sort, attrs]), id)
  end

  bang(upsert!(list :: t(), id :: id(), options :: keyword()) :: upsert())

  @doc """
  Removes a member and returns the row that it had; `nil` if it had none or does not exist. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> {Headcount.MemberList.remove(list, 7), Headcount.MemberList.remove(list, 7)}
      {1, nil}
  """
  @spec remove(t(), id()) :: index() | nil
  def remove(%__MODULE__{ref: ref}, id) do
    {:ok, index} = result(call(:member_list_remove, [ref, id]), id)
    index
  end

  @doc """
  Moves a member to another group. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online", "offline"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> Headcount.MemberList.set_group(list, 7, "offline")
      {:ok, %{index: 1, is_new: false, old_index: 1}}
  """
  @spec set_group(t(), id(), group()) :: {:ok, upsert()} | error()
  def set_group(%__MODULE__{ref: ref}, id, group) do
    result(call(:member_list_set_group, [ref, id, check_name(group)]), id)
  end

  bang(set_group!(list :: t(), id :: id(), group :: group()) :: upsert())

  @doc """
  Replaces the sort key of a member by `{:name, name}` or `{:key, key}`. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> for {id, name} <- [{1, "Ada"}, {2, "Bea"}] do
      ...>   Headcount.MemberList.upsert(list, id, group: "online", name: name)
      ...> end
      iex> {:ok, %{index: 2, old_index: 1}} = Headcount.MemberList.set_key(list, 1, {:name, "Zoe"})
  """
  @spec set_key(t(), id(), sort()) :: {:ok, upsert()} | error()
  def set_key(%__MODULE__{ref: ref}, id, sort) do
    result(call(:member_list_set_key, [ref, id, sort(sort)]), id)
  end

  bang(set_key!(list :: t(), id :: id(), sort :: sort()) :: upsert())

  @doc """
  Sets the attribute bits of a member; the revision grows if they differ. Returns its row. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> Headcount.MemberList.set_attrs(list, 7, 0b101)
      {:ok, 1}
  """
  @spec set_attrs(t(), id(), non_neg_integer()) :: {:ok, index() | nil} | error()
  def set_attrs(%__MODULE__{ref: ref}, id, attrs) do
    result(call(:member_list_set_attrs, [ref, id, check_attrs(attrs)]), id)
  end

  bang(set_attrs!(list :: t(), id :: id(), attrs :: non_neg_integer()) :: index() | nil)

  @doc """
  Sets the payload of a member; the revision grows if it differs. Returns its row. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"], payloads: true)
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> {:ok, 1} = Headcount.MemberList.set_payload(list, 7, ~s({"name":"Zoe"}))
      iex> Headcount.MemberList.get(list, 7).payload
      ~s({"name":"Zoe"})
  """
  @spec set_payload(t(), id(), binary()) :: {:ok, index() | nil} | error()
  def set_payload(%__MODULE__{ref: ref}, id, payload) when is_binary(payload) do
    result(call(:member_list_set_payload, [ref, id, payload]), id)
  end

  bang(set_payload!(list :: t(), id :: id(), payload :: binary()) :: index() | nil)

  @doc """
  Marks a member as changed, so that clients fetch it again: its revision grows. Returns its row. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> {:ok, 1} = Headcount.MemberList.touch(list, 7)
      iex> Headcount.MemberList.row_at(list, 1).revision
      1
  """
  @spec touch(t(), id()) :: {:ok, index() | nil} | error()
  def touch(%__MODULE__{ref: ref}, id), do: result(call(:member_list_touch, [ref, id]), id)

  bang(touch!(list :: t(), id :: id()) :: index() | nil)

  @doc """
  Applies all changes, or none if one is refused: `{:error, {:in_batch, message}}`, with the position of the first one
  that is. A change of a wrong type raises, with its position. O(changes x log n).

  Changes of members that do not exist are counted as `missing`. `rows` has `{old_index, index}` for each
  change, in order: the rows of its moment, `nil` for a member without a row.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.apply_batch(list, [
      ...>   {:upsert, 1, group: "online", name: "Ada"},
      ...>   {:upsert, 2, group: "online", name: "Bea", attrs: 1},
      ...>   {:remove, 1},
      ...>   {:touch, 3}
      ...> ])
      {:ok, %{
        inserted: 2, updated: 0, removed: 1, missing: 1,
        rows: [{nil, 1}, {nil, 2}, {1, nil}, {nil, nil}]
      }}
      iex> Headcount.MemberList.apply_batch(list, [{:touch, 2}, {:set_group, 2, "?"}])
      {:error, {:in_batch, "change 1 of the batch: there is no group \\"?\\""}}
  """
  @spec apply_batch(t(), [change()]) ::
          {:ok, batch()} | error()
  def apply_batch(%__MODULE__{ref: ref}, changes) when is_list(changes) do
    with {:ok, done} <- read(apply_changes(ref, read_all(changes, &change/1)), changes, 1) do
      {inserted, updated, removed, missing, rows} = done
      counts = %{inserted: inserted, updated: updated, removed: removed, missing: missing}
      {:ok, Map.put(counts, :rows, rows)}
    end
  end

  bang(apply_batch!(list :: t(), changes :: [change()]) :: batch())

  @doc """
  Inserts many new members in any order: `[{id, options}]` as for `upsert/3`. O(n log n).

  Members that are in the list, or repeat in the input, are not loaded; they are returned with their
  places in the input. An error changes nothing; that of a member that is refused, such as for its id or its group, is
  `{:error, {:in_batch, message}}`, with the position of the first one that is.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.bulk_load(list, for(id <- [3, 1, 3], do: {id, [group: "online", key: id]}))
      {:ok, %{loaded: 2, duplicates: [{2, 3}]}}
  """
  @spec bulk_load(t(), Enumerable.t()) ::
          {:ok, loaded()} | error()
  def bulk_load(%__MODULE__{ref: ref}, members) do
    members = read_all(members, &new_member/1)

    with {:ok, {loaded, duplicates}} <-
           read(Native.member_list_bulk_load(ref, members), members, 0),
         do: {:ok, %{loaded: loaded, duplicates: duplicates}}
  end

  bang(bulk_load!(list :: t(), members :: Enumerable.t()) :: loaded())

  @doc """
  Returns the number of rows: headers and members that are shown. O(1).

      iex> Headcount.MemberList.size(Headcount.MemberList.new())
      0
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{ref: ref}), do: ref |> sizes() |> elem(0)

  @doc """
  Returns the number of members, shown or not. O(1).

      iex> Headcount.MemberList.member_count(Headcount.MemberList.new())
      0
  """
  @spec member_count(t()) :: non_neg_integer()
  def member_count(%__MODULE__{ref: ref}), do: ref |> sizes() |> elem(1)

  @doc """
  Returns a member with its sort key, `nil` if it does not exist. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", key: "a", attrs: 1)
      iex> Headcount.MemberList.get(list, 7)
      %{id: 7, group: "online", key: "a", revision: 0, attrs: 1, payload: ""}
      iex> Headcount.MemberList.get(list, 8)
      nil
  """
  @spec get(t(), id()) :: map() | nil
  def get(%__MODULE__{ref: ref}, id), do: found(call(:member_list_get, [ref, id]), id)

  @doc """
  Returns the row of a member, `nil` if it does not exist or its group is not shown. O(log n).

      iex> Headcount.MemberList.index_of(Headcount.MemberList.new(), 7)
      nil
  """
  @spec index_of(t(), id()) :: index() | nil
  def index_of(%__MODULE__{ref: ref}, id), do: found(call(:member_list_index_of, [ref, id]), id)

  @doc """
  Returns the row of each of many members, in the order of the ids: for each what `index_of/2` returns, in less time.
  O(ids x log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> for {id, name} <- [{7, "Bob"}, {9, "Ada"}],
      ...>   do: Headcount.MemberList.upsert(list, id, group: "online", name: name)
      iex> Headcount.MemberList.index_of_many(list, [7, 8, 9, 7])
      [2, nil, 1, 2]
  """
  @spec index_of_many(t(), [id()]) :: [index() | nil]
  # A few ids do not wait for a dirty scheduler.
  def index_of_many(%__MODULE__{ref: ref}, ids) when length(ids) <= @found_normal_max,
    do: found_many(call(:member_list_index_of_many, [ref, ids]), ids)

  def index_of_many(%__MODULE__{ref: ref}, ids) when length(ids) > @found_normal_max,
    do: found_many(Native.member_list_index_of_many_dirty(ref, ids), ids)

  @doc """
  Returns the row of each of many members and what it shows, in the order of the ids: for each what `index_of/2` returns
  and `row_at/2` has there, or `nil`. O(ids x log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Bob")
      iex> Headcount.MemberList.rows_of(list, [7, 8])
      [{1, %{id: 7, group: "online", revision: 0, attrs: 0, payload: ""}}, nil]
  """
  @spec rows_of(t(), [id()]) :: [{index(), row()} | nil]
  # A few ids do not wait for a dirty scheduler.
  def rows_of(%__MODULE__{ref: ref}, ids) when length(ids) <= @found_normal_max,
    do: found_many(call(:member_list_rows_of, [ref, ids]), ids)

  def rows_of(%__MODULE__{ref: ref}, ids) when length(ids) > @found_normal_max,
    do: found_many(Native.member_list_rows_of_dirty(ref, ids), ids)

  @doc """
  Returns the row at an index, `nil` past the end. O(log n).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> Headcount.MemberList.row_at(list, 0)
      %{group: "online", count: 1}
  """
  @spec row_at(t(), index()) :: row() | nil
  def row_at(%__MODULE__{ref: ref}, index) do
    call(:member_list_row_at, [ref, check_index(:index, index)])
  end

  @doc """
  Returns up to `amount` rows from the index `start` on; fewer past the end. O(log n + amount).

      iex> Headcount.MemberList.slice(Headcount.MemberList.new(), 0, 100)
      []
  """
  @spec slice(t(), index(), non_neg_integer()) :: [row()]
  def slice(%__MODULE__{ref: ref} = list, start, amount) do
    start = check_index(:start, start)

    case check_index(:amount, amount) do
      amount when amount <= @slice_normal_max -> call(:member_list_slice, [ref, start, amount])
      amount -> list |> snapshot() |> Snapshot.slice(start, amount)
    end
  end

  @doc """
  Returns all groups in order, also hidden and empty ones. O(groups).

      iex> Headcount.MemberList.groups(Headcount.MemberList.new(groups: ["online"]))
      [%{name: "online", count: 0, first_index: nil, hidden: false, collapsed: false}]
  """
  @spec groups(t()) :: [group_info()]
  def groups(%__MODULE__{ref: ref}), do: Native.member_list_groups(ref)

  @doc """
  Returns, for each group, the row of the first member whose name or key begins with a prefix.
  O(groups x log n).

  The prefix has the form of the sort keys: `{:name, text}` for members with names. The search ignores case,
  but not accents. Sort keys have at most 64 bytes; of a longer prefix only these count.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> for {id, name} <- [{1, "Anna"}, {2, "Moritz"}] do
      ...>   Headcount.MemberList.upsert(list, id, group: "online", name: name)
      ...> end
      iex> Headcount.MemberList.find_prefix(list, {:name, "mo"})
      [{"online", 2}]
  """
  @spec find_prefix(t(), sort()) :: [{group(), index()}]
  def find_prefix(%__MODULE__{ref: ref}, prefix) do
    Native.member_list_find_prefix(ref, prefix(prefix))
  end

  @doc """
  Returns, for each group with members whose key begins with a prefix, how many there are and the row of the
  first one, which the others follow; `nil` when the group is collapsed. O(groups x log n).

  The prefix is one as for `find_prefix/2`. A window of `Headcount.MemberList.Viewer` shows what a search finds.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> for {id, name} <- [{1, "Max"}, {2, "Moritz"}, {3, "Zoe"}] do
      ...>   Headcount.MemberList.upsert(list, id, group: "online", name: name)
      ...> end
      iex> Headcount.MemberList.search_prefix(list, {:name, "m"})
      [{"online", 2, 1}]
  """
  @spec search_prefix(t(), sort()) :: [{group(), pos_integer(), index() | nil}]
  def search_prefix(%__MODULE__{ref: ref}, prefix) do
    Native.member_list_search_prefix(ref, prefix(prefix))
  end

  @doc """
  Returns the list at this moment, for readers: later writes do not change it. O(1).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> before = Headcount.MemberList.snapshot(list)
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> {Headcount.MemberList.Snapshot.size(before), Headcount.MemberList.size(list)}
      {0, 2}
  """
  @spec snapshot(t()) :: Snapshot.t()
  def snapshot(%__MODULE__{ref: ref}) do
    %Snapshot{ref: Native.member_list_snapshot(ref)}
  end

  @doc """
  Adds a group at the end of the order. O(groups).

      iex> Headcount.MemberList.add_group(Headcount.MemberList.new(), "online")
      :ok
  """
  @spec add_group(t(), group()) :: :ok | error()
  def add_group(%__MODULE__{ref: ref}, name) do
    Native.member_list_add_group(ref, check_name(name))
  end

  bang(add_group!(list :: t(), name :: group()) :: :ok)

  @doc """
  Creates the groups that do not exist and puts all of them in this order, before all others. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["online", "offline"])
      iex> Headcount.MemberList.set_groups(list, ["moderators", "online"])
      iex> for group <- Headcount.MemberList.groups(list), do: group.name
      ["moderators", "online", "offline"]
  """
  @spec set_groups(t(), [group()]) :: :ok | error()
  def set_groups(%__MODULE__{ref: ref}, names) do
    Native.member_list_set_groups(ref, check_names(names))
  end

  bang(set_groups!(list :: t(), names :: [group()]) :: :ok)

  @doc """
  Renames a group. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["mods"])
      iex> Headcount.MemberList.rename_group(list, "mods", "moderators")
      :ok
  """
  @spec rename_group(t(), group(), group()) :: :ok | error()
  def rename_group(%__MODULE__{ref: ref}, name, new) do
    Native.member_list_rename_group(ref, check_name(name), check_name(new))
  end

  bang(rename_group!(list :: t(), name :: group(), new :: group()) :: :ok)

  @doc """
  Puts the groups in this order, which must name each of them once. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["a", "b"])
      iex> Headcount.MemberList.reorder_groups(list, ["b", "a"])
      :ok
      iex> {:error, {:bad_group_order, _}} = Headcount.MemberList.reorder_groups(list, ["b"])
  """
  @spec reorder_groups(t(), [group()]) :: :ok | error()
  def reorder_groups(%__MODULE__{ref: ref}, names) do
    Native.member_list_reorder_groups(ref, check_names(names))
  end

  bang(reorder_groups!(list :: t(), names :: [group()]) :: :ok)

  @doc """
  Moves one group to a place in the order; places past the end mean the end. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["a", "b"])
      iex> Headcount.MemberList.move_group(list, "b", 0)
      :ok
  """
  @spec move_group(t(), group(), non_neg_integer()) :: :ok | error()
  def move_group(%__MODULE__{ref: ref}, name, to) do
    Native.member_list_move_group(ref, check_name(name), check_index(:to, to))
  end

  bang(move_group!(list :: t(), name :: group(), to :: non_neg_integer()) :: :ok)

  @doc """
  Hides a group and its header, or shows them again. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["offline"])
      iex> Headcount.MemberList.set_group_hidden(list, "offline", true)
      :ok
  """
  @spec set_group_hidden(t(), group(), boolean()) :: :ok | error()
  def set_group_hidden(%__MODULE__{ref: ref}, name, hidden) when is_boolean(hidden) do
    Native.member_list_set_group_hidden(ref, check_name(name), hidden)
  end

  bang(set_group_hidden!(list :: t(), name :: group(), hidden :: boolean()) :: :ok)

  @doc """
  Collapses a group to its header, or shows its members again. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["offline"])
      iex> Headcount.MemberList.set_group_collapsed(list, "offline", true)
      :ok
  """
  @spec set_group_collapsed(t(), group(), boolean()) :: :ok | error()
  def set_group_collapsed(%__MODULE__{ref: ref}, name, collapsed) when is_boolean(collapsed) do
    Native.member_list_set_group_collapsed(ref, check_name(name), collapsed)
  end

  bang(set_group_collapsed!(list :: t(), name :: group(), collapsed :: boolean()) :: :ok)

  @doc """
  Moves all members of a group into another and returns how many there were; the group stays, empty. O(k log n) for k
  members.

      iex> list = Headcount.MemberList.new(groups: ["online", "idle"])
      iex> Headcount.MemberList.upsert(list, 7, group: "idle", name: "Zoe")
      iex> Headcount.MemberList.merge_group(list, "idle", "online")
      {:ok, 1}
  """
  @spec merge_group(t(), from :: group(), into :: group()) :: {:ok, non_neg_integer()} | error()
  def merge_group(%__MODULE__{ref: ref}, from, into) do
    Native.member_list_merge_group(ref, check_name(from), check_name(into))
  end

  bang(merge_group!(list :: t(), from :: group(), into :: group()) :: non_neg_integer())

  @doc """
  Moves many members to a group and returns how many of them are there now; unknown ids are passed over. It is one
  change for viewers: their windows are sent whole. O(k log n) or O(n + k), whichever is less.

      iex> list = Headcount.MemberList.new(groups: ["online", "offline"])
      iex> for id <- 1..3, do: Headcount.MemberList.upsert(list, id, group: "online", key: id)
      iex> Headcount.MemberList.set_group_many(list, [1, 3, 9], "offline")
      {:ok, 2}
  """
  @spec set_group_many(t(), [id()], group()) :: {:ok, non_neg_integer()} | error()
  # The guard fails for an improper list.
  def set_group_many(%__MODULE__{ref: ref}, ids, group) when length(ids) >= 0 do
    found_many(Native.member_list_set_group_many(ref, ids, check_name(group)), ids)
  end

  bang(set_group_many!(list :: t(), ids :: [id()], group :: group()) :: non_neg_integer())

  @doc """
  Removes a group without members. O(groups).

      iex> list = Headcount.MemberList.new(groups: ["a"])
      iex> Headcount.MemberList.remove_group(list, "a")
      :ok
      iex> {:error, {:unknown_group, _}} = Headcount.MemberList.remove_group(list, "a")
  """
  @spec remove_group(t(), group()) :: :ok | error()
  def remove_group(%__MODULE__{ref: ref}, name) do
    Native.member_list_remove_group(ref, check_name(name))
  end

  bang(remove_group!(list :: t(), name :: group()) :: :ok)

  @doc """
  Saves the list as it is now, with its name, groups, members and their order, to a path.

  It works in steps, between which others may use and change the list; the file has the state at the beginning.
  A file that has the path stays until the new one is whole. Viewers are not saved. While another process saves the
  list, this is `{:error, {:running, message}}`.

      iex> list = Headcount.MemberList.new(groups: ["online", "offline"])
      iex> Headcount.MemberList.upsert!(list, 7, group: "offline", name: "Zoe")
      iex> path = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}")
      iex> Headcount.MemberList.save(list, path)
      :ok
      iex> loaded = Headcount.MemberList.load!(path)
      iex> File.rm!(path)
      iex> Enum.to_list(loaded) == Enum.to_list(list)
      true
      iex> {:error, {:io, _}} = Headcount.MemberList.save(list, "/no/such/folder/file")
  """
  @spec save(t(), Path.t()) :: :ok | error()
  def save(%__MODULE__{ref: ref}, path) do
    with {:ok, save} <- Native.member_list_save(ref), do: Headcount.SavedFile.write(path, save)
  end

  bang(save!(list :: t(), path :: Path.t()) :: :ok)

  @doc """
  Returns the list of a file that `save/2` wrote. It keeps its name.

    * `:payloads` - what payloads are, in a file with payloads, as in `new/1`
    * `:epoch` - the epoch that the list begins, as in `new/1`, default the time in milliseconds

  A file that was cut or altered, that a later edition wrote, or that is something else, is an error whose
  message says at which byte it was noticed.

      iex> {:error, {:io, _}} = Headcount.MemberList.load("/no/such/file")
  """
  @spec load(Path.t(), keyword()) :: {:ok, t()} | error()
  def load(path, options \\ []) do
    options = Keyword.validate!(options, payloads: false, epoch: nil)
    path = IO.chardata_to_string(path)

    with {:ok, epoch} <- epoch(:epoch, options[:epoch] || System.system_time(:millisecond)),
         {:ok, ref} <- Native.member_list_load(path, payloads(options[:payloads]), epoch) do
      {:ok, %__MODULE__{ref: ref}}
    end
  end

  bang(load!(path :: Path.t()) :: t())
  bang(load!(path :: Path.t(), options :: keyword()) :: t())

  @doc """
  Returns the bytes that the list occupies outside the heaps of processes, without text ids, names over
  15 bytes and payloads. O(n / 64).

      iex> Headcount.MemberList.memory(Headcount.MemberList.new()) < 100_000
      true
  """
  @spec memory(t()) :: non_neg_integer()
  def memory(%__MODULE__{ref: ref}), do: Native.member_list_memory(ref)

  @doc """
  Publishes the changes since the last tick, for all viewers. O(changes x log changes + rows of the
  watched windows that changed).

  Totals and groups are published at most once a second. Call it from one process, every 250 ms
  or so; see `Headcount.MemberList.Viewer`.

      iex> tick = Headcount.MemberList.tick(Headcount.MemberList.new())
      iex> tick.version
      1
  """
  @spec tick(t()) :: Tick.t()
  def tick(%__MODULE__{ref: ref}) do
    tick = Native.member_list_tick(ref, System.monotonic_time(:millisecond) - boot())
    {version, empty?} = Native.tick_info(tick)
    %Tick{ref: tick, version: version, empty?: empty?}
  end

  @doc """
  Names the list for its viewers and begins an epoch: the next tick sends every viewer its windows
  and the counts whole. O(watched windows).

  Epochs are from 1 to 2^53 - 1 and must grow: a list that is rebuilt begins a higher one. Where several nodes serve
  the list, `{node, epoch}` is the epoch of one of them. Names of lists and nodes have at most 1,024 bytes.

      iex> Headcount.MemberList.begin_epoch(Headcount.MemberList.new(), "room:7", 2)
      :ok
      iex> Headcount.MemberList.begin_epoch(Headcount.MemberList.new(), "room:7", {"node-1", 1_790_000_000_000})
      :ok
      iex> {:error, {:epoch_not_higher, _}} =
      ...>   Headcount.MemberList.begin_epoch(Headcount.MemberList.new(epoch: 2), "room:7", 2)
  """
  @spec begin_epoch(t(), String.t(), epoch()) :: :ok | error()
  def begin_epoch(%__MODULE__{ref: ref}, name, epoch) do
    name = check_name(name)

    with {:ok, epoch} <- epoch(:epoch, epoch),
         do: Native.member_list_begin_epoch(ref, name, epoch)
  end

  bang(begin_epoch!(list :: t(), name :: String.t(), epoch :: epoch()) :: :ok)

  defp boot do
    System.convert_time_unit(:erlang.system_info(:start_time), :native, :millisecond)
  end

  # A short batch does not wait for a dirty scheduler.
  defp apply_changes(ref, changes) when length(changes) <= @batch_normal_max,
    do: call(:member_list_apply_batch, [ref, changes])

  defp apply_changes(ref, changes), do: Native.member_list_apply_batch_dirty(ref, changes)

  defp sizes(ref), do: call(:member_list_size, [ref])

  defp result(:bad_id, id), do: bad_id(id)
  defp result(result, _id), do: result

  defp found(:bad_id, id), do: bad_id(id)
  defp found(found, _id), do: found

  @doc false
  @spec found_many(term(), [term()]) :: term()
  def found_many({:bad_id, at}, ids), do: bad_id(Enum.at(ids, at))
  def found_many(found, _ids), do: found

  @doc false
  # What was refused of many items; `place` is that of the id in one of them.
  @spec read(term(), Enumerable.t(), non_neg_integer()) :: term()
  def read({:bad_change, at}, items, _place),
    do:
      raise(
        ArgumentError,
        in_batch(at, "not a change: #{Headcount.Show.term(Enum.at(items, at))}")
      )

  def read({:bad_id, at}, items, place),
    do: raise(ArgumentError, in_batch(at, not_an_id(elem(Enum.at(items, at), place))))

  def read(answer, _items, _place), do: answer

  @doc false
  @spec bad_id(term()) :: no_return()
  def bad_id(id), do: raise(ArgumentError, not_an_id(id))

  defp not_an_id(id),
    do: "not an id of this list (see the option :ids of new/1): #{Headcount.Show.term(id)}"

  defimpl Enumerable do
    # All rows of one moment.
    alias Headcount.MemberList

    def count(list), do: {:ok, MemberList.size(list)}
    def member?(_list, _row), do: {:error, __MODULE__}
    def slice(list), do: list |> MemberList.snapshot() |> Enumerable.slice()
    def reduce(list, acc, fun), do: list |> MemberList.snapshot() |> Enumerable.reduce(acc, fun)
  end

  defimpl Inspect do
    def inspect(list, _opts) do
      groups = Headcount.MemberList.groups(list)
      members = Headcount.MemberList.member_count(list)
      "#Headcount.MemberList<#{Headcount.Show.members(members, groups)}>"
    end
  end
end
