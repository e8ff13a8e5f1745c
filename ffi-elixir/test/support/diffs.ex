defmodule Headcount.Test.Diffs do
  @moduledoc false
  # A tracker that tells a process of its diffs, and does as it is told.

  use Headcount.Tracker

  def start_link(options) do
    {arg, options} = Keyword.split(options, [:to, :on_diff])
    arg = Keyword.put(arg, :name, options[:name])
    Headcount.Tracker.start_link(__MODULE__, arg, options)
  end

  @impl true
  def init(arg), do: {:ok, Map.new(arg)}

  @impl true
  def handle_diff(diff, state) do
    if state[:to], do: send(state.to, {:diff, diff, self()})
    if state[:on_diff], do: state.on_diff.(diff)
    {:ok, state}
  end

  @impl true
  def handle_signal(signal, state) do
    if state[:to] do
      send(state.to, {:signal, signal, state[:name]})
      send(state.to, {:signal_in, signal.topic, self()})
    end

    {:ok, state}
  end

  @impl true
  def handle_info(message, state) do
    if state[:to], do: send(state.to, {:info, message})
    {:noreply, state}
  end
end

defmodule Headcount.Test.Reasons do
  @moduledoc false
  # A tracker that tells a process of its diffs and of the reasons of their leaves. It fails at the topic "bomb".

  use Headcount.Tracker

  def start_link(options) do
    {to, options} = Keyword.pop(options, :to)
    Headcount.Tracker.start_link(__MODULE__, {to, options[:name]}, options)
  end

  @impl true
  def init(arg), do: {:ok, arg}

  @impl true
  def handle_diff(diff, reasons, {to, name} = state) do
    if is_map_key(diff, "bomb"), do: raise("boom")
    send(to, {:diff, diff, reasons, name})
    {:ok, state}
  end
end
