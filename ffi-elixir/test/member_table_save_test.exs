defmodule Headcount.MemberTableSaveTest do
  use ExUnit.Case, async: true

  alias Headcount.{MemberTable, Native}
  alias Headcount.MemberList.Viewer
  alias Headcount.MemberTable.ListView
  alias Headcount.Test.Saves

  @names [
    "",
    "a",
    "Ä",
    "日本",
    "👩‍👩‍👧",
    String.duplicate("x", 65),
    "shared prefix 1",
    "Shared Prefix 2"
  ]

  setup do
    folder = Path.join(System.tmp_dir!(), "headcount-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{path: Path.join(folder, "gespeicherte Mitglieder.bin")}
  end

  defp id(:integer, n), do: n * 0xFFFF_FFFF_FFFF
  defp id(:uuid, n), do: "00000000-0000-4000-8000-#{String.pad_leading("#{n}", 12, "0")}"
  defp id(:text, n), do: "mitglied-#{n}-ü"

  defp table(ids, members) do
    table = MemberTable.new(ids: ids, key_columns: 2, payloads: :raw, shown: [0])

    for n <- 1..members do
      name = Enum.at(@names, rem(n, length(@names)))
      attrs = for bit <- [0, 63, 511], rem(n * 7 + bit, 3) == 0, do: bit
      MemberTable.upsert!(table, id(ids, n), name: name, key: members - n, attrs: attrs)
      if rem(n, 3) == 0, do: MemberTable.set_payload!(table, id(ids, n), <<n>>)
    end

    MemberTable.remove(table, id(ids, 2))
    online = [{[all: [0]], "online"}]
    all = MemberTable.add_list!(table, name: "all", default_group: "offline", groups: online)
    staff = [name: "staff", sort_by: 1, descending: true, admit: [[any: [511]]]]
    MemberTable.add_list!(table, staff ++ [always: [id(ids, 1)], never: [id(ids, 3)]])
    0 = MemberTable.build(table)
    :ok = ListView.set_group_collapsed(all, "online", true)
    table
  end

  defp rows(table), do: for(list <- lists(table), do: Enum.to_list(list))
  defp lists(table), do: for(name <- ["all", "staff"], do: MemberTable.list_named(table, name))

  for ids <- [:integer, :uuid, :text] do
    test "a table of #{ids} ids is loaded as it was, and goes on", %{path: path} do
      ids = unquote(ids)
      table = table(ids, 300)
      assert MemberTable.save(table, path) == :ok
      refute File.exists?(path <> ".part")
      loaded = MemberTable.load!(path, payloads: :raw)
      assert MemberTable.size(loaded) == 299

      for n <- 1..301 do
        assert MemberTable.get(loaded, id(ids, n)) == MemberTable.get(table, id(ids, n))
      end

      assert rows(loaded) == rows(table)
      assert_same_changes(ids, table, loaded)
    end
  end

  defp assert_same_changes(ids, table, loaded) do
    for table <- [table, loaded], n <- 1..100//7 do
      MemberTable.upsert!(table, id(ids, n), name: "neu", key: n, attrs: [rem(n, 2)])
      MemberTable.remove(table, id(ids, n + 1))
    end

    assert rows(loaded) == rows(table)
  end

  test "a save is of one moment, whatever others write", %{path: path} do
    table = MemberTable.new()

    for n <- 1..20_000,
        do: MemberTable.upsert!(table, n, name: "member #{n}", attrs: [1 + rem(n, 500)])

    MemberTable.add_list!(table, name: "one", admit: [[all: [0]]])
    0 = MemberTable.build(table)

    # All of them or none are in the list at any moment.
    writer =
      spawn_link(fn ->
        for round <- Stream.cycle([[set: [0]], [clear: [0]]]) do
          MemberTable.set_attrs_many!(table, Enum.to_list(1..20_000), round)
          for n <- 1..20, do: MemberTable.set_key(table, n, 0, {:name, "x#{n}"})
        end
      end)

    for _ <- 1..5 do
      assert MemberTable.save(table, path) == :ok
      loaded = MemberTable.load!(path)
      count = ListView.member_count(MemberTable.list_named(loaded, "one"))
      assert count in [0, 20_000]
      assert MemberTable.size(loaded) == 20_000
    end

    Process.unlink(writer)
    Process.exit(writer, :kill)
  end

  test "one save at a time; a save whose process is gone makes room", %{path: path} do
    table = table(:integer, 10)
    begin = fn -> Native.table_save(table.ref) end
    Saves.assert_one_at_a_time(begin, fn -> MemberTable.save(table, path) end, path)
  end

  test "cut, altered and other files are errors", %{path: path} do
    MemberTable.save!(table(:integer, 10), path)
    load = fn -> MemberTable.load(path, payloads: :raw) end
    Saves.assert_broken_files_are_refused(path, load)
    assert {:error, {:other_payloads, _}} = MemberTable.load(path)
    assert {:error, {:io, _}} = MemberTable.load(Path.dirname(path))
    assert {:error, {:io, _}} = MemberTable.save(table(:integer, 3), Path.dirname(path))
    assert_raise Headcount.Error, fn -> MemberTable.load!(path) end
    assert_raise ArgumentError, fn -> MemberTable.load(path, epoch: 1) end
    assert {:ok, _} = load.()
  end

  test "a list that was being built goes on, in a new epoch", %{path: path} do
    table = MemberTable.new(first_epoch: 50)
    for n <- 1..100, do: MemberTable.upsert!(table, n, key: n)
    list = MemberTable.add_list!(table, name: "all")
    60 = MemberTable.build(table, 40)
    MemberTable.save!(table, path)
    loaded = MemberTable.load!(path, first_epoch: 1)
    list_of_loaded = MemberTable.list_named(loaded, "all")
    refute MemberTable.built?(loaded, list_of_loaded)

    for {table, list} <- [{table, list}, {loaded, list_of_loaded}] do
      assert MemberTable.build(table) == 0
      assert ListView.size(list) == 101
    end

    MemberTable.save!(loaded, path)
    epoch = fn table -> table |> MemberTable.list_named("all") |> epoch() end
    assert epoch.(MemberTable.load!(path, first_epoch: 1)) > epoch.(loaded)
    assert epoch.(MemberTable.load!(path)) > 1_600_000_000_000
  end

  defp epoch(list) do
    {:ok, bundle} = Viewer.open(Viewer.new(list), "c:0")
    bundle.epoch
  end
end
