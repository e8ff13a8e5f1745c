defmodule Headcount.Transport do
  @moduledoc """
  How the nodes of a tracker talk to each other.

  A tracker chooses its transport with an option of `Headcount.Tracker.start_link/3`:

      # Erlang distribution, the default
      Headcount.Tracker.start_link(MyTracker, [], name: MyTracker)

      # Phoenix.PubSub
      Headcount.Tracker.start_link(MyTracker, [], name: MyTracker, pubsub_server: MyApp.PubSub)

      # your own
      Headcount.Tracker.start_link(MyTracker, [], name: MyTracker, transport: {MyTransport, []})

  The callbacks run in one process of the tracker, which also gets the transport's messages. Frames
  may be lost, doubled and reordered; that costs time, never data. An *address* is a string that
  names a neighbour as long as it lives.
  """

  @type state :: term()
  @type address :: String.t()
  @type frame :: binary()

  @doc """
  Joins the cluster of this name. Runs in the process that the later callbacks run in.
  """
  @callback init(cluster :: String.t(), options :: keyword()) :: {:ok, state()} | {:error, term()}

  @doc "Sends a frame to one neighbour, or to all."
  @callback transmit(to :: address() | :all, frame(), state()) :: state()

  @doc """
  What a message to the process means: a frame, a neighbour that is gone, something else of the
  transport's own (`:ok`), or nothing of it (`:unknown`).
  """
  @callback handle_info(message :: term(), state()) ::
              {:frame, from :: address(), frame(), state()}
              | {:gone, address(), state()}
              | {:ok, state()}
              | :unknown

  @doc """
  Whether every peer may run code on this node anyway, as with Erlang distribution. If not, terms
  from peers are decoded with `:safe` and create no atoms.
  """
  @callback trusted?(state()) :: boolean()

  @doc "The largest frame it carries, in bytes, 4 KiB to 16 MiB; 256 KiB when it does not say."
  @callback frame_max() :: pos_integer()

  @optional_callbacks frame_max: 0
end
