defmodule Headcount.Transport.PubSub do
  @moduledoc """
  `Phoenix.PubSub`, named by the option `pubsub_server` of a tracker.

  Phoenix is called at run time: this package does not depend on it. With the adapter that uses
  Erlang distribution (`Phoenix.PubSub.PG2`, the default one) peers are trusted, with any other not.
  """

  @behaviour Headcount.Transport

  @impl true
  def init(cluster, options) do
    server = Keyword.fetch!(options, :server)
    topic = "headcount:" <> cluster

    with :ok <- pubsub(:subscribe, [server, topic]) do
      address = "#{node()}/#{Base.url_encode64(:crypto.strong_rand_bytes(9))}"
      {:ok, %{server: server, topic: topic, address: address}}
    end
  end

  @impl true
  def transmit(to, frame, state) do
    message = {__MODULE__, state.address, to, frame}
    pubsub(:broadcast_from, [state.server, self(), state.topic, message])
    state
  end

  @impl true
  def handle_info({__MODULE__, from, to, frame}, %{address: address} = state)
      when from != address do
    if to in [:all, address], do: {:frame, from, frame, state}, else: {:ok, state}
  end

  def handle_info({__MODULE__, _from, _to, _frame}, state), do: {:ok, state}
  def handle_info(_message, _state), do: :unknown

  @impl true
  def trusted?(state) do
    match?({:ok, {Phoenix.PubSub.PG2, _name}}, Registry.meta(state.server, :pubsub))
  end

  defp pubsub(function, args), do: apply(Phoenix.PubSub, function, args)
end
