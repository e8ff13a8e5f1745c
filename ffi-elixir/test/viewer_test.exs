defmodule Headcount.MemberList.ViewerTest do
  use ExUnit.Case, async: true
  doctest Headcount.MemberList.Viewer

  alias Headcount.MemberList
  alias Headcount.MemberList.Viewer

  @groups ["mods", "online", "offline"]

  test "a client that applies frames holds the rows of the list" do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    list = MemberList.new(groups: @groups, payloads: :json)
    for id <- 1..400, do: MemberList.upsert(list, id, group: "online", key: rem(id, 50))
    viewer = Viewer.new(list)
    windows = [{:chunk, 0}, {:chunk, 3}, {:anchored, 7, 10, 20}, {:following, 8, 5, 5}]
    bundles = for window <- windows, {:ok, bundle} = Viewer.open(viewer, window), do: bundle
    client = Enum.reduce(bundles, %{}, &apply_bundle/2)

    Enum.reduce(1..150, client, fn _, client ->
      for _ <- 1..:rand.uniform(20), do: change(list, :rand.uniform(400))
      bundle = Viewer.bundle(viewer, MemberList.tick(list))
      client = if bundle, do: apply_bundle(bundle, client), else: client
      assert Map.keys(client) |> Enum.sort() == Enum.sort(Viewer.windows(viewer))

      # New places of windows whose rows did not change travel once a second: they are looked up.
      for {_name, {[first | _] = rows, _base}} <- client do
        shown = Enum.map(MemberList.slice(list, place(list, first), length(rows)), &shown/1)
        assert rows == shown
      end

      {chunk, 0} = client["c:0"]
      assert length(chunk) == min(100, MemberList.size(list))
      client
    end)
  end

  test "a client that was away gets one DELTA and holds the rows of the list" do
    list = resumable_list()
    windows = ["c:0", "a:1950:20:20"]
    bundle = away(list, windows)
    client = Enum.reduce(bundle, %{}, &apply_bundle/2)
    held = held_windows(bundle)

    MemberList.tick(list)
    MemberList.remove(list, 3)
    MemberList.upsert(list, 5000, group: "online", key: 0)
    MemberList.upsert(list, 10, group: "online", key: 50)
    MemberList.set_attrs(list, 20, 5)
    MemberList.upsert(list, 1950, group: "offline", key: 1950)
    MemberList.tick(list)

    viewer = Viewer.new(list, resumable: true)
    assert {:ok, %{format: 2, epoch: %{node: "node-1"}} = resumed} = Viewer.resume(viewer, held)
    assert for(frame <- resumed.frames, do: frame.kind) == [:delta, :delta]
    client = apply_bundle(resumed, client)
    assert client |> Map.keys() |> Enum.sort() == ["a:1951:20:20", "c:0"]

    for {_name, {rows, base}} <- client do
      assert rows == Enum.map(MemberList.slice(list, base, length(rows)), &shown/1)
    end

    # It goes on with the next tick.
    MemberList.touch(list, 20)
    assert %{frames: [%{kind: :delta}]} = Viewer.bundle(viewer, MemberList.tick(list))
    assert {:ok, %{frames: [_, _]}} = Viewer.resync(viewer, Map.keys(client))
  end

  test "a window of a search shows who comes, goes and is renamed" do
    list = MemberList.new(groups: ["online", "offline"])
    names = %{1 => "Anna", 2 => "Max", 3 => "Moritz"}
    for {id, name} <- names, do: MemberList.upsert(list, id, group: "online", name: name)
    viewer = Viewer.new(list)
    {:ok, opened} = Viewer.open(viewer, {:search, {:name, "m"}})
    assert [window] = Viewer.windows(viewer)
    assert window == Viewer.name({:search, {:name, "M"}, 0})

    shown = fn client ->
      {rows, _base} = client[window]
      for row <- rows, do: elem(row, 0)
    end

    # Searches are shown again once a second.
    follow = fn client, expected ->
      Enum.reduce_while(1..100, client, fn _, client ->
        bundle = Viewer.bundle(viewer, MemberList.tick(list))
        client = if bundle, do: apply_bundle(bundle, client), else: client
        if shown.(client) == expected, do: {:halt, client}, else: {:cont, wait(client)}
      end)
    end

    client = apply_bundle(opened, %{})
    assert shown.(client) == ["online", 2, 3]
    MemberList.upsert(list, 4, group: "offline", name: "Mia")
    client = follow.(client, ["online", 2, 3, "offline", 4])
    assert shown.(client) == ["online", 2, 3, "offline", 4]
    MemberList.upsert(list, 5, group: "online", name: "Zoe")
    MemberList.set_key(list, 5, {:name, "Mona"})
    MemberList.remove(list, 2)
    client = follow.(client, ["online", 5, 3, "offline", 4])
    assert shown.(client) == ["online", 5, 3, "offline", 4]
    :ok = Viewer.close(viewer, {:search, {:name, "M"}})
    assert Viewer.windows(viewer) == []
  end

  test "windows of searches name a page, a group, and any prefix" do
    list = MemberList.new(groups: ["a:b", "c"])
    for id <- 1..120, do: MemberList.upsert(list, id, group: "a:b", key: id)
    viewer = Viewer.new(list)

    shown = fn window ->
      count = Enum.count(hd(Viewer.open!(viewer, window).frames).rows)
      assert Viewer.windows(viewer) == [Viewer.name(window)]
      :ok = Viewer.close(viewer, Viewer.name(window))
      count
    end

    assert shown.({:search, {:key, ""}, 1}) == 50
    assert shown.({:search, {:key, ""}, 2, "a:b"}) in 20..21
    assert shown.({:search, {:key, <<0>>}, 0, "c"}) == 0
    assert Viewer.name({:search, {:key, <<0, 255>>}, 3}) == "q:00ff:3"

    for window <- [
          {:search, "m"},
          {:search, {:name, <<255>>}},
          {:search, {:name, "m"}, -1},
          {:search, {:name, "m"}, 0x1_0000_0000},
          {:search, {:name, "m"}, 0, :group},
          {:search, {:name, "m"}, 0, <<255>>}
        ],
        do: assert_raise(ArgumentError, fn -> Viewer.open(viewer, window) end)

    assert {:error, _} = Viewer.open(viewer, {:search, {:name, "m"}, 0xFFFF_FFFF})
  end

  test "windows come whole when the list does not know their versions" do
    list = resumable_list()
    [%{version: version, epoch: epoch} = window] = held_windows(away(list, ["c:0"]))
    MemberList.touch(list, 7)
    MemberList.tick(list)

    kind = fn window ->
      {:ok, %{frames: [frame]}} = Viewer.resume(Viewer.new(list, resumable: true), [window])
      frame.kind
    end

    for other <- [
          %{window | version: 0},
          %{window | version: 0xFFFF_FFFF_FFFF_FFFF},
          %{window | epoch: %{epoch | node: "node-2"}},
          %{window | epoch: %{epoch | number: 1}},
          %{window | window: "c:1"}
        ] do
      assert kind.(other) == :sync, inspect(other)
    end

    assert kind.(window) == :delta
    json = %{"window" => "c:0", "epoch" => %{"node" => "node-1", "number" => epoch.number}}
    assert kind.(Map.put(json, "version", version)) == :delta
    MemberList.begin_epoch(list, "room", {"node-1", epoch.number + 1})
    assert kind.(window) == :sync
  end

  test "malformed requests to resume are refused, and no window is open then" do
    list = resumable_list()
    good = %{window: "c:0", epoch: %{node: "n", number: 1}, version: 1}

    for {held, what} <- [
          {[%{}], :malformed},
          {[:x], :malformed},
          {%{}, :malformed},
          {[%{good | version: -1}], :malformed},
          {[%{good | version: 1.5}], :malformed},
          {[%{good | version: 0x1_0000_0000_0000_0000}], :malformed},
          {[%{good | epoch: 7}], :malformed},
          {[%{good | window: <<255>>}], :malformed},
          {[%{good | window: "c:x"}], :bad_name},
          {[good, good], :named_twice},
          {for(k <- 0..8, do: %{good | window: "c:#{k}"}), :too_many_windows}
        ] do
      viewer = Viewer.new(list, resumable: true)
      assert {:error, {^what, message}} = Viewer.resume(viewer, held)
      assert is_binary(message)
      assert Viewer.windows(viewer) == []
    end

    assert {:error, {:malformed, message}} =
             Viewer.resume(Viewer.new(list, resumable: true), [good, %{}])

    assert message =~ "held window 1"
    assert {:error, {:not_resumable, _}} = Viewer.resume(Viewer.new(list), [good])

    assert_raise ArgumentError, ~r/Discord/, fn ->
      Viewer.new(list, format: {:discord, "1", "everyone"}, resumable: true)
    end

    assert_raise ArgumentError, ~r/resumable/, fn -> Viewer.new(list, resumable: 1) end
  end

  test "the bundles of resumable viewers are of frame format 2 in every form" do
    list = resumable_list()
    json = Viewer.open!(Viewer.new(list, format: :json, resumable: true), "c:0")
    assert json =~ ~s("format":2,"epoch":{"node":"node-1","number":1790000000000})
    # The kind of the envelope is 36, that of the bundles of others is 33.
    assert <<"HC", _::2-bytes, 36, _::binary>> =
             Viewer.open!(Viewer.new(list, format: :binary, resumable: true), "c:0")

    assert <<"HC", _::2-bytes, 33, _::binary>> =
             Viewer.open!(Viewer.new(list, format: :binary), "c:0")

    table = Headcount.MemberTable.new(first_epoch: {"node-1", 1_790_000_000_000})
    view = Headcount.MemberTable.add_list!(table, name: "all")
    assert %{epoch: %{node: "node-1"}} = Viewer.open!(Viewer.new(view, resumable: true), "c:0")
  end

  test "epochs and names that clients would not take are refused" do
    list = MemberList.new(name: "room", epoch: {"node-1", 7})
    long = String.duplicate("x", 1025)

    bounds = "from 1 to 9007199254740991, not "

    for {name, epoch, what, rule} <- [
          {"room", {"node-1", 7}, :epoch_not_higher, "its node is higher, not 7"},
          {"room", {"node-1", 6}, :epoch_not_higher, "its node is higher, not 6"},
          {"room", 0, :epoch_too_low, bounds <> "0"},
          {"room", {"node-2", -1}, :epoch_too_low, bounds <> "-1"},
          {"room", 2 ** 53, :epoch_too_high, bounds <> "9007199254740992"},
          {"room", {"node-2", 2 ** 64}, :epoch_too_high, bounds <> "18446744073709551616"},
          {long, 8, :list_name_too_long, "a list name has at most 1024 bytes, not 1025"},
          {"room", {long, 8}, :node_name_too_long, "a node name has at most 1024 bytes, not 1025"}
        ] do
      assert {:error, {^what, message}} = MemberList.begin_epoch(list, name, epoch)
      assert String.ends_with?(message, rule)
      assert_raise Headcount.Error, message, fn -> MemberList.begin_epoch!(list, name, epoch) end
    end

    for epoch <- ["7", {7, 8}, {"node-1", nil}, nil] do
      assert_raise ArgumentError, fn -> MemberList.begin_epoch(list, "room", epoch) end
    end

    assert_raise ArgumentError, fn -> MemberList.new(name: long) end
    assert %{epoch: %{number: 7}} = Viewer.open!(Viewer.new(list, resumable: true), "c:0")
  end

  defp resumable_list do
    list = MemberList.new(groups: @groups, name: "room", epoch: {"node-1", 1_790_000_000_000})
    for id <- 1..2000, do: MemberList.upsert(list, id, group: "online", key: id)
    list
  end

  # Opens windows by a process that ends, as that of a cut connection does.
  defp away(list, windows) do
    open = fn ->
      viewer = Viewer.new(list, resumable: true)
      for window <- windows, do: Viewer.open!(viewer, window)
    end

    Task.await(Task.async(open))
  end

  defp held_windows(bundles) do
    %{windows: windows, epoch: epoch} = List.last(bundles)
    for window <- windows, do: Map.put(window, :epoch, epoch)
  end

  defp place(list, {id, _revision, _attrs}), do: MemberList.index_of(list, id)

  defp place(list, {group, _count}) do
    Enum.find(MemberList.groups(list), &(&1.name == group)).first_index
  end

  defp change(list, id) do
    case :rand.uniform(6) do
      1 ->
        MemberList.remove(list, id)

      2 ->
        MemberList.touch(list, id)

      3 ->
        MemberList.set_attrs(list, id, :rand.uniform(9))

      4 ->
        MemberList.set_payload(list, id, ~s({"n":#{:rand.uniform(99)}}))

      _ ->
        options = [group: Enum.random(@groups), key: :rand.uniform(50)]
        MemberList.upsert(list, id, options)
    end
  end

  defp shown(%{id: id} = row), do: {id, row.revision, row.attrs}
  defp shown(row), do: {row.group, row.count}

  defp wait(client) do
    Process.sleep(50)
    client
  end

  defp apply_bundle(bundle, client) do
    client = Enum.reduce(bundle.frames, client, &apply_frame/2)

    Enum.reduce(bundle.bases, client, fn base, client ->
      Map.update!(client, base.window, fn {rows, _} -> {rows, base.base_index} end)
    end)
  end

  defp apply_frame(%{kind: :sync} = frame, client) do
    Map.put(client, frame.window, checked(Enum.map(frame.rows, &shown/1), frame))
  end

  defp apply_frame(%{kind: :delta} = frame, client) do
    {{old, _}, client} = Map.pop!(client, frame.window)
    assert frame.deletes == Enum.sort(frame.deletes, :desc)
    scratch = Map.new(frame.deletes, fn at -> {elem(Enum.at(old, at), 0), Enum.at(old, at)} end)
    kept = Enum.reduce(frame.deletes, old, &List.delete_at(&2, &1))
    rows = Enum.reduce(frame.inserts, kept, &List.insert_at(&2, &1.index, inserted(&1, scratch)))

    rows =
      Enum.reduce(
        frame.updates,
        rows,
        &List.update_at(&2, &1.index, fn row -> changed(row, &1) end)
      )

    Map.put(client, frame[:renamed] || frame.window, checked(rows, frame))
  end

  defp inserted(%{row: row}, _scratch), do: shown(row)
  defp inserted(%{move: id} = move, scratch), do: changed(Map.fetch!(scratch, id), move)

  defp changed({group, _}, %{count: count}), do: {group, count}

  defp changed({id, revision, attrs}, change) do
    {id, change[:revision] || revision, change[:attrs] || attrs}
  end

  defp checked(rows, frame) do
    lines =
      for row <- rows do
        case row do
          {id, revision, _} -> "m:#{id}|#{revision}\n"
          {group, count} -> "g:#{group}|#{count}\n"
        end
      end

    assert :erlang.crc32(lines) == frame.checksum32
    {rows, frame.base_index}
  end

  test "JSON bundles are encoded once and say the same" do
    list = MemberList.new(groups: ["online"], name: "room", epoch: 3, payloads: :json, ids: :text)
    MemberList.upsert(list, "ann", group: "online", name: "Ann")
    MemberList.set_payload(list, "ann", ~s({"name":"Ann"}))
    [a, b] = for _ <- 1..2, do: Viewer.new(list, format: :json)
    for viewer <- [a, b], do: assert({:ok, <<"{", _::binary>>} = Viewer.open(viewer, "c:0"))
    MemberList.set_attrs(list, "ann", 5)
    tick = MemberList.tick(list)
    json = Viewer.bundle(a, tick)
    assert json == Viewer.bundle(b, tick)
    assert json =~ ~s("list":"room","epoch":3)
    assert json =~ ~s("updates":[{"index":1,"revision":2,"attrs":5}])
  end

  test "bytes and Discord's events come from the same frames" do
    list = MemberList.new(groups: ["online"], payloads: :json)
    MemberList.upsert(list, 7, group: "online", name: "Ann")
    MemberList.set_payload(list, 7, ~s({"user":{"id":"7"}}))
    bytes = Viewer.new(list, format: :binary)
    assert {:ok, <<_::binary>>} = Viewer.open(bytes, {:chunk, 0})
    discord = Viewer.new(list, format: {:discord, "1", "everyone"})
    assert {:ok, event} = Viewer.open(discord, {:chunk, 0})
    assert event =~ ~s("op":"SYNC","range":[0,99])
    assert {:error, {:unsupported, _}} = Viewer.open(discord, {:anchored, 7, 1, 1})
    MemberList.upsert(list, 8, group: "online", name: "Bob")
    tick = MemberList.tick(list)
    assert is_binary(Viewer.bundle(bytes, tick))
    assert Viewer.bundle(discord, tick) =~ ~s("op":"INSERT","index":2)
  end

  test "a slow viewer gets one SYNC, a hidden one counts" do
    list = MemberList.new(groups: ["online"])
    viewer = Viewer.new(list)
    {:ok, _} = Viewer.open(viewer, {:chunk, 0})

    for id <- 1..3 do
      MemberList.upsert(list, id, group: "online", key: id)
      MemberList.tick(list)
    end

    MemberList.upsert(list, 4, group: "online", key: 4)
    assert %{frames: [], counts: %{}} = Viewer.bundle(viewer, MemberList.tick(list))
    assert Viewer.stale?(viewer)
    assert %{frames: [%{kind: :sync, rows: rows}]} = Viewer.catch_up(viewer)
    assert length(rows) == 5
    refute Viewer.stale?(viewer)
    :ok = Viewer.set_hidden(viewer, true)
    MemberList.upsert(list, 5, group: "online", key: 5)
    assert match?(nil, Viewer.bundle(viewer, MemberList.tick(list)))
    :ok = Viewer.set_hidden(viewer, false)
    assert %{frames: [%{kind: :sync}]} = Viewer.catch_up(viewer)
  end

  test "any tick may be left out, and all that say they are empty" do
    :rand.seed(:exsss, ExUnit.configuration()[:seed])
    list = MemberList.new(groups: ["online"])
    for id <- 1..50, do: MemberList.upsert(list, id, group: "online", key: id)
    viewer = Viewer.new(list)
    {:ok, bundle} = Viewer.open(viewer, {:chunk, 0})

    take = fn tick, client ->
      bundle = if tick.empty?, do: nil, else: Viewer.bundle(viewer, tick)
      if bundle, do: apply_bundle(bundle, client), else: client
    end

    client =
      Enum.reduce(1..100, apply_bundle(bundle, %{}), fn _, client ->
        if :rand.uniform(2) == 1, do: MemberList.touch(list, :rand.uniform(50))
        tick = MemberList.tick(list)
        if :rand.uniform(2) == 1, do: client, else: take.(tick, client)
      end)

    # After the last change two ticks bring what was missed.
    MemberList.remove(list, 1)
    MemberList.tick(list)
    client = take.(MemberList.tick(list), client)
    client = take.(MemberList.tick(list), client)
    refute Viewer.stale?(viewer)
    {rows, 0} = client["c:0"]
    assert rows == Enum.map(MemberList.slice(list, 0, 50), &shown/1)
  end

  test "a viewer that is collected closes its windows" do
    list = MemberList.new(groups: ["online"])

    Task.await(
      Task.async(fn ->
        viewer = Viewer.new(list)
        {:ok, _} = Viewer.open(viewer, {:chunk, 0})
        :ok
      end)
    )

    :erlang.garbage_collect()
    MemberList.upsert(list, 1, group: "online", key: 1)
    assert %{empty?: _} = MemberList.tick(list)
    Process.sleep(20)
    MemberList.upsert(list, 2, group: "online", key: 2)
    assert MemberList.tick(list).empty?
  end

  test "bad windows are refused and change nothing" do
    list = MemberList.new(groups: ["online"])
    viewer = Viewer.new(list)

    for {window, what} <- [
          {"", :bad_name},
          {"c:x", :bad_name},
          {"c:01", :bad_name},
          {{:chunk, -1}, :bad_name},
          {{:chunk, 99_999_999_999}, :bad_name},
          {{:chunk, 49_999_999}, :chunk_too_high},
          {{:anchored, 1, 400, 400}, :too_many_rows},
          {{:anchored, "x", 1, 1}, :bad_name},
          {{:anchored, 1, 1, 1}, :unknown_anchor},
          {{:header, "?", 1, 1}, :unknown_anchor}
        ] do
      assert {:error, {^what, message}} = Viewer.open(viewer, window)
      assert is_binary(message)
      assert {:error, _} = Viewer.retarget(viewer, "c:0", window)
    end

    for k <- 0..7, do: {:ok, _} = Viewer.open(viewer, {:chunk, k})
    assert {:error, {:too_many_windows, _}} = Viewer.open(viewer, {:chunk, 8})
    assert {:error, {:not_open, _}} = Viewer.resync(viewer, [{:chunk, 8}])
    assert length(Viewer.windows(viewer)) == 8
    assert_raise ArgumentError, ~r/not a window/, fn -> Viewer.open(viewer, :chunk) end

    assert_raise ArgumentError, ~r/not a window/, fn ->
      Viewer.open(viewer, {:anchored, 1.0, 1, 1})
    end

    assert_raise ArgumentError, ~r/format/, fn -> Viewer.new(list, format: :xml) end
    tick = MemberList.tick(MemberList.new(ids: :text))
    assert_raise ArgumentError, ~r/another list/, fn -> Viewer.bundle(viewer, tick) end
  end
end
