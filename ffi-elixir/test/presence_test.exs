defmodule Headcount.PresenceTest do
  use ExUnit.Case, async: false

  alias Headcount.Test.Wait

  defmodule Plain do
    use Headcount.Presence, otp_app: :headcount, pubsub_server: Headcount.PresenceTest.PubSub
  end

  defmodule Rich do
    use Headcount.Presence, otp_app: :headcount, pubsub_server: Headcount.PresenceTest.PubSub

    @impl true
    def fetch("bad", _presences), do: raise("no database")

    def fetch(_topic, presences) do
      for {key, presence} <- presences, into: %{}, do: {key, Map.put(presence, :user, "#{key}!")}
    end

    @impl true
    def init(_), do: {:ok, 0}

    @impl true
    def handle_metas(topic, diff, presences, calls) do
      for {pid, _} <- Registry.lookup(Headcount.PresenceTest.PubSub, "metas") do
        send(pid, {:metas, topic, diff, presences, calls})
      end

      {:ok, calls + 1}
    end

    @impl true
    def handle_signal(%{payload: "boom"}, _calls), do: raise("boom")

    def handle_signal(signal, calls) do
      for {pid, _} <- Registry.lookup(Headcount.PresenceTest.PubSub, "metas") do
        send(pid, {:signal, signal, calls})
      end

      {:ok, calls + 1}
    end
  end

  setup do
    start_supervised!(%{id: :pubsub, start: {Phoenix.PubSub, :start_link, [__MODULE__.PubSub]}})
    start_supervised!(Plain)
    start_supervised!({Rich, [pool_size: 2]})
    :ok
  end

  defp socket(topic), do: %Phoenix.Socket{channel_pid: self(), topic: topic}
  defp subscribe(topic), do: Phoenix.PubSub.subscribe(__MODULE__.PubSub, topic)
  defp idle, do: spawn(fn -> Process.sleep(:infinity) end)

  test "sockets and processes are tracked, updated, listed and untracked" do
    {:ok, ref} = Plain.track(socket("room"), 7, %{device: "phone"})
    {:ok, other} = Plain.track(idle(), "room", "7", %{device: "laptop"})
    assert %{"7" => %{metas: metas}} = Plain.list(socket("room"))
    assert Enum.sort(Enum.map(metas, & &1.phx_ref)) == Enum.sort([ref, other])
    assert Plain.get_by_key("room", 7) == %{metas: [%{device: "phone", phx_ref: ref}]}
    assert Plain.get_by_key(socket("room"), 8) == []
    {:ok, new} = Plain.update(socket("room"), 7, &Map.put(&1, :away, true))

    assert %{metas: [%{away: true, phx_ref: ^new, phx_ref_prev: ^ref}]} =
             Plain.get_by_key("room", 7)

    {:ok, _} = Plain.update(self(), "room", 7, %{})
    assert Plain.untrack(socket("room"), 7) == :ok
    assert Plain.untrack(self(), "room", 7) == :ok
    assert %{"7" => %{metas: [_]}} = Plain.list("room")
    Wait.until(fn -> Plain.fetchers_pids() == [] end)
  end

  test "diffs are broadcast" do
    subscribe("room")
    pid = idle()
    {:ok, ref} = Plain.track(pid, "room", "ann", %{n: 1})

    assert_receive %{event: "presence_diff", topic: "room", payload: payload}
    assert payload == %{joins: %{"ann" => %{metas: [%{n: 1, phx_ref: ref}]}}, leaves: %{}}

    {:ok, next} = Plain.update(pid, "room", "ann", %{n: 2})
    assert_receive %{event: "presence_diff", payload: payload}
    assert payload.leaves == %{"ann" => %{metas: [%{n: 1, phx_ref: ref}]}}
    joined = %{n: 2, phx_ref: next, phx_ref_prev: ref}
    assert payload.joins == %{"ann" => %{metas: [joined]}}

    Process.exit(pid, :kill)
    assert_receive %{event: "presence_diff", payload: payload}
    assert payload == %{joins: %{}, leaves: %{"ann" => %{metas: [joined]}}}
  end

  test "who came and went at once leaves no ghost with clients that saw it" do
    :rand.seed(:exsss, {1, 2, 3})
    visitors = for n <- 1..4, do: {idle(), "u#{n}"}

    clients =
      Enum.flat_map(1..400, fn n ->
        {pid, key} = Enum.random(visitors)

        case :rand.uniform(3) do
          1 -> Plain.untrack(pid, "room", key)
          _ -> upsert(pid, key, %{n: n})
        end

        if rem(n, 4) == 0, do: [client(Plain, "room", "end")], else: []
      end)

    for {pid, _} <- Enum.take(visitors, 2), do: Process.exit(pid, :kill)
    Wait.until(fn -> Map.drop(Plain.list("room"), ["u3", "u4"]) == %{} end)
    {:ok, _} = Plain.track(idle(), "room", "end", %{})
    here = refs(Plain.list("room"))

    for client <- clients do
      assert_receive {^client, state}, 10_000
      assert state == here
    end
  end

  test "handle_metas keeps nobody who came and went at once" do
    subscribe("metas")
    pid = idle()

    for n <- 1..50 do
      {:ok, _} = Rich.track(pid, "room", "ann", %{n: n})
      if rem(n, 3) == 0, do: {:ok, _} = Rich.update(pid, "room", "ann", %{n: -n})
      :ok = Rich.untrack(pid, "room", "ann")
    end

    {:ok, ref} = Rich.track(idle(), "room", "end", %{})
    # The joins of those who came and went have a call of their own, before.
    assert_receive {:metas, "room", _diff, %{"end" => [%{phx_ref: ^ref}]} = presences, _calls}
                   when map_size(presences) == 1
  end

  defp upsert(pid, key, meta) do
    with {:error, :nopresence} <- Plain.update(pid, "room", key, meta) do
      Plain.track(pid, "room", key, meta)
    end
  end

  # What the JavaScript client of Phoenix makes of a state and the diffs after it, until it sees
  # the key that ends it. It has its state when this returns.
  defp client(module, topic, last) do
    parent = self()

    pid =
      spawn_link(fn ->
        subscribe(topic)
        state = refs(module.list(topic))
        send(parent, {self(), :reads})
        send(parent, {self(), follow(state, last)})
      end)

    assert_receive {^pid, :reads}, 10_000
    pid
  end

  defp follow(state, last) when is_map_key(state, last), do: state

  defp follow(state, last) do
    receive do
      %{event: "presence_diff", payload: diff} -> state |> sync_diff(diff) |> follow(last)
    end
  end

  defp sync_diff(state, %{joins: joins, leaves: leaves}) do
    state =
      Map.merge(state, refs(joins), fn _key, here, new -> Enum.uniq(Enum.sort(here ++ new)) end)

    Enum.reduce(refs(leaves), state, fn {key, gone}, state ->
      case Map.get(state, key, []) -- gone do
        [] -> Map.delete(state, key)
        left -> Map.put(state, key, left)
      end
    end)
  end

  defp refs(presences) do
    for {key, %{metas: metas}} <- presences, into: %{} do
      {key, metas |> Enum.map(& &1.phx_ref) |> Enum.sort()}
    end
  end

  test "fetch enriches lists, single presences and diffs" do
    subscribe("room")
    {:ok, _} = Rich.track(self(), "room", "ann", %{})
    assert %{"ann" => %{user: "ann!", metas: [_]}} = Rich.list("room")
    assert %{user: "ann!"} = Rich.get_by_key("room", "ann")
    assert_receive %{event: "presence_diff", payload: %{joins: %{"ann" => %{user: "ann!"}}}}
  end

  @tag :capture_log
  test "a fetch that raises kills nothing" do
    subscribe("bad")
    shards = for n <- 0..1, do: Process.whereis(:"#{Rich}_shard#{n}")
    {:ok, ref} = Rich.track(self(), "bad", "ann", %{})
    assert_receive %{event: "presence_diff", payload: %{joins: joins}}
    assert joins == %{"ann" => %{metas: [%{phx_ref: ref}]}}
    for shard <- shards, do: send(shard, {:stray, make_ref()})
    assert shards == for(n <- 0..1, do: Process.whereis(:"#{Rich}_shard#{n}"))
  end

  @tag :capture_log
  test "signals reach the callback, and an exception in it loses that one" do
    subscribe("metas")
    :ok = Headcount.Tracker.signal(Plain, "room", "ann", 1)
    :ok = Headcount.Tracker.signal(Rich, "room", "ann", 1, payload: "boom")
    for kind <- [2, 3], do: :ok = Headcount.Tracker.signal(Rich, "room", "ann", kind)
    assert_receive {:signal, %{kind: 2, topic: "room", key: "ann", payload: ""}, calls}
    assert_receive {:signal, %{kind: 3}, after_it} when after_it == calls + 1
  end

  test "handle_metas sees all metas of a topic" do
    subscribe("metas")
    pid = idle()
    {:ok, a} = Rich.track(pid, "room", "ann", %{})
    assert_receive {:metas, "room", %{joins: %{"ann" => _}}, %{"ann" => [%{phx_ref: ^a}]}, 0}
    {:ok, _} = Rich.track(idle(), "room", "bob", %{})
    assert_receive {:metas, "room", %{joins: %{"bob" => %{user: "bob!"}}}, presences, 1}
    assert Map.keys(presences) == ["ann", "bob"]
    {:ok, next} = Rich.update(pid, "room", "ann", %{})
    assert_receive {:metas, "room", _, %{"ann" => [%{phx_ref: ^next}]}, 2}
    Process.exit(pid, :kill)
    assert_receive {:metas, "room", %{leaves: %{"ann" => _}}, presences, 3}
    assert Map.keys(presences) == ["bob"]
  end

  defmodule Dispatcher do
    def dispatch(entries, :none, message) do
      for {pid, _value} <- entries, do: send(pid, {:dispatched, message})
      :ok
    end
  end

  defmodule Dispatched do
    # Options that Phoenix takes.
    use Headcount.Presence,
      otp_app: :headcount,
      pubsub_server: Headcount.PresenceTest.PubSub,
      presence: __MODULE__,
      dispatcher: Headcount.PresenceTest.Dispatcher
  end

  test "broadcasts go through the dispatcher" do
    start_supervised!(Dispatched)
    subscribe("room")
    {:ok, _} = Dispatched.track(self(), "room", "ann", %{})
    assert_receive {:dispatched, %Phoenix.Socket.Broadcast{} = message}
    assert %{topic: "room", event: "presence_diff", payload: %{joins: %{"ann" => _}}} = message
  end

  test "a wrong option is an error" do
    Process.flag(:trap_exit, true)
    assert {:error, reason} = Headcount.Presence.start_link(Dispatched, pool_size: 0)
    assert inspect(reason) =~ "pool_size must be"
  end

  test "the functions of a presence are callbacks, which a double can implement" do
    callbacks = Headcount.Presence.behaviour_info(:callbacks)
    functions = Dispatched.__info__(:functions) -- [child_spec: 1]
    assert functions -- callbacks == []
    assert {:track, 4} in callbacks and {:list, 1} in callbacks
  end

  test "the transport is Phoenix.PubSub when a server is named" do
    Phoenix.PubSub.subscribe(__MODULE__.PubSub, "headcount:#{inspect(Plain)}")
    {:ok, _} = Plain.track(self(), "room", "ann", %{})
    assert_receive {Headcount.Transport.PubSub, _from, :all, frame} when is_binary(frame), 3_000
  end
end
