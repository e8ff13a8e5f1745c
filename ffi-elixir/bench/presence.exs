# Joins of a presence whose `fetch/2` asks a database: 200 processes join 200 topics, until every topic was told of
# its join. The database is a pause.
alias Headcount.Bench

defmodule Headcount.Bench.Fetching do
  @moduledoc false
  use Headcount.Presence, otp_app: :headcount

  @impl true
  def fetch(_topic, presences) do
    Process.sleep(20)
    presences
  end

  @impl true
  def init(_), do: {:ok, nil}

  @impl true
  def handle_metas(_topic, %{joins: joins}, _presences, state) do
    send(:bench_presence, {:joined, map_size(joins)})
    {:ok, state}
  end
end

defmodule Headcount.Bench.Told do
  @moduledoc false
  def await(joins) when joins <= 0, do: :ok
  def await(joins), do: receive(do: ({:joined, some} -> await(joins - some)))
end

Process.register(self(), :bench_presence)
joins = 200
{:ok, _} = Supervisor.start_link([Headcount.Bench.Fetching], strategy: :one_for_one)
Bench.head("Presence whose fetch/2 takes 20 ms")

times =
  for round <- 1..11 do
    pids = for _ <- 1..joins, do: spawn(fn -> Process.sleep(:infinity) end)

    {us, _} =
      :timer.tc(fn ->
        for {pid, n} <- Enum.with_index(pids) do
          {:ok, _} = Headcount.Bench.Fetching.track(pid, "room:#{round}:#{n}", n, %{})
        end

        Headcount.Bench.Told.await(joins)
      end)

    us
  end

[median, worst] = for at <- [5, 10], do: Enum.at(Enum.sort(times), at)
Bench.row("#{joins} joins of as many topics", median, worst, 28_000)
