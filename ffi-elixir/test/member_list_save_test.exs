defmodule Headcount.MemberListSaveTest do
  use ExUnit.Case, async: true

  alias Headcount.{MemberList, MemberTable, Native}
  alias Headcount.MemberList.Viewer
  alias Headcount.Test.Saves

  @groups ["online", "away", "offline", "staff"]
  @names ["", "a", "Ä", "日本", "👩‍👩‍👧", String.duplicate("x", 65), "shared prefix 1"]

  setup do
    folder = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{path: Path.join(folder, "gespeicherte Mitglieder.bin")}
  end

  defp id(:integer, n), do: n * 0xFFFF_FFFF_FFFF * (2 * rem(n, 2) - 1)
  defp id(:uuid, n), do: "00000000-0000-4000-8000-#{String.pad_leading("#{n}", 12, "0")}"
  defp id(:text, n), do: "mitglied-#{n}-ü"

  defp list(ids, members, payloads \\ :raw) do
    options = [
      ids: ids,
      groups: @groups,
      payloads: payloads,
      name: "raum:7",
      epoch: {"node-1", 40}
    ]

    list = MemberList.new(options)

    for n <- 1..members do
      group = Enum.at(@groups, rem(n, 3))
      name = Enum.at(@names, rem(n, length(@names)))
      MemberList.upsert!(list, id(ids, n), group: group, name: name, attrs: n)
      if payloads && rem(n, 3) == 0, do: MemberList.set_payload!(list, id(ids, n), "#{n}")
    end

    MemberList.remove(list, id(ids, 2))
    :ok = MemberList.move_group(list, "staff", 0)
    :ok = MemberList.set_group_hidden(list, "away", true)
    :ok = MemberList.set_group_collapsed(list, "offline", true)
    list
  end

  # All that reads of a list return.
  defp whole(list, ids, members) do
    of_each = for n <- 1..members, do: MemberList.get(list, id(ids, n))
    {Enum.to_list(list), MemberList.groups(list), of_each, MemberList.member_count(list)}
  end

  defp change(list, ids) do
    for n <- 1..100//7 do
      MemberList.upsert!(list, id(ids, n), group: "staff", key: n, attrs: 1)
      MemberList.remove(list, id(ids, n + 1))
    end

    :ok = MemberList.set_group_hidden(list, "away", false)
    :ok = MemberList.set_group_collapsed(list, "offline", false)
  end

  for ids <- [:integer, :uuid, :text] do
    test "a list of #{ids} ids is loaded as it was, and goes on", %{path: path} do
      ids = unquote(ids)

      for payloads <- [:raw, :json, false] do
        list = list(ids, 300, payloads)
        assert MemberList.save(list, path) == :ok
        refute File.exists?(path <> ".part")
        loaded = MemberList.load!(path, payloads: payloads)
        assert whole(loaded, ids, 301) == whole(list, ids, 301)
        change(list, ids)
        change(loaded, ids)
        assert whole(loaded, ids, 301) == whole(list, ids, 301)
      end
    end
  end

  test "a loaded list has its name and an epoch of its own", %{path: path} do
    MemberList.save!(list(:integer, 10), path)

    bundle = fn options ->
      list = MemberList.load!(path, [payloads: :raw] ++ options)
      Viewer.open!(Viewer.new(list, resumable: true), "c:0")
    end

    assert %{list: "raum:7", epoch: %{node: "", number: 41}} = bundle.(epoch: 2)
    assert %{epoch: %{node: "node-2", number: 50}} = bundle.(epoch: {"node-2", 50})
    assert bundle.([]).epoch.number > 1_600_000_000_000
  end

  test "a save is of one moment, whatever others write", %{path: path} do
    list = MemberList.new(groups: ["a", "b"])
    members = for n <- 1..20_000, do: {n, group: "a", name: "member #{n}"}
    MemberList.bulk_load(list, members)

    # All of them or none are in a group at any moment.
    writer =
      spawn_link(fn ->
        for to <- Stream.cycle(["b", "a"]) do
          {:ok, _} = MemberList.apply_batch(list, for(n <- 1..20_000, do: {:set_group, n, to}))
          for n <- 1..20, do: MemberList.set_key!(list, n, {:name, "x#{n}"})
        end
      end)

    for _ <- 1..5 do
      assert MemberList.save(list, path) == :ok
      counts = for group <- MemberList.groups(MemberList.load!(path)), do: group.count
      assert counts in [[20_000, 0], [0, 20_000]]
    end

    Process.unlink(writer)
    Process.exit(writer, :kill)
  end

  test "one save at a time; a save whose process is gone makes room", %{path: path} do
    list = list(:integer, 10)
    begin = fn -> Native.member_list_save(list.ref) end
    Saves.assert_one_at_a_time(begin, fn -> MemberList.save(list, path) end, path)
  end

  test "cut, altered and other files are errors, and a failed save changes nothing", %{path: path} do
    list = list(:integer, 10)
    MemberList.save!(list, path)
    load = fn -> MemberList.load(path, payloads: :raw) end
    Saves.assert_broken_files_are_refused(path, load)
    assert {:error, {:other_kind, _}} = MemberTable.load(path, payloads: :raw)
    assert {:error, {:other_payloads, _}} = MemberList.load(path)
    assert {:error, {:io, _}} = MemberList.load(Path.dirname(path))
    assert {:error, {:io, _}} = MemberList.save(list, Path.dirname(path))
    assert_raise Headcount.Error, fn -> MemberList.load!(path) end
    assert_raise ArgumentError, fn -> MemberList.load(path, first_epoch: 1) end
    assert {:error, {:epoch_too_low, _}} = MemberList.load(path, epoch: -1)
    assert_raise ArgumentError, ~r/epoch must be/, fn -> MemberList.load(path, epoch: "1") end
    {:ok, loaded} = load.()
    assert whole(loaded, :integer, 11) == whole(list, :integer, 11)
  end
end
