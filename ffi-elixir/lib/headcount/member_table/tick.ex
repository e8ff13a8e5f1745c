defmodule Headcount.MemberTable.Tick do
  @moduledoc """
  The changes that one `Headcount.MemberTable.tick/1` publishes, in all lists that viewers watch. Send it to
  all processes that hold a `Headcount.MemberList.Viewer`.

    * `:empty?` - whether no viewer has a bundle to send for it
  """

  @enforce_keys [:ref, :empty?]
  defstruct [:ref, :empty?]

  @type t :: %__MODULE__{ref: reference(), empty?: boolean()}

  defimpl Inspect do
    def inspect(tick, _opts) do
      "#Headcount.MemberTable.Tick<#{if tick.empty?, do: "empty"}>"
    end
  end
end
