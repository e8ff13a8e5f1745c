defmodule Headcount.SharedKeyTest do
  # The secret of a cluster: who has it sees the others who do.
  use ExUnit.Case, async: true

  alias Headcount.{Presence, Tracker}
  alias Headcount.Test.{Diffs, Wait}

  @secret "0123456789abcdef"

  defp start(name, options) do
    fast = [broadcast_period: 50, down_period: 1_000, log_level: false]
    options = [name: name, node_name: to_string(name), report_events_to: nil] ++ options
    start_supervised!({Diffs, options ++ fast}, id: name)
  end

  defp keys(name), do: Enum.sort(for {key, _meta} <- Tracker.list(name, "room"), do: key)

  defp peers(name), do: Enum.sort(for {peer, _up} <- Tracker.replicas(name), do: peer)

  test "nodes with one key see each other, those with another one or none nothing of them" do
    options = [cluster: "keyed", key: @secret]
    start(:key_a, options)
    start(:key_b, options)
    start(:key_other, Keyword.put(options, :key, "fedcba9876543210"))
    start(:key_none, Keyword.delete(options, :key))

    for name <- [:key_a, :key_b, :key_other, :key_none] do
      {:ok, _} = Tracker.track(name, self(), "room", name, %{})
    end

    Wait.until(fn -> keys(:key_a) == [:key_a, :key_b] end)
    Wait.until(fn -> keys(:key_b) == [:key_a, :key_b] end)

    for name <- [:key_other, :key_none] do
      Wait.until(fn -> Tracker.stats(name).refused != %{} end)
      assert {keys(name), peers(name)} == {[name], []}
    end

    Wait.until(fn -> map_size(Tracker.stats(:key_a).refused) == 2 end)
    assert %{"bad_checksum" => _, "mac_mismatch" => _} = Tracker.stats(:key_a).refused
    assert {keys(:key_a), peers(:key_a)} == {[:key_a, :key_b], ["key_b"]}
  end

  defmodule Keyed do
    use Presence, otp_app: :headcount
  end

  test "a presence has a key too" do
    options = [cluster: "keyed presence", key: @secret, broadcast_period: 50]
    start_supervised!({Keyed, [node_name: "presence"] ++ options})
    start(:key_beside, Keyword.delete(options, :broadcast_period))
    {:ok, _} = Tracker.track(:key_beside, self(), "room", "ann", %{})
    Wait.until(fn -> is_map_key(Keyed.list("room"), "ann") end)
  end

  test "what is no key is an error that does not tell it" do
    for {key, message} <- [
          {"", "key must have 16 bytes, not 0"},
          {"short secret", "key must have 16 bytes, not 12"},
          {@secret <> "x", "key must have 16 bytes, not 17"},
          {<<1::7>>, "key must be a binary of 16 bytes"},
          {~c"0123456789abcdef", "key must be a binary of 16 bytes"},
          {:secret, "key must be a binary of 16 bytes"}
        ] do
      assert {:error, ^message} = Tracker.start_link(Diffs, [], name: :key_wrong, key: key)
    end
  end

  test "no process keeps the key in its state" do
    start(:key_hidden, cluster: "keyed hidden", key: @secret)

    for name <- [:key_hidden, :key_hidden_replicator, :key_hidden_shard0] do
      refute inspect(:sys.get_state(name), limit: :infinity) =~ @secret
    end
  end
end
