defmodule Headcount.EventsTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  alias Headcount.Test.{Diffs, Wait}
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

  setup context do
    name = :"events_#{:erlang.phash2(context.test)}"
    Process.register(self(), :"telemetry_#{name}")
    {:module, :telemetry} = Code.ensure_loaded(:telemetry)
    options = [cluster: inspect(name), broadcast_period: 50, report_events_to: self()]
    {:ok, name: name, options: options}
  end

  defp start(name, options), do: start_supervised!({Diffs, [name: name] ++ options}, id: name)

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

        assert Map.keys(step) == [:bytes_in, :bytes_out, :duration, :frames_in, :frames_out]
      end)

    assert log =~ "#{inspect(name)}: there is up"
    assert log =~ "there is down"
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
