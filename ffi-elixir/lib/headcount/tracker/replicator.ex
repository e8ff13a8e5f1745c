defmodule Headcount.Tracker.Replicator do
  @moduledoc false
  # Moves frames between the NIF and the transport, and changes to the shards.
  #
  # It checks deadlines only after the frames that have arrived: a VM that was paused would otherwise
  # hide every node whose heartbeats wait in the mailbox. When the timer fires, a message to itself marks
  # the end of the frames that have arrived, so a flood of later frames delays nothing.

  use GenServer, shutdown: 5_000, restart: :transient
  require Logger
  alias Headcount.Native
  alias Headcount.Tracker.{Config, Shard}

  # The first change after a pause travels at once; later ones are collected for this long.
  @flush_us 5_000
  # Frames that wait are taken in together, up to so many.
  @frames_max 64
  # A timer that fires this late shows that the VM was paused: frames get a moment to move from the
  # sockets to the mailbox.
  @late_us 500_000
  @moment_us 50_000

  @doc false
  def start_link({config, _transport, _options} = args) do
    GenServer.start_link(__MODULE__, args, name: config.replicator)
  end

  @doc false
  def leave_gracefully(config), do: GenServer.call(config.replicator, :leave_gracefully)

  @impl true
  def init({config, {transport, transport_options}, options}) do
    Process.flag(:trap_exit, true)
    # From now on the NIF sends `:changed` at the first change after each step.
    Native.presence_attach(config.presence)
    remember([node() | Node.list(:known)])
    # Its messages have three parts, unlike those that a transport asks for.
    :net_kernel.monitor_nodes(true, node_type: :visible)

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
          # Frames that wait for the next step, the last one first, and their number.
          frames: [],
          frame_count: 0,
          # When the last step began.
          stepped: 0,
          # The timer of the next step and when it fires; the times are microseconds.
          timer: nil,
          due: nil,
          # Whether the mark is in the mailbox.
          marked?: false
        }

        {:ok, state, {:continue, :step}}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  @impl true
  def handle_continue(:step, state), do: {:noreply, step(state, true)}

  @impl true
  def handle_call(:leave_gracefully, _from, state) do
    {:stop, :normal, :ok, %{leave(state) | leave_on_shutdown: false}}
  end

  @impl true
  def handle_info(:changed, state) do
    {:noreply, schedule(max(now(), state.stepped + @flush_us), state), wait(state)}
  end

  def handle_info({:timeout, timer, :step}, %{timer: timer, due: due} = state) do
    state = %{state | timer: nil, due: nil}
    now = now()

    if now - due < @late_us do
      send(self(), {__MODULE__, :mark})
      {:noreply, %{state | marked?: true}, wait(state)}
    else
      {:noreply, schedule(now + @moment_us, state), wait(state)}
    end
  end

  def handle_info({__MODULE__, :mark}, state) do
    {:noreply, step(%{state | marked?: false}, true)}
  end

  # A timer that was replaced while its message was under way.
  def handle_info({:timeout, timer, :step}, state) when is_reference(timer) do
    {:noreply, state, wait(state)}
  end

  # No message waits.
  def handle_info(:timeout, state), do: {:noreply, step(state, false)}

  def handle_info({:nodeup, node, _info}, state) do
    remember([node])
    {:noreply, state, wait(state)}
  end

  def handle_info(message, state) do
    case state.transport.handle_info(message, state.transport_state) do
      {:frame, from, frame, transport_state} ->
        state = %{state | transport_state: transport_state}
        frames = [{from, frame} | state.frames]
        state = %{state | frames: frames, frame_count: state.frame_count + 1}

        if state.frame_count < @frames_max,
          do: {:noreply, state, 0},
          else: {:noreply, step(state, false)}

      {:gone, from, transport_state} ->
        state = step(%{state | transport_state: transport_state}, false)
        Native.presence_disconnected(state.presence, now(), from)
        {:noreply, step(state, false)}

      {:ok, transport_state} ->
        {:noreply, %{state | transport_state: transport_state}, wait(state)}

      :unknown ->
        {:noreply, state, wait(state)}
    end
  end

  @impl true
  def terminate(reason, %{leave_on_shutdown: true} = state)
      when reason in [:normal, :shutdown] or elem(reason, 0) == :shutdown do
    leave(state)
  end

  def terminate(_reason, _state), do: :ok

  # Pids of a node with a long name can be decoded only by nodes that know the name.
  defp remember(nodes), do: Native.remember_nodes(Enum.map(nodes, &to_string/1))

  # Received frames are applied as soon as no other message waits.
  defp wait(%{frames: []}), do: :infinity
  defp wait(_state), do: 0

  defp leave(state) do
    Native.presence_leave_gracefully(state.presence, now())
    step(state, false)
  end

  # Applies the received frames, does the work that is due unless more frames wait, delivers what the NIF
  # has to send, and sets the timer of the next step.
  defp step(%{config: config} = state, due?) do
    frames = Enum.reverse(state.frames)
    now = now()

    {errors, frames, events, diffs, next} =
      Native.presence_step(state.presence, now, frames, config.pool_size, due?)

    transport_state =
      Enum.reduce(frames, state.transport_state, fn {to, frame}, transport_state ->
        transmit(to || :all, frame, transport_state, state)
      end)

    for {from, {:error, reason}} <- errors do
      log(state, "refused a frame of #{from}: #{inspect(reason)}")
    end

    for {shard, changes} <- diffs do
      Shard.deliver(config, shard, changes)
    end

    Enum.each(events, &event(&1, state))
    state = %{state | transport_state: transport_state, frames: [], frame_count: 0, stepped: now}
    if next, do: schedule(next, state), else: state
  end

  # A transport that fails has lost a frame, which the protocol repairs.
  defp transmit(to, frame, transport_state, state) do
    state.transport.transmit(to, frame, transport_state)
  catch
    kind, reason ->
      log(state, Exception.format(kind, reason, __STACKTRACE__))
      transport_state
  end

  defp event(event, state) do
    log(state, inspect(event))
    if state.report_to, do: send(state.report_to, event)
  end

  # Keeps one timer, for the earliest deadline. Sliced work continues at once, after the messages that wait.
  defp schedule(_at, %{marked?: true} = state), do: state
  defp schedule(at, %{due: due} = state) when due != nil and due <= at, do: state

  defp schedule(at, state) do
    if state.timer, do: :erlang.cancel_timer(state.timer)
    %{state | timer: :erlang.start_timer(delay(at - now()), self(), :step), due: at}
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
