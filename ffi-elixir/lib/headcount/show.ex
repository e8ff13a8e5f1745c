defmodule Headcount.Show do
  @moduledoc false
  # Values as text, for messages of exceptions and for `Inspect`.

  # The external format of the largest term that is shown whole, in bytes.
  @size_max 1_000

  # A large integer would take seconds to format.
  @doc false
  def term(term) do
    case :erlang.external_size(term) do
      size when size <= @size_max -> inspect(term)
      size -> "a term of #{size} bytes"
    end
  end

  # The groups of a list that are shown; a list may have thousands.
  @groups_max 5

  @doc false
  # The members of a list, for `Inspect`.
  def members(count, groups) do
    shown = for group <- Enum.take(groups, @groups_max), do: "#{group.name}: #{group.count}"
    more = if length(groups) > @groups_max, do: ["..."], else: []
    Enum.join(["#{count} members" | shown] ++ more, ", ")
  end
end
