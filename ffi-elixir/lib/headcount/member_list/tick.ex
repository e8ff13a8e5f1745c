defmodule Headcount.MemberList.Tick do
  @moduledoc """
  The changes that one `Headcount.MemberList.tick/1` publishes. Send it to all processes that hold a
  `Headcount.MemberList.Viewer`: it is a reference, and its frames are encoded once for all of them.

    * `:version` - the version of the list at this tick
    * `:empty?` - whether no viewer has a bundle to send for it, not even after a missed tick
  """

  @enforce_keys [:ref, :version, :empty?]
  defstruct [:ref, :version, :empty?]

  @type t :: %__MODULE__{ref: reference(), version: non_neg_integer(), empty?: boolean()}

  defimpl Inspect do
    def inspect(tick, _opts) do
      empty = if tick.empty?, do: ", empty"
      "#Headcount.MemberList.Tick<version #{tick.version}#{empty}>"
    end
  end
end
