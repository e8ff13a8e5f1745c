defmodule Headcount.Ref do
  @moduledoc false
  # References of versions of entries: `:phx_ref`.

  import Bitwise

  @doc false
  # The origin and the number of the write, which is in base 64 with the lowest digit first; `nil` for other terms.
  def parse(<<origin::binary-size(11), ".", number::binary>>) do
    {origin, number |> digits() |> Enum.reduce(0, &(&2 <<< 6 ||| &1))}
  end

  def parse(_other), do: nil

  defp digits(number), do: for(<<digit <- number>>, do: digit(digit)) |> Enum.reverse()

  defp digit(digit) when digit in ?A..?Z, do: digit - ?A
  defp digit(digit) when digit in ?a..?z, do: digit - ?a + 26
  defp digit(digit) when digit in ?0..?9, do: digit - ?0 + 52
  defp digit(?-), do: 62
  defp digit(_), do: 63
end
