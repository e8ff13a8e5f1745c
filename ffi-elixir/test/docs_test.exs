defmodule Headcount.DocsTest do
  use ExUnit.Case, async: true

  @modules (
             {:ok, modules} = :application.get_key(:headcount, :modules)
             Enum.filter(modules, &String.starts_with?(to_string(&1), "Elixir.Headcount"))
           )

  test "the example in the README of the project runs" do
    text = File.read!(Path.expand("../../README.md", __DIR__))
    assert [[_, code]] = Regex.scan(~r/^```elixir\n(.*?)^```$/ms, text)
    assert {2, _} = Code.eval_string(code)
  end

  test "there are modules" do
    assert Headcount.SortedSet in @modules
  end

  for module <- @modules do
    test "#{inspect(module)} documents and types its public functions" do
      {:docs_v1, _, :elixir, _, moduledoc, _, docs} = Code.fetch_docs(unquote(module))
      assert moduledoc != :none, "no @moduledoc"

      {:ok, specs} = Code.Typespec.fetch_specs(unquote(module))
      typed = for {{name, arity}, _} <- specs, do: {name, arity}
      hidden_module? = moduledoc == :hidden

      for {{:function, name, arity}, _, _, doc, meta} <- docs,
          not hidden_module?,
          doc != :hidden,
          name not in [:__struct__, :__impl__, :__deriving__, :child_spec] do
        assert is_map(doc), "#{name}/#{arity} has no @doc"
        defaults = Map.get(meta, :defaults, 0)
        arities = (arity - defaults)..arity
        assert Enum.any?(arities, &({name, &1} in typed)), "#{name}/#{arity} has no @spec"
      end
    end
  end
end
