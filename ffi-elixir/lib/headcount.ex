defmodule Headcount do
  @moduledoc """
  Who is here, in what order, and what changed: presence and member lists for real-time software.

    * `Headcount.Tracker` - presence on all nodes, the contract of `Phoenix.Tracker`
    * `Headcount.Presence` - the contract of `Phoenix.Presence`
    * `Headcount.MemberList` - the list beside a chat: groups, rows, windows, frames
    * `Headcount.MemberTable` - the same members in many lists
    * `Headcount.Roster` - presence as a member list or table: one row for each user
    * `Headcount.SortedSet` - the functions of `Discord.SortedSet`, for all terms with an order
    * `Headcount.Tracker.State` - a tracker as a value, without processes
    * `Headcount.Transport` - how trackers talk to each other

  The structures live in a NIF, outside the heaps of processes, and any process may read and write
  them. Calls that may take longer than a millisecond run on dirty schedulers; a panic of the native
  code raises `:nif_panicked` in the caller.

  ## What functions return

  One rule holds in all modules:

    * A function that may refuse its input returns `:ok`, `{:ok, value}` or `{:error, reason}`, and has a
      twin with a `!` that returns the value itself or raises `Headcount.Error`. A refused call changes
      nothing. The reason names what was refused; where there is a limit, it has the size and the limit.
    * A function for many entries (`track_many/3`) returns a list with such a result for each of them, and has
      no twin.
    * A function that cannot refuse its input returns the value itself: all reads, with `nil` for a
      member or a row that does not exist, and removals, which ignore what does not exist.
    * `new` of lists, tables and rosters raises `ArgumentError` for options that it refuses.
    * Arguments of a wrong type, such as an atom as a topic, are mistakes of the program. They raise
      `ArgumentError` or `FunctionClauseError` with and without `!`.

  `Headcount.SortedSet` is the exception: it returns what `Discord.SortedSet` returns.
  """
end
