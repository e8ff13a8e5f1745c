defmodule Headcount.MemberList.FramesTest do
  # The shared vectors of list frames, as their server: Elixir has no client of windows.
  use ExUnit.Case, async: true

  alias Headcount.{MemberList, Native}
  alias Headcount.MemberList.{Tick, Viewer}
  alias Headcount.Test.Json

  @golden Path.expand("../../core/tests/golden", __DIR__)

  # Those of the vectors whose lists have verbs that Elixir has too.
  for name <-
        ~w(list-frames-2/resume list-frames/anchors list-frames/many-groups list-frames/late-syncs
           list-frames/search) do
    test "the list of #{name} sends what the vector says, bodies apart" do
      vector = vector(unquote(name))
      list = list(vector["server"], false)
      assert replay(vector, list, &bare/1) > 5
    end
  end

  test "a list with payloads sends what its vector says" do
    vector = vector("list-frames/payloads")
    assert replay(vector, list(vector["server"], :json), & &1) > 2
  end

  defp vector(name),
    do: [@golden, name <> ".json"] |> Path.join() |> File.read!() |> Json.decode!()

  defp list(server, payloads) do
    MemberList.new(
      groups: server["groups"],
      headers: server["headers"] != false,
      payloads: payloads,
      name: server["list"],
      epoch: {server["node"] || "", server["epoch"]}
    )
  end

  # Returns the number of bundles that were compared.
  defp replay(%{"server" => server, "steps" => steps}, list, part) do
    state = %{list: list, server: server, people: %{}, viewer: viewer(list, server)}

    {compared, _state} =
      steps
      |> Enum.with_index()
      |> Enum.reduce({0, state}, fn {step, at}, {compared, state} ->
        {bundle, state} = step(step, state)

        case step["bundle"] do
          nil ->
            assert bundle == nil, "step #{at}"
            {compared, state}

          expected ->
            assert part.(Json.decode!(bundle)) == part.(expected), "step #{at}"
            {compared + 1, state}
        end
      end)

    compared
  end

  defp viewer(list, server), do: Viewer.new(list, format: :json, resumable: server["format"] == 2)

  defp step(%{"do" => changes}, state), do: {nil, Enum.reduce(changes, state, &change/2)}

  defp step(%{"open" => window} = step, state), do: open(window, step, state)

  defp step(%{"search" => %{"search" => text} = search} = step, state) do
    key = {:name, text}
    page = search["page"] || 0

    window =
      case search["group"] do
        nil -> {:search, key, page}
        group -> {:search, key, page, group}
      end

    assert Viewer.name(window) == step["window"]
    open(window, step, state)
  end

  defp step(%{"move" => [from, to]}, state),
    do: {Viewer.retarget!(state.viewer, from, to), state}

  defp step(%{"resync" => windows}, state), do: {Viewer.resync!(state.viewer, windows), state}

  defp step(%{"close" => window}, state) do
    Viewer.close(state.viewer, window)
    {nil, state}
  end

  defp step(%{"reconnect" => nil, "held" => held}, state) do
    viewer = viewer(state.list, state.server)
    {Viewer.resume!(viewer, held), %{state | viewer: viewer}}
  end

  # `MemberList.tick/1` reads the clock; the vector has the time.
  defp step(%{"tick" => now}, state) do
    tick = Native.member_list_tick(state.list.ref, now)
    {version, empty?} = Native.tick_info(tick)
    {Viewer.bundle(state.viewer, %Tick{ref: tick, version: version, empty?: empty?}), state}
  end

  # Elixir has no client.
  defp step(%{"receive" => _}, state), do: {nil, state}

  defp open(window, %{"error" => message}, state) do
    assert {:error, {_what, ^message}} = Viewer.open(state.viewer, window)
    {nil, state}
  end

  defp open(window, _step, state), do: {Viewer.open!(state.viewer, window), state}

  defp change(["epoch", name, number], state) do
    MemberList.begin_epoch(state.list, name, {state.server["node"] || "", number})
    state
  end

  defp change(["rename_group", group, name], state) do
    :ok = MemberList.rename_group(state.list, group, name)
    state
  end

  defp change([verb, group | arguments], %{list: list} = state)
       when verb in ~w(hide collapse) do
    [flag] = arguments

    :ok =
      if verb == "hide",
        do: MemberList.set_group_hidden(list, group, flag),
        else: MemberList.set_group_collapsed(list, group, flag)

    state
  end

  defp change([verb, id | arguments], state) do
    id = String.to_integer(id)
    person = write(verb, state.list, id, arguments, Map.get(state.people, id, %{}))
    state = put_in(state.people[id], person)

    cond do
      verb not in ~w(upsert status rename) -> state
      state.server["bodies"] == "payloads" -> set_payload(state, id, person)
      verb == "upsert" -> state
      true -> touch(state, id)
    end
  end

  defp write("upsert", list, id, [group, name, attrs], _person) do
    MemberList.upsert!(list, id, group: group, name: name, attrs: attrs)
    %{"name" => name}
  end

  defp write("rename", list, id, [name], person) do
    MemberList.set_key!(list, id, {:name, name})
    Map.put(person, "name", name)
  end

  defp write("status", _list, _id, [status], person), do: Map.put(person, "status", status)

  defp write(verb, list, id, arguments, person) do
    case {verb, arguments} do
      {"remove", []} -> MemberList.remove(list, id)
      {"set_group", [group]} -> MemberList.set_group!(list, id, group)
      {"attrs", [attrs]} -> MemberList.set_attrs!(list, id, attrs)
      {"touch", []} -> MemberList.touch!(list, id)
    end

    person
  end

  defp set_payload(state, id, person) do
    fields = for {field, value} <- person, do: ~s("#{field}":"#{value}")
    MemberList.set_payload!(state.list, id, "{" <> Enum.join(fields, ",") <> "}")
    state
  end

  defp touch(state, id) do
    MemberList.touch!(state.list, id)
    state
  end

  # The same without bodies and patches: the lists of these vectors take bodies from a source.
  defp bare(%{} = map) do
    for {field, value} <- map, field not in ~w(body patch), into: %{}, do: {field, bare(value)}
  end

  defp bare(items) when is_list(items), do: Enum.map(items, &bare/1)
  defp bare(value), do: value
end
