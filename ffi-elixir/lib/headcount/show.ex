defmodule Headcount.Show do
  @moduledoc false
  # What was given, for messages of exceptions.

  # The external format of the largest term that is shown whole, in bytes.
  @size_max 1_000

  # The digits of a large integer alone would take seconds to make.
  @doc false
  def term(term) do
    case :erlang.external_size(term) do
      size when size <= @size_max -> inspect(term)
      size -> "a term of #{size} bytes"
    end
  end
end
