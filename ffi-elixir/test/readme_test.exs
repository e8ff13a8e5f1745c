defmodule Headcount.ReadmeTest do
  use ExUnit.Case, async: true

  test "the session of the README runs as it stands there" do
    readme = File.read!(Path.expand("../README.md", __DIR__))
    [_, session] = Regex.run(~r/## A session\n\n```elixir\n(.*?)```/s, readme)

    # Values that print as #Something<...> are compared as they print.
    {steps, last} =
      session
      |> String.split("\n", trim: true)
      |> Enum.reduce({[], nil}, fn
        "iex> " <> code, {steps, nil} -> {steps, {code, nil}}
        "iex> " <> code, {steps, step} -> {[step | steps], {code, nil}}
        result, {steps, {code, nil}} -> {steps, {code, result}}
      end)

    Enum.reduce(Enum.reverse([last | steps]), {[], __ENV__}, fn {code, expected}, {bound, env} ->
      {value, bound, env} = Code.eval_quoted_with_env(Code.string_to_quoted!(code), bound, env)

      cond do
        expected == nil -> :ok
        String.starts_with?(expected, "#") -> assert inspect(value) == expected
        true -> assert {value, code} == {elem(Code.eval_string(expected), 0), code}
      end

      {bound, env}
    end)
  end
end
