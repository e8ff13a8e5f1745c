defmodule Headcount.PublisherTest do
  # From the diffs of a tracker to what clients and `handle_metas/4` get.
  use ExUnit.Case, async: false

  alias Headcount.PublisherTest.{Gate, PubSub}
  alias Headcount.Test.Wait

  # The registered process `:publisher_test` lets each fetch through.
  defmodule Gate do
    use Headcount.Presence, otp_app: :headcount, pubsub_server: Headcount.PublisherTest.PubSub

    @impl true
    def fetch("open" <> _, presences), do: named(presences)
    def fetch("garbage", _presences), do: %{"ann" => :nothing}

    def fetch(topic, presences) do
      send(:publisher_test, {:fetching, topic, Map.keys(presences), self()})
      receive(do: (:go -> named(presences)))
    end

    defp named(presences) do
      for {key, %{metas: metas}} <- presences, into: %{} do
        {key, %{metas: Enum.map(metas, &Map.put(&1, :user, key <> "!"))}}
      end
    end

    @impl true
    def init(_), do: {:ok, 0}

    @impl true
    def handle_metas("open bomb", _diff, _presences, _calls), do: raise("boom")

    def handle_metas(topic, diff, presences, calls) do
      send(:publisher_test, {:metas, topic, diff, presences, calls})
      {:ok, calls + 1}
    end
  end

  setup do
    Process.register(self(), :publisher_test)
    start_supervised!(%{id: :pubsub, start: {Phoenix.PubSub, :start_link, [PubSub]}})
    start_supervised!(Gate)
    :ok
  end

  defp idle, do: spawn(fn -> Process.sleep(:infinity) end)
  defp track(topic, key), do: {:ok, _} = Gate.track(idle(), topic, key, %{})

  defp kill_shard do
    shard = Process.whereis(:"#{Gate}_shard0")
    Process.exit(shard, :kill)
    Wait.until(fn -> Process.whereis(:"#{Gate}_shard0") not in [nil, shard] end)
  end

  defp fetching(topic, keys) do
    assert_receive {:fetching, ^topic, ^keys, pid}
    pid
  end

  # The keys that join with the next broadcast of a topic.
  defp joined(topic) do
    assert_receive %{event: "presence_diff", topic: ^topic, payload: %{joins: joins}}
    Map.keys(joins)
  end

  test "topics are fetched at once, up to a bound" do
    topics = for n <- 1..300, do: "topic #{n}"
    Enum.each(topics, &track(&1, "ann"))

    pids =
      for _ <- 1..256 do
        assert_receive {:fetching, _topic, ["ann"], pid}
        pid
      end

    refute_received {:fetching, _topic, _keys, _pid}
    Enum.each(pids, &send(&1, :go))

    for _ <- 257..300 do
      assert_receive {:fetching, _topic, ["ann"], pid}
      send(pid, :go)
    end

    for _ <- topics, do: assert_receive({:metas, "topic " <> _, _diff, %{"ann" => [_]}, _calls})
  end

  test "a slow topic holds up no other, and its diffs stay in order and are fetched together" do
    Phoenix.PubSub.subscribe(PubSub, "slow")
    Phoenix.PubSub.subscribe(PubSub, "open")
    track("slow", "a")
    first = fetching("slow", ["a"])

    for key <- ["b", "c"] do
      track("slow", key)
      track("open", key)
      assert joined("open") == [key]
    end

    refute_received {:fetching, "slow", _, _}
    send(first, :go)
    assert joined("slow") == ["a"]
    send(fetching("slow", ["b", "c"]), :go)
    assert joined("slow") == ["b", "c"]
  end

  test "handle_metas gets fetched metas" do
    track("open", "ann")
    assert_receive {:metas, "open", %{joins: joins}, %{"ann" => [%{user: "ann!"}] = metas}, 0}
    assert joins == %{"ann" => %{metas: metas}}
  end

  test "a key that has left again when its join is told is in the presences of that call" do
    track("slow", "ann")
    first = fetching("slow", ["ann"])
    bob = idle()
    {:ok, _} = Gate.track(bob, "slow", "bob", %{})
    Wait.until(fn -> waiting("slow") == 2 end)
    :ok = Gate.untrack(bob, "slow", "bob")
    Wait.until(fn -> waiting("slow") == 3 end)
    send(first, :go)
    assert_receive {:metas, "slow", %{joins: %{"ann" => _}}, _presences, 0}
    send(fetching("slow", ["bob"]), :go)
    send(fetching("slow", ["bob"]), :go)
    assert_receive {:metas, "slow", %{leaves: left} = diff, %{"bob" => metas} = here, 1}

    assert {diff.joins, left, Map.keys(here)} ==
             {%{"bob" => %{metas: metas}}, %{}, ["ann", "bob"]}

    assert_receive {:metas, "slow", %{leaves: %{"bob" => _}, joins: joins}, here, 2}
    assert {joins, Map.keys(here)} == {%{}, ["ann"]}
  end

  # The diffs of a topic that are not broadcast yet.
  defp waiting(topic) do
    {_module, %{table: table}} = shard_state()
    length(:ets.match(table, {{:_, topic, :_}, :_}))
  end

  defp shard_state do
    %{module: module, module_state: state} = :sys.get_state(:"#{Gate}_shard0")
    {module, state}
  end

  @tag :capture_log
  test "a fetch that does not return holds up a bounded amount of diffs: they are broadcast as they are" do
    Phoenix.PubSub.subscribe(PubSub, "slow")
    owner = idle()
    meta = %{bio: String.duplicate("x", 16_000)}
    {:ok, _} = Gate.track(owner, "slow", "ann", meta)
    _stuck = fetching("slow", ["ann"])

    for n <- 1..6 do
      for key <- 1..1_000, do: {:ok, _} = Gate.track(owner, "slow", "#{n} #{key}", meta)
      Wait.until(fn -> waits?("#{n} 1000") end)
    end

    assert joined("slow") == ["ann"]
    {_module, %{held: held}} = shard_state()
    assert held < 100_000_000
  end

  # Whether the callbacks have a join, or have broadcast it.
  defp waits?(key) do
    {_module, %{table: table}} = shard_state()

    Enum.any?(:ets.match(table, {{:_, "slow", :_}, {:"$1", :_}}), fn [joins] ->
      List.keymember?(joins, key, 0)
    end)
  end

  test "the metas of a key are in the order of joining, everywhere" do
    refs = for _ <- 1..200, do: elem(track("open", "ann"), 1)
    assert Enum.map(Gate.get_by_key("open", "ann").metas, & &1.phx_ref) == refs
    assert Enum.map(Gate.list("open")["ann"].metas, & &1.phx_ref) == refs
    assert Enum.map(all_metas("open", "ann", 200), & &1.phx_ref) == refs
  end

  defp all_metas(topic, key, count) do
    assert_receive {:metas, ^topic, _diff, %{^key => metas}, _calls}
    if length(metas) == count, do: metas, else: all_metas(topic, key, count)
  end

  test "a process of the callbacks that is killed loses no diff and knows all metas again" do
    Phoenix.PubSub.subscribe(PubSub, "slow")
    track("open", "ann")
    assert_receive {:metas, "open", _diff, _presences, 0}
    track("slow", "a")
    fetching("slow", ["a"])
    track("slow", "b")
    track("open", "bob")
    assert_receive {:metas, "open", _diff, %{"bob" => _}, 1}
    kill_shard()
    track("slow", "c")
    send(fetching("slow", ["a", "b"]), :go)
    # The metas are seeded from the list, which is fetched too.
    send(fetching("slow", ["a", "b", "c"]), :go)
    assert joined("slow") == ["a", "b"]
    assert_receive {:metas, "slow", _diff, presences, 0}
    assert Map.keys(presences) == ["a", "b", "c"]
    send(fetching("slow", ["c"]), :go)
    assert joined("slow") == ["c"]
    track("open", "cay")
    assert_receive {:metas, "open", %{joins: %{"cay" => _}}, presences, _calls}
    assert %{"ann" => [%{user: "ann!"}], "bob" => [_], "cay" => [_]} = presences
  end

  @tag :capture_log
  test "an exception in handle_metas and a fetch that returns no presences lose nothing" do
    for topic <- ["open bomb", "garbage", "open"], do: Phoenix.PubSub.subscribe(PubSub, topic)
    shard = Process.whereis(:"#{Gate}_shard0")
    for topic <- ["open bomb", "garbage", "open"], do: track(topic, "ann")
    for topic <- ["open bomb", "garbage", "open"], do: assert(joined(topic) == ["ann"])
    assert_receive {:metas, "open", _diff, _presences, _calls}
    assert Process.whereis(:"#{Gate}_shard0") == shard
  end

  test "keys that are no strings are shown as text and spoil no list" do
    Phoenix.PubSub.subscribe(PubSub, "open")
    keys = [{:user, 1}, [1 | 2], <<255>>, %{a: 1}, 7, :ann, "ann"]
    texts = ["[1 | 2]", "{:user, 1}", "<<255>>", "%{a: 1}", "7", "ann"]
    for key <- keys, do: track("open", key)
    assert Enum.sort(Map.keys(Gate.list("open"))) == Enum.sort(texts)
    assert %{metas: [_]} = Gate.get_by_key("open", {:user, 1})
    Wait.until(fn -> length(all_metas("open", "ann", 2)) == 2 end)
  end

  test "a diff that is merged with the next one shows what a list shows" do
    alias Headcount.Presence.Metas
    [a, b, c] = for ref <- ["a", "b", "c"], do: {ref, %{phx_ref: ref}}
    assert Metas.merge({[a], []}, {[b], [a]}) == {[a, b], [a]}
    assert Metas.merge({[a], [b]}, {[], [a]}) == {[a], [b, a]}
    # A node that was down comes back.
    assert Metas.merge({[c], [a, b]}, {[a], []}) == {[c, a], [b]}
    assert Metas.merge({[a], [a]}, {[a], [a]}) == {[a], [a]}
  end
end
