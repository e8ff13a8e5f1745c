defmodule Headcount.WatchTest do
  # Mode `:interest`: nodes hold and are sent what they watch, on this node and on several.
  use ExUnit.Case, async: false

  import Headcount.Test.Interest

  alias Headcount.Test.{Cluster, Diffs, Lossy, Wait}
  alias Headcount.Tracker

  defp keys(name, topic), do: Enum.sort(for {key, _} <- Tracker.list!(name, topic), do: key)

  describe "one node" do
    test "a topic is read while it is watched" do
      pair([:watch_a, :watch_b])
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{n: 1})
      {:ok, _} = Tracker.track(:watch_a, self(), "hall", "ann", %{n: 1})
      assert Tracker.size(:watch_b) == 0

      for name <- [:watch_a, :watch_b] do
        assert Tracker.list(name, "room") == {:error, :not_watched}
        assert Tracker.get_by_key(name, "room", "ann") == {:error, :not_watched}
        assert Tracker.count(name, "room") == {:error, :not_watched}
        assert Tracker.count_keys(name, "room") == {:error, :not_watched}
        assert Tracker.Shard.dirty_list(:"#{name}_shard0", "room") == {:error, :not_watched}
      end

      assert_raise Headcount.Error, ~r/does not watch the topic/, fn ->
        Tracker.count!(:watch_b, "room")
      end

      # Writes need no watch, functions neither.
      {:ok, _} = Tracker.update(:watch_a, self(), "room", "ann", &Map.put(&1, :n, &1.n + 1))
      assert Tracker.update(:watch_b, self(), "room", "ann", & &1) == {:error, :nopresence}

      :ok = Tracker.watch(:watch_b, "room")
      assert_receive {:watch_b, {:ready, "room", age, []}}
      assert age <= 1_000
      Wait.until(fn -> match?([{"ann", %{n: 2}}], Tracker.list(:watch_b, "room")) end)
      assert [{_, %{n: 2}}] = Tracker.get_by_key!(:watch_b, "room", "ann")
      assert Tracker.count!(:watch_b, "room") == 1
      assert Tracker.count_keys!(:watch_b, "room") == %Headcount.Keys{at_least: 1, at_most: 1}
      assert Tracker.size(:watch_b) == 1

      {:ok, _} = Tracker.track(:watch_a, self(), "room", "bob", %{})
      Wait.until(fn -> keys(:watch_b, "room") == ["ann", "bob"] end)

      :ok = Tracker.unwatch(:watch_b, "room")
      :ok = Tracker.unwatch(:watch_b, "room")
      assert Tracker.list(:watch_b, "room") == {:error, :not_watched}
      assert Tracker.size(:watch_b) == 2
      Wait.until(fn -> Tracker.size(:watch_b) == 0 end)
    end

    test "a topic that was just watched is not ready" do
      start_supervised!({Diffs, [name: :watch_slow, broadcast_period: 600_000] ++ slow()})
      :ok = Tracker.watch(:watch_slow, "room")
      assert Tracker.list(:watch_slow, "room") == {:error, :not_ready}
      assert Tracker.count_keys(:watch_slow, "room") == {:error, :not_ready}
      refute_receive {:watch_slow, _}, 100
    end

    defp slow, do: [mode: :interest, down_period: 6_000_000, permdown_period: 60_000_000]

    test "watches are counted for each process and end with it" do
      pair([:watch_a, :watch_b])
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{})
      one = watcher(:watch_b, ["room", "room", "hall"])
      assert_receive {^one, {:watch_b, {:ready, "room", _, []}}}
      # It is ready, so another one is told at once.
      two = watcher(:watch_b, ["room"])
      assert_receive {^two, {:watch_b, {:ready, "room", _, []}}}
      :ok = Tracker.unwatch(:watch_b, "room")
      Wait.until(fn -> keys(:watch_b, "room") == ["ann"] end)

      kill(two)
      assert in_process(one, fn -> Tracker.unwatch(:watch_b, "room") end) == :ok
      assert keys(:watch_b, "room") == ["ann"]
      assert in_process(one, fn -> Tracker.unwatch(:watch_b, "room") end) == :ok
      Wait.until(fn -> Tracker.list(:watch_b, "room") == {:error, :not_watched} end)
      Wait.until(fn -> Tracker.list(:watch_b, "hall") == [] end)

      kill(one)
      Wait.until(fn -> Tracker.list(:watch_b, "hall") == {:error, :not_watched} end)
      Wait.until(fn -> Tracker.size(:watch_b) == 0 end)
    end

    test "many watchers that are killed leave nothing behind" do
      pair([:watch_a, :watch_b])
      {:ok, _} = Tracker.track(:watch_a, self(), "room 7", "ann", %{})

      watchers =
        for n <- 1..2_000 do
          spawn(fn ->
            topic = "room #{rem(n, 100)}"
            :ok = Tracker.watch(:watch_b, topic)
            if rem(n, 3) == 0, do: :ok = Tracker.unwatch(:watch_b, topic)
            Process.sleep(:infinity)
          end)
        end

      for pid <- watchers, do: Process.exit(pid, :kill)

      Wait.until(fn ->
        Enum.all?(0..99, &(Tracker.list(:watch_b, "room #{&1}") == {:error, :not_watched}))
      end)

      Wait.until(fn -> Tracker.size(:watch_b) == 0 end)
      :ok = Tracker.watch(:watch_b, "room 7")
      assert_receive {:watch_b, {:ready, "room 7", _, []}}
      Wait.until(fn -> keys(:watch_b, "room 7") == ["ann"] end)
    end

    test "watches survive the process that moves frames, and the shards" do
      pair([:watch_a, :watch_b])
      :ok = Tracker.watch(:watch_b, "room")
      assert_receive {:watch_b, {:ready, "room", _, []}}

      for part <- [:watch_b_replicator, :watch_b_shard0] do
        kill(Process.whereis(part))
        Wait.until(fn -> Process.whereis(part) != nil end)
        {:ok, _} = Tracker.track(:watch_a, self(), "room", part, %{})
        Wait.until(fn -> part in keys(:watch_b, "room") end)
        :ok = Tracker.watch(:watch_b, "#{part}")
        topic = "#{part}"
        assert_receive {:watch_b, {:ready, ^topic, _, []}}
      end
    end

    test "diffs have watched topics only, and the end of a watch is told" do
      test = self()

      defmodule Mirror do
        use Headcount.Tracker

        @impl true
        def init(test), do: {:ok, test}

        @impl true
        def handle_diff(diff, test) do
          send(test, {:mirror, diff})
          {:ok, test}
        end

        @impl true
        def handle_unwatched(topic, test) do
          send(test, {:mirror, :unwatched, topic})
          {:ok, test}
        end
      end

      pair([:watch_a])
      options = Keyword.merge(fast(), name: :watch_m, cluster: "pair", node_name: "m")
      {:ok, _} = Tracker.start_link(Mirror, test, options ++ [pool_size: 3])
      {:ok, _} = Tracker.track(:watch_a, self(), "hall", "ann", %{})
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{})
      {:ok, _} = Tracker.track(:watch_m, self(), "hall", "own", %{})
      :ok = Tracker.watch(:watch_m, "room")
      assert_receive {:mirror, %{"room" => {[{"ann", _}], []}} = diff}
      assert Map.keys(diff) == ["room"]
      :ok = Tracker.unwatch(:watch_m, "room")
      assert_receive {:mirror, :unwatched, "room"}
      Wait.until(fn -> Tracker.size(:watch_m) == 1 end)
      refute_received {:mirror, _}
      Supervisor.stop(:watch_m)
    end

    test "in mode :all a watch is ready at once and changes nothing" do
      start_supervised!({Diffs, [name: :watch_all]})
      :ok = Tracker.watch(:watch_all, "room")
      assert_received {:watch_all, {:ready, "room", 0, []}}
      assert Tracker.list(:watch_all, "room") == []
      :ok = Tracker.unwatch(:watch_all, "room")
      assert Tracker.list(:watch_all, "room") == []
    end

    test "topics and options that are wrong" do
      start_supervised!({Diffs, [name: :watch_all]})
      long = String.duplicate("x", 257)
      assert Tracker.watch(:watch_all, long) == {:error, {:topic_too_long, 257, 256}}
      assert_raise ArgumentError, fn -> Tracker.watch(:watch_all, 7) end
      assert_raise ArgumentError, fn -> Tracker.unwatch(:watch_all, 7) end

      for {option, message} <- [
            [mode: :some] |> refused("mode must be :all or :interest"),
            [unwatch_after: -1] |> refused("unwatch_after must be 0 or a positive integer"),
            [watch_tracked: 1] |> refused("watch_tracked must be true or false")
          ] do
        assert {:error, text} = Tracker.start_link(Diffs, [], [name: :watch_wrong] ++ option)
        assert text =~ message
      end

      Process.flag(:trap_exit, true)
      transport = {Headcount.Transport.PG, groups_max: :many}
      options = [name: :watch_wrong, transport: transport]
      assert {:error, {:shutdown, {_, _, reason}}} = Tracker.start_link(Diffs, [], options)
      assert reason == "groups_max must be 0 or a positive integer"
    end

    defp refused(option, message), do: {option, message}
  end

  describe "transports" do
    test "a transport without groups carries everything to all" do
      pair([:watch_a, :watch_b], transport: {Lossy, []})
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{})
      :ok = Tracker.watch(:watch_b, "room")
      assert_receive {:watch_b, {:ready, "room", _, []}}
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "bob", %{})
      Wait.until(fn -> keys(:watch_b, "room") == ["ann", "bob"] end)
    end

    test "an adapter of Phoenix.PubSub without Erlang distribution broadcasts everything" do
      server = __MODULE__.Redis
      start_supervised!(%{id: :redis, start: {Phoenix.PubSub, :start_link, [server]}})

      :ok =
        Registry.put_meta(server, :pubsub, {Phoenix.PubSub.Redis, Module.concat(server, Adapter)})

      pair([:watch_a, :watch_b], pubsub_server: server)
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{})
      :ok = Tracker.watch(:watch_b, "room")
      assert_receive {:watch_b, {:ready, "room", _, []}}
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "bob", %{})
      Wait.until(fn -> keys(:watch_b, "room") == ["ann", "bob"] end)
      assert Tracker.list(:watch_b, "hall") == {:error, :not_watched}
      group = {{Headcount.Transport.PubSub, server, "headcount:pair"}, :all}
      assert :pg.get_members(Headcount.Transport.PG, group) == []
      of_pub_sub = &match?({{Headcount.Transport.PubSub, _, _}, _}, &1)
      assert Enum.filter(:pg.which_groups(Headcount.Transport.PG), of_pub_sub) == []
    end

    test "Phoenix.PubSub with Erlang distribution has a group for each partition" do
      server = __MODULE__.Local
      start_supervised!(%{id: :local, start: {Phoenix.PubSub, :start_link, [server]}})
      pair([:watch_a, :watch_b], pubsub_server: server)
      :ok = Phoenix.PubSub.subscribe(server, "headcount:pair")
      :ok = Tracker.watch(:watch_b, "room")
      assert_receive {:watch_b, {:ready, "room", _, []}}
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{})
      Wait.until(fn -> keys(:watch_b, "room") == ["ann"] end)
      # Kind 3 is a Delta, which no broadcast carries.
      assert_receive {Headcount.Transport.PubSub, _, :all, <<"HC", _::16, 2, _::binary>>}
      refute_received {Headcount.Transport.PubSub, _, _, <<"HC", _::16, 3, _::binary>>}
    end

    test "above `groups_max` a node is in the group of all" do
      pair([:watch_a, :watch_b], transport: {Headcount.Transport.PG, groups_max: 3})
      all = {{Headcount.Transport.PG, "pair"}, :all}
      for n <- 1..3, do: :ok = Tracker.watch(:watch_b, "room #{n}")
      for n <- 1..3, do: assert_receive({:watch_b, {:ready, _, _, []}}, 5_000, "#{n}")
      assert :pg.get_members(Headcount.Transport.PG, all) == []
      for n <- 4..20, do: :ok = Tracker.watch(:watch_b, "room #{n}")
      for n <- 4..20, do: assert_receive({:watch_b, {:ready, _, _, []}}, 5_000, "#{n}")
      replicator = Process.whereis(:watch_b_replicator)
      assert :pg.get_members(Headcount.Transport.PG, all) == [replicator]

      for n <- 1..20 do
        {:ok, _} = Tracker.track(:watch_a, self(), "room #{n}", "ann", %{})
        Wait.until(fn -> keys(:watch_b, "room #{n}") == ["ann"] end)
      end
    end

    defmodule Reluctant do
      @moduledoc false
      # Refuses each subscription once, and tells a process.
      @behaviour Headcount.Transport
      alias Headcount.Transport.PG

      @impl true
      def init(cluster, options) do
        {:ok, inner} = PG.init(cluster, [])
        {:ok, {inner, options[:to], []}}
      end

      @impl true
      def transmit(to, frame, {inner, test, calls}),
        do: {PG.transmit(to, frame, inner), test, calls}

      @impl true
      def subscribe(partition, state), do: call(:subscribe, partition, state)

      @impl true
      def unsubscribe(partition, state), do: call(:unsubscribe, partition, state)

      defp call(function, partition, {inner, test, calls}) do
        send(test, {function, partition})
        key = {__MODULE__, function, partition}
        first? = Process.put(key, true) == nil
        if first?, do: raise("no #{function}")
        {apply(PG, function, [partition, inner]), test, calls}
      end

      @impl true
      def handle_info(message, {inner, test, calls}) do
        case PG.handle_info(message, inner) do
          :unknown ->
            :unknown

          answer ->
            size = tuple_size(answer)
            put_elem(answer, size - 1, {elem(answer, size - 1), test, calls})
        end
      end

      @impl true
      def trusted?(_state), do: true
    end

    test "a transport that fails to subscribe is asked again" do
      pair([:watch_a, :watch_b], transport: {Reluctant, to: self()})
      :ok = Tracker.watch(:watch_b, "room")
      assert_receive {:subscribe, partition}
      assert_receive {:subscribe, ^partition}
      assert_receive {:watch_b, {:ready, "room", _, []}}
      {:ok, _} = Tracker.track(:watch_a, self(), "room", "ann", %{})
      Wait.until(fn -> keys(:watch_b, "room") == ["ann"] end)
      :ok = Tracker.unwatch(:watch_b, "room")
      assert_receive {:unsubscribe, ^partition}
      assert_receive {:unsubscribe, ^partition}
      Wait.until(fn -> Tracker.size(:watch_b) == 0 end)
    end
  end

  describe "a presence" do
    defmodule Presence do
      use Headcount.Presence, otp_app: :headcount, pubsub_server: Headcount.WatchTest.PubSub

      @impl true
      def init(_), do: {:ok, nil}

      @impl true
      def handle_metas(topic, _diff, presences, state) do
        Phoenix.PubSub.local_broadcast(
          Headcount.WatchTest.PubSub,
          "metas",
          {:metas, topic, Enum.sort(Map.keys(presences))}
        )

        {:ok, state}
      end
    end

    setup do
      start_supervised!(%{id: :server, start: {Phoenix.PubSub, :start_link, [__MODULE__.PubSub]}})
      options = Keyword.merge(fast(), cluster: "pair", transport: Headcount.Transport.PG)
      start_supervised!({Presence, [node_name: "p"] ++ options})
      pair([:watch_a])
      :ok
    end

    defp idle, do: spawn(fn -> Process.sleep(:infinity) end)

    test "watches a topic while a process of its node is tracked in it" do
      {:ok, _} = Tracker.track(:watch_a, idle(), "room", "ann", %{})
      :ok = Phoenix.PubSub.subscribe(__MODULE__.PubSub, "room")
      assert Presence.list("room") == {:error, :not_watched}
      pid = idle()
      {:ok, _} = Presence.track(pid, "room", "own", %{})
      assert Presence.list("room") != {:error, :not_watched}
      assert Presence.get_by_key("room", "own") != {:error, :not_watched}
      :ok = Tracker.watch(Presence, "room")
      assert_receive {Presence, {:ready, "room", _, []}}
      Wait.until(fn -> Enum.sort(Map.keys(Presence.list("room"))) == ["ann", "own"] end)
      assert %{metas: [_]} = Presence.get_by_key("room", "ann")
      {:ok, _} = Tracker.track(:watch_a, idle(), "room", "bob", %{})
      assert_receive %{event: "presence_diff", payload: %{joins: %{"bob" => _}}}

      :ok = Tracker.unwatch(Presence, "room")
      assert map_size(Presence.list("room")) == 3
      :ok = Presence.untrack(pid, "room", "own")
      Wait.until(fn -> Presence.list("room") == {:error, :not_watched} end)
      Wait.until(fn -> Tracker.size(Presence) == 0 end)
    end

    test "that are killed, untracked or expire end the watch" do
      for {end_it, n} <-
            Enum.with_index([&kill/1, &Tracker.untrack(Presence, &1), &Function.identity/1]) do
        pid = idle()
        topic = "room #{n}"
        options = if n == 2, do: [ttl: 400], else: []
        {:ok, _} = Tracker.track(Presence, pid, topic, "own", %{}, options)
        [{:ok, _}] = Tracker.track_many(Presence, [{pid, topic, "more", %{}}], options)
        Wait.until(fn -> is_map(Presence.list(topic)) end)
        end_it.(pid)
        Wait.until(fn -> Presence.list(topic) == {:error, :not_watched} end)
      end

      Wait.until(fn -> Tracker.size(Presence) == 0 end)
    end

    test "that come and go without pause in many processes leave the right watches" do
      loops =
        for n <- 1..8 do
          Task.async(fn ->
            for m <- 1..200 do
              topic = "room #{rem(n * m, 5)}"
              {:ok, _} = Presence.track(self(), topic, n, %{})
              :ok = Presence.untrack(self(), topic, n)
            end

            if n <= 3, do: {:ok, _} = Presence.track(self(), "room #{n}", n, %{})
            if n <= 3, do: Process.sleep(2_000)
          end)
        end

      Enum.each(Enum.drop(loops, 3), &Task.await(&1, 60_000))

      Wait.until(fn ->
        watched = for n <- 0..4, Presence.list("room #{n}") != {:error, :not_watched}, do: n
        watched == [1, 2, 3]
      end)

      Enum.each(Enum.take(loops, 3), &Task.await(&1, 60_000))

      Wait.until(fn ->
        Enum.all?(0..4, &(Presence.list("room #{&1}") == {:error, :not_watched}))
      end)
    end

    test "gives handle_metas all that there is after a pause of the watch" do
      :ok = Phoenix.PubSub.subscribe(__MODULE__.PubSub, "metas")
      [ann, bob, own] = for _ <- 1..3, do: idle()
      {:ok, _} = Tracker.track(:watch_a, ann, "room", "ann", %{})
      {:ok, _} = Tracker.track(:watch_a, bob, "room", "bob", %{})
      {:ok, _} = Presence.track(own, "room", "own", %{})
      Wait.until(fn -> is_map(Presence.list("room")) and map_size(Presence.list("room")) == 3 end)
      :ok = Presence.untrack(own, "room", "own")
      Wait.until(fn -> Presence.list("room") == {:error, :not_watched} end)
      :ok = Tracker.untrack(:watch_a, ann)
      Wait.until(fn -> Tracker.size(Presence) == 0 end)
      {:ok, _} = Presence.track(own, "room", "own", %{})
      Wait.until(fn -> is_map(Presence.list("room")) end)
      Wait.until(fn -> Enum.sort(Map.keys(Presence.list("room"))) == ["bob", "own"] end)
      {:ok, _} = Tracker.track(:watch_a, ann, "room", "cleo", %{})
      assert_receive {:metas, "room", ["bob", "cleo", "own"]}
    end
  end

  describe "several nodes" do
    @describetag :cluster
    @describetag timeout: 120_000
    @name :watch_cluster
    @server __MODULE__.Server

    setup context do
      options = [name: @name] ++ fast() ++ Map.get(context, :options, [])
      {:ok, nodes: nodes_up([:a, :b, :c], options)}
    end

    defp tracker(node, function, args), do: Cluster.call(node, Tracker, function, [@name | args])
    defp watch(node, topic), do: Cluster.call(node, Cluster, :watch, [@name, topic])

    defp told(node, {_pid, told}),
      do: Cluster.call(node, Agent, :get, [told, Function, :identity, []])

    defp frames(node, spy), do: Cluster.call(node, Agent, :get, [spy, Function, :identity, []])

    defp keys_at(node, topic) do
      case tracker(node, :list, [topic]) do
        {:error, reason} -> reason
        entries -> Enum.sort(for {key, _} <- entries, do: key)
      end
    end

    defp nodes_that_watch([a, b, c] = nodes) do
      Cluster.call(a, Cluster, :track_many, [@name, "room", 1..500])
      Cluster.call(b, Cluster, :track_many, [@name, "room", 501..600])
      Cluster.call(b, Cluster, :track_many, [@name, "hall", 1..500])
      for node <- nodes, do: assert(keys_at(node, "room") == :not_watched)
      assert tracker(c, :size, []) == 0

      watcher = watch(c, "room")
      Wait.until(fn -> match?([{@name, {:ready, "room", _, []}} | _], told(c, watcher)) end)
      Wait.until(fn -> keys_at(c, "room") == Enum.to_list(1..600) end)
      assert tracker(c, :size, []) == 600

      # What is not watched does not arrive.
      spy = Cluster.call(c, Cluster, :count_frames, [@name])
      before = deltas(frames(c, spy))
      Cluster.call(b, Cluster, :track_many, [@name, "hall", 501..700])
      Process.sleep(300)
      assert deltas(frames(c, spy)) == before
      Cluster.call(a, Cluster, :track_many, [@name, "room", 601..601])
      Wait.until(fn -> 601 in keys_at(c, "room") end)
      assert deltas(frames(c, spy)) == before + 1

      # A node that is killed is gone from the list, and is missed by nobody.
      Cluster.node_down(b)
      Wait.until(fn -> keys_at(c, "room") == Enum.to_list(1..500) ++ [601] end)
      other = watch(c, "hall")
      Wait.until(fn -> match?([{@name, {:ready, "hall", _, []}} | _], told(c, other)) end)
      assert keys_at(c, "hall") == []

      # A watcher that is killed watches nothing.
      {pid, _told} = watcher
      Cluster.call(c, Process, :exit, [pid, :kill])
      Wait.until(fn -> keys_at(c, "room") == :not_watched end)
      Wait.until(fn -> tracker(c, :size, []) == 0 end)
    end

    # Kind 3 of a frame.
    defp deltas(frames), do: Map.get(frames, 3, 0)

    test "hold and are sent what they watch, over Erlang distribution", %{nodes: nodes} do
      nodes_that_watch(nodes)
    end

    @tag options: [pubsub_server: @server]
    test "hold and are sent what they watch, over Phoenix.PubSub", %{nodes: nodes} do
      nodes_that_watch(nodes)
    end

    @tag options: [ready_after: 300, down_period: 600_000, permdown_period: 1_200_000]
    test "a node that does not answer is missing until it is down", %{nodes: [a, b, c]} do
      Cluster.call(a, Cluster, :track_many, [@name, "room", [1]])
      Cluster.call(b, Cluster, :track_many, [@name, "room", [2]])
      Process.sleep(200)
      :ok = Cluster.call(b, :sys, :suspend, [:"#{@name}_replicator"])
      watcher = watch(c, "room")
      Wait.until(fn -> length(told(c, watcher)) == 1 end)
      [{@name, {:ready, "room", _, [missing]}}] = told(c, watcher)
      assert to_string(b.node) == missing
      assert keys_at(c, "room") == [1]
      Cluster.node_down(b)
      Wait.until(fn -> match?([_, {@name, {:ready, "room", _, []}}], told(c, watcher)) end)
      assert keys_at(c, "room") == [1]
    end
  end
end
