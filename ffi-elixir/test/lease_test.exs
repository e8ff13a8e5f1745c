defmodule Headcount.LeaseTest do
  # Leases, grace, signals, and many writes at once.
  use ExUnit.Case, async: true

  alias Headcount.Test.{Diffs, Wait}
  alias Headcount.Tracker
  alias Headcount.Tracker.Signal

  setup context do
    name = :"lease_#{:erlang.phash2(context.test)}"
    start(name, Map.get(context, :options, []))
    {:ok, name: name}
  end

  defp start(name, options) do
    start_supervised!({Diffs, [name: name, to: self()] ++ options}, id: name)
  end

  defp spawn_idle, do: spawn(fn -> Process.sleep(:infinity) end)

  defp keys(name), do: Enum.sort(for {key, _meta} <- Tracker.list(name, "room"), do: key)

  describe "a lease" do
    test "ends unless it is renewed", %{name: name} do
      {:ok, _} = Tracker.track(name, self(), "room", :short, %{}, ttl: 1_000)
      {:ok, _} = Tracker.track(name, self(), "room", :renewed, %{}, ttl: 1_000)
      {:ok, _} = Tracker.track(name, self(), "room", :updated, %{}, ttl: 1_000)
      {:ok, _} = Tracker.track(name, self(), "room", :none, %{})
      :ok = Tracker.lease(name, self(), "room", :renewed, 600_000)
      {:ok, _} = Tracker.update(name, self(), "room", :updated, & &1, ttl: 600_000)
      Wait.until(fn -> keys(name) == [:none, :renewed, :updated] end)
      {:ok, _} = Tracker.update(name, self(), "room", :updated, %{}, ttl: 1)
      :ok = Tracker.lease(name, self(), "room", :renewed, 1)
      Wait.until(fn -> keys(name) == [:none] end)
      assert Tracker.lease(name, self(), "room", :short, 50) == {:error, :nopresence}
      assert_receive {:diff, %{"room" => {[], [short: _]}}, _shard}
    end

    test "ends with the entry: a later one has none", %{name: name} do
      {:ok, _} = Tracker.track(name, self(), "room", 1, %{}, ttl: 50)
      :ok = Tracker.untrack(name, self(), "room", 1)
      {:ok, _} = Tracker.track(name, self(), "room", 1, %{})
      {:ok, _} = Tracker.track(name, self(), "room", 2, %{}, ttl: 100)
      Wait.until(fn -> keys(name) == [1] end)
    end

    test "of a process is that of all its entries", %{name: name} do
      owner = spawn_idle()
      for key <- 1..3, do: {:ok, _} = Tracker.track(name, owner, "room", key, %{})
      {:ok, _} = Tracker.track(name, self(), "room", :mine, %{})
      :ok = Tracker.lease_owner(name, owner, 600_000)
      assert length(keys(name)) == 4
      :ok = Tracker.lease_owner(name, owner, 1)
      Wait.until(fn -> keys(name) == [:mine] end)
    end

    test "has a time that is possible", %{name: name} do
      for ttl <- [0, -1, 1.5, 0x1_0000_0000, :infinity] do
        assert_raise ArgumentError, ~r/ttl/, fn ->
          Tracker.track(name, self(), "room", 1, %{}, ttl: ttl)
        end

        assert_raise ArgumentError, ~r/ttl/, fn -> Tracker.lease_owner(name, self(), ttl) end
      end

      assert keys(name) == []
    end
  end

  describe "grace" do
    @tag options: [grace: 600_000]
    test "another process takes over what a process left: an update", %{name: name} do
      phone = spawn_idle()
      {:ok, ref} = Tracker.track(name, phone, "room", "ann", %{n: 1})
      assert_receive {:diff, %{"room" => {[{"ann", %{n: 1}}], []}}, _}
      Process.exit(phone, :kill)
      laptop = spawn_idle()
      # Two sessions until the end of the process was noticed.
      Wait.until(fn ->
        {:ok, _} = Tracker.track(name, laptop, "room", "ann", %{n: 2})
        one? = Tracker.count(name, "room") == 1
        if not one?, do: Tracker.untrack(name, laptop)
        one?
      end)

      assert [{^laptop, %{n: 2, phx_ref_prev: ^ref}}] = Tracker.get_by_key(name, "room", "ann")
    end

    @tag options: [grace: 100]
    test "is over after its time", %{name: name} do
      phone = spawn_idle()
      {:ok, _} = Tracker.track(name, phone, "room", "ann", %{})
      Process.exit(phone, :kill)
      Wait.until(fn -> keys(name) == [] end)
    end

    @tag options: [grace: 1_000]
    test "ends when the process is back", %{name: name} do
      [back, gone] = [spawn_idle(), spawn_idle()]
      for pid <- [back, gone], do: {:ok, _} = Tracker.track(name, pid, "room", pid, %{})
      for pid <- [back, gone], do: :ok = Tracker.owner_lost(name, pid)
      assert Tracker.owner_back(name, back)
      refute Tracker.owner_back(name, back)
      Wait.until(fn -> keys(name) == [back] end)
      refute Tracker.owner_back(name, gone)
    end

    test "without it a lost process leaves at once", %{name: name} do
      {:ok, _} = Tracker.track(name, self(), "room", "ann", %{})
      :ok = Tracker.owner_lost(name, self())
      assert keys(name) == []
    end
  end

  describe "a signal" do
    test "reaches the callbacks of all nodes", %{name: name} do
      other = :"#{name}_other"
      both = [cluster: "signals", broadcast_period: 50]
      start(:"#{name}_a", both ++ [node_name: "a"])
      start(other, both ++ [node_name: "b"])
      Wait.until(fn -> Tracker.replicas(other) == [{"a", true}] end)

      for key <- ["ann", {:user, 7}, 12] do
        options = [payload: <<0, 255>>, ttl: 3_000]
        :ok = Tracker.signal(:"#{name}_a", "room", key, 200, options)

        signal = %Signal{
          topic: "room",
          key: key,
          kind: 200,
          payload: <<0, 255>>,
          ttl: 3_000,
          from: "a"
        }

        assert_receive {:signal, ^signal, ^other}
        assert_receive {:signal, ^signal, _here}
      end

      refute_received {:signal, _, _}
    end

    test "that is too long is refused", %{name: name} do
      for {topic, key, payload} <- [
            {String.duplicate("t", 257), 1, ""},
            {"room", String.duplicate("k", 257), ""},
            {"room", 1, String.duplicate("p", 257)}
          ] do
        assert Tracker.signal(name, topic, key, 1, payload: payload) ==
                 {:error, {:signal_too_long, 257, 256}}
      end

      assert_raise Headcount.Error, fn ->
        Tracker.signal!(name, "room", 1, 1, payload: String.duplicate("p", 300))
      end

      refute_received {:signal, _, _}
    end
  end

  describe "many writes" do
    test "are answered in order, and each by itself", %{name: name} do
      long = String.duplicate("x", 300)
      owner = spawn_idle()
      entries = for key <- [1, 2, 1], do: {owner, "room", key, %{n: key}}

      assert [{:ok, one}, {:ok, two}, {:error, {:already_tracked, ^owner, "room", 1}}, refused] =
               Tracker.track_many(name, entries ++ [{owner, long, 1, %{}}])

      assert refused == {:error, {:topic_too_long, 300, 256}}

      assert Enum.sort(for {_key, meta} <- Tracker.list(name, "room"), do: meta.phx_ref) ==
               Enum.sort([one, two])

      assert [{:ok, _}, {:error, :nopresence}] =
               Tracker.update_many(name, [{owner, "room", 2, %{n: 3}}, {owner, "room", 9, %{}}])

      assert [{_, %{n: 3, phx_ref_prev: ^two}}] = Tracker.get_by_key(name, "room", 2)
      assert Tracker.untrack_many(name, [{owner, "room", 1}, {owner, "room", 9}]) == :ok
      assert keys(name) == [2]
      Process.exit(owner, :kill)
      Wait.until(fn -> keys(name) == [] end)
    end

    test "may have a lease, and are many", %{name: name} do
      entries = for key <- 1..25_000, do: {self(), "room", key, %{}}
      assert Enum.all?(Tracker.track_many(name, entries, ttl: 600_000), &match?({:ok, _}, &1))
      assert Tracker.count(name, "room") == 25_000
      assert Enum.all?(Tracker.update_many(name, entries, ttl: 1), &match?({:ok, _}, &1))
      Wait.until(fn -> Tracker.count(name, "room") == 0 end)
    end

    test "are not begun when an argument is wrong", %{name: name} do
      good = {self(), "room", 1, %{}}

      for wrong <- [
            {self(), :room, 1, %{}},
            {self(), "room", 1, nil},
            {self(), "room", 1, %{headcount_status: 1}}
          ] do
        assert_raise ArgumentError, fn -> Tracker.track_many(name, [good, wrong]) end
      end

      assert keys(name) == []
    end

    @tag options: [link: true]
    test "of linked processes are counted", %{name: name} do
      owner = spawn_idle()
      entries = for key <- 1..3, do: {owner, "room", key, %{}}
      Tracker.track_many(name, entries)

      linked? = fn ->
        {:links, links} = Process.info(owner, :links)
        links != []
      end

      Wait.until(linked?)
      Tracker.untrack_many(name, for({pid, topic, key, _} <- entries, do: {pid, topic, key}))
      Wait.until(fn -> not linked?.() end)
    end
  end
end
