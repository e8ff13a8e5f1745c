defmodule Headcount.Keys do
  @moduledoc """
  Bounds of the number of distinct keys in a topic, as `Headcount.Tracker.count_keys/2` returns them.

    * `:at_least` - as many as one node has
    * `:at_most` - as many as there are if no two nodes have the same one

  They are equal where the entries are held: wherever the topic can be listed. A node that holds only counts, see
  `Headcount.Tracker.watch_counts/2`, does not know which keys of two nodes are the same.

      iex> tracker = Headcount.Tracker.State.new("node-1")
      iex> {:ok, _ref} = Headcount.Tracker.track(tracker, self(), "room", "ann", %{})
      iex> Headcount.Tracker.count_keys(tracker, "room")
      %Headcount.Keys{at_least: 1, at_most: 1}
  """

  @enforce_keys [:at_least, :at_most]
  defstruct [:at_least, :at_most]

  @type t :: %__MODULE__{at_least: non_neg_integer(), at_most: non_neg_integer()}

  @doc """
  Returns whether the bounds leave one number only.

      iex> Headcount.Keys.exact?(%Headcount.Keys{at_least: 2, at_most: 4})
      false
  """
  @spec exact?(t()) :: boolean()
  def exact?(%__MODULE__{at_least: at_least, at_most: at_most}), do: at_least == at_most
end
