defmodule Headcount.Pages do
  @moduledoc false
  # `Enumerable` for what the NIF reads by the slice.

  @page 500

  @doc false
  # Reduces over what `slice` returns for `(start, amount)`, a page after the other.
  def reduce(slice, acc, fun), do: reduce(slice, [], 0, acc, fun)

  defp reduce(_slice, _page, _next, {:halt, acc}, _fun), do: {:halted, acc}

  defp reduce(slice, page, next, {:suspend, acc}, fun) do
    {:suspended, acc, &reduce(slice, page, next, &1, fun)}
  end

  defp reduce(slice, [term | page], next, {:cont, acc}, fun) do
    reduce(slice, page, next, fun.(term, acc), fun)
  end

  defp reduce(slice, [], next, {:cont, acc}, fun) do
    case slice.(next, @page) do
      [] -> {:done, acc}
      page -> reduce(slice, page, next + length(page), {:cont, acc}, fun)
    end
  end

  @doc false
  # The slicing function of `Enumerable.slice/1`.
  def slicer(slice) do
    fn
      start, amount, 1 -> slice.(start, amount)
      start, amount, step -> slice.(start, (amount - 1) * step + 1) |> Enum.take_every(step)
    end
  end
end
