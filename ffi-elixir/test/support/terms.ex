defmodule Headcount.Test.Terms do
  @moduledoc false
  # Random terms of every kind that a sorted set holds, many of them close to each other.

  @integers [0, 1, -1, 2, 5, 255, 256, -255, -256, 65_536, 0x7FFFFFFFFFFFFFFF] ++
              [-0x8000000000000000, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, -0xFFFFFFFFFFFFFFFF]
  @floats [0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.0, 255.5, 256.0, -256.5, 9_007_199_254_740_992.0] ++
            [1.0e-300, 5.0e-324, 1.7976931348623157e308, -1.7976931348623157e308, 1.0e22]
  @atoms [:a, :b, :ab, nil, true, :"", :é, :日本, :"a\0b", Headcount]

  def term(depth \\ 3)
  def term(0), do: scalar()

  def term(depth) do
    case :rand.uniform(10) do
      1 -> terms(depth) |> List.to_tuple()
      2 -> terms(depth)
      3 -> improper(terms(depth), term(depth - 1))
      4 -> for(_ <- 1..:rand.uniform(5), into: %{}, do: {term(depth - 1), term(depth - 1)})
      5 -> for(_ <- 1..40, into: %{}, do: {scalar(), scalar()})
      6 -> {small(), small(), small()}
      7 -> %{small() => small()}
      _ -> scalar()
    end
  end

  def small, do: Enum.random([1, 1.0, 2, 2.0, :a, "a", [], [1], [1.0], {}, %{}, %{1 => 1.0}])

  defp terms(depth), do: for(_ <- 1..(:rand.uniform(8) - 1)//1, do: term(depth - 1))

  defp improper([], _tail), do: []
  defp improper(list, tail), do: Enum.reduce(Enum.reverse(list), tail, &[&1 | &2])

  defp scalar do
    case :rand.uniform(8) do
      1 -> Enum.random(@integers) + :rand.uniform(3) - 2
      2 -> Enum.random(@floats)
      3 -> Enum.random(@atoms)
      4 -> :rand.bytes(:rand.uniform(6) - 1)
      5 -> bits()
      6 -> Integer.pow(256, :rand.uniform(30)) * Enum.random([1, -1]) + :rand.uniform(3)
      7 -> (:rand.uniform() - 0.5) * :math.pow(10, :rand.uniform(40) - 20)
      8 -> Enum.random(["", "\0", "a", "ab", "a\0", "a\0b", <<255>>, <<255, 0>>])
    end
  end

  defp bits do
    size = :rand.uniform(20)
    <<:rand.uniform(1_048_576)::size(size)>>
  end
end
