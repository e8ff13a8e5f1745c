defmodule Headcount.Tracker.Stats do
  @moduledoc false
  # What a tracker holds and what happened to it, for `Headcount.Tracker.stats/1` and the event `:stats`.

  alias Headcount.Native
  alias Headcount.Tracker.Shard

  @doc false
  def read(config) do
    {amounts, peers, {sent, received, refused, events}} = Native.presence_stats(config.presence)
    {entries, topics, leave_log_bytes, diffs_bytes, watches} = amounts
    {ups, downs, divergences, refused_entries} = events

    peers =
      for {name, up, silence, behind} <- peers do
        %{name: name, up: up, silence: silence, partitions_behind: behind}
      end

    %{
      entries: entries,
      topics: topics,
      leave_log_bytes: leave_log_bytes,
      diffs_bytes: diffs_bytes,
      watches: watches,
      replicas_up: Enum.count(peers, & &1.up),
      replicas_down: Enum.count(peers, &(not &1.up)),
      peers: peers,
      sent: by_kind(sent),
      unsent: :counters.get(config.unsent, 1),
      signals_dropped: Shard.signals_dropped(config),
      received: by_kind(received),
      refused: Map.new(refused),
      refused_entries: refused_entries,
      divergences: divergences,
      ups: ups,
      downs: downs
    }
  end

  defp by_kind(traffic) do
    for {kind, frames, bytes} <- traffic, into: %{}, do: {kind, %{frames: frames, bytes: bytes}}
  end

  @doc false
  # The measurements and the metadata of the event: measurements are numbers.
  def event(stats) do
    {details, numbers} = Map.split(stats, [:peers, :sent, :received, :refused])

    sums = %{
      frames_sent: sum(stats.sent, :frames),
      bytes_sent: sum(stats.sent, :bytes),
      frames_received: sum(stats.received, :frames),
      bytes_received: sum(stats.received, :bytes),
      frames_refused: Enum.sum(Map.values(stats.refused))
    }

    {Map.merge(numbers, sums), details}
  end

  defp sum(traffic, what), do: Enum.reduce(traffic, 0, fn {_kind, of}, sum -> sum + of[what] end)
end
