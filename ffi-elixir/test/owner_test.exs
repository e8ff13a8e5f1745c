defmodule Headcount.OwnerTest do
  use ExUnit.Case, async: true

  alias Headcount.Native
  alias Headcount.Tracker.State

  import Headcount.Test.States, only: [sync: 2]

  # The longest owner that other languages take, in bytes.
  @owner_max 64

  @golden Path.expand("../../core/tests/golden/frames/state-elixir-json.hex", __DIR__)

  # A process of a node of this name that need not be there.
  defp pid(node, id \\ 0xFFFF_FFFF) do
    numbers = <<id::32, 0xFFFF_FFFF::32, 0xFFFF_FFFF::32>>
    :erlang.binary_to_term(<<131, 88, 119, byte_size(node), node::binary, numbers::binary>>)
  end

  defp node_name(length), do: String.slice("n@" <> String.duplicate("host", 64), 0, length)

  defp state(replica, codec),
    do: %State{ref: Native.tracker_new(replica, {1, 0}, codec), name: replica}

  # The owner as it travels, which stands behind the key and before an empty meta.
  defp owner_bytes(state) do
    [frame] = State.delta_since(state, %{})
    [_, <<length, owner::binary-size(length), _::binary>>] = :binary.split(frame, <<1, "k">>)
    owner
  end

  for {title, codec} <- [json: {true, false}, term: {false, false}] do
    @codec codec
    test "a pid fits and is read again, whatever its node is called: #{title}" do
      for length <- 1..255, own <- [true, false] do
        node = node_name(length)
        Native.remember_nodes([node])
        a = state(if(own, do: Native.replica_name(node), else: "replica"), @codec)
        {:ok, _} = State.track(a, pid(node), "t", "k", %{})
        assert byte_size(owner_bytes(a)) <= @owner_max
        assert {:error, {:already_tracked, _, _, _}} = State.track(a, pid(node), "t", "k", %{})
        {:ok, _} = State.track(a, pid(node, 1), "t", "k", %{})
        b = state("b", @codec)
        sync(a, b)

        for reader <- [a, b] do
          owners = for {owner, _} <- State.get_by_key(reader, "t", "k"), do: owner
          assert Enum.sort(owners) == Enum.sort([pid(node), pid(node, 1)])
        end

        :ok = State.untrack(a, pid(node))
        assert [{owner, _}] = State.get_by_key(a, "t", "k")
        assert owner == pid(node, 1)
      end
    end
  end

  test "names of replicas fit, and tell long nodes apart" do
    names = for length <- 1..255, do: Native.replica_name(node_name(length))
    assert Enum.all?(names, &(byte_size(&1) <= 64))
    assert Enum.uniq(names) == names
    assert Native.replica_name("node@host") == "node@host"
  end

  test "the pid of a long name that nobody knows is a text" do
    a = state("a", {true, false})
    owner = pid("unheard@" <> String.duplicate("of", 100))
    {:ok, _} = State.track(a, owner, "t", "k", %{})

    assert [{"erlang:4294967295.4294967295.4294967295@unheard~" <> hash, _}] =
             State.get_by_key(a, "t", "k")

    assert byte_size(hash) == 16
    :ok = State.untrack(a, owner)
    assert State.size(a) == 0
  end

  test "an owner that is no pid is refused where it is written" do
    for codec <- [{true, false}, {false, false}] do
      a = state("a", codec)

      assert {:error, {:owner_too_long, _, @owner_max}} =
               State.track(a, String.duplicate("x", 65), "t", "k", %{})

      assert {:error, {:owner_too_long, _, @owner_max}} =
               State.track(a, {self(), String.duplicate("x", 65)}, "t", "k", %{})

      assert State.size(a) == 0
    end
  end

  test "the frame that all languages read" do
    node = "chat@" <> String.duplicate("pod.", 62)
    a = state(Native.replica_name(node), {true, false})
    {:ok, _} = State.track(a, pid(node, 7), "room", "ann", %{device: "phone"})
    {:ok, _} = State.track(a, pid("other@10.0.0.1", 8), "room", "bob", %{})
    {:ok, _} = State.track(a, pid(node_name(255), 9), "room", "cid", %{})
    {:ok, _} = State.track(a, {"conn", 1}, "room", "dan", %{})
    [frame] = State.delta_since(a, %{})
    text = Regex.replace(~r/^#.*$|\s/m, File.read!(@golden), "")
    assert Base.encode16(frame, case: :lower) == text
  end

  test "long names of replicas are refused where they are given, those of clusters are not" do
    options = [name: :long_names, node_name: String.duplicate("x", 65)]
    {:error, error} = Headcount.Tracker.start_link(Headcount.Test.Diffs, [], options)
    assert error =~ ~r/node_name has 65/

    cluster = String.duplicate("x", 10_000)

    for name <- [:long_a, :long_b] do
      options = [name: name, node_name: name, cluster: cluster]
      start_supervised!({Headcount.Test.Diffs, options}, id: name)
    end

    {:ok, _} = Headcount.Tracker.track(:long_a, self(), "room", 1, %{})
    Headcount.Test.Wait.until(fn -> Headcount.Tracker.count(:long_b, "room") == 1 end)
  end
end
