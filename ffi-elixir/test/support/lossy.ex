defmodule Headcount.Test.Lossy do
  @moduledoc false
  # Erlang distribution that loses the first frames of some kinds, and joins the group that it is told.
  #
  #   * `:group` - the group, whatever the cluster is called
  #   * `:lose` - a list of kinds: for each one a frame of that kind is lost

  @behaviour Headcount.Transport

  alias Headcount.Transport.PG

  @impl true
  def init(cluster, options) do
    {:ok, inner} = PG.init(Keyword.get(options, :group, cluster), [])
    {:ok, %{inner: inner, lose: Keyword.get(options, :lose, [])}}
  end

  @impl true
  def transmit(to, <<_head::32, kind, _rest::binary>> = frame, state) do
    if kind in state.lose,
      do: %{state | lose: List.delete(state.lose, kind)},
      else: %{state | inner: PG.transmit(to, frame, state.inner)}
  end

  # Messages of PG are those of this one too.
  @impl true
  def handle_info(message, state) do
    case PG.handle_info(message, state.inner) do
      :unknown ->
        :unknown

      answer ->
        put_elem(answer, tuple_size(answer) - 1, %{
          state
          | inner: List.last(Tuple.to_list(answer))
        })
    end
  end

  # The smallest one that there is.
  @impl true
  def frame_max, do: 4 * 1024

  @impl true
  def trusted?(_state), do: true
end
