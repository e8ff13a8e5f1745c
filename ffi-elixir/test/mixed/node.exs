# The Elixir node of the cluster of several languages, commanded by lines: see
# ffi-python/tests/mixed/cluster.py. A command is a tuple in Elixir's own syntax, since this
# version of Elixir reads no JSON.

defmodule MixedNode do
  use Headcount.Tracker

  alias Headcount.Tracker

  @statuses [:online, :idle, :dnd, :invisible]

  @impl true
  def init(_arg), do: {:ok, nil}

  @impl true
  def handle_diff(_diff, state), do: {:ok, state}

  # Those of this node come too.
  @impl true
  def handle_signal(signal, state) do
    Agent.update(MixedNode.Heard, &[signal.key | &1])
    {:ok, state}
  end

  def main([servers, name]) do
    options = [
      name: __MODULE__,
      cluster: "headcount",
      node_name: name,
      transport: {Headcount.Transport.NATS, servers: servers},
      codec: :json,
      broadcast_period: 200,
      down_period: 2000,
      mode: :interest,
      counts: true,
      partitions: 4096
    ]

    # The standard output is for answers.
    for id <- :logger.get_handler_ids(), do: :logger.remove_handler(id)
    handler = %{config: %{type: :standard_error}}
    :ok = :logger.add_handler(:default, :logger_std_h, handler)
    :ok = :logger.set_primary_config(:level, :warning)
    {:ok, _pid} = Agent.start_link(fn -> [] end, name: MixedNode.Heard)
    {:ok, _pid} = Tracker.start_link(__MODULE__, [], options)
    IO.puts("ready")
    loop(%{})
  end

  defp loop(owners) do
    case IO.gets("") do
      :eof ->
        :ok

      line ->
        {command, _} = Code.eval_string(line)
        {answer, owners} = answer(command, owners)
        IO.puts(json(answer))
        loop(owners)
    end
  end

  defp answer({:state, topics}, owners) do
    {Map.new(topics, fn topic -> {topic, state(topic)} end), owners}
  end

  defp answer({:watch, topics}, owners) do
    Enum.each(topics, &Tracker.watch!(__MODULE__, &1))
    Enum.each(topics, &ready/1)
    {true, owners}
  end

  defp answer({:signal, topic, key}, owners) do
    {Tracker.signal(__MODULE__, topic, key, 1) == :ok, owners}
  end

  defp answer({:heard}, owners) do
    {Agent.get_and_update(MixedNode.Heard, &{&1, []}), owners}
  end

  # An owner is a process: when it is gone, so are its entries.
  defp answer({:gone, owner}, owners) do
    {pid, owners} = Map.pop(owners, owner)
    {pid != nil and stop(pid), owners}
  end

  defp answer({verb, owner, topic, key, meta, status}, owners) do
    owners = Map.put_new_lazy(owners, owner, fn -> spawn(fn -> Process.sleep(:infinity) end) end)
    meta = Map.put(meta, :headcount_status, Enum.at(@statuses, status))
    {write(verb, owners[owner], topic, key, meta), owners}
  end

  defp ready(topic) do
    receive do
      {__MODULE__, {:ready, ^topic, _age, _missing}} -> :ok
    end
  end

  defp write(:track, pid, topic, key, meta),
    do: match?({:ok, _}, Tracker.track(__MODULE__, pid, topic, key, meta))

  defp write(:update, pid, topic, key, meta),
    do: match?({:ok, _}, Tracker.update(__MODULE__, pid, topic, key, meta))

  defp write(:untrack, pid, topic, key, _meta) do
    is_tracked = List.keymember?(Tracker.get_by_key(__MODULE__, topic, key), pid, 0)
    :ok = Tracker.untrack(__MODULE__, pid, topic, key)
    is_tracked
  end

  defp stop(pid) do
    Process.exit(pid, :kill)
    true
  end

  defp state(topic) do
    entries =
      for {key, meta} <- Tracker.list(__MODULE__, topic) do
        {status, meta} = Map.pop(meta, :headcount_status, :online)
        meta = Map.drop(meta, [:phx_ref, :phx_ref_prev])
        [key, meta, Enum.find_index(@statuses, &(&1 == status))]
      end

    keys = Tracker.count_keys(__MODULE__, topic)
    true = Headcount.Keys.exact?(keys)
    %{"entries" => entries, "counts" => [Tracker.count(__MODULE__, topic), keys.at_most]}
  end

  defp json(nil), do: "null"
  defp json(map) when is_map(map), do: "{#{Enum.map_join(map, ",", &field/1)}}"
  defp json(list) when is_list(list), do: "[#{Enum.map_join(list, ",", &json/1)}]"
  defp json(text) when is_binary(text), do: "\"#{for <<c::utf8 <- text>>, do: char(c)}\""
  defp json(scalar), do: to_string(scalar)

  defp field({name, value}), do: json(name) <> ":" <> json(value)

  defp char(c) when c in 32..126 and c not in [?", ?\\], do: <<c>>
  defp char(c) when c < 0x10000, do: "\\u" <> hex(c)
  defp char(c), do: char(0xD800 + div(c - 0x10000, 1024)) <> char(0xDC00 + rem(c - 0x10000, 1024))

  defp hex(c), do: c |> Integer.to_string(16) |> String.pad_leading(4, "0")
end

MixedNode.main(System.argv())
