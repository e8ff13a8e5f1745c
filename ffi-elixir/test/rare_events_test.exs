defmodule Headcount.RareEventsTest do
  # Events that come of nodes that are not well, and of very many.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  alias Headcount.Native
  alias Headcount.Test.{Diffs, Wait}
  alias Headcount.Tracker

  @vectors Path.expand("../../core/tests/golden/events", __DIR__)
  @peers_max 4_096

  defmodule Wire do
    # A transport whose frames come from a test.
    @behaviour Headcount.Transport

    @impl true
    def init(_cluster, to: test) do
      send(test, {:joined, self()})
      {:ok, nil}
    end

    @impl true
    def transmit(_to, _frame, nil), do: nil

    @impl true
    def handle_info({:carried, frame}, nil), do: {:frame, "peer", frame, nil}
    def handle_info(_message, nil), do: :unknown

    @impl true
    def trusted?(nil), do: false
  end

  setup context do
    name = :"rare_#{:erlang.phash2(context.test)}"
    Process.register(self(), :"telemetry_#{name}")
    {:module, :telemetry} = Code.ensure_loaded(:telemetry)
    {:ok, name: name}
  end

  # Starts a tracker that takes frames, and returns its replicator.
  defp take(name, frames) do
    options = [name: name, cluster: "events", node_name: "reader", down_period: 3_600_000]
    options = options ++ [permdown_period: 7_200_000, transport: {Wire, to: self()}]
    start_supervised!({Diffs, options ++ [report_events_to: self()]})
    assert_receive {:joined, replicator}
    carry(replicator, frames)
    replicator
  end

  defp carry(replicator, frames),
    do: for(frame <- frames, do: send(replicator, {:carried, frame}))

  # The frames of a vector that all languages share.
  defp vector(name) do
    for line <- @vectors |> Path.join(name) |> File.read!() |> String.split("\n", trim: true),
        not String.starts_with?(line, "#"),
        do: Base.decode16!(line, case: :lower)
  end

  defp assert_told(name, replica, event) do
    kind = elem(event, 0)
    assert_receive {:telemetry, [:headcount, :tracker, ^kind], %{count: 1}, metadata}
    assert metadata == %{tracker: name, replica: replica, event: event}
  end

  test "entries over a limit are refused", %{name: name} do
    log =
      capture_log(fn ->
        take(name, vector("refused.hex"))
        assert_receive {:refused, "wide", partition, message} = event
        assert partition in 0..31
        assert message =~ "length 200 is above the limit of 64"
        assert_told(name, "wide", event)
      end)

    assert log =~ ~r/\[warning\] #{inspect(name)}: refused entries of wide in partition \d+: /
    assert Tracker.size(name) == 0
  end

  test "two nodes of one identity diverge", %{name: name} do
    log =
      capture_log(fn ->
        take(name, vector("divergence.hex"))
        assert_receive {:divergence, "twin", partition} = event
        assert partition in 0..31
        assert_told(name, "twin", event)
      end)

    assert log =~ ~r/\[warning\] #{inspect(name)}: the entries of twin in partition \d+ differ/
  end

  test "two ids of one hash collide", %{name: name} do
    log =
      capture_log(fn ->
        take(name, vector("handle_collision.hex"))
        assert_receive {:handle_collision, "bob-07"} = event
        assert_told(name, "bob-07", event)
      end)

    assert log =~ "[error] #{inspect(name)}: bob-07 is not let in: frames cannot tell it"
    assert Tracker.replicas(name) == [{"ann-07", true}]
  end

  # The first frame of a node.
  defp hello(name) do
    shared = {"events", 32, false, false, false}
    times = {1_000, 5_000, 60_000, 60_000, 5_000, 30_000, 0}
    own = {false, false, 65_536, 0}
    presence = Native.presence_new({name, 1}, shared, nil, times, own, {false, false})
    {[], [], [{nil, frame} | _], _events, _, _} = Native.presence_step(presence, 0, [], 1, true)
    frame
  end

  @tag timeout: 300_000
  test "a node too many is not let in", %{name: name} do
    last = "node #{@peers_max}"
    # The nodes end with the process that makes them.
    making = Task.async(fn -> Enum.map(0..@peers_max, &hello("node #{&1}")) end)
    {frames, one_more} = making |> Task.await(:infinity) |> Enum.split(@peers_max)

    log =
      capture_log(fn ->
        replicator = take(name, frames)
        Wait.until(fn -> length(Tracker.replicas(name)) == @peers_max end)
        carry(replicator, one_more)
        assert_receive {:peer_limit, ^last} = event
        assert_told(name, last, event)
      end)

    assert log =~ "[warning] #{inspect(name)}: #{last} is not let in: too many nodes are known"
    assert length(Tracker.replicas(name)) == @peers_max
  end
end
