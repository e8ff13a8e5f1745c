defmodule Headcount.Test.States do
  @moduledoc false
  # Exchange between two tracker states.

  alias Headcount.Tracker.State

  # Applies what `to` does not know of `from`; returns the diffs.
  def sync(from, to) do
    for frame <- State.delta_since(from, State.clock(to)) do
      {:ok, diff} = State.apply(to, frame)
      diff
    end
  end
end
