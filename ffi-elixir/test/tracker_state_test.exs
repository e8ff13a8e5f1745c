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

  # `minor_version: 2` is the default of OTP 26. The order in which it writes the pairs of a map depends on the VM.
  test "the bytes of a key are the same on every release of OTP" do
    # A map of more than 32 pairs is a tree of hashes.
    large = for(n <- 1..36, into: %{}, do: {n, []})
    pairs = for n <- 1..36, into: <<>>, do: <<97, n, 106>>

    special = %{
      :é => <<119, 2, "é">>,
      %{b: 1, aa: 2} => <<116, 0, 0, 0, 2, 119, 1, "b", 97, 1, 119, 2, "aa", 97, 2>>,
      {[%{{:b} => :c, 1 => nil}]} =>
        <<104, 1, 108, 0, 0, 0, 1, 116, 0, 0, 0, 2, 97, 1, 119, 3, "nil", 104, 1, 119, 1, "b",
          119, 1, "c", 106>>,
      large => <<116, 0, 0, 0, 36, pairs::binary>>
    }

    for {key, bytes} <- special, do: assert(bytes(key) == <<131, bytes::binary>>)

    plain = [
      :ann,
      :"",
      {:a, [:b | "c"]},
      [:é, 1.5, -1, 300, 2 ** 70, [97, 98]],
      {<<1::3>>, self()}
    ]

    terms =
      for(_ <- 1..300, do: Headcount.Test.Terms.term()) ++ plain ++ [make_ref(), hd(Port.list())]

    for key <- terms, not is_binary(key), not maps?(key), bytes = bytes(key) do
      assert bytes == :erlang.term_to_binary(key, minor_version: 2)
    end
  end

  # The bytes of a key in a frame: a put of the topic 0, of a term. `nil` for a key that is too long.
  defp bytes(key) do
    state = State.new("a")

    with {:ok, _ref} <- State.track(state, 1, "room", key, %{}) do
      assert [{^key, %{}}] = State.list(state, "room")
      [frame] = State.delta_since(state, %{})
      [_, <<9, 1, 0, put::binary>>] = :binary.split(frame, "room")

      case put do
        <<0xFB, len::little-16, bytes::binary-size(len), _::binary>> -> bytes
        <<len, bytes::binary-size(len), _::binary>> -> bytes
      end
    else
      {:error, {:key_too_long, _, 256}} -> nil
    end
  end

  defp maps?(%{} = map), do: map_size(map) > 0
  defp maps?(tuple) when is_tuple(tuple), do: maps?(Tuple.to_list(tuple))
  defp maps?([head | tail]), do: maps?(head) or maps?(tail)
  defp maps?(_term), do: false

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
