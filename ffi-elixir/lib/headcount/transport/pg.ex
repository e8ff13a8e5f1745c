defmodule Headcount.Transport.PG do
  @moduledoc """
  Erlang distribution: the trackers of one name find each other through a `:pg` group.

  A connection to a node that breaks hides its entries at once.
  """

  @behaviour Headcount.Transport

  @scope __MODULE__

  @impl true
  def init(cluster, _options) do
    group = {__MODULE__, cluster}
    :ok = :pg.join(@scope, group, self())
    {:ok, %{group: group, monitors: %{}}}
  end

  @impl true
  def transmit(:all, frame, state) do
    for pid <- :pg.get_members(@scope, state.group), pid != self() do
      send_frame(pid, frame)
    end

    state
  end

  def transmit(address, frame, state) do
    case Map.fetch(state.monitors, address) do
      {:ok, pid} -> send_frame(pid, frame)
      :error -> :ok
    end

    state
  end

  @impl true
  def handle_info({__MODULE__, pid, frame}, state) do
    address = address(pid)

    if is_map_key(state.monitors, address) do
      {:frame, address, frame, state}
    else
      Process.monitor(pid)
      {:frame, address, frame, put_in(state.monitors[address], pid)}
    end
  end

  def handle_info({:DOWN, _ref, :process, pid, _reason}, state) do
    case Map.pop(state.monitors, address(pid)) do
      {nil, _monitors} -> :unknown
      {pid, monitors} -> {:gone, address(pid), %{state | monitors: monitors}}
    end
  end

  def handle_info(_message, _state), do: :unknown

  @impl true
  def trusted?(_state), do: true

  # A slow or broken connection loses frames rather than holding everyone up.
  defp send_frame(pid, frame) do
    Process.send(pid, {__MODULE__, self(), frame}, [:noconnect, :nosuspend])
  end

  defp address(pid), do: pid |> :erlang.pid_to_list() |> List.to_string()
end
