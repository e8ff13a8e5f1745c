defmodule Headcount.Tracker.Replicator do
  @moduledoc false
  # Moves frames between the NIF and the transport, and changes to the shards.
  #
  # It checks deadlines only after the frames that have arrived: a VM that was paused would otherwise
  # hide every node whose heartbeats wait in the mailbox. When the timer fires, a message to itself marks
  # the end of the frames that have arrived, so a flood of later frames delays nothing.

  use GenServer, shutdown: 5_000, restart: :transient
  alias Headcount.Native
  alias Headcount.Tracker.{Config, Events, Shard, Signal, Stats}

  # The first change after a pause travels at once; later ones are collected for this long.
  @flush_us 5_000
  # Until they travel, the callbacks of this node get the changes when there are none for a moment. If that does not
  # come soon, the tracker is busy: they wait for the next step.
  @quiet_us 20
  @quiet_within_us 300
  # A process that waited this long for its next turn was not alone: what others wrote meanwhile comes at once.
  @turn_us 100
  # Diffs that the callbacks have not handled; with more there is no hurry.
  @unhandled_max 8
  # Frames that wait are taken in together, up to so many.
  @frames_max 64
  # A timer that fires this late shows that the VM was paused: frames get a moment to move from the
  # sockets to the mailbox.
  @late_us 500_000
  @moment_us 50_000
  # Heartbeats between two events `:stats`.
  @stats_beats 40
  # The pause before a transport that failed to subscribe is asked again.
  @retry_us 1_000_000

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
          groups?: function_exported?(transport, :subscribe, 2),
          # Partitions that the transport did not subscribe to, or did not let go, and when it is asked again.
          refused: %{},
          retry_at: 0,
          # How many frames the transport has not sent, as it said last.
          unsent: 0,
          # The longest frame that it carries, as it said last.
          carried: nil,
          events: Events.new(config.name, options),
          leave_on_shutdown: options[:permdown_on_shutdown],
          # When the event `:stats` is told next, and the time between two of them.
          stats_at: now() + stats_pause(options),
          stats_pause: stats_pause(options),
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

        {:ok, fit_frames(state), {:continue, :step}}

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
    now = now()
    at = state.stepped + @flush_us

    # A timer that is overdue shows that the VM was paused, and is left to its message.
    cond do
      state.due != nil and state.due <= now ->
        {:noreply, schedule(max(at, now), state), wait(state)}

      at > now ->
        {:noreply, flush(schedule(at, state)), wait(state)}

      true ->
        {:noreply, mark(flush(state)), wait(state)}
    end
  end

  def handle_info({:timeout, timer, :step}, %{timer: timer, due: due} = state) do
    state = %{state | timer: nil, due: nil}
    now = now()

    if now - due < @late_us do
      {:noreply, mark(state), wait(state)}
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

  defp mark(%{marked?: true} = state), do: state

  defp mark(state) do
    send(self(), {__MODULE__, :mark})
    %{state | marked?: true}
  end

  # Pids of a node with a long name can be decoded only by nodes that know the name.
  defp remember(nodes), do: Native.remember_nodes(Enum.map(nodes, &to_string/1))

  # Received frames are applied as soon as no other message waits.
  defp wait(%{frames: []}), do: :infinity
  defp wait(_state), do: 0

  # A frame may be lost, so goodbye is said three times.
  defp leave(state) do
    Native.presence_leave_gracefully(state.presence, now())
    say_goodbye(step(state, false))
  end

  defp say_goodbye(state) do
    case Native.presence_poll_goodbye(state.presence) do
      nil ->
        state

      at ->
        Process.sleep(delay(at - now()))
        say_goodbye(step(state, true))
    end
  end

  # Frames that wait come first.
  defp flush(%{frames: [_ | _]} = state), do: state

  defp flush(%{config: config, presence: presence} = state) do
    now = now()

    with true <- :ets.info(config.changes, :size) <= @unhandled_max,
         true <- quiet?(presence, change_count(presence), now, now),
         diffs when is_list(diffs) <- Native.presence_flush(presence, config.pool_size) do
      deliver(diffs, config)
    end

    state
  end

  # Lets others have their turn until there is no change for a moment.
  defp quiet?(presence, count, changed, began) do
    before = now()
    :erlang.yield()
    now = now()
    new_count = change_count(presence)

    cond do
      now - before >= @turn_us -> true
      now - began >= @quiet_within_us -> false
      new_count != count -> quiet?(presence, new_count, now, began)
      now - changed >= @quiet_us -> true
      true -> quiet?(presence, count, changed, began)
    end
  end

  defp change_count(presence), do: Native.presence_change_count(presence)

  defp deliver(diffs, config) do
    Enum.each(diffs, &Shard.deliver(config, &1))
  end

  # Applies the received frames, does the work that is due unless more frames wait, delivers what the NIF
  # has to send, and sets the timer of the next step.
  defp step(%{config: config} = state, due?) do
    now = now()
    received = Enum.reverse(state.frames)

    {errors, groups, sent, events, diffs, next} =
      Native.presence_step(state.presence, now, received, config.pool_size, due?)

    duration = now() - now
    {state, unsubscribed} = subscribe_all(groups, now, state)
    {transport_state, failures} = transmit_all(sent, state)
    {state, unsent} = count_unsent(failures, %{state | transport_state: transport_state})
    state = fit_frames(state)
    measure(state.events, duration, received, sent, unsent)
    lost = unsubscribed ++ failures ++ for(error <- errors, do: {:frame_refused, error})
    state = %{state | events: Events.lost(state.events, lost, now)}
    deliver(diffs, config)
    Enum.each(events, &event(&1, state))
    state = tell_stats(now, %{state | frames: [], frame_count: 0, stepped: now})
    if next, do: schedule(next, state), else: state
  end

  defp stats_pause(options), do: options[:broadcast_period] * 1_000 * @stats_beats

  defp tell_stats(now, %{stats_at: at} = state) when now < at, do: state

  defp tell_stats(now, %{config: config, events: events} = state) do
    # Not read for nobody.
    if Events.telemetry?() do
      {measurements, metadata} = Stats.event(Stats.read(config))
      Events.telemetry(events, :stats, measurements, metadata)
    end

    %{state | stats_at: now + state.stats_pause}
  end

  # Before the frames are sent: the answers to a question and what changes meanwhile both arrive.
  defp subscribe_all(_changes, _now, %{groups?: false} = state), do: {state, []}

  defp subscribe_all(changes, now, %{refused: refused} = state) do
    again = if now >= state.retry_at, do: refused, else: %{}
    changes = Map.merge(again, Map.new(changes))
    state = %{state | refused: Map.drop(refused, Map.keys(changes))}

    Enum.reduce(changes, {state, []}, fn {partition, wanted?}, {state, failures} ->
      function = if wanted?, do: :subscribe, else: :unsubscribe

      case attempt(state.transport, function, [partition, state.transport_state]) do
        {:ok, transport_state} ->
          {%{state | transport_state: transport_state}, failures}

        {:failed, text} ->
          refused = Map.put(state.refused, partition, wanted?)
          failures = [{:transport_failed, text} | failures]
          {%{state | refused: refused, retry_at: now + @retry_us}, failures}
      end
    end)
  end

  # Returns how many frames were not sent since the last step, and adds them to the tracker's.
  defp count_unsent(failures, %{transport: transport} = state) do
    total =
      if function_exported?(transport, :unsent, 1),
        do: transport.unsent(state.transport_state),
        else: 0

    unsent = length(failures) + total - state.unsent
    :counters.add(state.config.unsent, 1, unsent)
    {%{state | unsent: total}, unsent}
  end

  defp fit_frames(%{transport: transport, carried: carried} = state) do
    with true <- function_exported?(transport, :frame_max, 1),
         max when max != carried <- transport.frame_max(state.transport_state) do
      Native.presence_set_frame_max(state.presence, min(max, Config.frame_max(transport)))
      %{state | carried: max}
    else
      _ -> state
    end
  end

  defp measure(events, duration, received, sent, unsent) do
    measurements = %{
      duration: duration,
      frames_in: length(received),
      frames_out: length(sent),
      frames_unsent: unsent,
      bytes_in: bytes(received),
      bytes_out: bytes(sent)
    }

    Events.telemetry(events, :step, measurements, %{})
  end

  defp bytes(frames), do: Enum.reduce(frames, 0, fn {_, frame}, sum -> sum + byte_size(frame) end)

  defp transmit_all(frames, %{transport: transport, transport_state: transport_state} = state) do
    Enum.reduce(frames, {transport_state, []}, fn {to, frame}, {transport_state, failures} ->
      case attempt(transport, :transmit, [to(to, state), frame, transport_state]) do
        {:ok, transport_state} -> {transport_state, failures}
        {:failed, text} -> {transport_state, [{:transport_failed, text} | failures]}
      end
    end)
  end

  defp to(nil, _state), do: :all
  defp to(partition, %{groups?: true}) when is_integer(partition), do: {:group, partition}
  defp to(partition, _state) when is_integer(partition), do: :all
  defp to(address, _state), do: address

  # A transport that fails has lost a frame, which the protocol repairs.
  defp attempt(transport, function, args) do
    {:ok, apply(transport, function, args)}
  catch
    kind, reason -> {:failed, Exception.format(kind, reason, __STACKTRACE__)}
  end

  defp event({{:signal, from, topic, content}, _count}, state) do
    Shard.signal(state.config, Signal.new(from, topic, content))
  end

  defp event({{:topic_ready, topic, age, missing, watchers}, _count}, state) do
    tell(watchers, {:ready, topic, age, missing}, state)
    Events.event(state.events, {:topic_ready, topic, age, missing}, 1)
  end

  defp event({{:counts_ready, topic, age, missing, watchers}, _count}, state) do
    tell(watchers, {:counts_ready, topic, age, missing}, state)
    Events.event(state.events, {:counts_ready, topic, age, missing}, 1)
  end

  defp event({{:unwatched, shard, topic}, _count}, state),
    do: Shard.unwatched(state.config, shard, topic)

  defp event({event, count}, state), do: Events.event(state.events, event, count)

  defp tell(watchers, news, state) do
    for pid <- watchers, do: send(pid, {state.config.name, news})
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

  defp now, do: Config.now()
end
