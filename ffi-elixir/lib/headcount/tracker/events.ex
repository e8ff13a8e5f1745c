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
      level: if(options[:log_level] == :warn, do: :warning, else: options[:log_level]),
      report_to: options[:report_events_to]
    }
  end

  @doc false
  # An event of the cluster: a tuple of its kind and more; and how many frames were refused, if it is of those.
  def event(events, event, count) do
    {level, text} = describe(event)
    log(events, level, if(count > 1, do: "#{text} (#{count} frames)", else: text))
    telemetry(events, elem(event, 0), %{count: count}, Map.put(about(event), :event, event))
    report(events.report_to, event)
    :ok
  end

  # To a name with a node nothing is sent while no process has it; to the bare name `send/2` would raise.
  defp report(nil, _event), do: :ok
  defp report(name, event) when is_atom(name), do: send({name, node()}, event)
  defp report(receiver, event), do: send(receiver, event)

  # What an event is about: the name of a replica, the address of a node, or this node.
  defp about({kind, from, _, _}) when kind == :shape_mismatch, do: %{from: from}
  defp about({:unreadable, from, _what}), do: %{from: from}
  defp about({:second_self, from}), do: %{from: from}
  defp about({kind, _}) when kind in [:ready, :other, :others_refused], do: %{}
  defp about({:topic_ready, topic, _age, _missing}), do: %{topic: topic}
  defp about({:counts_ready, topic, _age, _missing}), do: %{topic: topic}
  defp about({:answer_too_long, _partition, _bytes}), do: %{}
  defp about(event), do: %{replica: elem(event, 1)}

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
  def telemetry?, do: :erlang.function_exported(:telemetry, :execute, 3)

  @doc false
  def telemetry(events, kind, measurements, metadata) do
    if telemetry?() do
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

  defp describe({:divergence, name, partition}) do
    {:warning,
     "the entries of #{name} in partition #{partition} differ from its own: they are sent again"}
  end

  defp describe({:refused, name, partition, message}),
    do: {:warning, "refused entries of #{name} in partition #{partition}: #{message}"}

  defp describe({:ready, []}), do: {nil, "this node has caught up with all others"}

  defp describe({:ready, missing}),
    do: {:warning, "this node has caught up with all others but #{Enum.join(missing, ", ")}"}

  defp describe({:topic_ready, topic, _age, []}), do: {nil, "#{inspect(topic)} can be read"}

  defp describe({:topic_ready, topic, _age, missing}) do
    {:warning, "#{inspect(topic)} can be read, but without #{Enum.join(missing, ", ")}"}
  end

  defp describe({:counts_ready, topic, _age, []}), do: {nil, "#{inspect(topic)} can be counted"}

  defp describe({:counts_ready, topic, _age, missing}) do
    {:warning, "#{inspect(topic)} can be counted, but without #{Enum.join(missing, ", ")}"}
  end

  defp describe({:duplicate_name, name}) do
    {:error, "another node is called #{name} too. This one is silent until the other is gone"}
  end

  defp describe({:diffs_dropped, _name}),
    do: {:warning, "too much changed at once: handle_diff/2 misses changes, lists are right"}

  defp describe({:second_self, from}),
    do: {:warning, "#{from} sends frames of this node itself: they are dropped"}

  defp describe({:peer_limit, name}),
    do: {:warning, "#{name} is not let in: too many nodes are known"}

  defp describe({:handle_collision, name}) do
    {:error, "#{name} is not let in: frames cannot tell it from another node. Start it again"}
  end

  defp describe({:shape_mismatch, from, ours, theirs}) do
    {:error,
     "#{from} is of this cluster and has #{shape(theirs)}, this node has #{shape(ours)}: " <>
       "neither hears the other"}
  end

  defp describe({:answer_too_long, partition, bytes}) do
    {:error,
     "an answer about partition #{partition} has #{bytes} bytes, more than a frame: " <>
       "another node does not get its entries"}
  end

  defp describe({:unreadable, from, what}),
    do: {:warning, "frames of #{from} cannot be read: #{what}"}

  defp describe({:too_many_pulls, name}),
    do: {:warning, "#{name} asks for entries without end: its further questions are dropped"}

  defp describe({:others_refused, _count}),
    do:
      {:warning,
       "frames were refused of more nodes, or for more reasons, than are told one by one"}

  defp describe(event), do: {:warning, inspect(event)}

  defp shape({partitions, mode, counts, relay}) do
    "#{partitions} partitions" <>
      if(mode == :all, do: "", else: " in the mode #{mode}") <>
      if(counts, do: " with counts", else: "") <> if(relay, do: " with relay", else: "")
  end

  defp log(%{level: off}, _level, _text) when off in [false, nil], do: :ok

  defp log(events, level, text) do
    Logger.log(level || events.level, fn -> "#{inspect(events.name)}: #{text}" end)
  end
end
