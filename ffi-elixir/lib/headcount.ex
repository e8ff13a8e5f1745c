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

  ## What the Rust crate has beside this

    * `upsert`, for running trackers: `track/5` says `:already_tracked`, as that of Phoenix does.
      `Headcount.Tracker.State.upsert/5` is there
    * `snapshot` and `restore` of a presence: owners are processes, and end with their VM
    * `topics`, `get_own`, `count_own`: callbacks get every change, and a process knows what it has tracked
    * the other end of windows: clients are browsers and apps, for which there are a JavaScript, a Python and a
      Rust client
    * the times and bytes that are kept for clients that are away, and other limits: their defaults hold (60 seconds
      and 32 MiB a list or table), so that no node refuses the entries of another
    * `begin_tick`, by which threads share a tick: `tick` runs on one dirty scheduler. `begin_save`: `save` works in
      steps itself
    * `MemberTable::spec`: the application has the options from which it made the list
  """
end
