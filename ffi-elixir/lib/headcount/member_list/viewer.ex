defmodule Headcount.MemberList.Viewer do
  @moduledoc """
  The windows of one client on a list, kept current by frames.

      # the process of the list, every 250 ms
      tick = MemberList.tick(list)
      if not tick.empty?, do: broadcast({:tick, tick})

      # the process of a client, such as a channel
      {:ok, bundle} = Viewer.open(viewer, {:chunk, 0})
      push_binary(socket, bundle)

      def handle_info({:tick, tick}, socket) do
        if bundle = Viewer.bundle(socket.assigns.viewer, tick), do: push_binary(socket, bundle)
        {:noreply, socket}
      end

  A *window* is a slice of rows that is kept current. All viewers share its name, so each frame is encoded
  once:

    * `{:chunk, k}` or `"c:<k>"` - rows `100k` to `100k + 99`
    * `{:anchored, id, before, after}` or `"a:<id>:<before>:<after>"` - the rows around a member; when it
      moves, a neighbour takes its place
    * `{:following, id, before, after}` or `"f:..."` - the rows around a member, also after it moves
    * `{:header, group, before, after}` or `"g:..."` - the rows around the header of a group
    * `{:search, prefix, page}` or `"q:..."` - page `page`, 50 rows, of the members whose key begins with a prefix
      as `Headcount.MemberList.find_prefix/2` takes it, each group below its header; of one group with
      `{:search, prefix, page, group}`. `{:search, prefix}` is page 0

  A viewer holds at most 8 windows of at most 500 rows, two of them searches, which are shown again once a
  second. A *bundle* is the frames of one tick for one viewer: a map, or bytes ready to push (`new/2`). Its fields and
  their use by a client are described in `core/docs/list-frames.md` of the repository, whose JavaScript client reads
  the JSON as it is:

      %{list: "room:7", epoch: 1, version: 15, bases: [], windows: [], counts: %{...}, frames: [
        %{window: "c:0", kind: :sync, rows: [...], base_version: 0, new_version: 12, ...},
        %{window: "c:3", kind: :delta, deletes: [...], inserts: [...], updates: [...], ...}
      ]}

  A client that can *resume* needs a viewer made with `resumable: true`. Its bundles are of frame format 2, in which
  `epoch` is `%{node: ..., number: ...}` and `windows` say their versions. When its connection is cut, the windows
  that it shows are resumed over the next one: `resume/2`.

  A process may skip any tick, such as one whose client is slow. The viewer then catches up: the next
  bundle has the counts, and one SYNC for each window that changed in the skipped ticks; `catch_up/1` returns
  these at once. The windows of a viewer close when no process holds it any longer.
  """

  import Headcount.Bang, only: [bang: 1]
  import Headcount.Twin, only: [call: 2]
  alias Headcount.{MemberList, MemberTable, Native}
  alias Headcount.MemberList.{Args, Tick}
  alias Headcount.MemberTable.ListView

  @enforce_keys [:ref, :format]
  defstruct [:ref, :format]

  # One more than a viewer may have shows that there are too many.
  @held_max 9
  @u64_max 0xFFFF_FFFF_FFFF_FFFF

  @type t :: %__MODULE__{ref: reference(), format: format()}

  @type window ::
          String.t()
          | {:chunk, non_neg_integer()}
          | {:anchored | :following, MemberList.id(), before :: non_neg_integer(),
             after_ :: non_neg_integer()}
          | {:header, MemberList.group(), before :: non_neg_integer(),
             after_ :: non_neg_integer()}
          | {:search, MemberList.sort()}
          | {:search, MemberList.sort(), page :: non_neg_integer()}
          | {:search, MemberList.sort(), page :: non_neg_integer(), MemberList.group()}

  @type format ::
          :map | :json | :binary | {:discord, guild :: String.t(), list :: String.t()}

  @typedoc "A map or bytes, by the format of the viewer."
  @type bundle :: map() | binary()

  @typedoc """
  A window as a client held it when its connection ended: a map with the keys `window`, `epoch` (with `node` and
  `number`) and `version`, as atoms or, as JSON is decoded, as strings.
  """
  @type held_window :: %{required(atom() | String.t()) => term()}

  @type error :: {:error, {what :: atom(), message :: String.t()}}

  @doc """
  Returns a viewer of a list, or of a list of a table, without windows.

  `:format` sets the form of bundles:

    * `:map` (default) - maps, for code on this side
    * `:json` - the JSON of `core/docs/list-frames.md`, for the JavaScript client
    * `:binary` - the same in bytes, for clients that use the Rust or Python package
    * `{:discord, guild_id, list_id}` - `GUILD_MEMBER_LIST_UPDATE` events as JSON, for clients of
      that protocol; chunks only

  With `resumable: true` (default `false`) bundles are of frame format 2, and the client can resume its windows:
  `resume/2`. Clients of Discord cannot.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> viewer = Headcount.MemberList.Viewer.new(list, format: :json)
      iex> Headcount.MemberList.Viewer.windows(viewer)
      []
  """
  @spec new(MemberList.t() | ListView.t(), keyword()) :: t()
  def new(list, options \\ []) do
    options = Keyword.validate!(options, format: :map, resumable: false)
    format = check_format(options[:format])

    %__MODULE__{
      ref: viewer(list, format, check_resumable(options[:resumable], format)),
      format: format
    }
  end

  defp viewer(%MemberList{ref: list}, format, resumable),
    do: Native.viewer_new(list, format, resumable)

  defp viewer(%ListView{table: table, id: list}, format, resumable),
    do: Native.view_viewer_new(table, list, format, resumable)

  defp check_resumable(true, {:discord, _, _}),
    do: raise(ArgumentError, "clients of Discord cannot resume")

  defp check_resumable(resumable, _format) when is_boolean(resumable), do: resumable

  defp check_resumable(resumable, _format) do
    raise ArgumentError, "resumable must be a boolean, got: #{Headcount.Show.term(resumable)}"
  end

  @doc """
  Opens a window and returns a bundle with its rows and all counts. O(log n + rows).

      iex> list = Headcount.MemberList.new(groups: ["online"], name: "room")
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> viewer = Headcount.MemberList.Viewer.new(list)
      iex> {:ok, %{list: "room", frames: [frame]}} = Headcount.MemberList.Viewer.open(viewer, {:chunk, 0})
      iex> {frame.kind, frame.rows}
      {:sync, [%{group: "online", count: 1}, %{id: 7, revision: 0, attrs: 0, body: nil}]}
      iex> {:error, {:unknown_anchor, _}} = Headcount.MemberList.Viewer.open(viewer, {:anchored, 8, 9, 9})
  """
  @spec open(t(), window()) :: {:ok, bundle()} | error()
  def open(%__MODULE__{ref: ref}, window), do: Native.viewer_open(ref, name(window))

  bang(open!(viewer :: t(), window :: window()) :: bundle())

  @doc """
  Closes one window and opens another, and returns a bundle as `open/2` does. O(log n + rows).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> viewer = Headcount.MemberList.Viewer.new(list)
      iex> {:ok, _} = Headcount.MemberList.Viewer.open(viewer, {:chunk, 0})
      iex> {:ok, _} = Headcount.MemberList.Viewer.retarget(viewer, {:chunk, 0}, {:chunk, 5})
      iex> Headcount.MemberList.Viewer.windows(viewer)
      ["c:5"]
  """
  @spec retarget(t(), from :: window(), to :: window()) :: {:ok, bundle()} | error()
  def retarget(%__MODULE__{ref: ref}, from, to) do
    Native.viewer_retarget(ref, name(from), name(to))
  end

  bang(retarget!(viewer :: t(), from :: window(), to :: window()) :: bundle())

  @doc """
  Closes a window. A viewer that closed all its windows gets counts.

      iex> viewer = Headcount.MemberList.Viewer.new(Headcount.MemberList.new())
      iex> {:error, {:not_open, _}} = Headcount.MemberList.Viewer.close(viewer, {:chunk, 0})
  """
  @spec close(t(), window()) :: :ok | error()
  def close(%__MODULE__{ref: ref}, window), do: Native.viewer_close(ref, name(window))

  bang(close!(viewer :: t(), window :: window()) :: :ok)

  @doc """
  Returns a bundle with the rows of these windows and all counts, for a client that asks for them again.

      iex> viewer = Headcount.MemberList.Viewer.new(Headcount.MemberList.new())
      iex> {:ok, %{frames: [], counts: %{rows: 0}}} = Headcount.MemberList.Viewer.resync(viewer, [])
  """
  @spec resync(t(), [window()]) :: {:ok, bundle()} | error()
  def resync(%__MODULE__{ref: ref}, windows) do
    Native.viewer_resync(ref, Enum.map(windows, &name/1))
  end

  bang(resync!(viewer :: t(), windows :: [window()]) :: bundle())

  @doc """
  Opens the windows that a client still shows after its connection ended; returns a bundle with what changed in each
  of them since, and all counts.

  `held` are the windows as the client names them, at most 8. A window comes as one DELTA, or as a SYNC where that is
  smaller, and when the list does not know its version: the client was away for more than 60 seconds, or its rows are
  of another epoch or node. The list keeps the windows of a resumable viewer that no process holds any longer, not
  those that it closed. O(log n + rows + changes since) for each window.

      iex> list = Headcount.MemberList.new(groups: ["online"], epoch: {"node-1", 1_790_000_000_000})
      iex> for id <- 1..40, do: Headcount.MemberList.upsert(list, id, group: "online", key: id)
      iex> viewer = Headcount.MemberList.Viewer.new(list, resumable: true)
      iex> {:ok, bundle} = Headcount.MemberList.Viewer.open(viewer, {:chunk, 0})
      iex> Headcount.MemberList.touch(list, 7)
      iex> held = for window <- bundle.windows, do: Map.put(window, :epoch, bundle.epoch)
      iex> held
      [%{window: "c:0", epoch: %{node: "node-1", number: 1_790_000_000_000}, version: 1}]
      iex> again = Headcount.MemberList.Viewer.new(list, resumable: true)
      iex> {:ok, %{frames: [frame]}} = Headcount.MemberList.Viewer.resume(again, held)
      iex> {frame.kind, for(update <- frame.updates, do: update.index)}
      {:delta, [7]}
      iex> {:error, {:malformed, _}} = Headcount.MemberList.Viewer.resume(again, [%{window: "c:0"}])
  """
  @spec resume(t(), [held_window()]) :: {:ok, bundle()} | error()
  def resume(%__MODULE__{ref: ref}, held) when is_list(held) do
    held = held |> Enum.take(@held_max) |> Enum.map(&held_window/1)

    case Enum.find_index(held, &(&1 == nil)) do
      nil ->
        Native.viewer_resume(ref, held)

      index ->
        message = "held window #{index} is not %{window, epoch: %{node, number}, version}"
        {:error, {:malformed, message}}
    end
  end

  def resume(%__MODULE__{}, _held), do: {:error, {:malformed, "held windows are not a list"}}

  bang(resume!(viewer :: t(), held :: [held_window()]) :: bundle())

  @doc """
  Leaves the list for another one, of a table with ids of the same kind, and opens windows there; returns a
  bundle with their rows and all counts. Later ticks of the old list bring nothing.

      iex> table = Headcount.MemberTable.new()
      iex> [all, newest] = for name <- ["all", "newest"], do: Headcount.MemberTable.add_list!(table, name: name)
      iex> viewer = Headcount.MemberList.Viewer.new(all)
      iex> {:ok, %{list: "newest", frames: [_]}} = Headcount.MemberList.Viewer.switch(viewer, newest, ["c:0"])
      iex> Headcount.MemberList.Viewer.windows(viewer)
      ["c:0"]
  """
  @spec switch(t(), ListView.t(), [window()]) :: {:ok, bundle()} | error()
  def switch(%__MODULE__{ref: ref}, %ListView{table: table, id: list}, windows) do
    Native.viewer_switch(ref, table, list, Enum.map(windows, &name/1))
  end

  bang(switch!(viewer :: t(), list :: ListView.t(), windows :: [window()]) :: bundle())

  @doc """
  Returns the bundle of a tick for this viewer, `nil` if it has nothing to send. O(windows).

  Ticks must come in order, none twice; any may be skipped. After a skipped tick the bundle has the counts,
  and all rows of the windows that changed in it (`stale?/1`).

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> Headcount.MemberList.upsert(list, 7, group: "online", name: "Zoe")
      iex> viewer = Headcount.MemberList.Viewer.new(list)
      iex> {:ok, _} = Headcount.MemberList.Viewer.open(viewer, {:chunk, 0})
      iex> Headcount.MemberList.upsert(list, 9, group: "online", name: "Ada")
      iex> %{frames: [frame]} = Headcount.MemberList.Viewer.bundle(viewer, Headcount.MemberList.tick(list))
      iex> {frame.kind, frame.deletes, frame.updates}
      {:delta, [], [%{index: 0, count: 2}]}
      iex> for insert <- frame.inserts, do: {insert.index, insert.row.id}
      [{1, 9}]
  """
  @spec bundle(t(), Tick.t() | MemberTable.Tick.t()) :: bundle() | nil
  def bundle(%__MODULE__{ref: ref, format: format}, %kind{ref: tick})
      when kind in [Tick, MemberTable.Tick] do
    answer =
      if format == :map,
        do: Native.viewer_bundle_dirty(ref, tick),
        else: call(:viewer_bundle, [ref, tick])

    if answer == :other_list, do: raise(ArgumentError, "the tick is of another list")
    answer
  end

  @doc """
  Returns whether a window has missed frames. `catch_up/1` returns its rows at once, `bundle/2` with the next
  tick.

      iex> Headcount.MemberList.Viewer.stale?(Headcount.MemberList.Viewer.new(Headcount.MemberList.new()))
      false
  """
  @spec stale?(t()) :: boolean()
  def stale?(%__MODULE__{ref: ref}), do: elem(Native.viewer_info(ref), 0)

  @doc """
  Returns the present names of the windows: an anchor may have been replaced.

      iex> Headcount.MemberList.Viewer.windows(Headcount.MemberList.Viewer.new(Headcount.MemberList.new()))
      []
  """
  @spec windows(t()) :: [String.t()]
  def windows(%__MODULE__{ref: ref}), do: elem(Native.viewer_info(ref), 1)

  @doc """
  Returns a bundle with one SYNC for each window that has missed frames, and all counts.

      iex> viewer = Headcount.MemberList.Viewer.new(Headcount.MemberList.new())
      iex> %{frames: []} = Headcount.MemberList.Viewer.catch_up(viewer)
  """
  @spec catch_up(t()) :: bundle()
  def catch_up(%__MODULE__{ref: ref}), do: Headcount.Bang.value!(Native.viewer_catch_up(ref))

  @doc """
  Hides or shows the viewer. Bundles of a hidden viewer have counts only; call `catch_up/1` after it is shown
  again.

      iex> Headcount.MemberList.Viewer.set_hidden(Headcount.MemberList.Viewer.new(Headcount.MemberList.new()), true)
      :ok
  """
  @spec set_hidden(t(), boolean()) :: :ok
  def set_hidden(%__MODULE__{ref: ref}, hidden) when is_boolean(hidden) do
    Native.viewer_set_hidden(ref, hidden)
    :ok
  end

  @doc """
  Returns the event by which a client of Discord's protocol drops a chunk; send it after `close/2`.

      iex> list = Headcount.MemberList.new(groups: ["online"])
      iex> viewer = Headcount.MemberList.Viewer.new(list, format: {:discord, "41771983423143937", "everyone"})
      iex> Headcount.MemberList.Viewer.invalidate(viewer, 2) =~ ~s("INVALIDATE","range":[200,299])
      true
  """
  @spec invalidate(t(), chunk :: non_neg_integer()) :: binary()
  def invalidate(%__MODULE__{ref: ref, format: {:discord, _, _}}, chunk)
      when is_integer(chunk) and chunk in 0..42_949_671 do
    Native.viewer_invalidate(ref, chunk)
  end

  defp check_format(format) when format in [:map, :json, :binary], do: format

  defp check_format({:discord, guild, list}) when is_binary(guild) and is_binary(list),
    do: {:discord, guild, list}

  defp check_format(format) do
    raise ArgumentError,
          "format must be :map, :json, :binary or {:discord, guild, list}, got: #{Headcount.Show.term(format)}"
  end

  defp held_window(%{
         "window" => window,
         "epoch" => %{"node" => node, "number" => number},
         "version" => version
       }),
       do: held_window(window, node, number, version)

  defp held_window(%{window: window, epoch: %{node: node, number: number}, version: version}),
    do: held_window(window, node, number, version)

  defp held_window(_other), do: nil

  defp held_window(window, node, number, version)
       when is_binary(window) and is_binary(node) and is_integer(number) and number in 0..@u64_max and
              is_integer(version) and version in 0..@u64_max do
    if String.valid?(window) and String.valid?(node), do: {window, node, number, version}
  end

  defp held_window(_window, _node, _number, _version), do: nil

  @doc """
  Returns the name of a window, by which clients call it, and frames and `windows/1`.

      iex> Headcount.MemberList.Viewer.name({:following, 7, 10, 10})
      "f:7:10:10"
      iex> Headcount.MemberList.Viewer.name({:search, {:name, "Mo"}})
      "q:6d6f:0"
  """
  @spec name(window()) :: String.t()
  def name({:chunk, k}) when is_integer(k), do: "c:#{k}"
  def name({:anchored, id, before, after_}), do: anchor("a", id, before, after_)
  def name({:following, id, before, after_}), do: anchor("f", id, before, after_)
  def name({:header, group, before, after_}), do: anchor("g", group, before, after_)
  def name({:search, prefix}), do: search(prefix, 0, nil)
  def name({:search, prefix, page}), do: search(prefix, page, nil)

  def name({:search, prefix, page, group}) when is_binary(group),
    do: search(prefix, page, Args.check_name(group))

  def name(name) when is_binary(name), do: name
  def name(other), do: raise(ArgumentError, "not a window: #{Headcount.Show.term(other)}")

  defp search(prefix, page, group) when is_integer(page) and page in 0..0xFFFF_FFFF,
    do: Args.made!(Native.search_window(Args.prefix(prefix), page, group))

  defp search(_prefix, page, _group),
    do: raise(ArgumentError, "not the page of a search: #{Headcount.Show.term(page)}")

  defp anchor(kind, key, before, after_)
       when (is_binary(key) or is_integer(key)) and is_integer(before) and is_integer(after_) do
    "#{kind}:#{key}:#{before}:#{after_}"
  end

  defp anchor(_kind, key, before, after_) do
    raise ArgumentError, "not a window: #{Headcount.Show.term({key, before, after_})}"
  end

  defimpl Inspect do
    def inspect(viewer, _opts) do
      windows = Enum.join(Headcount.MemberList.Viewer.windows(viewer), " ")
      "#Headcount.MemberList.Viewer<#{Kernel.inspect(viewer.format)}, windows: [#{windows}]>"
    end
  end
end
