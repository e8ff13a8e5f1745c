defmodule Headcount.MemberList.Args do
  @moduledoc false
  # Checks the arguments of `Headcount.MemberList` and brings them into the form of the NIF.

  defguardp is_u64(number) when is_integer(number) and number in 0..0xFFFF_FFFF_FFFF_FFFF

  # Above every index.
  @index_max 0xFFFF_FFFF

  # One pass, as `bulk_load/2` calls it for each of a million members.
  def placement(options) when is_list(options), do: placement(options, nil, nil, 0)

  defp placement([{:group, group} | rest], _group, sort, attrs),
    do: placement(rest, check_name(group), sort, attrs)

  defp placement([{:attrs, attrs} | rest], group, sort, _attrs),
    do: placement(rest, group, sort, check_attrs(attrs))

  defp placement([{by, _} = sort | rest], group, nil, attrs) when by in [:name, :key],
    do: placement(rest, group, sort(sort), attrs)

  defp placement([{by, _} | _], _group, _sort, _attrs) when by in [:name, :key],
    do: raise(ArgumentError, "only one of :name and :key can be the sort key")

  defp placement([], group, {_, _} = sort, attrs), do: {check_name(group), sort, attrs}

  defp placement([], _group, nil, _attrs),
    do: raise(ArgumentError, "one of :name and :key is needed")

  defp placement([other | _], _group, _sort, _attrs) do
    raise ArgumentError,
          "options of a member are :group, :name or :key, and :attrs, got: #{Headcount.Show.term(other)}"
  end

  def new_member(id, options) do
    {group, sort, attrs} = placement(options)
    {id, group, sort, attrs}
  end

  def change({:upsert, id, options}), do: {:upsert, new_member(id, options)}
  def change({:set_key, id, sort}), do: {:set_key, id, sort(sort)}
  def change({:set_attrs, id, attrs}), do: {:set_attrs, id, check_attrs(attrs)}
  def change(change), do: change

  def sort({:name, name}) when is_binary(name), do: {:name, check_name(name)}
  def sort({:key, key}) when is_binary(key) and byte_size(key) <= 64, do: {:raw, key}
  def sort({:key, number}) when is_u64(number), do: {:number, number}
  def sort({:key, {a, b}}) when is_u64(a) and is_u64(b), do: {:numbers, {a, b}}

  def sort(sort) do
    raise ArgumentError,
          "a sort key is a :name (text) or a :key (at most 64 bytes, a 64-bit non-negative " <>
            "integer or two of them), got: #{Headcount.Show.term(sort)}"
  end

  def check_name(name) when is_binary(name) do
    if String.valid?(name),
      do: name,
      else: raise(ArgumentError, "not UTF-8: #{Headcount.Show.term(name)}")
  end

  def check_name(name), do: raise(ArgumentError, "not a name: #{Headcount.Show.term(name)}")

  def check_attrs(attrs) when attrs in 0..0xFFFF_FFFF, do: attrs

  def check_attrs(attrs) do
    raise ArgumentError, "attrs are 32 bits, 0..4294967295, got: #{Headcount.Show.term(attrs)}"
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

  def payloads(false), do: nil
  def payloads(true), do: :raw
  def payloads(format) when format in [:json, :raw], do: format

  def payloads(other) do
    raise ArgumentError,
          "payloads must be false, true, :json or :raw, got: #{Headcount.Show.term(other)}"
  end

  # `name` is the option.
  def check_epoch(name, {node, epoch}), do: {check_name(node), check_number(name, epoch)}
  def check_epoch(name, epoch), do: {"", check_number(name, epoch)}

  defp check_number(_name, epoch) when is_integer(epoch) and epoch in 0..0x1F_FFFF_FFFF_FFFF,
    do: epoch

  defp check_number(name, epoch) do
    raise ArgumentError,
          "#{name} must be from 0 to 2^53 - 1, alone or in {node, epoch}, got: " <>
            Headcount.Show.term(epoch)
  end
end
