defmodule Headcount.MemberTable do
  @moduledoc """
  The same members in many lists: one for each set of people who may see a channel, one by date, and so on.

      iex> alias Headcount.MemberTable
      iex> alias Headcount.MemberTable.ListView
      iex> {online, staff} = {0, 40}
      iex> table = MemberTable.new()
      iex> for {id, name, attrs} <- [{1, "Ada", [online]}, {2, "Bob", [staff]}, {3, "Cy", [staff]}] do
      ...>   MemberTable.upsert!(table, id, name: name, attrs: attrs)
      ...> end
      iex> everyone = MemberTable.add_list!(table,
      ...>   name: "everyone", default_group: "offline", groups: [{[all: [online]], "online"}])
      iex> office = MemberTable.add_list!(table, name: "office", admit: [[all: [staff]]])
      iex> MemberTable.build(table)
      0
      iex> MemberTable.set_attrs(table, 2, set: [online])
      {:ok, [%{list: everyone, old_index: 3, index: 2}]}
      iex> for list <- [everyone, office], do: ListView.index_of(list, 2)
      [2, 1]

  ## Members

  A member has

    * an id, as in a `Headcount.MemberList`
    * a sort key for each of 1 to 4 key columns, given in their order: `name: "Zoe", key: 42`
    * attributes, numbers from 0 to 511 whose meaning is yours: roles, status, bot, ...
    * a payload for display, in tables with `payloads: true`
    * a revision, which grows with each change of shown attributes or payload

  Members are kept once. A further list costs about 8 bytes for each member that it admits, and nothing
  for others. A write costs a list O(log n) if it changes the place of the member there or viewers watch
  the list, else next to nothing.

  ## Lists

  A list admits members by their attributes, sorts them by one of their keys, and puts each into the group
  of the first clause that holds for it. Its spec, for `add_list/2`, has the options

    * `:name` - 1 to 64 bytes; viewers see it in every bundle
    * `:default_group` - the group of members that no clause puts anywhere, default `"members"`
    * `:sort_by` - the key column, from 0 (default)
    * `:descending` - whether members are shown from the last to the first, default `false`
    * `:headers` - whether groups with members have header rows, default `true`
    * `:admit` - up to 16 clauses of which one must hold; without it all members are in the list
    * `:always`, `:never` - ids, together up to 4,096, that are in the list, or not, whatever their attributes
    * `:groups` - pairs of a clause and the name of a group; groups are in the order in which they are named first

  A clause is `[all: [1], any: [2, 3], none: [4]]`: it holds for members with all of some attributes, any
  of others, and none of the rest. A part that is left out asks for nothing.

  `Headcount.MemberTable.ListView` reads a list, `Headcount.MemberList.Viewer` shows it to a client.
  `Headcount.Roster` keeps the members as presence has them.

  ## One table, many processes

  As a `Headcount.MemberList`, a table lives outside the heap of any process, and reads and writes are safe
  from all of them. What is refused is `{:error, {what, message}}` and changes nothing; arguments of a wrong
  type raise `ArgumentError`. See "What functions return" in `Headcount`.
  """

  import Headcount.Bang, only: [bang: 1]
  import Headcount.MemberList.Args, except: [new_member: 1, change: 1]
  import Headcount.MemberTable.Args
  import Headcount.Twin, only: [call: 2]
  alias Headcount.{MemberList, Native}
  alias Headcount.MemberList.Snapshot
  alias Headcount.MemberTable.{ListView, Tick}

  @enforce_keys [:ref]
  defstruct [:ref]

  @typedoc "A table. It is mutable: two variables may hold the same one."
  @type t :: %__MODULE__{ref: reference()}

  @type id :: MemberList.id()
  @type attr :: 0..511

  @type clause :: [{:all | :any | :none, [attr()]}]

  @typedoc "The definition of a list: see the section above."
  @type spec :: [
          {:name | :default_group, String.t()}
          | {:sort_by, non_neg_integer()}
          | {:descending | :headers, boolean()}
          | {:admit, [clause()] | nil}
          | {:always | :never, [id()]}
          | {:groups, [{clause(), MemberList.group()}]}
        ]

  @typedoc "The rows of a member in one list before and after a write; `nil` where it has none."
  @type move :: %{
          list: ListView.t(),
          old_index: MemberList.index() | nil,
          index: MemberList.index() | nil
        }

  @type member :: %{
          id: id(),
          keys: [binary()],
          attrs: [attr()],
          revision: non_neg_integer(),
          payload: binary()
        }

  @type error :: MemberList.error()

  @typedoc "A change for `apply_batch/3`; the arguments are those of the function of that name."
  @type change ::
          {:upsert, id(), keyword()}
          | {:remove, id()}
          | {:set_key, id(), column :: non_neg_integer(), MemberList.sort()}
          | {:set_attrs, id(), [{:clear | :set, [attr()]}]}
          | {:set_payload, id(), binary()}
          | {:touch, id()}

  @typedoc "What `apply_batch/3` did; moves with the places of their changes in the batch."
  @type batch :: %{
          required(:inserted) => non_neg_integer(),
          required(:updated) => non_neg_integer(),
          required(:removed) => non_neg_integer(),
          required(:missing) => non_neg_integer(),
          optional(:rows) => [{non_neg_integer(), move()}]
        }

  @defaults [ids: :integer, key_columns: 1, payloads: false, shown: [], first_epoch: 1]

  # Members over which a list is built before others may use the table: less than a millisecond.
  @build_step 500

  # The most changes that a normal scheduler reads at once; with many lists it applies fewer.
  @batch_normal_max 1_000

  @doc """
  Returns an empty table.

    * `:ids` - `:integer` (default), `:uuid` or `:text`
    * `:key_columns` - how many sort keys a member has, 1 (default) to 4
    * `:payloads` - `false` (default), `:json`, `:raw` or `true`, as in `Headcount.MemberList.new/1`
    * `:shown` - the attributes from 0 to 31 that viewers see in rows, default none; others leave no trace there
    * `:first_epoch` - a table that replaces another one begins above its epochs: milliseconds of a clock do;
      `{node, epoch}` where several nodes serve its lists

        iex> table = Headcount.MemberTable.new(ids: :text, key_columns: 2)
        iex> Headcount.MemberTable.size(table)
        0
  """
  @spec new(keyword()) :: t()
  def new(options \\ []) do
    options = Keyword.validate!(options, @defaults)
    ids = check_ids(options[:ids])
    columns = check_index(:key_columns, options[:key_columns])
    {:ok, epoch} = made!(epoch(:first_epoch, options[:first_epoch]))
    payloads = payloads(options[:payloads])
    {:ok, ref} = made!(Native.table_new(ids, columns, payloads, attrs(options[:shown]), epoch))
    %__MODULE__{ref: ref}
  end

  @doc """
  Adds a list, or one more owner to the list of an equal spec: it stays until `remove_list/2` was called as often.

  The list of a table with members cannot be read until `build/2` has gone over all of them.

      iex> table = Headcount.MemberTable.new()
      iex> {:ok, list} = Headcount.MemberTable.add_list(table, name: "newest", descending: true)
      iex> Headcount.MemberTable.add_list(table, name: "newest", descending: true)
      {:ok, list}
      iex> {:error, {:list_exists, _}} = Headcount.MemberTable.add_list(table, name: "newest")
  """
  @spec add_list(t(), spec()) :: {:ok, ListView.t()} | error()
  def add_list(%__MODULE__{ref: ref}, spec) do
    with {:ok, id} <- with_ids(Native.table_add_list(ref, spec(spec))), do: {:ok, view(ref, id)}
  end

  bang(add_list!(table :: t(), spec :: spec()) :: ListView.t())

  @doc """
  Gives a list another spec, which may have another name.

  The list stays as it is until `build/2` has gone over all members; then the new one takes its place, and
  viewers are sent their windows whole. When members must not be seen from now on, use `revoke/3`.

      iex> table = Headcount.MemberTable.new()
      iex> {:ok, list} = Headcount.MemberTable.add_list(table, name: "a")
      iex> Headcount.MemberTable.set_spec(table, list, name: "b", headers: false)
      :ok
      iex> Headcount.MemberTable.ListView.name(list)
      "b"
  """
  @spec set_spec(t(), ListView.t(), spec()) :: :ok | error()
  def set_spec(%__MODULE__{ref: ref}, list, spec) do
    with {:ok, id} <- own(ref, list), do: set_spec(ref, id, spec, false)
  end

  bang(set_spec!(table :: t(), list :: ListView.t(), spec :: spec()) :: :ok)

  @doc """
  Gives a list another spec and empties it at once, for a permission that was taken away.

  The next tick shows viewers an empty list, and they see the new one once it is built. A spec that is being
  built is given up.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> {:ok, list} = Headcount.MemberTable.add_list(table, name: "staff")
      iex> Headcount.MemberTable.build(table)
      iex> :ok = Headcount.MemberTable.revoke(table, list, name: "staff", admit: [[all: [3]]])
      iex> Headcount.MemberTable.ListView.size(list)
      0
  """
  @spec revoke(t(), ListView.t(), spec()) :: :ok | error()
  def revoke(%__MODULE__{ref: ref}, list, spec) do
    with {:ok, id} <- own(ref, list), do: set_spec(ref, id, spec, true)
  end

  bang(revoke!(table :: t(), list :: ListView.t(), spec :: spec()) :: :ok)

  defp set_spec(ref, id, spec, revoke?) do
    nothing(with_ids(Native.table_set_spec(ref, id, spec(spec), revoke?)))
  end

  @doc """
  Takes one owner from a list, and returns whether it was the last one: then the list is gone.

      iex> table = Headcount.MemberTable.new()
      iex> {:ok, list} = Headcount.MemberTable.add_list(table, name: "a")
      iex> Headcount.MemberTable.remove_list(table, list)
      {:ok, true}
      iex> {:error, {:unknown_list, _}} = Headcount.MemberTable.remove_list(table, list)
  """
  @spec remove_list(t(), ListView.t()) :: {:ok, boolean()} | error()
  def remove_list(%__MODULE__{ref: ref}, list) do
    with {:ok, id} <- own(ref, list), do: Native.table_remove_list(ref, id)
  end

  bang(remove_list!(table :: t(), list :: ListView.t()) :: boolean())

  @doc """
  Builds the lists that were added or given another spec, over at most so many members; returns how many
  members are left. O(members x log n).

  With 0 left all lists can be read. It works in steps, between which others may use the table.

      iex> table = Headcount.MemberTable.new()
      iex> for id <- 1..10, do: Headcount.MemberTable.upsert!(table, id, key: id)
      iex> {:ok, _list} = Headcount.MemberTable.add_list(table, name: "all")
      iex> {Headcount.MemberTable.build(table, 4), Headcount.MemberTable.build(table)}
      {6, 0}
  """
  @spec build(t(), non_neg_integer() | :infinity) :: non_neg_integer()
  def build(table, members \\ :infinity)

  def build(%__MODULE__{ref: ref} = table, :infinity) do
    if Native.table_build(ref, @build_step) == 0, do: 0, else: build(table, :infinity)
  end

  def build(%__MODULE__{ref: ref} = table, members) do
    members = check_index(:members, members)
    step = min(members, @build_step)
    left = Native.table_build(ref, step)
    if left == 0 or members == step, do: left, else: build(table, members - step)
  end

  @doc """
  Returns whether a list can be read and no other spec of it is being built. O(1).

      iex> table = Headcount.MemberTable.new()
      iex> {:ok, list} = Headcount.MemberTable.add_list(table, name: "all")
      iex> Headcount.MemberTable.built?(table, list)
      true
  """
  @spec built?(t(), ListView.t()) :: boolean()
  def built?(%__MODULE__{ref: ref}, list) do
    case own(ref, list) do
      {:ok, id} -> call(:table_is_built, [ref, id])
      {:error, _} -> false
    end
  end

  @doc """
  Returns the list of a name, `nil` if there is none. O(1).

      iex> Headcount.MemberTable.list_named(Headcount.MemberTable.new(), "all")
      nil
  """
  @spec list_named(t(), String.t()) :: ListView.t() | nil
  def list_named(%__MODULE__{ref: ref}, name) do
    id = Native.table_list_named(ref, check_name(name))
    id && view(ref, id)
  end

  @doc """
  Returns all lists, also those that are being built.

      iex> Headcount.MemberTable.lists(Headcount.MemberTable.new())
      []
  """
  @spec lists(t()) :: [ListView.t()]
  def lists(%__MODULE__{ref: ref}), do: for(id <- Native.table_lists(ref), do: view(ref, id))

  @doc """
  Inserts a member, or changes its keys and attributes. O(lists), and O(log n) for each list in which it moves.

  Options are `:name` or `:key` for each key column, in order, and `:attrs` (default none).

      iex> table = Headcount.MemberTable.new(key_columns: 2)
      iex> Headcount.MemberTable.upsert(table, 7, name: "Zoe", key: 30, attrs: [3])
      {:ok, %{is_new: true, moves: []}}
      iex> {:error, {:wrong_keys, _}} = Headcount.MemberTable.upsert(table, 7, name: "Zoe")
  """
  @spec upsert(t(), id(), keyword()) :: {:ok, %{is_new: boolean(), moves: [move()]}} | error()
  def upsert(%__MODULE__{ref: ref}, id, options) do
    {keys, attrs} = member(options)

    with {:ok, {is_new, moves}} <- result(call(:table_upsert, [ref, id, keys, attrs]), id) do
      {:ok, %{is_new: is_new, moves: moves(ref, moves)}}
    end
  end

  bang(
    upsert!(table :: t(), id :: id(), options :: keyword()) ::
      %{is_new: boolean(), moves: [move()]}
  )

  @doc """
  Removes a member and returns the rows that it had; `nil` if it does not exist. O(lists), and O(log n) for
  each list that admits it.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> {Headcount.MemberTable.remove(table, 7), Headcount.MemberTable.remove(table, 7)}
      {[], nil}
  """
  @spec remove(t(), id()) :: [move()] | nil
  def remove(%__MODULE__{ref: ref}, id) do
    {:ok, moves} = result(call(:table_remove, [ref, id]), id)
    moves && moves(ref, moves)
  end

  @doc """
  Replaces the sort key of a member in one column by `{:name, name}` or `{:key, key}`.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> Headcount.MemberTable.set_key(table, 7, 0, {:name, "Ada"})
      {:ok, []}
      iex> {:error, {:unknown_key_column, _}} = Headcount.MemberTable.set_key(table, 7, 1, {:key, 1})
  """
  @spec set_key(t(), id(), column :: non_neg_integer(), MemberList.sort()) ::
          {:ok, [move()]} | error()
  def set_key(%__MODULE__{ref: ref}, id, column, sort) do
    column = check_column(:column, column)
    moved(ref, result(call(:table_set_key, [ref, id, column, sort(sort)]), id))
  end

  bang(
    set_key!(
      table :: t(),
      id :: id(),
      column :: non_neg_integer(),
      sort :: MemberList.sort()
    ) :: [move()]
  )

  @doc """
  Takes the attributes `:clear` from a member and gives it the attributes `:set`.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe", attrs: [1, 2])
      iex> Headcount.MemberTable.set_attrs(table, 7, clear: [1], set: [511])
      {:ok, []}
      iex> Headcount.MemberTable.get(table, 7).attrs
      [2, 511]
  """
  @spec set_attrs(t(), id(), [{:clear | :set, [attr()]}]) :: {:ok, [move()]} | error()
  def set_attrs(%__MODULE__{ref: ref}, id, changes) do
    {clear, set} = changes(changes)
    moved(ref, result(call(:table_set_attrs, [ref, id, clear, set]), id))
  end

  bang(set_attrs!(table :: t(), id :: id(), changes :: [{:clear | :set, [attr()]}]) :: [move()])

  @doc """
  Changes the attributes of many members, all or none, as one change for viewers; returns how many were named.

  Unknown ids are passed over. Others wait meanwhile: less than 100 ms for 100,000 members. O(k log k), and
  O(k log n) for each list in which members move.

      iex> table = Headcount.MemberTable.new()
      iex> for id <- 1..3, do: Headcount.MemberTable.upsert!(table, id, key: id)
      iex> Headcount.MemberTable.set_attrs_many(table, [1, 3, 3, 9], set: [5])
      {:ok, 2}
  """
  @spec set_attrs_many(t(), [id()], [{:clear | :set, [attr()]}]) ::
          {:ok, non_neg_integer()} | error()
  # The guard fails for an improper list.
  def set_attrs_many(%__MODULE__{ref: ref}, ids, changes) when length(ids) >= 0 do
    {clear, set} = changes(changes)

    MemberList.found_many(Native.table_set_attrs_many(ref, ids, clear, set), ids)
  end

  bang(
    set_attrs_many!(table :: t(), ids :: [id()], changes :: [{:clear | :set, [attr()]}]) ::
      non_neg_integer()
  )

  @doc """
  Applies all changes in order, or none if one is refused; the message has the position of that one, as has that of a
  change of a wrong type, which raises. Each costs what the single call costs.

  Changes of members that do not exist are counted as `missing`. With `rows: true` the report has what the
  changes moved, as the single calls would have returned it, each with the position of its change.

      iex> table = Headcount.MemberTable.new()
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.apply_batch(table, [
      ...>   {:upsert, 1, name: "Bea"},
      ...>   {:upsert, 2, name: "Ada", attrs: [40]},
      ...>   {:set_attrs, 2, clear: [40], set: [41]},
      ...>   {:touch, 3}
      ...> ])
      {:ok, %{inserted: 2, updated: 1, removed: 0, missing: 1}}
      iex> {:ok, report} = Headcount.MemberTable.apply_batch(table, [{:touch, 1}, {:remove, 2}], rows: true)
      iex> report.rows
      [{1, %{list: list, old_index: 1, index: nil}}]
      iex> {:error, {:in_batch, message}} =
      ...>   Headcount.MemberTable.apply_batch(table, [{:remove, 1}, {:set_key, 1, 7, {:name, "Cy"}}])
      iex> {message, Headcount.MemberTable.size(table)}
      {"change 1 of the batch: no key column 7 among 1", 1}
  """
  @spec apply_batch(t(), [change()], [{:rows, boolean()}]) :: {:ok, batch()} | error()
  def apply_batch(%__MODULE__{ref: ref}, changes, options \\ []) when is_list(changes) do
    rows? = check_flag(:rows, Keyword.validate!(options, rows: false)[:rows])

    answer = apply_changes(ref, read_all(changes, &change/1), rows?)

    with {:ok, done} <- MemberList.read(answer, changes, 1) do
      {inserted, updated, removed, missing, rows} = done
      report = %{inserted: inserted, updated: updated, removed: removed, missing: missing}
      {:ok, if(rows?, do: Map.put(report, :rows, rows(ref, rows)), else: report)}
    end
  end

  bang(apply_batch!(table :: t(), changes :: [change()]) :: batch())

  bang(
    apply_batch!(table :: t(), changes :: [change()], options :: [{:rows, boolean()}]) :: batch()
  )

  # A short batch does not wait for a dirty scheduler.
  defp apply_changes(ref, changes, rows?) when length(changes) <= @batch_normal_max,
    do: call(:table_apply_batch, [ref, changes, rows?])

  defp apply_changes(ref, changes, rows?),
    do: Native.table_apply_batch_dirty(ref, changes, rows?)

  @doc """
  Inserts many new members in any order: `[{id, options}]` as for `upsert/3`, and with `:payload`.
  O(k log k) for each key column by which lists are sorted, and for each list O(k log n) or O(n + k), whichever
  is less.

  Members that are in the table, or repeat in the input, are not loaded; they are returned with their
  places in the input. An error changes nothing; its message has the position of the member that was refused.
  Others wait meanwhile. It is one change for viewers: their windows are sent whole.

      iex> table = Headcount.MemberTable.new(payloads: true)
      iex> list = Headcount.MemberTable.add_list!(table, name: "all")
      iex> members = for id <- [3, 1, 3], do: {id, [key: id, attrs: [40], payload: "body"]}
      iex> Headcount.MemberTable.bulk_load(table, members)
      {:ok, %{loaded: 2, duplicates: [{2, 3}]}}
      iex> for row <- list, do: row[:id] || {row.group, row.count}
      [{"members", 2}, 1, 3]
  """
  @spec bulk_load(t(), Enumerable.t()) :: {:ok, MemberList.loaded()} | error()
  def bulk_load(%__MODULE__{ref: ref}, members) do
    members = read_all(members, &new_member/1)

    with {:ok, {loaded, duplicates}} <-
           MemberList.read(Native.table_bulk_load(ref, members), members, 0),
         do: {:ok, %{loaded: loaded, duplicates: duplicates}}
  end

  bang(bulk_load!(table :: t(), members :: Enumerable.t()) :: MemberList.loaded())

  @doc """
  Marks a member as changed, so that clients fetch it again: its revision grows.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> Headcount.MemberTable.touch(table, 7)
      :ok
  """
  @spec touch(t(), id()) :: :ok | error()
  def touch(%__MODULE__{ref: ref}, id), do: nothing(result(call(:table_touch, [ref, id]), id))

  bang(touch!(table :: t(), id :: id()) :: :ok)

  @doc """
  Sets the payload of a member; the revision grows if it differs.

      iex> table = Headcount.MemberTable.new(payloads: true)
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> Headcount.MemberTable.set_payload(table, 7, "Z")
      :ok
  """
  @spec set_payload(t(), id(), binary()) :: :ok | error()
  def set_payload(%__MODULE__{ref: ref}, id, payload) when is_binary(payload) do
    nothing(result(call(:table_set_payload, [ref, id, payload]), id))
  end

  bang(set_payload!(table :: t(), id :: id(), payload :: binary()) :: :ok)

  @doc """
  Returns a member, `nil` if it does not exist. O(1).

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, key: "a", attrs: [40])
      iex> Headcount.MemberTable.get(table, 7)
      %{id: 7, keys: ["a"], attrs: [40], revision: 0, payload: ""}
  """
  @spec get(t(), id()) :: member() | nil
  def get(%__MODULE__{ref: ref}, id) do
    case call(:table_get, [ref, id]) do
      :bad_id -> MemberList.bad_id(id)
      member -> member
    end
  end

  @doc """
  Returns the number of members. O(1).

      iex> Headcount.MemberTable.size(Headcount.MemberTable.new())
      0
  """
  @spec size(t()) :: non_neg_integer()
  def size(%__MODULE__{ref: ref}), do: elem(call(:table_size, [ref]), 0)

  @doc """
  Returns how many different sets of attributes members have. O(1).

      iex> Headcount.MemberTable.attr_sets(Headcount.MemberTable.new())
      0
  """
  @spec attr_sets(t()) :: non_neg_integer()
  def attr_sets(%__MODULE__{ref: ref}), do: elem(call(:table_size, [ref]), 1)

  @doc """
  Publishes the changes since the last tick in all lists that viewers watch, as they are at this moment.

  Call it from one process, every 250 ms or so; see `Headcount.MemberList.Viewer`.

      iex> Headcount.MemberTable.tick(Headcount.MemberTable.new()).empty?
      true
  """
  @spec tick(t()) :: Tick.t()
  def tick(%__MODULE__{ref: ref}) do
    boot = System.convert_time_unit(:erlang.system_info(:start_time), :native, :millisecond)
    {tick, empty?} = Native.table_tick(ref, System.monotonic_time(:millisecond) - boot)
    %Tick{ref: tick, empty?: empty?}
  end

  @doc """
  Returns all lists that can be read as they are at one moment, for readers. O(lists).

      iex> table = Headcount.MemberTable.new()
      iex> {:ok, list} = Headcount.MemberTable.add_list(table, name: "all")
      iex> %{^list => snapshot} = Headcount.MemberTable.snapshot(table)
      iex> Enum.to_list(snapshot)
      []
  """
  @spec snapshot(t()) :: %{optional(ListView.t()) => Snapshot.t()}
  def snapshot(%__MODULE__{ref: ref}) do
    for {id, snapshot} <- Native.table_snapshot(ref), into: %{} do
      {view(ref, id), %Snapshot{ref: snapshot}}
    end
  end

  @doc """
  Saves the table as it is now, with its lists and their orders, to a path.

  It works in steps, between which others may use and change the table; the file has the state at the
  beginning. A file that has the path stays until the new one is whole. Viewers are not saved. While another
  process saves the table, this is `{:error, {:running, message}}`.

      iex> table = Headcount.MemberTable.new()
      iex> Headcount.MemberTable.upsert!(table, 7, name: "Zoe")
      iex> Headcount.MemberTable.add_list!(table, name: "all")
      iex> Headcount.MemberTable.build(table)
      iex> path = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}")
      iex> Headcount.MemberTable.save(table, path)
      :ok
      iex> loaded = Headcount.MemberTable.load!(path)
      iex> File.rm!(path)
      iex> Headcount.MemberTable.ListView.index_of(Headcount.MemberTable.list_named(loaded, "all"), 7)
      1
      iex> {:error, {:io, _}} = Headcount.MemberTable.save(table, "/no/such/folder/file")
  """
  @spec save(t(), Path.t()) :: :ok | error()
  def save(%__MODULE__{ref: ref}, path) do
    with {:ok, save} <- Native.table_save(ref), do: Headcount.SavedFile.write(path, save)
  end

  bang(save!(table :: t(), path :: Path.t()) :: :ok)

  @doc """
  Returns the table of a file that `save/2` wrote.

  Its lists are there as they were, see `list_named/2`; those that were being built begin again.

    * `:payloads` - what payloads are, in a file with payloads, as in `new/1`
    * `:first_epoch` - epochs begin there, as in `new/1`, default the time in milliseconds

  A file that was cut or altered, that a later edition wrote, or that is something else, is an error whose
  message says at which byte it was noticed.

      iex> {:error, {:io, _}} = Headcount.MemberTable.load("/no/such/file")
  """
  @spec load(Path.t(), keyword()) :: {:ok, t()} | error()
  def load(path, options \\ []) do
    options = Keyword.validate!(options, payloads: false, first_epoch: nil)
    first = options[:first_epoch] || System.system_time(:millisecond)
    path = IO.chardata_to_string(path)

    with {:ok, epoch} <- epoch(:first_epoch, first),
         {:ok, ref} <- Native.table_load(path, payloads(options[:payloads]), epoch) do
      {:ok, %__MODULE__{ref: ref}}
    end
  end

  bang(load!(path :: Path.t()) :: t())
  bang(load!(path :: Path.t(), options :: keyword()) :: t())

  @doc """
  Returns the bytes that the table and its lists occupy outside the heaps of processes, without text ids,
  keys over 15 bytes and payloads.

      iex> Headcount.MemberTable.memory(Headcount.MemberTable.new()) < 100_000
      true
  """
  @spec memory(t()) :: non_neg_integer()
  def memory(%__MODULE__{ref: ref}), do: Native.table_memory(ref)

  defp view(ref, id), do: %ListView{table: ref, id: id}

  defp own(ref, %ListView{table: ref, id: id}), do: {:ok, id}

  defp own(_ref, %ListView{}), do: {:error, {:unknown_list, "the list is of another table"}}

  defp moves(ref, moves), do: for(move <- moves, do: move(ref, move))

  defp rows(ref, rows), do: for({at, move} <- rows, do: {at, move(ref, move)})

  defp move(ref, {list, old_index, index}),
    do: %{list: view(ref, list), old_index: old_index, index: index}

  defp moved(ref, {:ok, moves}), do: {:ok, moves(ref, moves)}
  defp moved(_ref, error), do: error

  defp nothing({:ok, nil}), do: :ok
  defp nothing(error), do: error

  defp result(:bad_id, id), do: MemberList.bad_id(id)
  defp result(result, _id), do: result

  defp with_ids(:bad_id) do
    raise ArgumentError, "one of :always and :never is not an id of this table (see new/1)"
  end

  defp with_ids(result), do: result

  defimpl Inspect do
    def inspect(table, _opts) do
      members = Headcount.MemberTable.size(table)
      lists = length(Headcount.MemberTable.lists(table))
      "#Headcount.MemberTable<#{members} members, #{lists} lists>"
    end
  end
end
