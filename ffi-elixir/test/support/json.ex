defmodule Headcount.Test.Json do
  @moduledoc false
  # Decodes JSON that is known to be valid: maps with strings as keys, integers, `nil` for null.

  def decode!(text) do
    {value, rest} = value(skip(text))
    "" = skip(rest)
    value
  end

  defp value("{" <> rest), do: members(skip(rest), %{})
  defp value("[" <> rest), do: items(skip(rest), [])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}
  defp value(text), do: Integer.parse(text)

  defp members("}" <> rest, map), do: {map, rest}
  defp members("," <> rest, map), do: members(skip(rest), map)

  defp members("\"" <> rest, map) do
    {name, rest} = string(rest, [])
    ":" <> rest = skip(rest)
    {value, rest} = value(skip(rest))
    members(skip(rest), Map.put(map, name, value))
  end

  defp items("]" <> rest, items), do: {Enum.reverse(items), rest}
  defp items("," <> rest, items), do: items(skip(rest), items)

  defp items(text, items) do
    {item, rest} = value(text)
    items(skip(rest), [item | items])
  end

  defp string("\"" <> rest, chars), do: {chars |> Enum.reverse() |> IO.iodata_to_binary(), rest}

  defp string("\\" <> <<char, rest::binary>>, chars) when char in [?", ?\\, ?/],
    do: string(rest, [char | chars])

  defp string("\\n" <> rest, chars), do: string(rest, [?\n | chars])
  defp string(<<char, rest::binary>>, chars) when char != ?\\, do: string(rest, [char | chars])

  defp skip(<<char, rest::binary>>) when char in [?\s, ?\n, ?\r, ?\t], do: skip(rest)
  defp skip(text), do: text
end
