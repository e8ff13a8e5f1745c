defmodule Headcount.MemberTable.Args do
  @moduledoc false
  # Checks the arguments of `Headcount.MemberTable` and brings them into the form of the NIF.

  import Headcount.MemberList.Args, except: [new_member: 2, change: 1]

  @spec_defaults [
    name: "",
    default_group: "members",
    sort_by: 0,
    descending: false,
    headers: true,
    admit: nil,
    always: [],
    never: [],
    groups: []
  ]

  @doc false
  # A list longer than all attributes together is none.
  def attrs(attrs) when is_list(attrs) do
    if proper?(attrs, 512) and Enum.all?(attrs, &(is_integer(&1) and &1 in 0..0xFFFF)),
      do: attrs,
      else: bad_attrs(attrs)
  end

  def attrs(attrs), do: bad_attrs(attrs)

  @spec bad_attrs(term()) :: no_return()
  defp bad_attrs(attrs) do
    raise ArgumentError,
          "attributes are a list of numbers from 0 to 511, got: #{Headcount.Show.term(attrs)}"
  end

  defp proper?([], _max), do: true
  defp proper?([_ | rest], max) when max > 0, do: proper?(rest, max - 1)
  defp proper?(_other, _max), do: false

  @doc false
  def member(options) when is_list(options), do: member(options, [], [])

  def member(options) do
    raise ArgumentError, "not the options of a member: #{Headcount.Show.term(options)}"
  end

  defp member([{:attrs, attrs} | rest], keys, _attrs), do: member(rest, keys, attrs(attrs))

  defp member([{by, _} = sort | rest], keys, attrs) when by in [:name, :key],
    do: member(rest, [sort(sort) | keys], attrs)

  defp member([], keys, attrs), do: {Enum.reverse(keys), attrs}

  defp member([other | _], _keys, _attrs) do
    raise ArgumentError,
          "options of a member are :name or :key for each column, and :attrs, got: " <>
            Headcount.Show.term(other)
  end

  defp member(other, _keys, _attrs) do
    raise ArgumentError, "not the options of a member: #{Headcount.Show.term(other)}"
  end

  @doc false
  # For `bulk_load/2`.
  def new_member(id, options) do
    {payload, options} =
      if is_list(options), do: Keyword.pop(options, :payload), else: {nil, options}

    {keys, attrs} = member(options)
    {id, keys, attrs, check_payload(payload)}
  end

  @doc false
  # For `apply_batch/3`.
  def change({:upsert, id, options}) do
    {keys, attrs} = member(options)
    {:upsert, id, keys, attrs}
  end

  def change({:set_key, id, column, sort}),
    do: {:set_key, id, check_index(:column, column), sort(sort)}

  def change({:set_attrs, id, changes}) do
    {clear, set} = changes(changes)
    {:set_attrs, id, clear, set}
  end

  def change({:set_payload, _id, payload} = change) when is_binary(payload), do: change
  def change({what, _id} = change) when what in [:remove, :touch], do: change

  def change(other) do
    raise ArgumentError, "not a change: #{Headcount.Show.term(other)}"
  end

  @doc false
  def changes(changes) do
    changes = Keyword.validate!(changes, clear: [], set: [])
    {attrs(changes[:clear]), attrs(changes[:set])}
  end

  @doc false
  def spec(spec) do
    spec = Keyword.validate!(spec, @spec_defaults)
    flag = fn name -> check_flag(name, spec[name]) end

    head =
      {check_name(spec[:name]), check_name(spec[:default_group]),
       check_index(:sort_by, spec[:sort_by]), flag.(:descending), flag.(:headers)}

    admit = spec[:admit] && each(:admit, spec[:admit], &clause/1)
    ids = fn name -> each(name, spec[name], & &1) end
    {head, admit, ids.(:always), ids.(:never), each(:groups, spec[:groups], &group/1)}
  end

  defp group({clause, name}), do: {clause(clause), check_name(name)}

  defp group(other) do
    raise ArgumentError, "not a clause and a group: #{Headcount.Show.term(other)}"
  end

  defp clause(clause) do
    clause = Keyword.validate!(clause, all: [], any: [], none: [])
    {attrs(clause[:all]), attrs(clause[:any]), attrs(clause[:none])}
  end

  # More than any list of a spec can have.
  @items_max 10_000

  defp each(name, items, fun) do
    if is_list(items) and proper?(items, @items_max),
      do: Enum.map(items, fun),
      else: raise(ArgumentError, "#{name} must be a list, got: #{Headcount.Show.term(items)}")
  end

  @doc false
  def check_flag(_name, flag) when is_boolean(flag), do: flag

  def check_flag(name, flag) do
    raise ArgumentError, "#{name} must be true or false, got: #{Headcount.Show.term(flag)}"
  end
end
