defmodule Headcount do
  @moduledoc """
  Who is here, in what order, and what changed: presence and member lists for real-time software.

    * `Headcount.Tracker` - presence on all nodes, the contract of `Phoenix.Tracker`
    * `Headcount.Presence` - the contract of `Phoenix.Presence`
    * `Headcount.MemberList` - the list beside a chat: groups, rows, windows, frames
    * `Headcount.SortedSet` - the functions of `Discord.SortedSet`, for all terms with an order
    * `Headcount.Tracker.State` - a tracker as a value, without processes
    * `Headcount.Transport` - how trackers talk to each other

  The structures live in a NIF, outside the heaps of processes, and any process may read and write
  them. Calls that may take longer than a millisecond run on dirty schedulers; a panic of the native
  code raises `:nif_panicked` in the caller.
  """
end
