defmodule Headcount.Transport do
  @moduledoc """
  A way in which the nodes of a tracker exchange frames.

  A tracker chooses its transport with an option of `Headcount.Tracker.start_link/3`:

      # Erlang distribution, the default
      Headcount.Tracker.start_link(MyTracker, [], name: MyTracker)

      # Phoenix.PubSub
      Headcount.Tracker.start_link(MyTracker, [], name: MyTracker, pubsub_server: MyApp.PubSub)

      # your own
      Headcount.Tracker.start_link(MyTracker, [], name: MyTracker, transport: {MyTransport, []})

  The callbacks run in one process of the tracker, which also receives the transport's messages. Frames
  may be lost, doubled and reordered; that costs time, never data. An *address* is a string that
  names a peer as long as that peer runs.

  In mode `:interest` a frame about one partition is for the nodes that watch a topic of it. A transport with
  `c:subscribe/2` and `c:unsubscribe/2` is given it as `{:group, partition}`, one without them as `:all`: then
  nodes that do not watch the partition drop it unread.
  """

  @type state :: term()
  @type address :: String.t()
  @type frame :: binary()

  @doc """
  Joins the cluster of this name. Runs in the process that the later callbacks run in.
  """
  @callback init(cluster :: String.t(), options :: keyword()) :: {:ok, state()} | {:error, term()}

  @typedoc "The number of a partition of topics, 0 to 65,535."
  @type partition :: 0..65_535

  @doc """
  Sends a frame to one peer, to all, or to the peers that have subscribed to a partition. It raises when it has
  lost the frame, which is counted.
  """
  @callback transmit(to :: address() | :all | {:group, partition()}, frame(), state()) :: state()

  @doc """
  Has the frames to the group of a partition delivered from now on. It may take effect late. When it raises it
  is called again a second later; a partition may come twice.
  """
  @callback subscribe(partition(), state()) :: state()

  @doc "Has them delivered no longer; when it raises it is called again a second later."
  @callback unsubscribe(partition(), state()) :: state()

  @doc """
  Reads a message to the process: a frame, the end of a peer (`:gone`), another message of the
  transport (`:ok`), or a message that is not of the transport (`:unknown`).
  """
  @callback handle_info(message :: term(), state()) ::
              {:frame, from :: address(), frame(), state()}
              | {:gone, address(), state()}
              | {:ok, state()}
              | :unknown

  @doc """
  Returns whether peers are trusted, as they are with Erlang distribution, where each may run code on
  this node. If not, terms from peers are decoded with `:safe` and create no atoms.
  """
  @callback trusted?(state()) :: boolean()

  @doc """
  Returns how many frames it has not sent since its start, such as for want of a connection. Frames for which
  `c:transmit/3` raises are counted beside it. A tracker calls it after each step, for `Headcount.Tracker.stats/1`.
  """
  @callback unsent(state()) :: non_neg_integer()

  @doc "Returns the size of the largest frame that it carries, in bytes, 4 KiB to 16 MiB (256 KiB)."
  @callback frame_max() :: pos_integer()

  @doc """
  Returns the size of the largest frame that it carries now, in bytes: the server to which it has connected anew may
  take less. A tracker calls it at its start and after each step, and then makes frames no longer than that, and than
  `c:frame_max/0`.
  """
  @callback frame_max(state()) :: pos_integer()

  @optional_callbacks frame_max: 0, frame_max: 1, subscribe: 2, unsent: 1, unsubscribe: 2
end
