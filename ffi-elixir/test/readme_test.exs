defmodule Headcount.ReadmeTest do
  use ExUnit.Case, async: true

  defp section(title) do
    readme = File.read!(Path.expand("../README.md", __DIR__))
    [_, text] = Regex.run(~r/^## #{title}\n(.*?)^## /ms, readme)
    for [_, code] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, text), do: code
  end

  test "the Phoenix app of the README runs" do
    [module, tree, channel] = section("In a Phoenix app")
    Code.eval_string(module)

    Code.eval_string("""
    defmodule MyAppWeb.RoomChannel do
      #{channel}
      defp push(socket, event, payload), do: send(socket.channel_pid, {event, payload})
    end
    """)

    # The PubSub of the tests has no child spec, and there is no endpoint.
    {[{Phoenix.PubSub, name: pubsub}, presence, MyAppWeb.Endpoint], _} = Code.eval_string(tree)
    start_supervised!(%{id: :pubsub, start: {Phoenix.PubSub, :start_link, [pubsub]}})
    start_supervised!(presence)
    :ok = Phoenix.PubSub.subscribe(pubsub, "room")
    socket = Map.put(%Phoenix.Socket{channel_pid: self(), topic: "room"}, :assigns, %{user_id: 7})
    assert {:noreply, ^socket} = apply(MyAppWeb.RoomChannel, :handle_info, [:after_join, socket])
    assert_receive {"presence_state", %{"7" => %{metas: [%{device: "phone"}]}}}
    assert_receive %Phoenix.Socket.Broadcast{event: "presence_diff", payload: diff}, 5_000
    assert %{joins: %{"7" => _}, leaves: none} = diff
    assert none == %{}
  end

  test "the session of the README runs as it stands there" do
    [session] = section("A session")

    # Values that print as #Something<...> are compared as they print.
    {steps, last} =
      session
      |> String.split("\n", trim: true)
      |> Enum.reduce({[], nil}, fn
        "iex> " <> code, {steps, nil} -> {steps, {code, nil}}
        "iex> " <> code, {steps, step} -> {[step | steps], {code, nil}}
        result, {steps, {code, nil}} -> {steps, {code, result}}
      end)

    Enum.reduce(Enum.reverse([last | steps]), {[], __ENV__}, fn {code, expected}, {bound, env} ->
      {value, bound, env} = Code.eval_quoted_with_env(Code.string_to_quoted!(code), bound, env)

      cond do
        expected == nil -> :ok
        String.starts_with?(expected, "#") -> assert inspect(value) == expected
        true -> assert {value, code} == {elem(Code.eval_string(expected), 0), code}
      end

      {bound, env}
    end)
  end
end
