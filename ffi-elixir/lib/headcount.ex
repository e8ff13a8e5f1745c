defmodule Headcount do
  @moduledoc """
  Who is here, in what order, and what changed: presence and member lists for real-time software.

    * `Headcount.SortedSet` - a sorted set of terms with an index, as `Discord.SortedSet`
  """
end
