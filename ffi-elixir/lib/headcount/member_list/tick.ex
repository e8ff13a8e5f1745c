defmodule Headcount.MemberList.Tick do
  @moduledoc """
  What one `Headcount.MemberList.tick/1` publishes. Send it to all processes that hold a
  `Headcount.MemberList.Viewer`: it is a reference, and frames in it are encoded once for all of them.

    * `:version` - the version of the list at this tick
    * `:empty?` - whether no viewer gets anything from it, not even one that missed an earlier tick
  """

  @enforce_keys [:ref, :version, :empty?]
  defstruct [:ref, :version, :empty?]

  @type t :: %__MODULE__{ref: reference(), version: non_neg_integer(), empty?: boolean()}

  defimpl Inspect do
    def inspect(tick, _opts), do: "#Headcount.MemberList.Tick<version #{tick.version}>"
  end
end
