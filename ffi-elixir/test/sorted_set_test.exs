defmodule Headcount.SortedSetTest do
  use ExUnit.Case, async: true
  doctest Headcount.SortedSet

  alias Headcount.SortedSet
  alias Headcount.Test.Terms

  setup do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    :ok
  end

  describe "order" do
    test "is the term order, and every term comes back as it was" do
      for _ <- 1..200 do
        terms = for(_ <- 1..100, do: Terms.term()) |> Enum.uniq()
        listed = terms |> SortedSet.from_enumerable() |> SortedSet.to_list()
        assert Enum.sort(listed) == listed
        assert MapSet.new(listed) == MapSet.new(terms)
        assert length(listed) == length(terms)
      end
    end

    test "is the term order for two terms that are nearly the same" do
      for _ <- 1..20_000, {a, b} = {Terms.small(), Terms.small()}, a != b do
        for {a, b} <- [{a, b}, {{a, 1}, {b, 0}}, {[a | 1], [b | 2]}, {%{a => 2}, %{b => 1}}] do
          assert SortedSet.to_list(SortedSet.from_enumerable([a, b])) == Enum.sort([a, b])
        end
      end
    end

    test "keeps terms that compare equal and do not match apart" do
      set = SortedSet.from_enumerable([1.0, 1, {1, 1.0}, {1.0, 1}])
      assert SortedSet.to_list(set) |> Enum.take(2) == [1, 1.0]
      assert SortedSet.size(set) == 4
      assert SortedSet.find_index(set, 1.0) == 1
    end

    test "holds atoms that the external format writes as UTF-8" do
      assert SortedSet.to_list(SortedSet.from_enumerable([:日本, :é])) == [:é, :日本]
    end
  end

  describe "a set like a sorted list" do
    test "after many random changes" do
      set = SortedSet.new()

      Enum.reduce(1..3_000, [], fn _, model ->
        term = {:rand.uniform(3), Terms.small(), :rand.uniform(200)}
        at = Enum.find_index(model, &(&1 === term))

        if :rand.uniform(3) == 1 do
          assert {^at, ^set} = SortedSet.index_remove(set, term)
          List.delete(model, term)
        else
          assert SortedSet.find_index(set, term) == at
          {index, ^set} = SortedSet.index_add(set, term)
          assert is_nil(index) == is_integer(at)
          model = if index, do: List.insert_at(model, index, term), else: model
          assert Enum.sort(model) == model
          model
        end
      end)
      |> then(&assert SortedSet.to_list(set) == &1)
    end

    test "in slices and places" do
      list = Enum.to_list(1..5_000)
      set = SortedSet.from_proper_enumerable(list)

      for start <- [0, 1, 4_000, 4_999, 5_000, 1_000_000],
          amount <- [0, 1, 99, 500, 501, 9_000] do
        assert SortedSet.slice(set, start, amount) == Enum.slice(list, start, amount)
      end

      assert SortedSet.at(set, 4_999) == 5_000
      assert SortedSet.at(set, 5_000) == nil
      assert SortedSet.at(set, 5_000, :none) == :none
    end
  end

  describe "bad input" do
    test "unsupported terms, at any depth, change nothing" do
      set = SortedSet.from_enumerable([1])

      for term <- [self(), make_ref(), &is_atom/1, hd(Port.list())],
          term <- [term, {term}, [1, term], [1 | term], %{term => 1}, %{1 => term}] do
        assert SortedSet.add(set, term) == {:error, :unsupported_type}
        assert SortedSet.index_add(set, term) == {:error, :unsupported_type}
        assert SortedSet.remove(set, term) == {:error, :unsupported_type}
        assert SortedSet.index_remove(set, term) == {:error, :unsupported_type}
        assert SortedSet.find_index(set, term) == {:error, :unsupported_type}
        assert SortedSet.from_enumerable([1, term]) == {:error, :unsupported_type}
        assert SortedSet.from_proper_enumerable([1, term]) == {:error, :unsupported_type}
        refute Enum.member?(set, term)
      end

      assert SortedSet.to_list(set) == [1]
    end

    test "huge indexes and amounts" do
      set = SortedSet.from_enumerable([1, 2])
      assert SortedSet.slice(set, 0, 3_000_000_000_000) == [1, 2]
      assert SortedSet.slice(set, 1, Integer.pow(10, 30)) == [2]
      assert SortedSet.slice(set, Integer.pow(10, 30), 5) == []
      assert SortedSet.at(set, Integer.pow(10, 30), :none) == :none
      assert SortedSet.size(SortedSet.new(Integer.pow(10, 30), Integer.pow(10, 30))) == 0
    end

    test "wrong indexes, amounts and hints" do
      set = SortedSet.new()

      bad = fn fun ->
        assert_raise ArgumentError, ~r/must be a (non-negative|positive) integer/, fun
      end

      for value <- [-1, 1.0, nil, "1"] do
        bad.(fn -> SortedSet.at(set, value) end)
        bad.(fn -> SortedSet.slice(set, value, 1) end)
        bad.(fn -> SortedSet.slice(set, 0, value) end)
        bad.(fn -> SortedSet.new(value) end)
        bad.(fn -> SortedSet.new(1, value) end)
        bad.(fn -> SortedSet.from_enumerable([], value) end)
      end
    end

    test "terms nested too deep and too large" do
      set = SortedSet.new()
      deep = Enum.reduce(1..100_000, [], fn _, term -> [term] end)
      tuple = Enum.reduce(1..100_000, [], fn _, term -> {term} end)
      map = Enum.reduce(1..1_000, [], fn _, term -> %{term => 1} end)

      for term <- [deep, tuple, map] do
        assert_raise ArgumentError, ~r/128 deep/, fn -> SortedSet.add(set, term) end
        assert_raise ArgumentError, ~r/128 deep/, fn -> SortedSet.from_enumerable([term]) end
      end

      for term <- [String.duplicate("a", 17_000_000), Enum.to_list(1..6_000_000)] do
        assert_raise ArgumentError, ~r/16 MiB/, fn -> SortedSet.add(set, term) end
        assert_raise ArgumentError, ~r/16 MiB/, fn -> SortedSet.from_enumerable([term]) end
      end

      within = Enum.reduce(1..100, [], fn _, term -> {term} end)
      assert set |> SortedSet.add(within) |> SortedSet.to_list() == [within]
    end

    test "members of megabytes are members like others" do
      long = [String.duplicate("a", 70_000), Enum.to_list(1..70_000), Integer.pow(2, 600_000)]
      members = [String.duplicate("é", 1_000_000), List.to_tuple(long), "b", 1 | long]
      set = Enum.reduce(members, SortedSet.new(), &SortedSet.add(&2, &1))
      sorted = Enum.sort(members)
      assert SortedSet.to_list(set) == sorted
      assert SortedSet.slice(set, 0, 10) == sorted

      for {member, index} <- Enum.with_index(sorted) do
        assert SortedSet.find_index(set, member) == index
        assert SortedSet.at(set, index) == member
        assert {nil, ^set} = SortedSet.index_add(set, member)
      end

      for member <- Enum.shuffle(members), do: SortedSet.remove(set, member)
      assert SortedSet.size(set) == 0
      assert members |> SortedSet.from_enumerable() |> SortedSet.to_list() == sorted
    end

    test "an improper list of terms" do
      for from <- [&SortedSet.from_enumerable/1, &SortedSet.from_proper_enumerable/1] do
        assert_raise ArgumentError, ~r/proper list/, fn -> from.([1 | 2]) end
      end

      set = SortedSet.new()
      refute is_reference(set)
      assert is_reference(set.ref)
    end

    test "a promise that is not kept" do
      for {list, at} <- [{[1, 3, 2], 2}, {[1, 1], 1}, {[:a, 1], 1}] do
        assert_raise ArgumentError, ~r/index #{at} is not above/, fn ->
          SortedSet.from_proper_enumerable(list)
        end
      end
    end

    test "something else than a set" do
      assert_raise ArgumentError, fn -> SortedSet.add(%SortedSet{ref: make_ref()}, 1) end
      assert_raise FunctionClauseError, fn -> SortedSet.size([]) end
    end
  end

  describe "protocols" do
    test "Enumerable" do
      set = SortedSet.from_enumerable(1..2_000)
      assert Enum.sum(set) == 2_001_000
      assert Enum.count(set) == 2_000
      assert Enum.at(set, 1_999) == 2_000
      assert Enum.slice(set, 10, 3) == [11, 12, 13]
      assert Enum.take(set, 3) == [1, 2, 3]
      assert Enum.zip(set, [:a, :b]) == [{1, :a}, {2, :b}]
      assert 7 in set
      refute 7.5 in set
    end

    test "Collectable" do
      assert [3, 1, 2] |> Enum.into(SortedSet.new()) |> Enum.to_list() == [1, 2, 3]
      assert_raise ArgumentError, ~r/cannot hold/, fn -> Enum.into([self()], SortedSet.new()) end
    end

    test "Inspect" do
      assert inspect(SortedSet.from_enumerable(["b", :a])) ==
               ~s(#Headcount.SortedSet<2 members: [:a, "b"]>)

      assert inspect(SortedSet.from_enumerable(1..1_000)) ==
               "#Headcount.SortedSet<1000 members: [1, 2, 3, 4, 5, ...]>"
    end
  end

  test "many processes at once never fail" do
    set = SortedSet.from_enumerable(for n <- 1..20_000, do: {n, "stays"})

    writers =
      for w <- 1..4 do
        Task.async(fn ->
          for n <- 1..2_000 do
            assert {index, ^set} = SortedSet.index_add(set, {n, "w#{w}"})
            assert is_integer(index)
            if rem(n, 2) == 0, do: SortedSet.remove(set, {n, "w#{w}"})
          end
        end)
      end

    readers =
      for _ <- 1..4 do
        Task.async(fn ->
          for n <- 1..1_000 do
            assert is_integer(SortedSet.find_index(set, {n, "stays"}))
            assert [_ | _] = SortedSet.slice(set, n, 10)

            if rem(n, 100) == 0,
              do: assert(SortedSet.slice(set, 0, 1_000_000) |> stays() == 20_000)
          end
        end)
      end

    Task.await_many(writers ++ readers, 60_000)
    assert SortedSet.size(set) == 24_000
  end

  test "memory goes with the set" do
    before = :erlang.memory(:total)
    set = SortedSet.from_enumerable(1..200_000)
    assert SortedSet.memory(set) > 200_000 * 8
    assert SortedSet.debug(set) =~ "200000 members"
    Enum.each(1..200_000, &SortedSet.remove(set, &1))
    assert SortedSet.memory(set) < 1_000_000
    assert :erlang.memory(:total) < before + 500_000_000
  end

  defp stays(list), do: Enum.count(list, &match?({_, "stays"}, &1))
end
