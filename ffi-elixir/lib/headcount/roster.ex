defmodule Headcount.Roster do
  @moduledoc """
  A list that follows presence: many sessions of one user become one row.

  A roster takes the diffs of one topic and keeps a `Headcount.MemberList`, or a `Headcount.MemberTable` with all
  its lists. Of several sessions of a user one decides, by the priority of their statuses. A user who is
  invisible is offline for others; one whose sessions are gone leaves the list, moves to a group of its own, or
  stays without what marks the status.

      iex> alias Headcount.{MemberList, Roster, Tracker}
      iex> list = MemberList.new(ids: :text, groups: ["here", "away", "offline"])
      iex> mapping = fn key, meta ->
      ...>   [group: if(meta[:headcount_status] == :idle, do: "away", else: "here"), name: key]
      ...> end
      iex> roster = Roster.new(list, mapping, offline: "offline")
      iex> tracker = Tracker.State.new("node-1")
      iex> Tracker.track(tracker, :phone, "room", "ann", %{headcount_status: :idle})
      iex> Tracker.track(tracker, :laptop, "room", "ann", %{})
      iex> Roster.apply(roster, Tracker.State.take_diff(tracker)["room"]).changes
      [{"ann", :offline, :online}]
      iex> Tracker.untrack(tracker, :laptop)
      iex> Roster.apply(roster, Tracker.State.take_diff(tracker)["room"]).changes
      [{"ann", :online, :idle}]
      iex> list
      #Headcount.MemberList<1 members, here: 0, away: 1, offline: 0>

  ## The mapping

  It gets key and meta of a session and returns the place of its user in the list:

    * `:group` - the group of the row, in a list
    * `:name` or `:key` - its sort key; in a table one for each key column, in order
    * `:payload` - its payload, if there are payloads
    * `:attrs` - its attributes, as in `Headcount.MemberList.upsert/3` or `Headcount.MemberTable.upsert/3`; default
      none
    * `:status` - that of the meta by default (see "Statuses" in `Headcount.Tracker`)

  With `nil` the session does not count. The key is the id of the row.

  The roster leaves the group, the sort keys and the payload to the application where they are left out; a row that
  is new needs a group and its sort keys, in a table its sort keys. The `:attrs` are some of `:status_bits`, an
  option of `new/3`: those are the roster's. It leaves the others as the application sets them, and clears its own
  when the user goes offline.

  A session for which the mapping raises, or names a group that the list lacks or other attributes, is refused and
  does not count; the others are applied.

  ## Over a table

  The lists of a table have members and groups by attributes, so the mapping names no group. The roster writes
  each member once and all lists follow:

      iex> alias Headcount.{MemberTable, Roster, Tracker}
      iex> alias Headcount.MemberTable.ListView
      iex> {online, staff} = {0, 40}
      iex> table = MemberTable.new(ids: :text)
      iex> everyone = MemberTable.add_list!(table,
      ...>   name: "everyone", default_group: "offline", groups: [{[all: [online]], "online"}])
      iex> office = MemberTable.add_list!(table, name: "office", admit: [[all: [online, staff]]])
      iex> MemberTable.build(table)
      iex> mapping = fn _key, _meta -> [attrs: [online]] end
      iex> roster = Roster.new(table, mapping, offline: :stay, status_bits: [online])
      iex> Roster.load_offline!(roster, [{"ann", [name: "Ann", attrs: [staff]]}, {"bob", [name: "Bob"]}])
      iex> tracker = Tracker.State.new("node-1")
      iex> for key <- ["ann", "bob"], do: Tracker.track(tracker, key, "room", key, %{})
      iex> Roster.apply(roster, Tracker.State.take_diff(tracker)["room"])
      iex> for list <- [everyone, office], do: ListView.member_count(list)
      [2, 1]
      iex> Tracker.untrack(tracker, "ann")
      iex> Roster.apply(roster, Tracker.State.take_diff(tracker)["room"])
      iex> {ListView.group_of(everyone, "ann"), ListView.member_count(office)}
      {"offline", 0}

  ## Beside a tracker

  Call `apply/3` in `c:Headcount.Tracker.handle_diff/2`. A roster may begin at any moment, with the entries of
  `Headcount.Tracker.list/2` in `reset/3`: the diffs that come after them are applied as they come.

      def handle_diff(diff, state) do
        with {:ok, changes} <- Map.fetch(diff, "room:1"), do: Roster.apply(state.roster, changes)
        {:ok, state}
      end

  Show the roster, not the tracker: that keeps an invisible user invisible.
  """

  import Kernel, except: [apply: 2, apply: 3]
  import Headcount.Bang, only: [bang: 1]
  import Headcount.Twin, only: [call: 2]
  alias Headcount.{MemberList, MemberTable, Native, Ref}
  alias Headcount.Roster.Place

  @enforce_keys [:ref, :mapping]
  defstruct [:ref, :list, :table, :mapping]

  @typedoc "A roster over a list or a table; the other one is `nil`. It is mutable, as its list or table is."
  @type t :: %__MODULE__{
          ref: reference(),
          list: MemberList.t() | nil,
          table: MemberTable.t() | nil,
          mapping: mapping()
        }

  @type status :: :online | :idle | :dnd | :invisible | :offline

  @typedoc "Returns the place of a session's user in the list; `nil` for a session that does not count."
  @type mapping :: (key :: term(), meta :: map() -> keyword() | nil)

  @typedoc """
  What a diff changed for others: users with the status before and now, which are equal when only the content
  changed; users whose row or session was refused; the number of keys that are no ids of the list.
  """
  @type report :: %{
          changes: [{MemberList.id(), status(), status()}],
          refused: [{term(), message :: String.t()}],
          foreign: non_neg_integer()
        }

  @doc """
  Makes a roster over a list that has its groups, or over a table, if it has no roster yet. The list or table stays
  usable. O(1).

    * `:offline` - what happens to the row of a user who went offline: it moves to the group of this name, which is
      not for tables, or with `:stay` it stays; without it the row is removed
    * `:priority` - which session of a user decides: the one whose status is first; those left out come last
      (`[:invisible, :dnd, :online, :idle]`)
    * `:last_seen_max` - the number of last-seen times kept, the newest (100,000)
    * `:status_bits` - the attributes of rows that the mapping sets; all others are the application's: bits of a list
      (0), numbers from 0 to 31 of a table (`[]`)

  An unknown group, and a list or table that has a roster, raise an `ArgumentError`.

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> Headcount.Roster.new(list, fn _key, _meta -> [group: "here", key: 1] end)
      #Headcount.Roster<0 members, online: 0>
      iex> table = Headcount.MemberTable.new()
      iex> Headcount.Roster.new(table, fn _key, _meta -> [key: 1] end, offline: :stay)
      #Headcount.Roster<0 members, online: 0>
  """
  @spec new(MemberList.t() | MemberTable.t(), mapping(), keyword()) :: t()
  def new(target, mapping, options \\ [])

  def new(%MemberList{ref: ref} = list, mapping, options) when is_function(mapping, 2) do
    enroll(%__MODULE__{ref: ref, list: list, mapping: mapping}, options, 0)
  end

  def new(%MemberTable{ref: ref} = table, mapping, options) when is_function(mapping, 2) do
    enroll(%__MODULE__{ref: ref, table: table, mapping: mapping}, options, [])
  end

  defp enroll(roster, options, no_bits) do
    defaults = [offline: nil, priority: nil, last_seen_max: nil, status_bits: no_bits]
    options = Keyword.validate!(options, defaults)
    offline = Place.check_offline(options[:offline], kind(roster))
    bits = Place.bits!(options[:status_bits], kind(roster))
    if options[:priority], do: Enum.each(options[:priority], &Place.check_status/1)
    max = options[:last_seen_max]

    case Native.roster_new(roster.ref, offline, options[:priority], max, bits) do
      :ok -> roster
      :enrolled -> raise ArgumentError, "the #{kind(roster)} has a roster already"
      {:error, {_what, message}} -> raise ArgumentError, message
    end
  end

  defp kind(%{table: nil}), do: :list
  defp kind(%{list: nil}), do: :table

  @doc """
  Applies the changes of the topic: `{joins, leaves}` of a diff. O(changes x log members).

  `:now` is the wall clock in seconds since 1970 for last-seen; left out, it is read.

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> Headcount.Tracker.track(tracker, self(), "room", 7, %{})
      iex> Headcount.Tracker.track(tracker, self(), "room", "bot", %{})
      iex> Headcount.Roster.apply(roster, Headcount.Tracker.State.take_diff(tracker)["room"])
      %{changes: [{7, :offline, :online}], refused: [], foreign: 1}
  """
  @spec apply(t(), {joins :: [{term(), map()}], leaves :: [{term(), map()}]}, keyword()) ::
          report()
  def apply(%__MODULE__{} = roster, {joins, leaves}, options \\ []) do
    {joins, refused, foreign} = sessions(roster, joins)

    leaves =
      for {key, meta} <- leaves, {origin, version} <- List.wrap(place(meta)) do
        {key, origin, version}
      end

    roster.ref
    |> Native.roster_apply(joins, leaves, now(options))
    |> report(refused, foreign)
  end

  @doc """
  Puts entries of the topic, as `Headcount.Tracker.list/2` returns them, in the place of all sessions: to begin
  with, and after diffs were missed. O(entries x log members). `:now` is that of `apply/3`.

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> for key <- [7, 9], do: Headcount.Tracker.track(tracker, self(), "room", key, %{})
      iex> Headcount.Roster.reset(roster, Headcount.Tracker.list(tracker, "room"))
      iex> Headcount.Roster.online_count(roster)
      2
  """
  @spec reset(t(), [{term(), map()}], keyword()) :: report()
  def reset(%__MODULE__{} = roster, entries, options \\ []) do
    {entries, refused, foreign} = sessions(roster, entries)

    roster.ref
    |> Native.roster_reset(entries, now(options))
    |> report(refused, foreign)
  end

  @doc """
  Loads members who are offline, all at once, as `Headcount.MemberList.bulk_load/2` or
  `Headcount.MemberTable.bulk_load/2` does, at the same cost.

      iex> list = Headcount.MemberList.new(groups: ["here", "offline"])
      iex> mapping = fn key, _meta -> [group: "here", key: key] end
      iex> roster = Headcount.Roster.new(list, mapping, offline: "offline")
      iex> Headcount.Roster.load_offline(roster, [{7, [group: "offline", key: 7]}])
      {:ok, %{loaded: 1, duplicates: []}}
      iex> Headcount.Roster.status(roster, 7)
      :offline
  """
  @spec load_offline(t(), Enumerable.t()) :: {:ok, MemberList.loaded()} | MemberList.error()
  def load_offline(%__MODULE__{table: nil, list: list}, members),
    do: MemberList.bulk_load(list, members)

  def load_offline(%__MODULE__{table: table}, members), do: MemberTable.bulk_load(table, members)

  bang(load_offline!(roster :: t(), members :: Enumerable.t()) :: MemberList.loaded())

  @doc """
  Returns the status of a user that others see: never `:invisible`. O(log sessions of the user).

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> Headcount.Roster.status(roster, 7)
      :offline
  """
  @spec status(t(), MemberList.id()) :: status()
  def status(%__MODULE__{ref: ref}, id), do: found(call(:roster_status, [ref, id]), id)

  @doc """
  Returns the status that the user's own sessions see: as `status/2`, or `:invisible`. O(log sessions of the user).

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> mapping = fn key, _meta -> [group: "here", key: key, status: :invisible] end
      iex> roster = Headcount.Roster.new(list, mapping)
      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> Headcount.Tracker.track(tracker, self(), "room", 7, %{})
      iex> Headcount.Roster.reset(roster, Headcount.Tracker.list(tracker, "room"))
      iex> {Headcount.Roster.status(roster, 7), Headcount.Roster.own_status(roster, 7)}
      {:offline, :invisible}
  """
  @spec own_status(t(), MemberList.id()) :: status()
  def own_status(%__MODULE__{ref: ref}, id), do: found(call(:roster_own_status, [ref, id]), id)

  @doc """
  Returns whether others see that the user is here. Ask it before you pass on that they type.
  O(log sessions of the user).

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> Headcount.Roster.visible?(roster, 7)
      false
  """
  @spec visible?(t(), MemberList.id()) :: boolean()
  def visible?(%__MODULE__{ref: ref}, id), do: found(call(:roster_visible, [ref, id]), id)

  @doc """
  Notes a time at which a user was last seen, in seconds since 1970, from a database or another node; the newest
  stays. That of a user who is visible is not kept. O(log times).

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> Headcount.Roster.note_last_seen(roster, 7, 1_700_000_000)
      iex> Headcount.Roster.last_seen(roster, 7)
      1_700_000_000
  """
  @spec note_last_seen(t(), MemberList.id(), non_neg_integer()) :: :ok
  def note_last_seen(%__MODULE__{ref: ref}, id, time) when time in 0..0xFFFF_FFFF_FFFF_FFFF,
    do: found(Native.roster_note_last_seen(ref, id, time), id)

  @doc """
  Returns the time at which the user was last seen, in seconds since 1970; `nil` while the user is visible, and
  when it is not known. O(1).

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> Headcount.Tracker.track(tracker, self(), "room", 7, %{})
      iex> Headcount.Roster.reset(roster, Headcount.Tracker.list(tracker, "room"))
      iex> Headcount.Roster.reset(roster, [], now: 1_700_000_000)
      iex> Headcount.Roster.last_seen(roster, 7)
      1_700_000_000
  """
  @spec last_seen(t(), MemberList.id()) :: non_neg_integer() | nil
  def last_seen(%__MODULE__{ref: ref}, id), do: found(call(:roster_last_seen, [ref, id]), id)

  @doc """
  Returns the number of users whom others see online. O(1).

      iex> list = Headcount.MemberList.new(groups: ["here"])
      iex> roster = Headcount.Roster.new(list, fn key, _meta -> [group: "here", key: key] end)
      iex> Headcount.Roster.online_count(roster)
      0
  """
  @spec online_count(t()) :: non_neg_integer()
  def online_count(%__MODULE__{ref: ref}), do: call(:roster_online_count, [ref])

  # Asks the mapping about the entries, before the list is locked. Returns the entries for the NIF, the refused
  # ones and the number of those without a reference.
  defp sessions(roster, entries) do
    Enum.reduce(entries, {[], [], 0}, fn {key, meta}, {sessions, refused, foreign} ->
      case {place(meta), ask(roster, key, meta)} do
        {nil, _} ->
          {sessions, refused, foreign + 1}

        {{o, v}, {:ok, place}} ->
          {[{key, o, v, place} | sessions], refused, foreign}

        {{o, v}, {:error, why}} ->
          {[{key, o, v, nil} | sessions], [{key, why} | refused], foreign}
      end
    end)
    |> then(fn {sessions, refused, foreign} ->
      {Enum.reverse(sessions), Enum.reverse(refused), foreign}
    end)
  end

  # What does not decode has no reference.
  defp place(%{phx_ref: ref}), do: Ref.parse(ref)
  defp place(_meta), do: nil

  defp ask(roster, key, meta) do
    case roster.mapping.(key, meta) do
      nil -> {:ok, nil}
      place -> {:ok, Place.new(place, kind(roster), meta[:headcount_status] || :online)}
    end
  rescue
    error -> {:error, Exception.message(error)}
  catch
    kind, reason -> {:error, Exception.format_banner(kind, reason)}
  end

  defp report({changes, refused, foreign}, refused_before, foreign_before) do
    %{changes: changes, refused: refused_before ++ refused, foreign: foreign_before + foreign}
  end

  defp now(options) do
    Keyword.validate!(options, now: nil)[:now] || System.os_time(:second)
  end

  defp found(:bad_id, id), do: MemberList.bad_id(id)
  defp found(found, _id), do: found

  defimpl Inspect do
    alias Headcount.{MemberList, MemberTable}

    def inspect(%{table: nil, list: list} = roster, _opts),
      do: show(MemberList.member_count(list), roster)

    def inspect(%{table: table} = roster, _opts), do: show(MemberTable.size(table), roster)

    defp show(members, roster) do
      "#Headcount.Roster<#{members} members, online: #{Headcount.Roster.online_count(roster)}>"
    end
  end
end
