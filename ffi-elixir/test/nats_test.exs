defmodule Headcount.Transport.NATSTest do
  # Needs the NIF with the feature `nats`; run by `HEADCOUNT_NIF_FEATURES=nats mix test`.
  use ExUnit.Case, async: false

  alias Headcount.Test.Diffs
  alias Headcount.Test.Wait
  alias Headcount.Tracker

  @moduletag :nats

  setup do
    port = 20_000 + rem(System.unique_integer([:positive]) * 37 + :erlang.phash2(node()), 20_000)
    {:ok, servers: "nats://127.0.0.1:#{port}", server: start_server(port, []), port: port}
  end

  defp start_server(port, more) do
    server = System.find_executable("nats-server") || "/usr/sbin/nats-server"
    args = ["-a", "127.0.0.1", "-p", "#{port}" | more]
    options = [:binary, :exit_status, :stderr_to_stdout, args: args]
    process = Port.open({:spawn_executable, server}, options)
    {:os_pid, pid} = Port.info(process, :os_pid)
    on_exit(fn -> System.cmd("kill", ["#{pid}"], stderr_to_stdout: true) end)
    wait_for(port, 200)
    pid
  end

  defp wait_for(port, left) do
    case :gen_tcp.connect({127, 0, 0, 1}, port, []) do
      {:ok, socket} -> :gen_tcp.close(socket)
      {:error, _} when left > 0 -> Process.sleep(20) && wait_for(port, left - 1)
    end
  end

  test "trackers find each other through a NATS server", %{servers: servers} do
    for {name, replica} <- [nats_a: "a", nats_b: "b"] do
      transport = {Headcount.Transport.NATS, servers: servers}
      options = [name: name, cluster: "shared", node_name: replica, broadcast_period: 200]
      options = [transport: transport] ++ options
      start_supervised!({Diffs, [to: self()] ++ options}, id: name)
    end

    {:ok, _} = Tracker.track(:nats_a, self(), "room", "ann", %{n: 1})
    Wait.until(fn -> match?([{"ann", %{n: 1}}], Tracker.list(:nats_b, "room")) end)
    :ok = Tracker.untrack(:nats_a, self(), "room", "ann")
    Wait.until(fn -> Tracker.list(:nats_b, "room") == [] end)
    assert Tracker.replicas(:nats_b) == [{"a", true}]
  end

  @data Path.expand("../../core/tests/nats", __DIR__)

  defp see_each_other(transports) do
    cluster = "guarded #{System.unique_integer([:positive])}"

    [a, b] =
      for {transport, name} <- Enum.zip(transports, [:nats_a, :nats_b]) do
        options = [name: name, cluster: cluster, node_name: "#{name}", broadcast_period: 200]
        transport = {Headcount.Transport.NATS, transport}
        start_supervised!({Diffs, [to: self(), transport: transport] ++ options}, id: name)
        name
      end

    {:ok, _} = Tracker.track(a, self(), "room", "ann", %{})
    Wait.until(fn -> match?([{"ann", _}], Tracker.list(b, "room")) end)
    Enum.each([a, b], &stop_supervised!/1)
  end

  # What is wrong with options is an error; what a server refuses is tried again.
  defp refused(options) do
    case Headcount.Transport.NATS.init("guarded", options) do
      {:error, reason} ->
        to_string(reason)

      {:ok, _connection} ->
        assert_receive {:headcount_nats, :error, reason}, 10_000
        reason
    end
  end

  test "users join by their credentials, a key or a password", context do
    port = context.port + 1
    start_server(port, ["-c", Path.join(@data, "server.conf")])
    servers = "nats://127.0.0.1:#{port}"
    credentials = Path.join(@data, "user.creds")
    guarded = [servers: servers, credentials: credentials]
    see_each_other([guarded, guarded])
    assert refused(servers: servers) =~ "authorization violation"

    port = context.port + 2
    start_server(port, ["-c", Path.join(@data, "users.conf")])
    servers = "nats://127.0.0.1:#{port}"
    [seed] = Regex.run(~r/^SU.*$/m, File.read!(credentials))
    ann = [servers: servers, user: "ann", password: "secret"]
    see_each_other([ann, [servers: servers, nkey: seed]])
    assert refused(Keyword.put(ann, :password, "wrong")) =~ "authorization violation"
  end

  test "TLS: both sides show who they are", context do
    subject_alt_name = {:Extension, {2, 5, 29, 17}, false, [iPAddress: <<127, 0, 0, 1>>]}
    rsa = [digest: :sha256, key: {:rsa, 2048, 65_537}]
    chain = %{root: rsa, peer: [extensions: [subject_alt_name]] ++ rsa, intermediates: []}
    made = :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})
    folder = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    server = pems(folder, "server", made.server_config)
    client = pems(folder, "client", made.client_config)
    port = context.port + 1

    start_server(port, [
      "--tlsverify",
      "--tlscert=#{server.cert}",
      "--tlskey=#{server.key}",
      "--tlscacert=#{server.roots}"
    ])

    servers = "tls://127.0.0.1:#{port}"
    known = [servers: servers, tls_ca: client.roots, tls_cert: client.cert, tls_key: client.key]
    see_each_other([known, known])
    refused(Keyword.take(known, [:servers, :tls_ca]))
    refused(Keyword.delete(known, :tls_ca))
    # A server without TLS is not spoken to.
    refused(servers: context.servers, tls: true)
    refused(servers: context.servers, tls_ca: client.roots)
  end

  defp pems(folder, name, config) do
    {type, key} = config[:key]
    roots = for der <- config[:cacerts], do: {:Certificate, der, :not_encrypted}
    cert = {:Certificate, config[:cert], :not_encrypted}
    parts = %{cert: [cert], key: [{type, key, :not_encrypted}], roots: roots}

    Map.new(parts, fn {part, entries} ->
      file = Path.join(folder, "#{name}-#{part}.pem")
      File.write!(file, :public_key.pem_encode(entries))
      {part, file}
    end)
  end

  test "options that are of no use are named", %{servers: servers} do
    for {options, expected} <- [
          {[credential: "x"], "NATS has no option :credential"},
          {[tls: "yes"], "tls of NATS is true or false"},
          {[user: :ann], "user of NATS is a string"},
          {[servers: nil], "servers of NATS is a string"},
          {[user: "ann"], "user and password go together"},
          {[tls_key: "key.pem"], "tls_cert and tls_key go together"},
          {[credentials: "none.creds"], "credentials: cannot read none.creds: "}
        ] do
      assert refused(options ++ [servers: servers]) =~ expected
      Process.flag(:trap_exit, true)
      transport = {Headcount.Transport.NATS, options}
      started = Diffs.start_link(to: self(), name: :nats_wrong, transport: transport)
      assert {:error, _} = started
    end
  end

  test "frames are counted that a lost connection does not carry", context do
    transport = {Headcount.Transport.NATS, servers: context.servers}
    options = [name: :nats_alone, broadcast_period: 50, transport: transport]
    start_supervised!({Diffs, [to: self()] ++ options})
    Wait.until(fn -> Tracker.synced?(:nats_alone) end)
    assert Tracker.stats(:nats_alone).unsent == 0
    System.cmd("kill", ["#{context.server}"])
    Wait.until(fn -> Tracker.stats(:nats_alone).unsent > 2 end)
  end

  test "frames fit a server that takes less than the one before", context do
    start = fn name ->
      transport = {Headcount.Transport.NATS, servers: context.servers}
      options = [name: name, cluster: "short", node_name: "#{name}", broadcast_period: 100]
      start_supervised!({Diffs, [transport: transport] ++ options}, id: name)
    end

    start.(:nats_a)
    Wait.until(fn -> Tracker.synced?(:nats_a) end)
    meta = %{text: String.duplicate("x", 500)}
    for n <- 1..60, do: {:ok, _} = Tracker.track(:nats_a, self(), "room", n, meta)

    config = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}.conf")
    on_exit(fn -> File.rm(config) end)
    File.write!(config, "max_payload: 8192")
    System.cmd("kill", ["#{context.server}"])
    Wait.until(fn -> Tracker.stats(:nats_a).unsent > 0 end)
    start_server(context.port, ["-c", config])
    start.(:nats_b)
    Wait.until(fn -> length(Tracker.list(:nats_b, "room")) == 60 end)
  end

  test "trackers are sent what they watch", %{servers: servers} do
    for {name, replica} <- [nats_a: "a", nats_b: "b"] do
      options = [name: name, cluster: "watchers", node_name: replica, broadcast_period: 100]
      interest = [mode: :interest, partitions: 4_096, unwatch_after: 100]
      transport = [transport: {Headcount.Transport.NATS, servers: servers}]
      start_supervised!({Diffs, [to: self()] ++ options ++ interest ++ transport}, id: name)
    end

    Wait.until(fn -> Tracker.synced?(:nats_b) and Tracker.replicas(:nats_b) == [{"a", true}] end)
    :erlang.trace(Process.whereis(:nats_b_replicator), true, [:receive])
    for n <- 1..20, do: {:ok, _} = Tracker.track(:nats_a, self(), "hall", n, %{})
    {:ok, _} = Tracker.track(:nats_a, self(), "room", "ann", %{})
    assert Tracker.list(:nats_b, "room") == {:error, :not_watched}
    :ok = Tracker.watch(:nats_b, "room")
    assert_receive {:nats_b, {:ready, "room", _, []}}
    Wait.until(fn -> match?([{"ann", _}], Tracker.list(:nats_b, "room")) end)
    assert Tracker.size(:nats_b) == 1

    # Kind 3 is a Delta. What is not watched does not arrive.
    before = deltas()
    for n <- 21..40, do: {:ok, _} = Tracker.track(:nats_a, self(), "hall", n, %{})
    Process.sleep(300)
    assert deltas() == before
    {:ok, _} = Tracker.track(:nats_a, self(), "room", "bob", %{})
    Wait.until(fn -> Tracker.count(:nats_b, "room") == 2 end)
    assert deltas() == before + 1

    :ok = Tracker.unwatch(:nats_b, "room")
    Wait.until(fn -> Tracker.size(:nats_b) == 0 end)
  end

  test "trackers count what they do not hold", %{servers: servers} do
    for {name, replica} <- [nats_a: "a", nats_b: "b"] do
      options = [name: name, cluster: "counters", node_name: replica, broadcast_period: 100]
      interest = [mode: :interest, counts: true, partitions: 4_096, unwatch_after: 100]
      transport = [transport: {Headcount.Transport.NATS, servers: servers}]
      start_supervised!({Diffs, options ++ interest ++ transport}, id: name)
    end

    Wait.until(fn -> Tracker.synced?(:nats_b) and Tracker.replicas(:nats_b) == [{"a", true}] end)
    for n <- 1..20, do: {:ok, _} = Tracker.track(:nats_a, self(), "room", n, %{})
    assert Tracker.count(:nats_b, "room") == {:error, :not_watched}
    :ok = Tracker.watch_counts(:nats_b, "room")
    assert_receive {:nats_b, {:counts_ready, "room", _, []}}
    Wait.until(fn -> Tracker.count(:nats_b, "room") == 20 end)
    {:ok, _} = Tracker.track(:nats_b, self(), "room", 7, %{})
    assert Tracker.count_keys(:nats_b, "room") == %Headcount.Keys{at_least: 20, at_most: 21}
    :ok = Tracker.untrack(:nats_a, self(), "room", 1)
    Wait.until(fn -> Tracker.count(:nats_b, "room") == 20 end)
    assert Tracker.size(:nats_b) == 1
  end

  # What was received before is in the mailbox once the trace is said to be delivered.
  defp deltas do
    replicator = Process.whereis(:nats_b_replicator)
    delivered = :erlang.trace_delivered(replicator)
    assert_receive {:trace_delivered, ^replicator, ^delivered}
    {:messages, messages} = Process.info(self(), :messages)

    Enum.count(messages, fn message ->
      match?(
        {:trace, _, :receive, {:headcount_nats, _, <<"HC", _::16, 3, _::binary>>}},
        message
      )
    end)
  end

  @tag :capture_log
  test "a tracker starts without a server, and joins when there is one", context do
    port = context.port + 1
    transport = {Headcount.Transport.NATS, servers: "nats://127.0.0.1:#{port}"}

    for {name, replica} <- [nats_a: "a", nats_b: "b"] do
      options = [name: name, cluster: "late", node_name: replica, broadcast_period: 100]
      start_supervised!({Diffs, options ++ [transport: transport]}, id: name)
    end

    {:ok, _} = Tracker.track(:nats_a, self(), "room", "ann", %{})
    Wait.until(fn -> Tracker.stats(:nats_a).unsent > 2 end)
    start_server(port, [])
    Wait.until(fn -> match?([{"ann", _}], Tracker.list(:nats_b, "room")) end)
  end

  @tag :capture_log
  test "a replicator that restarts while the server is away keeps the entries", context do
    transport = {Headcount.Transport.NATS, servers: context.servers}
    tracker = start_supervised!({Diffs, name: :nats_away, transport: transport})
    {:ok, _} = Tracker.track(:nats_away, self(), "room", "ann", %{})
    System.cmd("kill", ["#{context.server}"])
    replicator = Process.whereis(:nats_away_replicator)
    Process.exit(replicator, :kill)
    Wait.until(fn -> Process.whereis(:nats_away_replicator) not in [nil, replicator] end)
    Process.sleep(500)
    assert Process.alive?(tracker) and Tracker.count(:nats_away, "room") == 1
  end
end
