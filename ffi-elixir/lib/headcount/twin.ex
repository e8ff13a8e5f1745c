defmodule Headcount.Twin do
  @moduledoc false
  # In a module of its own: modules that use the macro do not load the NIF at compile time.

  @doc false
  # Calls a function of `Headcount.Native`, and its dirty twin when the answer is `:busy`.
  defmacro call(name, args) do
    vars = Macro.generate_arguments(length(args), __MODULE__)
    binds = for {var, arg} <- Enum.zip(vars, args), do: quote(do: unquote(var) = unquote(arg))

    quote do
      unquote_splicing(binds)

      case Headcount.Native.unquote(name)(unquote_splicing(vars)) do
        :busy -> Headcount.Native.unquote(:"#{name}_dirty")(unquote_splicing(vars))
        answer -> answer
      end
    end
  end
end
