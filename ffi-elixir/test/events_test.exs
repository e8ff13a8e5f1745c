defmodule Headcount.EventsTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  alias Headcount.Test.{Diffs, Lossy, Wait}
  alias Headcount.Tracker

  defmodule FailingTransport do
    @behaviour Headcount.Transport

    @impl true
    def init(_cluster, _options), do: {:ok, nil}

    @impl true
    def transmit(_to, _frame, nil), do: raise("no network")

    @impl true
    def handle_info(_message, nil), do: :unknown

    @impl true
    def trusted?(nil), do: false
  end

  defmodule FullTransport do
    # Sends nothing, and says so.
    @behaviour Headcount.Transport

    @impl true
    def init(_cluster, _options), do: {:ok, 0}

    @impl true
    def transmit(_to, _frame, unsent), do: unsent + 1

    @impl true
    def unsent(unsent), do: unsent

    @impl true
    def handle_info(_message, _unsent), do: :unknown

    @impl true
    def trusted?(_unsent), do: false
  end

  setup context do
    name = :"events_#{:erlang.phash2(context.test)}"
    Process.register(self(), :"telemetry_#{name}")
    {:module, :telemetry} = Code.ensure_loaded(:telemetry)
    options = [cluster: inspect(name), broadcast_period: 50, report_events_to: self()]
    {:ok, name: name, options: options}
  end

  defp start(name, options),
    do: start_supervised!({Diffs, [name: name] ++ options}, id: name, restart: :temporary)

  defp comes?(event) do
    receive do
      ^event -> true
    after
      500 -> false
    end
  end

  test "a name without a process gets no events and costs nothing", %{
    name: name,
    options: options
  } do
    options = options ++ [log_level: false]
    receiver = :"receiver_#{name}"
    start(name, Keyword.put(options, :report_events_to, receiver))
    replicator = Process.whereis(:"#{name}_replicator")
    start(:events_there, Keyword.put(options, :report_events_to, nil) ++ [node_name: "there"])
    Wait.until(fn -> {"there", true} in Tracker.replicas(name) end)
    # A process that takes the name later gets what comes then.
    Process.unregister(:"telemetry_#{name}")
    Process.register(self(), receiver)
    :ok = stop_supervised(:events_there)
    assert_receive {:replica_down, "there"}
    assert Process.whereis(:"#{name}_replicator") == replicator
  end

  test "nodes that come and go", %{name: name, options: options} do
    log =
      capture_log(fn ->
        start(name, options ++ [node_name: "here", log_level: :warning])
        start(:events_there, options ++ [node_name: "there", report_events_to: nil])
        assert_receive {:replica_up, "there"}
        assert_receive {:telemetry, [:headcount, :tracker, :replica_up], %{count: 1}, up}
        assert up == %{tracker: name, replica: "there", event: {:replica_up, "there"}}
        :ok = stop_supervised(:events_there)
        assert_receive {:replica_down, "there"}
        assert_receive {:telemetry, [:headcount, :tracker, :replica_down], _, %{replica: "there"}}
        {:ok, _} = Tracker.track(name, self(), "room", 1, %{})

        assert_receive {:telemetry, [:headcount, :tracker, :step], %{bytes_out: bytes} = step, _}
                       when bytes > 0

        keys = [:bytes_in, :bytes_out, :duration, :frames_in, :frames_out, :frames_unsent]
        assert Map.keys(step) == keys
      end)

    assert log =~ "#{inspect(name)}: there is up"
    assert log =~ "there is down"
  end

  test "more versions than are kept", %{name: name, options: options} do
    log =
      capture_log(fn ->
        start(name, options ++ [node_name: "here"])
        {:ok, _} = Tracker.track(name, self(), "room", 1, %{})
        many = List.duplicate({self(), "room", 1, %{text: String.duplicate("m", 16_000)}}, 2_000)

        Wait.until(fn ->
          for result <- Tracker.update_many(name, many), do: {:ok, _} = result
          comes?({:diffs_dropped, "here"})
        end)

        assert [{1, _}] = Tracker.list(name, "room")
      end)

    assert log =~ "too much changed at once"
  end

  test "a name that two nodes have", %{name: name, options: options} do
    log =
      capture_log(fn ->
        start(name, options ++ [node_name: "twin"])
        start(:events_twin, options ++ [node_name: "twin"])

        assert_receive {:telemetry, [:headcount, :tracker, :duplicate_name], _,
                        %{replica: "twin"}}
      end)

    assert log =~ "[error]" and log =~ "another node is called twin too"
  end

  test "frames that cannot be read are counted, and logged now and then", %{
    name: name,
    options: options
  } do
    log =
      capture_log(fn ->
        start(name, options)
        for _ <- 1..200, do: send(:"#{name}_replicator", frame("nonsense"))

        for _ <- 1..200 do
          assert_receive {:telemetry, [:headcount, :tracker, :frame_refused], %{count: 1},
                          refused}

          assert refused.from == List.to_string(:erlang.pid_to_list(self()))

          assert {:decode, _offset, _kind} = refused.reason
        end
      end)

    assert length(Regex.scan(~r/\d+ frames were lost/, log)) == 1
  end

  test "a transport that fails", %{name: name, options: options} do
    log =
      capture_log(fn ->
        start(name, options ++ [transport: FailingTransport])
        {:ok, _} = Tracker.track(name, self(), "room", 1, %{})

        for _ <- 1..3 do
          assert_receive {:telemetry, [:headcount, :tracker, :transport_failed], _,
                          %{reason: text}}

          assert text =~ "no network"
        end
      end)

    assert length(Regex.scan(~r/the transport failed: .*no network/, log)) == 1
    assert Tracker.count(name, "room") == 1
    assert Tracker.stats(name).unsent >= 3
  end

  test "frames that a transport does not send are counted in all its lives", %{
    name: name,
    options: options
  } do
    start(name, options ++ [transport: FullTransport])
    unsent = fn -> Tracker.stats(name).unsent end
    Wait.until(fn -> unsent.() >= 3 end)

    assert_receive {:telemetry, [:headcount, :tracker, :step],
                    %{frames_out: frames, frames_unsent: frames}, _}
                   when frames > 0

    before = unsent.()
    Process.exit(Process.whereis(:"#{name}_replicator"), :kill)

    Wait.until(fn ->
      assert unsent.() >= before
      unsent.() >= before + 3
    end)
  end

  test "a node that has caught up, and one that is not waited for longer", %{
    name: name,
    options: options
  } do
    log =
      capture_log(fn ->
        start(name, options ++ [node_name: "here", ready_after: 100])
        assert_receive {:ready, []}
        assert_receive {:telemetry, [:headcount, :tracker, :ready], _, ready}
        assert ready == %{tracker: name, event: {:ready, []}}
        assert Tracker.synced?(name)

        # Its questions are lost.
        lossy = {Lossy, group: inspect(name), lose: List.duplicate(4, 10_000)}
        large = %{m: String.duplicate("x", 3_000)}
        {:ok, _} = Tracker.track(name, self(), "room", 1, large)

        assert_receive {:telemetry, [:headcount, :tracker, :step], %{bytes_out: bytes}, _}
                       when bytes > 3_000

        options = options ++ [transport: lossy, ready_after: 100]
        start(:events_late, options ++ [node_name: "late"])
        assert_receive {:ready, ["here"]}
        refute Tracker.synced?(:events_late)
        assert Tracker.count(:events_late, "room") == 0
      end)

    assert log =~ ":events_late: this node has caught up with all others but here"
  end

  test "a node with other partitions", %{name: name, options: options} do
    log =
      capture_log(fn ->
        start(name, options)
        wide = Keyword.merge(options, node_name: "wide", partitions: 64, report_events_to: nil)
        start(:events_wide, wide)
        assert_receive {:shape_mismatch, from, {32, :all, false, false}, {64, :all, false, false}}
        assert from == address(:events_wide)
        assert_receive {:telemetry, [:headcount, :tracker, :shape_mismatch], _, mismatch}
        assert %{tracker: ^name, from: ^from} = mismatch
        assert_receive {:telemetry, [:headcount, :tracker, :frame_refused], _, refused}
        assert {:decode, 6, :other_shape} = refused.reason
        {:ok, _} = Tracker.track(:events_wide, self(), "room", 1, %{})
      end)

    assert log =~ "is of this cluster and has 64 partitions, this node has 32 partitions"
    assert Tracker.replicas(name) == []
    assert Tracker.count(name, "room") == 0
  end

  test "a node of another cluster", %{name: name, options: options} do
    options = Keyword.put(options, :transport, {Lossy, group: inspect(name)})

    log =
      capture_log(fn ->
        start(name, options)
        other = Keyword.merge(options, node_name: "other", report_events_to: nil, cluster: "b")
        start(:events_other, other)
        assert_receive {:unreadable, from, "at byte 8: the frame belongs to another cluster"}
        assert from == address(:events_other)
        assert_receive {:telemetry, [:headcount, :tracker, :unreadable], _, %{from: ^from}}
      end)

    assert log =~ "cannot be read: at byte 8: the frame belongs to another cluster"
    assert Tracker.replicas(name) == []
  end

  test "an entry that no frame takes", %{name: name, options: options} do
    log =
      capture_log(fn ->
        options = options ++ [transport: Lossy]
        start(name, options ++ [node_name: "here"])
        start(:events_there, Keyword.merge(options, node_name: "there", report_events_to: nil))
        large = %{m: String.duplicate("x", 10_000)}
        {:ok, _} = Tracker.track(name, self(), "room", 1, large)
        assert_receive {:answer_too_long, partition, bytes}
        assert partition in 0..31 and bytes > 10_000
        assert_receive {:telemetry, [:headcount, :tracker, :answer_too_long], _, metadata}
        assert Enum.sort(Map.keys(metadata)) == [:event, :tracker]
      end)

    assert log =~ ~r/an answer about partition \d+ has \d+ bytes, more than a frame/
    assert Tracker.count(:events_there, "room") == 0
  end

  test "a goodbye of which the first frame is lost", %{name: name, options: options} do
    # A broken connection, which hides at once, is no goodbye.
    options = options ++ [down_period: 600_000, permdown_period: 1_200_000]
    start(name, options)
    goodbye = 8
    lossy = {Lossy, group: inspect(name), lose: [goodbye, goodbye]}

    for {round, options} <- [called: options, stopped: options ++ [permdown_on_shutdown: true]] do
      there = :"events_#{round}"
      options = Keyword.merge(options, transport: lossy, node_name: there, report_events_to: nil)
      start(there, options)
      {:ok, _} = Tracker.track(there, self(), "room", 1, %{})
      Wait.until(fn -> Tracker.count(name, "room") == 1 end)

      if round == :called,
        do: :ok = Tracker.graceful_permdown(there),
        else: :ok = stop_supervised(there)

      gone = to_string(there)
      assert_receive {:replica_permdown, ^gone}
      assert Tracker.size(name) == 0
      assert Tracker.replicas(name) == []
    end
  end

  test "stats say how far a node is behind another one", %{name: name, options: options} do
    start(name, options)
    start(:events_peer, Keyword.merge(options, node_name: "peer", report_events_to: nil))
    {:ok, _} = Tracker.track(:events_peer, self(), "room", 1, %{})
    {:ok, _} = Tracker.track(:events_peer, self(), "hall", 1, %{})
    Wait.until(fn -> Tracker.size(name) == 2 end)
    stats = Tracker.stats(name)
    assert %{entries: 2, topics: 2, leave_log_bytes: 0, unsent: 0} = stats
    assert [%{name: "peer", up: true, partitions_behind: 0, silence: silence}] = stats.peers
    assert silence < 60_000
    :ok = Tracker.untrack(:events_peer, self(), "room", 1)
    assert Tracker.stats(:events_peer).leave_log_bytes > 0
    :ok = stop_supervised(:events_peer)
    Wait.until(fn -> match?([%{up: false}], Tracker.stats(name).peers) end)
  end

  test "stats count frames by their kind, and nodes that come and go", context do
    %{name: name, options: options} = context
    read = fn -> Tracker.stats(name) end
    start(name, options)
    start(:events_counted, Keyword.merge(options, node_name: "peer", report_events_to: nil))
    {:ok, _} = Tracker.track(:events_counted, self(), "room", 1, %{})
    Wait.until(fn -> Tracker.size(name) == 1 end)
    Wait.until(fn -> read.().received["beat"].frames > 2 end)
    send(:"#{name}_replicator", frame("nonsense"))
    Wait.until(fn -> read.().refused != %{} end)
    stats = read.()
    assert %{replicas_up: 1, replicas_down: 0, ups: 1, downs: 0, watches: 0} = stats
    assert %{divergences: 0, refused_entries: 0} = stats
    assert Map.values(stats.refused) == [1]
    assert stats.sent["beat"].bytes > stats.sent["beat"].frames
    assert stats.received["delta"].frames >= 1
    :ok = stop_supervised(:events_counted)
    Wait.until(fn -> match?(%{downs: 1, replicas_down: 1}, Tracker.stats(name)) end)
  end

  test "stats count the watches of processes", %{name: name, options: options} do
    start(name, options ++ [mode: :interest])
    for topic <- ["room", "hall"], do: Tracker.watch(name, topic)
    Tracker.watch(name, "room")
    assert Tracker.stats(name).watches == 2
    Tracker.unwatch(name, "hall")
    assert Tracker.stats(name).watches == 1
  end

  test "stats are told now and then", %{name: name, options: options} do
    start(name, options)
    {:ok, _} = Tracker.track(name, self(), "room", 1, %{})

    for _ <- 1..2 do
      assert_receive {:telemetry, [:headcount, :tracker, :stats], numbers, details}, 10_000
      stats = Tracker.stats(name)
      assert %{entries: 1, topics: 1, frames_refused: 0, ups: 0} = numbers
      assert numbers.frames_sent > 0 and numbers.bytes_sent > numbers.frames_sent
      assert Enum.all?(numbers, fn {_, number} -> is_integer(number) end)
      assert %{tracker: ^name, peers: [], refused: %{}, sent: %{"beat" => _}} = details
      sums = [:bytes_received, :bytes_sent, :frames_received, :frames_refused, :frames_sent]
      told = (Map.keys(numbers) -- sums) ++ (Map.keys(details) -- [:tracker])
      assert Enum.sort(told) == Enum.sort(Map.keys(stats))
    end
  end

  defp address(name) do
    Process.whereis(:"#{name}_replicator") |> :erlang.pid_to_list() |> List.to_string()
  end

  # As a frame comes from another node.
  defp frame(bytes), do: {Headcount.Transport.PG, self(), bytes}

  test "nothing is logged if that is wanted", %{name: name, options: options} do
    log =
      capture_log(fn ->
        start(name, options ++ [log_level: false])
        start(:events_quiet, options ++ [node_name: "quiet", log_level: false])
        Wait.until(fn -> {"quiet", true} in Tracker.replicas(name) end)
        send(:"#{name}_replicator", frame("nonsense"))
        assert_receive {:telemetry, [:headcount, :tracker, :frame_refused], _, _}
      end)

    refute log =~ inspect(name)
  end
end
