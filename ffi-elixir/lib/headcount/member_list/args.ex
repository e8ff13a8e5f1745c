defmodule Headcount.MemberList.Args do
  @moduledoc false
  # Checks the arguments of `Headcount.MemberList` and brings them into the form of the NIF. A wrong type raises. A
  # number beyond a limit that types of the NIF have is `{:refused, what, message}`, which the NIF refuses in its turn.

  defguardp is_u64(number) when is_integer(number) and number in 0..0xFFFF_FFFF_FFFF_FFFF

  # Above every index.
  @index_max 0xFFFF_FFFF

  # One pass, as `bulk_load/2` calls it for each of a million members.
  def placement(options), do: placement(options, nil, nil, 0)

  defp placement([{:group, group} | rest], _group, sort, attrs),
    do: placement(rest, check_name(group), sort, attrs)

  defp placement([{:attrs, attrs} | rest], group, sort, _attrs),
    do: placement(rest, group, sort, check_attrs(attrs))

  defp placement([{by, _} = sort | rest], group, nil, attrs) when by in [:name, :key],
    do: placement(rest, group, sort(sort), attrs)

  defp placement([{by, _} | _], _group, _sort, _attrs) when by in [:name, :key],
    do: raise(ArgumentError, "only one of :name and :key can be the sort key")

  defp placement([], _group, nil, _attrs),
    do: raise(ArgumentError, "one of :name and :key is needed")

  defp placement([], group, sort, attrs), do: {check_name(group), sort, attrs}
  defp placement([other | _], _group, _sort, _attrs), do: bad_options(other)
  defp placement(other, _group, _sort, _attrs), do: bad_options(other)

  @spec bad_options(term()) :: no_return()
  defp bad_options(other) do
    raise ArgumentError,
          "options of a member are :group, :name or :key, and :attrs, got: #{Headcount.Show.term(other)}"
  end

  def new_member({id, options}) do
    {group, sort, attrs} = placement(options)
    {id, group, sort, attrs}
  end

  def new_member(other),
    do: raise(ArgumentError, "not a member {id, options}: #{Headcount.Show.term(other)}")

  def change({:upsert, id, options}), do: {:upsert, new_member({id, options})}
  def change({:set_key, id, sort}), do: {:set_key, id, sort(sort)}
  def change({:set_attrs, id, attrs}), do: {:set_attrs, id, check_attrs(attrs)}
  def change(change), do: change

  def sort({:name, name}) when is_binary(name), do: {:name, check_name(name)}
  def sort({:key, key}) when is_binary(key), do: {:raw, key}
  def sort({:key, number}) when is_u64(number), do: {:number, number}
  def sort({:key, {a, b}}) when is_u64(a) and is_u64(b), do: {:numbers, {a, b}}
  def sort({:key, number}) when is_integer(number), do: bad_number(number)
  def sort({:key, {a, b}}) when is_u64(a) and is_integer(b), do: bad_number(b)
  def sort({:key, {a, b}}) when is_integer(a) and is_integer(b), do: bad_number(a)

  def sort(sort) do
    raise ArgumentError,
          "a sort key is a :name (text) or a :key (bytes, an integer or two of them), got: " <>
            Headcount.Show.term(sort)
  end

  defp bad_number(number) do
    {:refused, :bad_key,
     "a number as a sort key is from 0 to 2^64 - 1, not #{Headcount.Show.term(number)}"}
  end

  # Sort keys have at most 64 bytes: of a longer prefix only these count.
  def prefix({:key, <<start::binary-64, _::binary>>}), do: {:raw, start}
  def prefix(prefix), do: sort(prefix)

  def check_name(name) when is_binary(name) do
    if String.valid?(name),
      do: name,
      else: raise(ArgumentError, "not UTF-8: #{Headcount.Show.term(name)}")
  end

  def check_name(name), do: raise(ArgumentError, "not a name: #{Headcount.Show.term(name)}")

  def check_attrs(attrs) when attrs in 0..0xFFFF_FFFF, do: attrs

  def check_attrs(attrs) when is_integer(attrs) do
    {:refused, :attrs_too_high,
     "attrs are 32 bits, from 0 to 2^32 - 1, not #{Headcount.Show.term(attrs)}"}
  end

  def check_attrs(attrs) do
    raise ArgumentError, "attrs are an integer of 32 bits, got: #{Headcount.Show.term(attrs)}"
  end

  # `nil` is none.
  def check_payload(payload) when is_binary(payload) or payload == nil, do: payload

  def check_payload(payload) do
    raise ArgumentError, "a payload is a binary, got: #{Headcount.Show.term(payload)}"
  end

  def check_index(_name, value) when is_integer(value) and value >= 0, do: min(value, @index_max)

  def check_index(name, value) do
    raise ArgumentError,
          "#{name} must be a non-negative integer, got: #{Headcount.Show.term(value)}"
  end

  def check_ids(ids) when ids in [:integer, :uuid, :text], do: ids

  def check_ids(ids) do
    raise ArgumentError, "ids must be :integer, :uuid or :text, got: #{Headcount.Show.term(ids)}"
  end

  def check_flag(_name, flag) when is_boolean(flag), do: flag

  def check_flag(name, flag) do
    raise ArgumentError, "#{name} must be true or false, got: #{Headcount.Show.term(flag)}"
  end

  def check_names(names) when is_list(names) and length(names) >= 0,
    do: Enum.map(names, &check_name/1)

  def check_names(names) do
    raise ArgumentError, "not a list of names: #{Headcount.Show.term(names)}"
  end

  # Reads the items of a batch; what raises for one of them says where it is.
  def read_all(items, read) do
    Enum.with_index(items, fn item, at ->
      try do
        read.(item)
      rescue
        error in ArgumentError ->
          reraise ArgumentError, in_batch(at, Exception.message(error)), __STACKTRACE__
      end
    end)
  end

  def in_batch(at, message), do: "change #{at} of the batch: #{message}"

  def payloads(false), do: nil
  def payloads(true), do: :raw
  def payloads(format) when format in [:json, :raw], do: format

  def payloads(other) do
    raise ArgumentError,
          "payloads must be false, true, :json or :raw, got: #{Headcount.Show.term(other)}"
  end

  # The highest number that JavaScript has.
  @epoch_max 0x1F_FFFF_FFFF_FFFF

  # Returns the epoch in the form of the NIF; `name` is the option or the argument.
  def epoch(name, {node, number}), do: epoch(name, check_name(node), number)
  def epoch(name, number), do: epoch(name, "", number)

  defp epoch(_name, node, number) when is_integer(number) and number in 1..@epoch_max,
    do: {:ok, {node, number}}

  defp epoch(_name, _node, number) when is_integer(number) do
    what = if number < 1, do: :epoch_too_low, else: :epoch_too_high
    rule = "the number of an epoch is from 1 to #{@epoch_max}"
    {:error, {what, "#{rule}, not #{Headcount.Show.term(number)}"}}
  end

  defp epoch(name, _node, other) do
    raise ArgumentError,
          "#{name} must be an integer, alone or in {node, integer}, got: #{Headcount.Show.term(other)}"
  end

  # For constructors, which raise what they refuse.
  def made!({:error, {_what, message}}), do: raise(ArgumentError, message)
  def made!(made), do: made
end
