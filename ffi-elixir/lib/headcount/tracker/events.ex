defmodule Headcount.Tracker.Events do
  @moduledoc false
  # Tells an operator what happens to a tracker: log lines, `:telemetry` events, and a process of the user's.

  require Logger

  # Frames that cannot be read are logged once in so many microseconds, with their number.
  @pause_us 10_000_000

  @enforce_keys [:name, :level, :report_to]
  defstruct [:name, :level, :report_to, unlogged: 0, log_at: 0]

  @doc false
  def new(name, options) do
    %__MODULE__{
      name: name,
      level: options[:log_level],
      report_to: options[:report_events_to]
    }
  end

  @doc false
  # An event of the cluster: a tuple of its kind, the name of a replica and more.
  def event(events, event) do
    {level, text} = describe(event)
    log(events, level, text)
    [kind, replica | _] = Tuple.to_list(event)
    telemetry(events, kind, %{count: 1}, %{replica: replica, event: event})
    if events.report_to, do: send(events.report_to, event)
    :ok
  end

  @doc false
  # Frames that one step lost: `{:frame_refused, {from, {:error, reason}}}` or `{:transport_failed, text}`.
  def lost(events, [], _now), do: events

  def lost(events, [first | _] = frames, now) do
    Enum.each(frames, &telemetry_lost(events, &1))
    count = events.unlogged + length(frames)

    if now >= events.log_at do
      log(
        events,
        :warning,
        "#{count} frames were lost, such as this one: #{describe_lost(first)}"
      )

      %{events | unlogged: 0, log_at: now + @pause_us}
    else
      %{events | unlogged: count}
    end
  end

  defp telemetry_lost(events, {:frame_refused, {from, {:error, reason}}}) do
    telemetry(events, :frame_refused, %{count: 1}, %{from: from, reason: reason})
  end

  defp telemetry_lost(events, {:transport_failed, text}) do
    telemetry(events, :transport_failed, %{count: 1}, %{reason: text})
  end

  defp describe_lost({:frame_refused, {from, {:error, reason}}}),
    do: "#{from}: #{inspect(reason)}"

  defp describe_lost({:transport_failed, text}), do: "the transport failed: #{text}"

  @doc false
  # The library is called at run time. Its module is loaded where handlers are attached.
  def telemetry(events, kind, measurements, metadata) do
    if :erlang.function_exported(:telemetry, :execute, 3) do
      metadata = Map.put(metadata, :tracker, events.name)
      apply(:telemetry, :execute, [[:headcount, :tracker, kind], measurements, metadata])
    end

    :ok
  end

  # `nil` stands for the level of the options.
  defp describe({:replica_up, name}), do: {nil, "#{name} is up"}
  defp describe({:replica_down, name}), do: {nil, "#{name} is down, its entries are hidden"}
  defp describe({:replica_permdown, name}), do: {nil, "#{name} is gone, and so are its entries"}

  defp describe({:reincarnated, name}), do: {:warning, "this node has a new identity as #{name}"}

  defp describe({:divergence, name}),
    do: {:warning, "two nodes hold different entries of #{name}: they are sent again"}

  defp describe({:refused, name, from, message}),
    do: {:warning, "refused entries of #{name}, sent by #{from}: #{message}"}

  defp describe({:duplicate_name, name}) do
    {:error, "another node is called #{name} too. This one is silent until the other is gone"}
  end

  defp describe({:diffs_dropped, _name}),
    do: {:warning, "too much changed at once: handle_diff/2 misses changes, lists are right"}

  defp describe({:peer_limit, name}),
    do: {:warning, "#{name} is not let in: too many nodes are known"}

  defp describe({:unsupported, from, min, max}),
    do:
      {:warning,
       "#{from} speaks versions #{min} to #{max} of the protocol, which this node does not"}

  defp describe(event), do: {:warning, inspect(event)}

  defp log(%{level: off}, _level, _text) when off in [false, nil], do: :ok

  defp log(events, level, text) do
    Logger.log(level || events.level, fn -> "#{inspect(events.name)}: #{text}" end)
  end
end
