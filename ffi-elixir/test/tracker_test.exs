defmodule Headcount.TrackerTest do
  use ExUnit.Case, async: true

  alias Headcount.Test.Diffs
  alias Headcount.Test.Wait
  alias Headcount.Tracker

  setup context do
    name = :"tracker_#{:erlang.phash2(context.test)}"
    options = Map.get(context, :options, [])
    start_supervised!({Diffs, [name: name, to: self()] ++ options})
    {:ok, name: name}
  end

  defp spawn_idle, do: spawn(fn -> Process.sleep(:infinity) end)

  # Joins and leaves of a topic, as often as they are told.
  defp changes(topic, joins, leaves, seen \\ {[], []})

  defp changes(_topic, joins, leaves, {j, l}) when length(j) >= joins and length(l) >= leaves,
    do: {j, l}

  defp changes(topic, joins, leaves, {j, l}) do
    receive do
      {:diff, %{^topic => {more_joins, more_leaves}}, _shard} ->
        changes(topic, joins, leaves, {j ++ more_joins, l ++ more_leaves})
    after
      10_000 -> flunk("changes seen: #{inspect({j, l})}")
    end
  end

  defp follow(topic, here, last) do
    assert_receive {:diff, %{^topic => {joins, leaves}}, _shard}, 10_000
    joined = for {_key, meta} = join <- joins, into: %{}, do: {meta.phx_ref, join}
    assert map_size(joined) == length(joins) and Map.take(here, Map.keys(joined)) == %{}

    here =
      Enum.reduce(leaves, Map.merge(here, joined), fn {_key, meta} = leave, here ->
        assert Map.get(here, meta.phx_ref, leave) == leave
        Map.delete(here, meta.phx_ref)
      end)

    if List.keymember?(joins, last, 0), do: here, else: follow(topic, here, last)
  end

  describe "the contract of Phoenix.Tracker" do
    test "track, list, get_by_key, update, untrack", %{name: name} do
      pid = spawn_idle()
      assert {:ok, ref} = Tracker.track(name, pid, "room", {:user, 1}, %{n: 1})
      assert Tracker.list(name, "room") == [{{:user, 1}, %{n: 1, phx_ref: ref}}]
      assert Tracker.get_by_key(name, "room", {:user, 1}) == [{pid, %{n: 1, phx_ref: ref}}]

      assert Tracker.track(name, pid, "room", {:user, 1}, %{}) ==
               {:error, {:already_tracked, pid, "room", {:user, 1}}}

      assert {[{{:user, 1}, %{phx_ref: ^ref}}], []} = changes("room", 1, 0)
      assert Tracker.update(name, pid, "room", :nobody, %{}) == {:error, :nopresence}
      assert Tracker.update(name, pid, "room", :nobody, & &1) == {:error, :nopresence}
      assert {:ok, second} = Tracker.update(name, pid, "room", {:user, 1}, %{n: 2})
      assert second != ref

      assert Tracker.list(name, "room") ==
               [{{:user, 1}, %{n: 2, phx_ref: second, phx_ref_prev: ref}}]

      assert {[{_, %{n: 2, phx_ref: ^second, phx_ref_prev: ^ref}}], [{_, %{n: 1, phx_ref: ^ref}}]} =
               changes("room", 1, 1)

      assert {:ok, third} = Tracker.update(name, pid, "room", {:user, 1}, &%{&1 | n: &1.n + 1})
      assert [{_, %{n: 3, phx_ref: ^third, phx_ref_prev: ^second}}] = Tracker.list(name, "room")
      assert Tracker.untrack(name, pid, "room", {:user, 1}) == :ok
      assert Tracker.untrack(name, pid, "room", {:user, 1}) == :ok
      assert Tracker.list(name, "room") == []
    end

    test "what leaves has the meta it joined with", %{name: name} do
      for n <- 1..100 do
        {:ok, _} = Tracker.track(name, self(), "room", "ann", %{n: n})

        for m <- 1..rem(n, 4)//1,
            do: {:ok, _} = Tracker.update(name, self(), "room", "ann", %{m: m})

        if rem(n, 5) == 0, do: changes("room", 1, 0)
        :ok = Tracker.untrack(name, self(), "room", "ann")
      end

      {:ok, _} = Tracker.track(name, self(), "room", "end", %{})
      # By reference: an entry joins at most once, and leaves as it joined or as it was listed.
      assert [{"end", _}] = Map.values(follow("room", %{}, "end"))
    end

    test "a user's own :phx_ref is replaced", %{name: name} do
      {:ok, ref} = Tracker.track(name, self(), "room", 1, %{phx_ref: "mine"})
      assert [{1, %{phx_ref: ^ref}}] = Tracker.list(name, "room")
    end

    test "many keys of a process, many processes of a key", %{name: name} do
      [a, b] = [spawn_idle(), spawn_idle()]
      for key <- [1, 2], pid <- [a, b], do: {:ok, _} = Tracker.track(name, pid, "room", key, %{})
      {:ok, _} = Tracker.track(name, a, "other", 1, %{})
      assert length(Tracker.list(name, "room")) == 4
      assert Tracker.count(name, "room") == 4
      assert Tracker.count_keys(name, "room") == %Headcount.Keys{at_least: 2, at_most: 2}
      assert Enum.sort(for {pid, _} <- Tracker.get_by_key(name, "room", 1), do: pid) == [a, b]
      assert Tracker.untrack(name, a) == :ok
      assert Tracker.size(name) == 2
    end

    test "a process that dies leaves, and so does one that was dead already", %{name: name} do
      pid = spawn_idle()
      {:ok, ref} = Tracker.track(name, pid, "room", 1, %{})
      changes("room", 1, 0)
      Process.exit(pid, :kill)
      assert {[], [{1, %{phx_ref: ^ref}}]} = changes("room", 0, 1)
      assert Tracker.list(name, "room") == []

      {:ok, _} = Tracker.track(name, pid, "dead", 1, %{})
      Wait.until(fn -> Tracker.list(name, "dead") == [] end)

      # The same process is tracked and dies again and again.
      for n <- 1..200 do
        pid = spawn(fn -> :ok end)
        {:ok, _} = Tracker.track(name, pid, "gone", n, %{})
        {:ok, _} = Tracker.track(name, pid, "gone", {:again, n}, %{})
      end

      Wait.until(fn -> Tracker.size(name) == 0 end)
    end

    test "reading and writing inside handle_diff works" do
      test = self()

      on_diff = fn diff ->
        send(test, {:inside, Tracker.list(:inside, "room")})

        for {"room", {[{key, _} | _], []}} <- diff, key != :more do
          {:ok, _} = Tracker.update(:inside, test, "room", key, & &1)
          {:ok, _} = Tracker.track(:inside, test, "more", :more, %{})
        end
      end

      start_supervised!({Diffs, name: :inside, on_diff: on_diff}, id: :inside)
      {:ok, _} = Tracker.track(:inside, self(), "room", 1, %{})
      assert_receive {:inside, [{1, _}]}
      Wait.until(fn -> Tracker.count(:inside, "more") == 1 end)
    end

    test "other messages go to handle_info", %{name: name} do
      send(:"#{name}_shard0", :hello)
      assert_receive {:info, :hello}
      assert Tracker.Shard.dirty_list(:"#{name}_shard0", "room") == []
    end

    @tag options: [pool_size: 3]
    test "a pool of shards shares one state", %{name: name} do
      for n <- 1..50, do: {:ok, _} = Tracker.track(name, self(), "room#{n}", n, %{})
      assert topics(50) == MapSet.new(1..50, &"room#{&1}")
      assert Tracker.size(name) == 50
      assert Tracker.untrack(name, self()) == :ok
      assert topics(50) == MapSet.new(1..50, &"room#{&1}")
    end
  end

  # The topics of that many changes.
  defp topics(0), do: MapSet.new()

  defp topics(left) do
    receive do
      {:diff, diff, _} -> MapSet.union(MapSet.new(Map.keys(diff)), topics(left - map_size(diff)))
    after
      10_000 -> flunk("#{left} are missing")
    end
  end

  describe "diffs" do
    test "a hundred thousand exits are a few calls", %{name: name} do
      # One process owns as many entries as others have processes; both ways of leaving at once.
      pids = for _ <- 1..20_000, do: spawn_idle()
      for {pid, n} <- Enum.with_index(pids), do: Tracker.track(name, pid, "room", n, %{})
      Wait.until(fn -> Tracker.count(name, "room") == 20_000 end)
      changes("room", 20_000, 0)
      Enum.each(pids, &Process.exit(&1, :kill))
      Wait.until(fn -> Tracker.count(name, "room") == 0 end)
      calls = count_calls(20_000, 0)
      assert calls < 400
    end

    test "changes of an entry come as one", %{name: name} do
      for n <- 1..1_000 do
        {:ok, _} = Tracker.track(name, self(), "flash", 1, %{n: n})
        {:ok, _} = Tracker.update(name, self(), "flash", 1, %{n: -n})
        :ok = Tracker.untrack(name, self(), "flash", 1)
      end

      {:ok, _} = Tracker.track(name, self(), "last", 1, %{})
      {joins, leaves} = flashes({[], []})
      assert length(joins) < 500
      # Any version may have been listed, so each one leaves.
      assert length(leaves) == 2_000
      assert joins -- leaves == []
    end

    # The changes of one topic until a change of the last one comes.
    defp flashes({joins, leaves}) do
      receive do
        {:diff, diff, _} ->
          {more_joins, more_leaves} = Map.get(diff, "flash", {[], []})
          seen = {joins ++ more_joins, leaves ++ more_leaves}
          if is_map_key(diff, "last"), do: seen, else: flashes(seen)
      after
        5_000 -> flunk("the last change is missing")
      end
    end

    defp count_calls(0, calls), do: calls

    defp count_calls(left, calls) do
      receive do
        {:diff, %{"room" => {[], leaves}}, _} -> count_calls(left - length(leaves), calls + 1)
      after
        10_000 -> flunk("#{left} leaves are missing")
      end
    end
  end

  describe "crashes" do
    @tag :capture_log
    test "a raise in handle_diff restarts the shard and loses nothing" do
      test = self()
      on_diff = fn diff -> if is_map_key(diff, "bomb"), do: raise("boom") end
      start_supervised!({Diffs, name: :bomb, to: test, on_diff: on_diff}, id: :bomb)
      pid = spawn_idle()
      {:ok, _} = Tracker.track(:bomb, pid, "room", 1, %{})
      assert_receive {:diff, %{"room" => _}, shard}
      ref = Process.monitor(shard)
      {:ok, _} = Tracker.track(:bomb, pid, "bomb", 1, %{})
      assert_receive {:DOWN, ^ref, :process, ^shard, _}
      assert Process.alive?(pid)
      Wait.until(fn -> Process.whereis(:bomb_shard0) end)
      assert [{1, _}] = Tracker.list(:bomb, "room")
      assert {:error, {:already_tracked, _, _, _}} = Tracker.track(:bomb, pid, "room", 1, %{})

      # It is watched again.
      Process.exit(pid, :kill)
      Wait.until(fn -> Tracker.size(:bomb) == 0 end)
    end

    @tag :capture_log
    test "changes of other topics in the batch of a raise arrive, and those during a restart" do
      test = self()

      on_diff = fn diff ->
        if is_map_key(diff, "bomb"), do: raise("boom")
        send(test, {:seen, Map.keys(diff)})
      end

      start_supervised!({Diffs, name: :batch, on_diff: on_diff}, id: :batch)
      topics = for n <- 1..20, do: "room #{n}"

      for round <- 1..5 do
        for topic <- ["bomb" | topics] do
          {:ok, _} = Tracker.track(:batch, self(), topic, round, %{})
        end

        assert seen(topics) == :ok
        shard = Process.whereis(:batch_shard0)
        if shard, do: Process.exit(shard, :kill)
        {:ok, _} = Tracker.track(:batch, self(), "kill", round, %{})
        assert seen(["kill"]) == :ok
      end
    end

    # A batch that failed may come twice.
    defp seen([]), do: :ok

    defp seen(topics) do
      assert_receive {:seen, more}
      seen(topics -- more)
    end

    test "a function that raises or returns no map raises in the caller", %{name: name} do
      {:ok, ref} = Tracker.track(name, self(), "room", 1, %{})
      shard = Process.whereis(:"#{name}_shard0")

      assert_raise RuntimeError, "boom", fn ->
        Tracker.update(name, self(), "room", 1, fn _ -> raise "boom" end)
      end

      assert_raise ArgumentError, ~r/meta must be a map/, fn ->
        Tracker.update(name, self(), "room", 1, fn _ -> :no_map end)
      end

      assert catch_throw(Tracker.update(name, self(), "room", 1, fn _ -> throw(:out) end)) == :out
      assert Process.whereis(:"#{name}_shard0") == shard
      assert [{1, %{phx_ref: ^ref}}] = Tracker.list(name, "room")
    end

    test "the replicator restarts and goes on", %{name: name} do
      {:ok, _} = Tracker.track(name, self(), "room", 1, %{})
      changes("room", 1, 0)
      Process.exit(Process.whereis(:"#{name}_replicator"), :kill)
      {:ok, _} = Tracker.track(name, self(), "room", 2, %{})
      {:ok, _} = Tracker.track(name, self(), "room", 3, %{})
      changes("room", 2, 0)
    end

    @tag :capture_log
    test "a replicator that is killed at any moment loses and repeats no change" do
      for round <- 1..10 do
        name = :"killed#{round}"
        start_supervised!({Diffs, name: name, to: self()}, id: name)
        # As many restarts as the supervisor allows.
        for n <- 1..99, do: track_and_kill(name, n)
        {:ok, _} = Tracker.track(name, self(), "room", "end", %{})
        here = Map.values(follow("room", %{}, "end"))
        assert Enum.sort(here) == Enum.sort(Tracker.list(name, "room"))
        stop_supervised!(name)
      end
    end

    defp track_and_kill(name, n) do
      for m <- 1..20, do: {:ok, _} = Tracker.track(name, self(), "room", {n, m}, %{})
      if pid = Process.whereis(:"#{name}_replicator"), do: Process.exit(pid, :kill)
      {:ok, _} = Tracker.track(name, self(), "room", n, %{})
      if rem(n, 3) == 0, do: Process.sleep(rem(n, 4))
    end

    @tag options: [link: true]
    test "with link: true the owner is linked", %{name: name} do
      pid = spawn_idle()
      {:ok, _} = Tracker.track(name, pid, "room", 1, %{})
      shard = Process.whereis(:"#{name}_shard0")
      Wait.until(fn -> {:links, [shard]} == Process.info(pid, :links) end)
      {:ok, _} = Tracker.track(name, spawn(fn -> :ok end), "room", 2, %{})
      Process.exit(pid, :boom)
      Wait.until(fn -> Tracker.list(name, "room") == [] end)
      assert Process.alive?(shard)
    end

    @tag options: [link: true]
    test "with link: true the owner is linked while it has entries", %{name: name} do
      pid = spawn_idle()
      shard = Process.whereis(:"#{name}_shard0")
      linked = fn links -> Wait.until(fn -> {:links, links} == Process.info(pid, :links) end) end

      for _ <- 1..3 do
        for key <- [1, 2], do: {:ok, _} = Tracker.track(name, pid, "room", key, %{})
        linked.([shard])
        :ok = Tracker.untrack(name, pid, "room", 1)
        :ok = Tracker.untrack(name, pid, "room", 1)
        {:ok, _} = Tracker.track(name, pid, "room", 3, %{})
        :ok = Tracker.untrack(name, pid, "room", 2)
        _ = :sys.get_state(shard)
        linked.([shard])
        :ok = Tracker.untrack(name, pid, "room", 3)
        linked.([])
        for key <- [1, 2], do: {:ok, _} = Tracker.track(name, pid, "room", key, %{})
        linked.([shard])
        :ok = Tracker.untrack(name, pid)
        linked.([])
      end

      assert %{monitors: monitors} = :sys.get_state(shard)
      assert monitors == %{}
    end

    @tag options: [link: true, grace: 50]
    test "with link: true an owner whose entries left by themselves is unlinked", %{name: name} do
      shard = Process.whereis(:"#{name}_shard0")

      linked = fn pid, links ->
        Wait.until(fn -> {:links, links} == Process.info(pid, :links) end)
      end

      [leased, lost, untracked, kept] = owners = for _ <- 1..4, do: spawn_idle()

      for pid <- owners do
        for key <- 1..2, do: {:ok, _} = Tracker.track(name, pid, "room", {pid, key}, %{})
        linked.(pid, [shard])
      end

      :ok = Tracker.lease(name, leased, "room", {leased, 1}, 1)
      :ok = Tracker.untrack(name, leased, "room", {leased, 2})
      :ok = Tracker.owner_lost(name, lost)
      :ok = Tracker.lease(name, kept, "room", {kept, 1}, 1)
      :ok = Tracker.untrack(name, untracked)
      keys = fn -> for {key, _meta} <- Tracker.list(name, "room"), do: key end
      Wait.until(fn -> keys.() == [{kept, 2}] end)

      send(shard, {Headcount.Tracker.Shard, :look})
      assert Map.keys(:sys.get_state(shard).monitors) == [kept]
      for pid <- [leased, lost, untracked], do: assert({:links, []} == Process.info(pid, :links))
      assert {:links, [shard]} == Process.info(kept, :links)

      # It counts from the start again.
      {:ok, _} = Tracker.track(name, leased, "room", 1, %{})
      linked.(leased, [shard])
      :ok = Tracker.untrack(name, leased, "room", 1)
      linked.(leased, [])
    end

    @tag options: [link: true]
    test "with link: true the end of one that was an owner is no message to the callbacks", %{
      name: name
    } do
      shard = Process.whereis(:"#{name}_shard0")
      pid = spawn_idle()
      {:ok, _} = Tracker.track(name, pid, "room", 1, %{})
      Wait.until(fn -> {:links, [shard]} == Process.info(pid, :links) end)
      # All of it waits in the mailbox at once.
      :ok = :sys.suspend(shard)
      :ok = Tracker.untrack(name, pid, "room", 1)
      Process.exit(pid, :boom)
      Wait.until(fn -> not Process.alive?(pid) end)
      :ok = :sys.resume(shard)
      send(shard, :last)
      assert_receive {:info, message}
      assert message == :last
    end

    test "a function never overwrites what it has not seen", %{name: name} do
      {:ok, _} = Tracker.track(name, self(), "room", 1, %{n: 0})
      test = self()

      seen = fn meta ->
        send(test, {:seen, meta.n, self()}) && receive(do: (:go -> %{f: meta.n}))
      end

      task = Task.async(fn -> Tracker.update(name, test, "room", 1, seen) end)
      assert_receive {:seen, 0, shard}
      {:ok, ref} = Tracker.update(name, self(), "room", 1, %{n: 99})
      send(shard, :go)
      assert_receive {:seen, 99, ^shard}
      send(shard, :go)
      assert {:ok, next} = Task.await(task)
      assert Tracker.list(name, "room") == [{1, %{f: 99, phx_ref: next, phx_ref_prev: ref}}]
    end

    @tag options: [pool_size: 4]
    test "a topic has its diffs and its signals in one shard", %{name: name} do
      shards =
        for n <- 1..8 do
          topic = "topic #{n}"
          {:ok, _} = Tracker.track(name, self(), topic, "ann", %{})
          assert_receive {:diff, %{^topic => _}, shard}
          :ok = Tracker.signal(name, topic, "ann", 1)
          assert_receive {:signal_in, ^topic, ^shard}
          shard
        end

      assert length(Enum.uniq(shards)) > 1
    end

    @tag options: [on_diff: &__MODULE__.wait_for_go/1]
    test "a callback that does not return costs a bounded amount of memory", %{name: name} do
      owner = spawn_idle()
      meta = %{bio: String.duplicate("x", 16_000)}
      {:ok, _} = Tracker.track(name, owner, "room", 0, %{})
      assert_receive {:diff, %{"room" => _}, shard}

      # 240 MB of joins and leaves.
      for _ <- 1..15 do
        for key <- 1..500, do: {:ok, _} = Tracker.track(name, owner, "room", key, meta)
        taken(name)
        for key <- 1..500, do: :ok = Tracker.untrack(name, owner, "room", key)
        taken(name)
      end

      for kind <- 1..5_000, do: :ok = Tracker.signal(name, "room", 1, rem(kind, 256))
      stats = Tracker.stats(name)
      assert stats.diffs_bytes < 160_000_000
      assert stats.signals_dropped == 5_000 - 4_096
      assert {:message_queue_len, waiting} = Process.info(shard, :message_queue_len)
      assert waiting < 6_000

      # What is left comes when the callback has returned.
      send(shard, :go)
      {:ok, _} = Tracker.track(name, owner, "room", :last, %{})
      Wait.until(fn -> send(shard, :go) && Tracker.stats(name).diffs_bytes == 0 end)
    end

    def wait_for_go(_diff), do: receive(do: (:go -> :ok))

    # The changes so far are a diff of their own.
    defp taken(name) do
      _ = :sys.get_state(:"#{name}_replicator")
      Process.sleep(10)
      _ = :sys.get_state(:"#{name}_replicator")
    end

    test "graceful_permdown stops the shards and the tracker as :normal" do
      {:ok, tracker} = Diffs.start_link(name: :goodbye)
      pids = [tracker, Process.whereis(:goodbye_shard0), Process.whereis(:goodbye_replicator)]
      refs = Enum.map(pids, &Process.monitor/1)
      assert Tracker.graceful_permdown(:goodbye) == :ok
      for ref <- refs, do: assert_receive({:DOWN, ^ref, :process, _pid, :normal})
    end

    @tag :capture_log
    test "a reload of the NIF's module is refused and keeps the entries", %{name: name} do
      {:ok, ref} = Tracker.track(name, self(), "room", 1, %{})
      assert :code.load_file(Headcount.Native) == {:error, :on_load_failure}
      assert [{1, %{phx_ref: ^ref}}] = Tracker.list(name, "room")
      {:ok, _} = Tracker.track(name, self(), "room", 2, %{})
    end
  end

  describe "bad input" do
    test "wrong types and names", %{name: name} do
      raises = fn message, fun -> assert_raise ArgumentError, message, fun end
      raises.(~r/no tracker runs/, fn -> Tracker.track(:nobody, self(), "room", 1, %{}) end)
      raises.(~r/no tracker runs/, fn -> Tracker.list(:nobody, "room") end)
      raises.(~r/topic must be/, fn -> Tracker.track(name, self(), :room, 1, %{}) end)
      raises.(~r/UTF-8/, fn -> Tracker.list(name, <<255>>) end)
      raises.(~r/meta must be/, fn -> Tracker.track(name, self(), "room", 1, a: 1) end)
      raises.(~r/meta must be/, fn -> Tracker.update(name, self(), "room", 1, nil) end)
      assert_raise FunctionClauseError, fn -> Tracker.track(name, :pid, "room", 1, %{}) end
      long = String.duplicate("x", 300)
      assert {:error, {:key_too_long, 300, 256}} = Tracker.track(name, self(), "room", long, %{})
      assert {:error, {:topic_too_long, 300, 256}} = Tracker.track(name, self(), long, 1, %{})
      large = %{m: String.duplicate("x", 20_000)}
      assert {:error, {:meta_too_large, _, 16_384}} = Tracker.track(name, self(), "t", 1, large)
      assert Tracker.size(name) == 0
    end

    test "options" do
      for {options, message} <- [
            {[], ~r/:name option is required/},
            {[name: :x, broadcast_period: 0], ~r/broadcast_period/},
            {[name: :x, broadcast_period: 100, down_period: 150], ~r/down_period must be/},
            {[name: :x, permdown_period: 10], ~r/permdown_period must be/},
            {[name: :x, partitions: 0], ~r/partitions must be a power of two from 1 to 65536/},
            {[name: :x, partitions: 33], ~r/partitions must be/},
            {[name: :x, partitions: 131_072], ~r/partitions must be/},
            {[name: :x, partitions: 32.0], ~r/partitions must be/},
            {[name: :x, vacate_after: 0], ~r/vacate_after must be a positive/},
            {[name: :x, ready_after: nil], ~r/ready_after must be a positive/},
            {[name: :x, cluster: 1], ~r/cluster must be/},
            {[name: :x, pool_size: 0], ~r/pool_size/},
            {[name: :x, pool_size: 1_000_000], ~r/pool_size/},
            {[name: :x, codec: :xml], ~r/codec must be/},
            {[name: :x, broadcast_period: "1"], ~r/broadcast_period/},
            {[name: :x, max_silent_periods: nil], ~r/max_silent_periods/},
            {[name: :x, down_period: "1"], ~r/down_period/},
            {[name: :x, node_name: ""], ~r/name/},
            {[name: :x, node_name: {1, 2}], ~r/node_name must be/},
            {[name: :x, transport: "nats"], ~r/transport must be/},
            {[name: :x, log_level: :bogus], ~r/log_level must be/},
            {[name: :x, report_events_to: "me"], ~r/report_events_to must be/},
            {[name: :x, report_events_to: {:via, Registry, :me}], ~r/report_events_to must be/},
            {[name: :x, permdown_period: 2 ** 64], ~r/permdown_period must be at most/},
            {[name: :x, unwatch_after: 2 ** 64], ~r/unwatch_after must be at most/},
            {[name: :x, vacate_after: 2 ** 64], ~r/vacate_after must be at most/},
            {[name: :x, ready_after: 2 ** 64], ~r/ready_after must be at most/},
            {[name: :x, grace: 2 ** 64], ~r/grace must be at most/},
            {[:x], ~r/keyword list/}
          ] do
        assert {:error, error} = Tracker.start_link(Diffs, [], options)
        assert error =~ message
      end
    end

    test "options of others are ignored here and given to init" do
      options = [name: :others, to: self(), what: 1]
      start_supervised!(%{id: :others, start: {Tracker, :start_link, [Diffs, options, options]}})
      {:ok, _} = Tracker.track(:others, self(), "room", 1, %{})
      changes("room", 1, 0)
    end

    test "frames of strangers are refused", %{name: name} do
      replicator = Process.whereis(:"#{name}_replicator")
      for n <- 0..200, do: send(replicator, {Headcount.Transport.PG, self(), :rand.bytes(n)})
      send(replicator, :what)
      {:ok, _} = Tracker.track(name, self(), "room", 1, %{})
      changes("room", 1, 0)
      assert Process.whereis(:"#{name}_replicator") == replicator
    end
  end
end
