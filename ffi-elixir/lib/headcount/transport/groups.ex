defmodule Headcount.Transport.Groups do
  @moduledoc false
  # The process groups of the partitions of a cluster, over Erlang distribution: in mode `:interest` the frames of a
  # partition go to the members of its group.
  #
  # To join a group costs a message to every node, so a process that wants very many partitions joins the group of all
  # instead, for as long as it runs.

  @scope Headcount.Transport.PG
  @groups_max 4_096

  @doc false
  # `group` names the cluster. Returns `{:error, message}` for an option that is wrong.
  def new(group, options) do
    case Keyword.get(options, :groups_max, @groups_max) do
      max when is_integer(max) and max >= 0 ->
        {:ok, %{group: group, max: max, joined: MapSet.new(), all?: false}}

      _other ->
        {:error, "groups_max must be 0 or a positive integer"}
    end
  end

  @doc false
  def subscribe(%{joined: joined} = groups, partition) do
    cond do
      groups.all? or partition in joined ->
        groups

      MapSet.size(joined) >= groups.max ->
        :ok = :pg.join(@scope, all(groups), self())
        %{groups | all?: true}

      true ->
        :ok = :pg.join(@scope, one(groups, partition), self())
        %{groups | joined: MapSet.put(joined, partition)}
    end
  end

  @doc false
  def unsubscribe(%{joined: joined} = groups, partition) do
    if partition in joined do
      :pg.leave(@scope, one(groups, partition), self())
      %{groups | joined: MapSet.delete(joined, partition)}
    else
      groups
    end
  end

  @doc false
  # The other members: one that has joined the group of all may be in that of the partition too.
  def members(groups, partition) do
    all = :pg.get_members(@scope, all(groups))
    of_partition = :pg.get_members(@scope, one(groups, partition)) -- all
    List.delete(of_partition ++ all, self())
  end

  defp one(groups, partition), do: {groups.group, partition}
  defp all(groups), do: {groups.group, :all}
end
