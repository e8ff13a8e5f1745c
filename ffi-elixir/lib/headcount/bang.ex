defmodule Headcount.Bang do
  @moduledoc false

  @doc false
  # Defines the twin of a function that returns `:ok`, `{:ok, value}`, a value itself, or `{:error, reason}`: it
  # returns the value and raises the reason. `bang upsert!(list :: t(), id :: id()) :: value()`
  defmacro bang({:"::", _, [{twin, _, arguments}, value]}) do
    name = twin |> to_string() |> String.trim_trailing("!") |> String.to_atom()
    vars = for {:"::", _, [var, _type]} <- arguments, do: var
    types = for {:"::", _, [_var, type]} <- arguments, do: type

    quote do
      @doc "As `#{unquote(name)}/#{unquote(length(vars))}`, but returns the value itself and raises `Headcount.Error`."
      @spec unquote(twin)(unquote_splicing(types)) :: unquote(value)
      def unquote(twin)(unquote_splicing(vars)) do
        Headcount.Bang.value!(unquote(name)(unquote_splicing(vars)))
      end
    end
  end

  @doc false
  @spec value!(:ok | {:ok, value} | value | {:error, term()}) :: :ok | value when value: term()
  def value!(:ok), do: :ok
  def value!({:ok, value}), do: value
  def value!({:error, reason}), do: raise(Headcount.Error, reason: reason)
  def value!(value) when is_list(value) or is_integer(value) or is_struct(value), do: value
end
