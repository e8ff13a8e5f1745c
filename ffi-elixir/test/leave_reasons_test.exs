defmodule Headcount.LeaveReasonsTest do
  # Why entries left, at the node of the entry and at another one.
  use ExUnit.Case, async: true

  alias Headcount.Test.{Diffs, Reasons, Wait}
  alias Headcount.Tracker

  @times [broadcast_period: 50, down_period: 60_000]

  setup context do
    options = [cluster: "reasons of #{:erlang.phash2(context.test)}"] ++ @times
    nodes = for name <- ["a", "b"], do: start(context, name, options)
    for node <- nodes, do: Wait.until(fn -> match?([{_other, true}], Tracker.replicas(node)) end)
    {:ok, nodes: nodes, options: options}
  end

  defp start(context, replica, options) do
    name = :"reasons_#{replica}_#{:erlang.phash2(context.test)}"
    options = [name: name, node_name: replica, to: self()] ++ options
    start_supervised!({Reasons, options}, id: name)
    name
  end

  defp spawn_idle, do: spawn(fn -> Process.sleep(:infinity) end)

  defp joined(nodes, keys) do
    for node <- nodes do
      Wait.until(fn -> Enum.sort(for {key, _} <- Tracker.list(node, "room"), do: key) == keys end)
    end
  end

  # `{key, n, reason}` of the leaves at a node, sorted, until there are so many.
  defp leaves(node, count, seen \\ []) do
    if length(seen) >= count do
      Enum.sort(seen)
    else
      receive do
        {:diff, %{"room" => {_joins, leaves}}, %{"room" => reasons}, ^node} ->
          assert length(leaves) == length(reasons)
          more = for {{key, %{n: n}}, reason} <- Enum.zip(leaves, reasons), do: {key, n, reason}
          leaves(node, count, more ++ seen)
      after
        10_000 -> flunk("leaves at #{node}: #{inspect(seen)}")
      end
    end
  end

  test "untracked, owner gone, expired, updated", %{nodes: [a, _] = nodes} do
    [one, other] = [spawn_idle(), spawn_idle()]
    {:ok, _} = Tracker.track(a, one, "room", :ann, %{n: 1})
    {:ok, _} = Tracker.track(a, other, "room", :bob, %{n: 1})
    {:ok, _} = Tracker.track(a, one, "room", :cleo, %{n: 1})
    {:ok, _} = Tracker.track(a, one, "room", :dan, %{n: 1})
    joined(nodes, [:ann, :bob, :cleo, :dan])
    {:ok, _} = Tracker.update(a, one, "room", :dan, %{n: 2})
    :ok = Tracker.untrack(a, one, "room", :ann)
    Process.exit(other, :kill)
    :ok = Tracker.lease(a, one, "room", :cleo, 1)

    for node <- nodes do
      assert leaves(node, 4) == [
               {:ann, 1, :untracked},
               {:bob, 1, :owner_gone},
               {:cleo, 1, :expired},
               {:dan, 1, :updated}
             ]
    end
  end

  test "a goodbye", %{nodes: [a, b] = nodes} do
    {:ok, _} = Tracker.track(a, spawn_idle(), "room", :ann, %{n: 1})
    joined(nodes, [:ann])
    :ok = Tracker.graceful_permdown(a)
    assert leaves(b, 1) == [{:ann, 1, :replica_left}]
  end

  test "a node that goes down", %{nodes: [a, b] = nodes} do
    {:ok, _} = Tracker.track(a, spawn_idle(), "room", :ann, %{n: 1})
    joined(nodes, [:ann])
    :ok = stop_supervised(a)
    assert leaves(b, 1) == [{:ann, 1, :replica_down}]
  end

  @tag :capture_log
  test "come again with the changes after a callback has failed", %{nodes: [a, _]} do
    {:ok, _} = Tracker.track(a, self(), "room", :ann, %{n: 1})
    {:ok, _} = Tracker.track(a, self(), "bomb", :ann, %{n: 1})
    :ok = Tracker.untrack(a, self(), "room", :ann)
    assert leaves(a, 1) == [{:ann, 1, :untracked}]
  end

  test "a tracker without a callback for changes does not start" do
    assert {:error, message} = Tracker.start_link(Enum, [], name: :no_callback)
    assert message == "Enum has neither handle_diff/2 nor handle_diff/3"
  end

  test "a callback without reasons gets the same diff", %{options: options} do
    start_supervised!({Diffs, [name: :plain, node_name: "c", to: self()] ++ options}, id: :plain)
    {:ok, ref} = Tracker.track(:plain, self(), "room", :ann, %{n: 1})
    assert_receive {:diff, %{"room" => {[ann: %{n: 1, phx_ref: ^ref}], []}}, _shard}, 10_000
  end
end
