defmodule Headcount.Tracker.StateTest do
  use ExUnit.Case, async: true
  doctest Headcount.Tracker.State
  doctest Headcount.Tracker

  alias Headcount.Tracker.State

  import Headcount.Test.States, only: [sync: 2]

  test "any term is a key, an owner, and part of a meta" do
    a = State.new("a")
    b = State.new("b")
    keys = ["ann", <<255>>, <<131>>, :ann, 1, {1, "x"}, [1], %{a: 1}, self(), make_ref(), ""]

    for key <- keys do
      assert {:ok, ref} = State.track(a, {key, 7}, "room", key, %{key => [key]})

      assert {:error, {:already_tracked, owner, "room", ^key}} =
               State.track(a, {key, 7}, "room", key, %{})

      assert owner == {key, 7}
      assert State.get_by_key(a, "room", key) == [{owner, %{key => [key], phx_ref: ref}}]
    end

    [_] = sync(a, b)
    assert Enum.sort(State.list(a, "room")) == Enum.sort(State.list(b, "room"))
    count = length(keys)
    assert State.count_keys(b, "room") == %Headcount.Keys{at_least: count, at_most: count}
  end

  test "joins, updates and leaves travel as diffs" do
    a = State.new("a")
    b = State.new("b")
    {:ok, first} = State.track(a, 1, "room", "ann", %{n: 1})
    assert [%{"room" => {[{"ann", %{n: 1, phx_ref: ^first}}], []}}] = sync(a, b)

    {:ok, second} = State.update(a, 1, "room", "ann", %{n: 2})

    assert [%{"room" => {[{"ann", join}], [{"ann", %{n: 1, phx_ref: ^first}}]}}] = sync(a, b)
    assert join == %{n: 2, phx_ref: second, phx_ref_prev: first}
    assert State.list(b, "room") == [{"ann", join}]

    :ok = State.untrack(a, 1)
    assert [%{"room" => {[], [{"ann", %{n: 2, phx_ref: ^second}}]}}] = sync(a, b)
    assert State.list(b, "room") == []
    assert sync(a, b) == []
  end

  test "what came and went within one diff joins and leaves, as it was" do
    a = State.new("a")
    {:ok, first} = State.track(a, 1, "room", "ann", %{n: 1})
    :ok = State.untrack(a, 1, "room", "ann")
    ann = {"ann", %{n: 1, phx_ref: first}}
    assert State.take_diff(a) == %{"room" => {[ann], [ann]}}

    {:ok, first} = State.track(a, 1, "room", "ann", %{n: 1})
    {:ok, second} = State.update(a, 1, "room", "ann", %{n: 2})
    first_meta = %{n: 1, phx_ref: first}
    second_meta = %{n: 2, phx_ref: second, phx_ref_prev: first}
    diff = State.take_diff(a)
    assert diff == %{"room" => {[{"ann", second_meta}], [{"ann", first_meta}]}}

    {:ok, third} = State.update(a, 1, "room", "ann", %{n: 3})
    {:ok, fourth} = State.update(a, 1, "room", "ann", %{n: 4})
    fourth_meta = %{n: 4, phx_ref: fourth, phx_ref_prev: third}
    assert %{"room" => {[{"ann", ^fourth_meta}], leaves}} = State.take_diff(a)
    third_meta = %{n: 3, phx_ref: third, phx_ref_prev: second}
    assert Enum.sort(leaves) == Enum.sort([{"ann", second_meta}, {"ann", third_meta}])
    :ok = State.untrack(a, 1, "room", "ann")
    assert State.take_diff(a) == %{"room" => {[], [{"ann", fourth_meta}]}}
  end

  test "a copy of a list that takes in the diffs after it is right, whenever it was read" do
    for seed <- 1..40 do
      :rand.seed(:exsss, {seed, 2, 3})
      states = {State.new("a"), State.new("b")}
      copies = Enum.reduce(1..120, {[%{}], [%{}]}, &random_step(&1, &2, states))

      for {state, copies} <- Enum.zip(Tuple.to_list(states), Tuple.to_list(copies)) do
        listed = copy(state)
        copies = Enum.reduce(sync_own(state), copies, &take/2)
        for copy <- copies, do: assert(copy == listed, "seed #{seed}")
      end
    end
  end

  # Copies are `%{{key, ref} => meta}`; one reads the list after each operation, before its diff.
  defp random_step(_, {of_a, of_b}, {a, b}) do
    {key, owner} = {:rand.uniform(3), :rand.uniform(2)}

    case :rand.uniform(8) do
      n when n <= 4 -> State.upsert(a, owner, "room", key, %{n: :rand.uniform(9)})
      5 -> State.untrack(a, owner, "room", key)
      6 -> State.untrack(a, owner)
      _ -> :ok
    end

    of_a = [copy(a) | of_a]

    case :rand.uniform(4) do
      1 -> {Enum.reduce(sync_own(a), of_a, &take/2), of_b}
      2 -> {of_a, Enum.reduce(sync(a, b), [copy(b) | of_b], &take/2)}
      _ -> {of_a, of_b}
    end
  end

  defp sync_own(state), do: [State.take_diff(state)]

  defp copy(state) do
    for {key, meta} <- State.list(state, "room"), into: %{}, do: {{key, meta.phx_ref}, meta}
  end

  defp take(diff, copies) do
    {joins, leaves} = Map.get(diff, "room", {[], []})

    for copy <- copies do
      copy = for {key, meta} <- joins, into: copy, do: {{key, meta.phx_ref}, meta}

      Enum.reduce(leaves, copy, fn {key, meta}, copy ->
        assert Map.get(copy, {key, meta.phx_ref}, meta) == meta, "it leaves as it was shown"
        Map.delete(copy, {key, meta.phx_ref})
      end)
    end
  end

  test "frames may come twice, late and in between" do
    a = State.new("a")
    b = State.new("b")
    State.track(a, 1, "room", "ann", %{})
    [old] = State.delta_since(a, %{})
    {:ok, _} = State.apply(b, old)
    clock = State.clock(b)
    State.track(a, 1, "room", "bob", %{})
    State.track(a, 1, "room", "cay", %{})
    [both] = State.delta_since(a, clock)
    {:ok, diff} = State.apply(b, both)
    assert {[_, _], []} = diff["room"]
    assert State.apply(b, old) == {:ok, %{}}
    assert State.apply(b, both) == {:ok, %{}}
    assert {:error, {:gap, 0, 1}} = State.apply(State.new("c"), both)
  end

  test "frames that were cut or changed are refused and change nothing" do
    a = State.new("a")
    for n <- 1..20, do: State.track(a, n, "room", n, %{n: n})
    [frame] = State.delta_since(a, %{})
    b = State.new("b")

    for size <- 0..(byte_size(frame) - 1) do
      assert {:error, {:decode, offset, kind}} = State.apply(b, binary_part(frame, 0, size))
      assert is_integer(offset) and is_atom(kind)
    end

    for at <- 0..(byte_size(frame) - 1) do
      <<head::binary-size(at), byte, tail::binary>> = frame
      assert {:error, _} = State.apply(b, <<head::binary, Bitwise.bxor(byte, 1), tail::binary>>)
    end

    assert State.size(b) == 0
  end

  test "too much is refused with its size and the limit" do
    a = State.new("a")
    long = String.duplicate("x", 300)
    assert State.track(a, 1, long, "k", %{}) == {:error, {:topic_too_long, 300, 256}}
    assert State.track(a, 1, "t", long, %{}) == {:error, {:key_too_long, 300, 256}}
    assert {:error, {:owner_too_long, _, _}} = State.track(a, long, "t", "k", %{})

    assert {:error, {:meta_too_large, _, 16_384}} =
             State.track(a, 1, "t", "k", %{m: String.duplicate("x", 20_000)})

    assert State.size(a) == 0
  end

  test "wrong types raise" do
    a = State.new("a")
    assert_raise ArgumentError, ~r/topic must be a string/, fn -> State.list(a, :room) end
    assert_raise ArgumentError, ~r/UTF-8/, fn -> State.list(a, <<255>>) end
    assert_raise ArgumentError, ~r/meta must be a map/, fn -> State.track(a, 1, "t", 1, []) end
    State.track(a, 1, "t", 1, %{})

    assert_raise ArgumentError, ~r/meta must be/, fn ->
      State.update(a, 1, "t", 1, fn _ -> 1 end)
    end

    assert_raise ArgumentError, fn -> State.new("") end
    assert_raise ArgumentError, fn -> State.new(String.duplicate("x", 65)) end
    assert_raise ArgumentError, fn -> State.list(%State{ref: make_ref(), name: "none"}, "t") end
  end

  test "atoms of strangers are not created" do
    code = """
    state = Headcount.Tracker.State.new("stranger")
    meta = %{String.to_atom("an_atom_of" <> "_a_stranger") => 1}
    {:ok, _} = Headcount.Tracker.State.track(state, self(), "room", "ann", meta)
    [frame] = Headcount.Tracker.State.delta_since(state, %{})
    IO.write(Base.encode64(frame))
    """

    ebin = Application.app_dir(:headcount, "ebin")
    {out, 0} = System.cmd("elixir", ["-pa", ebin, "-e", code])

    state = State.new("here")
    {:ok, _} = State.apply(state, Base.decode64!(out))
    assert [{"ann", {:undecodable, binary}}] = State.list(state, "room")
    assert is_binary(binary)
    assert_raise ArgumentError, fn -> String.to_existing_atom("an_atom_of" <> "_a_stranger") end
  end
end
