defmodule Headcount.Tracker.Replicator do
  @moduledoc false
  # Moves frames between the presence and the transport, and changes to the shards.

  use GenServer, shutdown: 5_000
  require Logger
  alias Headcount.Native
  alias Headcount.Tracker.Config

  # Changes are collected for this long before they travel.
  @flush_ms 5

  @doc false
  def start_link({config, _transport, _options} = args) do
    GenServer.start_link(__MODULE__, args, name: config.replicator)
  end

  @doc false
  def leave_gracefully(config), do: GenServer.call(config.replicator, :leave_gracefully)

  @impl true
  def init({config, {transport, transport_options}, options}) do
    Process.flag(:trap_exit, true)
    # From now on the NIF sends `:changed`, once after a quiet time.
    Native.presence_attach(config.presence)

    case transport.init(Config.cluster(options), transport_options) do
      {:ok, transport_state} ->
        Native.presence_set_safe(config.presence, not transport.trusted?(transport_state))

        state = %{
          config: config,
          presence: config.presence,
          transport: transport,
          transport_state: transport_state,
          log_level: options[:log_level],
          report_to: options[:report_events_to],
          leave_on_shutdown: options[:permdown_on_shutdown],
          timer: nil
        }

        {:ok, state, {:continue, :step}}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  @impl true
  def handle_continue(:step, state), do: {:noreply, step(state)}

  @impl true
  def handle_call(:leave_gracefully, _from, state) do
    {:reply, :ok, leave(state)}
  end

  @impl true
  def handle_info(:changed, state) do
    Process.send_after(self(), :step, @flush_ms)
    {:noreply, state}
  end

  def handle_info(:step, state), do: {:noreply, step(state)}

  def handle_info(message, state) do
    case state.transport.handle_info(message, state.transport_state) do
      {:frame, from, frame, transport_state} ->
        {:noreply, frame(from, frame, %{state | transport_state: transport_state})}

      {:gone, from, transport_state} ->
        Native.presence_disconnected(state.presence, now(), from)
        {:noreply, drain(%{state | transport_state: transport_state})}

      {:ok, transport_state} ->
        {:noreply, %{state | transport_state: transport_state}}

      :unknown ->
        {:noreply, state}
    end
  end

  @impl true
  def terminate(reason, %{leave_on_shutdown: true} = state)
      when reason in [:normal, :shutdown] or elem(reason, 0) == :shutdown do
    leave(state)
  end

  def terminate(_reason, _state), do: :ok

  defp frame(from, frame, state) do
    case Native.presence_handle_message(state.presence, now(), from, frame) do
      :ok -> :ok
      {:error, reason} -> log(state, "refused a frame of #{from}: #{inspect(reason)}")
    end

    drain(state)
  end

  defp step(state) do
    if Native.presence_handle_timeout(state.presence, now()), do: send(self(), :step)
    drain(state)
  end

  defp leave(state) do
    Native.presence_leave_gracefully(state.presence, now())
    drain(state)
  end

  # Everything that the presence has to say; then a timer for when it wants to speak again.
  defp drain(%{config: config} = state) do
    {frames, events, next} = Native.presence_poll(state.presence)

    transport_state =
      Enum.reduce(frames, state.transport_state, fn {to, frame}, transport_state ->
        transmit(to || :all, frame, transport_state, state)
      end)

    for {shard, changes} <- Native.presence_take_diffs(state.presence, config.pool_size) do
      deliver(elem(config.shards, shard), {:changes, changes})
    end

    Enum.each(events, &event(&1, state))
    schedule(next, %{state | transport_state: transport_state})
  end

  # A transport that fails has lost a frame, which is what frames are prepared for.
  defp transmit(to, frame, transport_state, state) do
    state.transport.transmit(to, frame, transport_state)
  catch
    kind, reason ->
      log(state, Exception.format(kind, reason, __STACKTRACE__))
      transport_state
  end

  # A shard that is being restarted misses what happens meanwhile.
  defp deliver(shard, message) do
    send(shard, message)
  rescue
    ArgumentError -> :ok
  end

  defp event(event, state) do
    log(state, inspect(event))
    if state.report_to, do: send(state.report_to, event)
  end

  # Work in slices wants the next step at once; messages that wait come first.
  defp schedule(next, state) do
    if state.timer, do: Process.cancel_timer(state.timer)
    %{state | timer: next && Process.send_after(self(), :step, delay(next - now()))}
  end

  defp delay(us) when us <= 0, do: 0
  defp delay(us), do: div(us - 1, 1_000) + 1

  defp log(%{log_level: level}, _message) when level in [false, nil], do: :ok

  defp log(%{log_level: level, config: config}, message) do
    Logger.log(level, fn -> "#{inspect(config.name)}: #{message}" end)
  end

  # Microseconds since the VM started: never negative, never backwards.
  defp now do
    start = :erlang.system_info(:start_time)
    System.convert_time_unit(System.monotonic_time() - start, :native, :microsecond)
  end
end
