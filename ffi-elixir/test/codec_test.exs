defmodule Headcount.CodecTest do
  use ExUnit.Case, async: true

  alias Headcount.Test.Diffs
  alias Headcount.Tracker
  alias Headcount.Tracker.State

  import Headcount.Test.States, only: [sync: 2]

  defp json(name \\ "a", codec \\ :json), do: State.new(name, codec: codec)

  describe "JSON" do
    test "entries are UTF-8 text, with a meta in JSON" do
      a = json()
      meta = %{device: "phone", n: 1, ratio: 0.5, nested: %{"tags" => ["é", nil, true, :away]}}
      {:ok, ref} = State.track(a, "conn-1", "room", "ann", meta)
      [frame] = State.delta_since(a, %{})
      text = ~s({"device":"phone","n":1,"nested":{"tags":["é",null,true,"away"]},"ratio":0.5})

      # Key, owner and meta stand side by side, each behind its length; encoding 1 is in the flags,
      # which follow the topic.
      entry = <<3, "ann", 6, "conn-1", byte_size(text), text::binary>>
      assert [before, _] = :binary.split(frame, entry)
      assert [_, <<flags, _::binary>>] = :binary.split(before, "room")
      assert Bitwise.band(flags, 0b1100) == 0b0100

      b = State.new("b", codec: :json)
      sync(a, b)

      assert State.get_by_key(b, "room", "ann") == [
               {"conn-1",
                %{
                  "device" => "phone",
                  "n" => 1,
                  "ratio" => 0.5,
                  "nested" => %{"tags" => ["é", nil, true, "away"]},
                  phx_ref: ref
                }}
             ]

      assert State.list(b, "room") == State.list(a, "room")
    end

    test "floats read back as they were written" do
      :rand.seed(:exsss, {1, 2, 3})
      floats = for _ <- 1..500, do: :rand.uniform() * 200 - 100
      a = json()
      {:ok, _} = State.track(a, "conn-1", "room", "ann", %{floats: floats})
      assert [{"ann", %{"floats" => read}}] = State.list(a, "room")
      assert read == floats
    end

    test "the names of references are taken at the top of a meta only" do
      a = json()
      nested = %{"phx_ref" => "one", "phx_ref_prev" => "two"}
      {:ok, ref} = State.track(a, "conn-1", "room", "ann", Map.put(nested, "in", [nested]))
      assert State.list(a, "room") == [{"ann", %{:phx_ref => ref, "in" => [nested]}}]
    end

    test "equal metas are equal bytes, whatever the order of their keys" do
      # More than 32 keys have no order of their own in a map.
      one = Map.new(1..100, &{"key #{&1}", &1})
      other = Map.new(100..1, &{:"key #{&1}", &1})

      meta = fn meta ->
        with s = json(), {:ok, _} <- State.track(s, "o", "r", "k", meta), do: s
      end

      sizes = for map <- [one, other], do: byte_size(hd(State.delta_since(meta.(map), %{})))
      assert sizes == Enum.take(Stream.cycle([hd(sizes)]), 2)
    end

    test "a pid is the owner for nodes in Elixir" do
      a = json()
      owner = {self(), "phone"}
      for who <- [self(), owner, "erlang:7", :conn], do: State.track(a, who, "room", "ann", %{})
      b = json("b")
      sync(a, b)
      owners = for {who, _} <- State.get_by_key(b, "room", "ann"), do: who
      assert Enum.sort(owners) == Enum.sort([self(), owner, "erlang:7", :conn])
      assert {:error, {:already_tracked, _, _, _}} = State.track(a, owner, "room", "ann", %{})
      :ok = State.untrack(a, owner)
      assert State.count(a, "room") == 3
    end

    test "updates tell the reference before, also to functions" do
      a = json()
      {:ok, first} = State.track(a, "o", "room", "ann", %{n: 1})
      {:ok, second} = State.update(a, "o", "room", "ann", &Map.put(&1, "n", &1["n"] + 1))
      meta = %{"n" => 2, phx_ref: second, phx_ref_prev: first}
      assert State.list(a, "room") == [{"ann", meta}]
      {:ok, third} = State.update(a, "o", "room", "ann", & &1)

      assert State.list(a, "room") == [
               {"ann", %{meta | phx_ref: third, phx_ref_prev: second}}
             ]
    end

    test "keys that exist as atoms, when they are asked for" do
      a = json("a", {:json, keys: :existing_atoms})
      unknown = "no atom of this VM " <> inspect(make_ref())
      {:ok, ref} = State.track(a, "o", "room", "ann", %{:device => 1, "phone" => 2, unknown => 3})

      assert State.list(a, "room") == [
               {"ann", %{:device => 1, :phone => 2, unknown => 3, :phx_ref => ref}}
             ]

      assert_raise ArgumentError, fn -> String.to_existing_atom(unknown) end
    end

    test "what JSON does not have is refused, and nothing is tracked" do
      a = json()
      deep = Enum.reduce(1..100_000, [], fn _, deep -> [deep] end)

      for {meta, message} <- [
            {%{a: {1, 2}}, ~r/a tuple has no JSON/},
            {%{a: self()}, ~r/a pid has no JSON/},
            {%{a: make_ref()}, ~r/a reference has no JSON/},
            {%{a: fn -> 1 end}, ~r/a function has no JSON/},
            {%{a: <<255>>}, ~r/not UTF-8/},
            {%{a: <<1::3>>}, ~r/not UTF-8/},
            {%{a: 0x1_0000_0000_0000_0000}, ~r/more than 64 bits/},
            {%{a: [1 | 2]}, ~r/improper/},
            {%{1 => 2}, ~r/strings or atoms/},
            {%{:a => 1, "a" => 2}, ~r/as a string and as an atom/},
            {%{a: ~D[2026-01-01]}, ~r/a struct/},
            {%{a: deep}, ~r/64 deep/}
          ] do
        assert {:error, {:not_json, said}} = State.track(a, "o", "room", "ann", meta)
        assert said =~ message
      end

      for key <- [:ann, 1, <<255>>, {"ann", 1}] do
        assert {:error, {:not_json, said}} = State.track(a, "o", "room", key, %{})
        assert said =~ "key must be a string"
        assert State.update(a, "o", "room", key, %{}) |> elem(0) == :error
        assert State.get_by_key(a, "room", key) == []
        assert State.untrack(a, "o", "room", key) == :ok
      end

      large = %{m: String.duplicate("x", 100_000)}

      assert {:error, {:meta_too_large, 100_008, 16_384}} =
               State.track(a, "o", "room", "ann", large)

      {:ok, _} = State.track(a, "o", "room", "ann", %{n: 0xFFFF_FFFF_FFFF_FFFF})
      assert {:error, {:not_json, _}} = State.update(a, "o", "room", "ann", %{a: self()})
      assert [{"ann", %{"n" => 0xFFFF_FFFF_FFFF_FFFF}}] = State.list(a, "room")
      assert State.size(a) == 1
    end

    test "a frame that Rust wrote is read" do
      hex =
        File.read!(Path.expand("../../core/tests/golden/frames/state-repair-full.hex", __DIR__))

      digits = Regex.replace(~r/^#.*$|\s/m, hex, "")
      b = State.new("b", codec: :json)
      assert {:ok, diff} = State.apply(b, Base.decode16!(digits, case: :lower))
      {joins, []} = diff["crowd"]
      assert length(joins) == State.count(b, "crowd")
      # One meta is a text, the others are empty.
      assert {[{"user 10", {:undecodable, ~s("😀")}}], others} =
               Enum.split_with(joins, fn {_, meta} -> not is_map(meta) end)

      assert Enum.all?(others, fn {"user " <> _, meta} -> Map.keys(meta) == [:phx_ref] end)
      assert [{"conn 0", %{phx_ref: _}}] = State.get_by_key(b, "crowd", "user 20")
      # Other encodings stand beside it.
      assert [{7, _}] = State.list(b, "erl")
      assert [{<<0, 255>>, {:undecodable, <<0xA5, _::binary>>}}] = State.list(b, "bin")
    end

    # The entries "0" to "9" of a tracker in Python, with the metas of the test below.
    @numbers """
    eNrt2jtOxDAQBmAP0lJAww2QDHROZMd2bKel4QhI0RY8ItEZraBaBVFyB8SFqJDgChyAehuCXSEl1ULB8n+VE2cyM+
    1oTo632AFjbHa/XYgjxuiaaHjcGU6LGTGSFPWSn/FGeWNqZ4x02slgrapVLfg5b4pQVVq7SuraW+Oc9TL0X6GK4tVU
    qJ0K9YJfDBdS8EvetIUqbadFIUsplrwbLsbK6OcpX0XxJeUrlNwQqS9NcfW2lzprN6YzAAAAAAAAAPgX8tTGUFy95u
    kGhhsAAAAAAAAA8Kek4YaluJtHG10IeSumpniaXnFVaWNr54P8duJpNWb8srRiNIw3N4vbLv3fUdzPWzByIkH6zFN8
    yisla5pIMl9TKjJQfPyJIn+nxv797vC51R8Pnx+dNTg=
    """

    test "integers of other languages are exact, whatever their size" do
      b = State.new("b", codec: :json)
      digits = String.replace(@numbers, "\n", "")
      {:ok, _} = State.apply(b, :zlib.uncompress(Base.decode64!(digits)))
      metas = for {key, meta} <- State.list(b, "r"), into: %{}, do: {key, meta}
      meta = fn at -> Map.delete(metas["#{at}"], :phx_ref) end
      long = 12_345_678_901_234_567_890_123

      assert meta.(0) == %{"a" => 2 ** 64, "b" => -(2 ** 63) - 1}
      assert %{"a" => 0xFFFF_FFFF_FFFF_FFFF, "b" => -0x8000_0000_0000_0000} = meta.(1)
      assert %{"c" => zero, "d" => [-1.5e3, minus_zero, %{"e" => low}]} = meta.(1)
      assert {zero === 0, <<minus_zero::float>>, low} == {true, <<-0.0::float>>, -(2 ** 64)}
      assert meta.(2) == %{"a" => -(10 ** 200)}
      # As many digits as Python reads.
      assert meta.(3) == %{"a" => [10 ** 4_299]}
      assert {:undecodable, "{\"a\":1000" <> _} = metas["4"]
      assert metas["5"] == {:undecodable, ~s({"a":1e999})}

      assert meta.(6) == %{
               "a" => "12345678901234567890123",
               "b" => 1.2345678901234568e21,
               "12345678901234567890" => true
             }

      assert metas["7"] == {:undecodable, ~s({"a":-012345678901234567890123})}
      # 64 deep, as written here, and deeper.
      assert {:undecodable, "{\"a\":[[" <> _} = metas["8"]
      assert meta.(9)["a"] |> Stream.iterate(&hd/1) |> Enum.at(63) == long
    end

    test "a running tracker", context do
      name = context.test
      start_supervised!({Diffs, name: name, to: self(), codec: :json})
      pid = spawn(fn -> Process.sleep(:infinity) end)
      {:ok, ref} = Tracker.track(name, pid, "room", "ann", %{n: 1})
      assert_receive {:diff, %{"room" => {[{"ann", %{"n" => 1, phx_ref: ^ref}}], []}}, _}
      assert Tracker.get_by_key(name, "room", "ann") == [{pid, %{"n" => 1, phx_ref: ref}}]
      assert {:error, {:not_json, _}} = Tracker.track(name, pid, "room", :ann, %{})
      assert {:error, {:not_json, _}} = Tracker.update(name, pid, "room", "ann", %{a: {}})
      {:ok, next} = Tracker.update(name, pid, "room", "ann", &%{"n" => &1["n"] + 1})

      assert Tracker.list(name, "room") == [
               {"ann", %{"n" => 2, phx_ref: next, phx_ref_prev: ref}}
             ]

      assert_receive {:diff, %{"room" => {[{"ann", %{phx_ref: ^next}}], [_]}}, _}
      Process.exit(pid, :kill)
      assert_receive {:diff, %{"room" => {[], [{"ann", %{phx_ref: ^next}}]}}, _}
    end
  end

  test "only the codecs there are" do
    for codec <- [:xml, nil, {:json, keys: :atoms}, {:json, []}] do
      assert_raise ArgumentError, ~r/codec must be/, fn -> State.new("a", codec: codec) end

      assert {:error, "codec must be" <> _} =
               Tracker.start_link(Diffs, [], name: :codecs, codec: codec)
    end
  end
end
