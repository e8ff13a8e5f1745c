defmodule Headcount.CountsTest do
  # Counts without entries, on this node and on several.
  use ExUnit.Case, async: false
  doctest Headcount.Keys

  import ExUnit.CaptureLog
  import Headcount.Test.Interest

  alias Headcount.Keys
  alias Headcount.Test.{Cluster, Diffs, Lossy, Wait}
  alias Headcount.Tracker

  # The longest name, and others that a program might trip over.
  @topics ["room", "", String.duplicate("é", 128), "Ζωή 🦀 \0 * > . #"]

  defp bounds(at_least, at_most), do: %Keys{at_least: at_least, at_most: at_most}

  defp counted(name, topic), do: {Tracker.count(name, topic), Tracker.count_keys(name, topic)}

  defp idle, do: spawn(fn -> Process.sleep(:infinity) end)

  defp watch_counts(name, topic) do
    :ok = Tracker.watch_counts(name, topic)
    assert_receive {^name, {:counts_ready, ^topic, age, []}}
    assert age <= 1_000
  end

  describe "one node" do
    test "counts what it does not hold" do
      pair([:counts_a, :counts_b, :counts_c], counts: true)

      for topic <- @topics do
        [phone, laptop, other] = for _ <- 1..3, do: idle()
        {:ok, _} = Tracker.track(:counts_a, phone, topic, "ann", %{})
        {:ok, _} = Tracker.track(:counts_a, laptop, topic, "ann", %{})
        {:ok, _} = Tracker.track(:counts_b, other, topic, "bob", %{})
        assert counted(:counts_c, topic) == {{:error, :not_watched}, {:error, :not_watched}}
        watch_counts(:counts_c, topic)
        Wait.until(fn -> counted(:counts_c, topic) == {3, bounds(1, 2)} end)

        # The same key on two nodes, and a process that dies.
        {:ok, _} = Tracker.track(:counts_b, other, topic, "ann", %{})
        Wait.until(fn -> counted(:counts_c, topic) == {4, bounds(2, 3)} end)
        kill(laptop)
        Wait.until(fn -> counted(:counts_c, topic) == {3, bounds(2, 3)} end)

        # Entries of this node count at once.
        {:ok, _} = Tracker.track(:counts_c, self(), topic, "cleo", %{})
        assert counted(:counts_c, topic) == {4, bounds(2, 4)}
        :ok = Tracker.untrack(:counts_c, self(), topic, "cleo")
        assert counted(:counts_c, topic) == {3, bounds(2, 3)}

        assert %{entries: 0, topics: 0} = Tracker.stats(:counts_c)
        assert Tracker.list(:counts_c, topic) == {:error, :not_watched}
        assert Tracker.get_by_key(:counts_c, topic, "ann") == {:error, :not_watched}
        :ok = Tracker.unwatch_counts(:counts_c, topic)
        :ok = Tracker.unwatch_counts(:counts_c, topic)
        assert counted(:counts_c, topic) == {{:error, :not_watched}, {:error, :not_watched}}
      end

      assert_raise Headcount.Error, ~r/watch_counts/, fn ->
        Tracker.count_keys!(:counts_c, "room")
      end
    end

    test "gives no diffs of what it counts" do
      pair([:counts_a, :counts_b], counts: true)
      watch_counts(:counts_b, "room")
      for n <- 1..100, do: {:ok, _} = Tracker.track(:counts_a, self(), "room", n, %{})
      Wait.until(fn -> Tracker.count(:counts_b, "room") == 100 end)
      shard = Process.whereis(:counts_b_shard0)
      refute_received {:diff, _, ^shard}
    end

    test "a topic that was just watched is not ready" do
      slow = [down_period: 6_000_000, permdown_period: 60_000_000, broadcast_period: 600_000]
      start_supervised!({Diffs, [name: :counts_slow, mode: :interest, counts: true] ++ slow})
      :ok = Tracker.watch_counts(:counts_slow, "room")
      assert counted(:counts_slow, "room") == {{:error, :not_ready}, {:error, :not_ready}}
      refute_receive {:counts_slow, _}, 100

      assert_raise Headcount.Error, ~r/not ready/, fn -> Tracker.count!(:counts_slow, "room") end
    end

    test "watches are counted for each process, beside those of entries, and end with it" do
      pair([:counts_a, :counts_b], counts: true)
      {:ok, _} = Tracker.track(:counts_a, self(), "room", "ann", %{})
      one = watcher(:counts_b, ["room", "room"], &Tracker.watch_counts/2)
      assert_receive {^one, {:counts_b, {:counts_ready, "room", _, []}}}
      # It is ready, so another one is told at once.
      two = watcher(:counts_b, ["room"], &Tracker.watch_counts/2)
      assert_receive {^two, {:counts_b, {:counts_ready, "room", _, []}}}
      :ok = Tracker.unwatch_counts(:counts_b, "room")
      :ok = in_process(two, fn -> Tracker.unwatch(:counts_b, "room") end)
      Wait.until(fn -> Tracker.count(:counts_b, "room") == 1 end)

      :ok = in_process(two, fn -> Tracker.watch(:counts_b, "room") end)
      assert_receive {^two, {:counts_b, {:ready, "room", _, []}}}
      Wait.until(fn -> match?([{"ann", _}], Tracker.list(:counts_b, "room")) end)
      :ok = in_process(two, fn -> Tracker.unwatch(:counts_b, "room") end)
      assert Tracker.list(:counts_b, "room") == {:error, :not_watched}
      assert Tracker.count(:counts_b, "room") == 1

      kill(two)
      :ok = in_process(one, fn -> Tracker.unwatch_counts(:counts_b, "room") end)
      assert Tracker.count(:counts_b, "room") == 1
      kill(one)
      Wait.until(fn -> Tracker.count(:counts_b, "room") == {:error, :not_watched} end)
    end

    test "many watchers that are killed leave nothing behind" do
      pair([:counts_a, :counts_b], counts: true)
      {:ok, _} = Tracker.track(:counts_a, self(), "room 7", "ann", %{})

      watchers =
        for n <- 1..2_000 do
          spawn(fn ->
            topic = "room #{rem(n, 100)}"
            :ok = Tracker.watch_counts(:counts_b, topic)
            if rem(n, 3) == 0, do: :ok = Tracker.watch(:counts_b, topic)
            if rem(n, 5) == 0, do: :ok = Tracker.unwatch_counts(:counts_b, topic)
            Process.sleep(:infinity)
          end)
        end

      for pid <- watchers, do: Process.exit(pid, :kill)

      Wait.until(fn ->
        Enum.all?(0..99, &(Tracker.count(:counts_b, "room #{&1}") == {:error, :not_watched}))
      end)

      Wait.until(fn -> Tracker.size(:counts_b) == 0 end)
      watch_counts(:counts_b, "room 7")
      Wait.until(fn -> counted(:counts_b, "room 7") == {1, bounds(1, 1)} end)
    end

    test "watches survive the process that moves frames, and the shards" do
      pair([:counts_a, :counts_b], counts: true)
      watch_counts(:counts_b, "room")

      for {part, n} <- Enum.with_index([:counts_b_replicator, :counts_b_shard0], 1) do
        kill(Process.whereis(part))
        Wait.until(fn -> Process.whereis(part) != nil end)
        {:ok, _} = Tracker.track(:counts_a, self(), "room", part, %{})
        Wait.until(fn -> Tracker.count(:counts_b, "room") == n end)
        watch_counts(:counts_b, "#{part}")
      end
    end

    test "without counts the entries are watched" do
      test = self()

      defmodule Mirror do
        use Headcount.Tracker

        @impl true
        def init(test), do: {:ok, test}

        @impl true
        def handle_diff(_diff, test), do: {:ok, test}

        @impl true
        def handle_unwatched(topic, test) do
          send(test, {:unwatched, topic})
          {:ok, test}
        end
      end

      pair([:counts_a])
      options = Keyword.merge(fast(), name: :counts_m, cluster: "pair", node_name: "m")
      {:ok, _} = Tracker.start_link(Mirror, test, options)
      {:ok, _} = Tracker.track(:counts_a, self(), "room", "ann", %{})
      watch_counts(:counts_m, "room")
      Wait.until(fn -> match?([{"ann", _}], Tracker.list(:counts_m, "room")) end)
      assert counted(:counts_m, "room") == {1, bounds(1, 1)}
      # It is ready, so a watch of the entries is too.
      :ok = Tracker.watch(:counts_m, "room")
      assert_received {:counts_m, {:ready, "room", _, []}}
      :ok = Tracker.unwatch(:counts_m, "room")
      assert [_] = Tracker.list(:counts_m, "room")
      refute_receive {:unwatched, _}, 100
      :ok = Tracker.unwatch_counts(:counts_m, "room")
      assert_receive {:unwatched, "room"}
      assert Tracker.list(:counts_m, "room") == {:error, :not_watched}
      Supervisor.stop(:counts_m)
    end

    test "in mode :all every topic is counted" do
      start_supervised!({Diffs, [name: :counts_all]})
      {:ok, _} = Tracker.track(:counts_all, self(), "room", "ann", %{})
      :ok = Tracker.watch_counts(:counts_all, "room")
      assert_received {:counts_all, {:counts_ready, "room", 0, []}}
      assert counted(:counts_all, "room") == {1, bounds(1, 1)}
      :ok = Tracker.unwatch_counts(:counts_all, "room")
      assert counted(:counts_all, "room") == {1, bounds(1, 1)}
    end

    test "topics and options that are wrong" do
      start_supervised!({Diffs, [name: :counts_all, mode: :interest, counts: true]})
      long = String.duplicate("x", 257)
      assert Tracker.watch_counts(:counts_all, long) == {:error, {:topic_too_long, 257, 256}}
      assert_raise Headcount.Error, fn -> Tracker.watch_counts!(:counts_all, long) end
      assert Tracker.unwatch_counts(:counts_all, long) == :ok
      assert Tracker.count(:counts_all, long) == {:error, :not_watched}
      assert_raise ArgumentError, fn -> Tracker.watch_counts(:counts_all, 7) end
      assert_raise ArgumentError, fn -> Tracker.unwatch_counts(:counts_all, <<255>>) end

      for {options, message} <- [
            {[counts: 1], "counts must be true or false"},
            {[counts: true], "counts are for the mode :interest"},
            {[counts: true, relay: true], "counts are for the mode :interest"},
            {[counts: true, mode: :interest, partitions: 65_536], "at most 32768 with counts"}
          ] do
        options = [name: :counts_wrong] ++ options
        assert {:error, text} = Tracker.start_link(Diffs, [], options)
        assert text =~ message
      end

      widest = [name: :counts_wide, mode: :interest, counts: true, partitions: 32_768]
      start_supervised!({Diffs, widest}, id: :wide)
    end

    test "an operator is told, and of a node that does not count" do
      options = [counts: true, report_events_to: self()]

      log =
        capture_log(fn ->
          pair([:counts_a], [log_level: :info] ++ options)
          watch_counts(:counts_a, "room")
          assert_receive {:counts_ready, "room", _, []}
          plain = Keyword.merge(fast(), name: :counts_plain, cluster: "pair", node_name: "p")
          start_supervised!({Diffs, plain}, id: :plain)
          assert_receive {:shape_mismatch, _from, ours, theirs}

          assert {ours, theirs} ==
                   {{4_096, :interest, true, false}, {4_096, :interest, false, false}}
        end)

      assert log =~ ~s("room" can be counted)
      assert log =~ "this node has 4096 partitions in the mode interest with counts"
    end

    test "a transport without groups carries everything to all" do
      pair([:counts_a, :counts_b], transport: {Lossy, []}, counts: true)
      watch_counts(:counts_b, "room")
      for n <- 1..50, do: {:ok, _} = Tracker.track(:counts_a, self(), "room", n, %{})
      Wait.until(fn -> counted(:counts_b, "room") == {50, bounds(50, 50)} end)
      assert Tracker.size(:counts_b) == 0
    end

    defmodule Presence do
      use Headcount.Presence, otp_app: :headcount
    end

    test "a presence counts too" do
      start_supervised!({Presence, [node_name: "p", cluster: "pair", counts: true] ++ fast()})
      pair([:counts_a], counts: true)
      {:ok, _} = Tracker.track(:counts_a, idle(), "room", "ann", %{})
      watch_counts(Presence, "room")
      Wait.until(fn -> counted(Presence, "room") == {1, bounds(1, 1)} end)
      assert Presence.list("room") == {:error, :not_watched}
      {:ok, _} = Presence.track(self(), "room", "ann", %{})
      Wait.until(fn -> is_map(Presence.list("room")) end)
      Wait.until(fn -> counted(Presence, "room") == {2, bounds(1, 1)} end)
      :ok = Presence.untrack(self(), "room", "ann")
      Wait.until(fn -> Presence.list("room") == {:error, :not_watched} end)
      assert counted(Presence, "room") == {1, bounds(1, 1)}
    end
  end

  describe "several nodes" do
    @describetag :cluster
    @describetag timeout: 120_000
    @name :counts_cluster
    @server __MODULE__.Server

    setup context do
      options = [name: @name, counts: true] ++ fast() ++ Map.get(context, :options, [])
      {:ok, nodes: nodes_up([:a, :b, :c], options)}
    end

    defp tracker(node, function, args), do: Cluster.call(node, Tracker, function, [@name | args])

    defp counted_at(node, topic),
      do: {tracker(node, :count, [topic]), tracker(node, :count_keys, [topic])}

    defp nodes_that_count([a, b, c], topic) do
      Cluster.call(a, Cluster, :track_many, [@name, topic, 1..500])
      leaver = Cluster.call(b, Cluster, :track_many, [@name, topic, 401..600])
      assert counted_at(c, topic) == {{:error, :not_watched}, {:error, :not_watched}}
      {pid, told} = Cluster.call(c, Cluster, :watch, [@name, topic, :watch_counts])
      told = fn -> Cluster.call(c, Agent, :get, [told, Function, :identity, []]) end
      Wait.until(fn -> match?([{@name, {:counts_ready, ^topic, _, []}} | _], told.()) end)
      Wait.until(fn -> counted_at(c, topic) == {700, bounds(500, 700)} end)
      assert %{entries: 0, topics: 0} = tracker(c, :stats, [])

      # Entries are not sent to a node that counts.
      large = Cluster.call(c, Cluster, :count_frames, [@name])
      Cluster.call(a, Cluster, :track_many, [@name, topic, 601..700])
      Wait.until(fn -> counted_at(c, topic) == {800, bounds(600, 800)} end)
      frames = Cluster.call(c, Agent, :get, [large, Function, :identity, []])
      assert Map.get(frames, 3, 0) < 20

      Cluster.call(b, Process, :exit, [leaver, :kill])
      Wait.until(fn -> counted_at(c, topic) == {600, bounds(600, 600)} end)
      Cluster.call(b, Cluster, :track_many, [@name, topic, 1..10])
      Wait.until(fn -> counted_at(c, topic) == {610, bounds(600, 610)} end)
      Cluster.node_down(b)
      Wait.until(fn -> counted_at(c, topic) == {600, bounds(600, 600)} end)

      # A node on which the last watcher is killed counts nothing.
      Cluster.call(c, Process, :exit, [pid, :kill])
      Wait.until(fn -> tracker(c, :count, [topic]) == {:error, :not_watched} end)
    end

    test "count without entries, over Erlang distribution", %{nodes: nodes} do
      nodes_that_count(nodes, List.last(@topics))
    end

    @tag options: [pubsub_server: @server]
    test "count without entries, over Phoenix.PubSub", %{nodes: nodes} do
      nodes_that_count(nodes, "room")
    end

    @tag options: [ready_after: 300, down_period: 600_000, permdown_period: 1_200_000]
    test "a node that does not answer is missing until it is down", %{nodes: [a, b, c]} do
      Cluster.call(a, Cluster, :track_many, [@name, "room", [1]])
      Cluster.call(b, Cluster, :track_many, [@name, "room", [2]])
      Process.sleep(200)
      :ok = Cluster.call(b, :sys, :suspend, [:"#{@name}_replicator"])
      {_pid, told} = Cluster.call(c, Cluster, :watch, [@name, "room", :watch_counts])
      told = fn -> Cluster.call(c, Agent, :get, [told, Function, :identity, []]) end
      Wait.until(fn -> length(told.()) == 1 end)
      [{@name, {:counts_ready, "room", _, [missing]}}] = told.()
      assert to_string(b.node) == missing
      assert counted_at(c, "room") == {1, bounds(1, 1)}
      Cluster.node_down(b)
      Wait.until(fn -> match?([_, {@name, {:counts_ready, "room", _, []}}], told.()) end)
      assert counted_at(c, "room") == {1, bounds(1, 1)}
    end
  end
end
